//! The records' bytes, and that they carry everything that has to survive.

use ottla_coordinator::{Command, GroupConfig, GroupShard, LogRecord, Machine, Response};
use ottla_protocol::ids::{Offset, ProducerId};
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest};
use ottla_protocol::{ByteString, Uuid};

use crate::node::{Entry, GroupNode as Node, WALL};

fn record(node: &Node, index: usize) -> &LogRecord {
    match &node.log[index] {
        Entry::Record(_, record) => record,
        Entry::Marker(..) => panic!("entry {index} is a marker"),
    }
}

fn commit(topic_id: Uuid, retention_time_ms: i64) -> Command {
    let partition = OffsetCommitRequestPartition {
        partition_index: 3,
        committed_offset: 258,
        committed_leader_epoch: 9,
        committed_metadata: Some("m".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "t1".into(),
        topic_id,
        partitions: vec![partition],
        ..Default::default()
    };
    Command::OffsetCommit(OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        retention_time_ms,
        topics: vec![topic],
        ..Default::default()
    })
}

#[test]
fn a_commit_is_a_type_1_key_and_a_version_4_value() {
    let time = WALL.to_be_bytes();
    let key = [&[0, 1][..], &[0, 1], b"g", &[0, 2], b"t1", &[0, 0, 0, 3]].concat();
    let start = [&[0, 0, 0, 0, 0, 0, 1, 2][..], &[0, 0, 0, 9]].concat();
    let id = Uuid([7; 16]);
    let expiry = (WALL + 1000).to_be_bytes();
    for (topic_id, retention, value) in [
        (Uuid::ZERO, -1, [&[0, 4][..], &start, &[2], b"m", &time, &[0]].concat()),
        (id, -1, [&[0, 4][..], &start, &[2], b"m", &time, &[1, 0, 16], &id.0].concat()),
        (id, 1000, [&[0, 1][..], &start[..8], &[0, 1], b"m", &time, &expiry].concat()),
    ] {
        let mut node = Node::new(GroupConfig::default());
        node.handle(commit(topic_id, retention), 9);
        assert_eq!(record(&node, 0).key, key);
        assert_eq!(record(&node, 0).value.as_deref(), Some(&*value), "{topic_id} {retention}");
    }
}

#[test]
fn a_group_is_a_type_2_key_and_a_version_3_value() {
    let mut node = Node::new(GroupConfig::default());
    let join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        group_instance_id: Some("i".into()),
        protocol_type: "connect".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "p".into(),
            metadata: vec![1, 2].into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    node.handle(Command::JoinGroup(join), 9);
    let done = node.advance(3000);
    let [(_, Response::JoinGroup(joined))] = &*done else { panic!("{done:?}") };
    let id = joined.member_id.clone();
    assert_eq!(&*id, "i-00000000-0000-4000-8000-000000000001");
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: id.clone(),
        protocol_type: Some("connect".into()),
        protocol_name: Some("p".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: vec![3, 4, 5].into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    node.handle(Command::SyncGroup(sync), 5);

    let text =
        |t: &ByteString| [&(t.len() as u16).to_be_bytes()[..], t.as_bytes().as_ref()].concat();
    let key = [0, 2, 0, 1, b'g'];
    let created =
        [&[0, 3][..], &[0, 0], &[0; 4], &[255; 2], &[255; 2], &WALL.to_be_bytes(), &[0; 4]]
            .concat();
    assert_eq!(record(&node, 0).key[..], key);
    assert_eq!(record(&node, 0).value.as_deref(), Some(&*created));

    let stored = [
        &[0, 3][..],
        &text(&"connect".into()),
        &[0, 0, 0, 1],
        &text(&"p".into()),
        &text(&id),
        &(WALL + 3000).to_be_bytes(),
        &[0, 0, 0, 1],
        &text(&id),
        &text(&"i".into()),
        &text(&"client".into()),
        &text(&"/127.0.0.1".into()),
        &60_000i32.to_be_bytes(),
        &10_000i32.to_be_bytes(),
        &[0, 0, 0, 2, 1, 2],
        &[0, 0, 0, 3, 3, 4, 5],
    ]
    .concat();
    assert_eq!(record(&node, 1).key[..], key);
    assert_eq!(record(&node, 1).value.as_deref(), Some(&*stored));

    let before = node.handle(Command::DescribeGroups(vec!["g".into()]), 6).1;
    node.reload(false);
    let after = node.handle(Command::DescribeGroups(vec!["g".into()]), 6).1;
    assert_eq!(before[0].1, after[0].1);
}

#[test]
fn unknown_types_are_skipped_and_broken_records_of_known_types_are_named() {
    let replay = |key: &[u8], value: &[u8]| {
        let record = LogRecord { key: key.to_vec().into(), value: Some(value.to_vec().into()) };
        let mut shard = GroupShard::new(GroupConfig::default());
        shard.replay(&record, Offset(5), ProducerId::NONE).map_err(|error| error.to_string())
    };
    for (what, key, value, fails) in [
        ("type 99", &[0, 99, 1][..], &[1, 2, 3][..], false),
        ("type 9, unused", &[0, 9], &[], false),
        ("a member of a consumer group", &[0, 5, 0, 1, b'g', 0, 1, b'm'], &[9, 9], false),
        ("no type", &[0], &[0, 0], true),
        ("an offset without partition", &[0, 1, 0, 1, b'g', 0, 1, b't'], &[0, 0], true),
        ("a group value of version 9", &[0, 2, 0, 1, b'g'], &[0, 9], true),
        ("a group value cut off", &[0, 2, 0, 1, b'g'], &[0, 3, 0], true),
        ("an empty group value", &[0, 2, 0, 1, b'g'], &[], true),
    ] {
        let got = replay(key, value);
        assert_eq!(got.is_err(), fails, "{what}: {got:?}");
        if let Err(message) = got {
            assert!(message.contains("offset 5"), "{what}: {message}");
        }
    }
}

#[test]
fn older_values_are_read() {
    let mut node = Node::new(GroupConfig::default());
    let key = [&[0, 0][..], &[0, 1], b"g", &[0, 1], b"t", &[0, 0, 0, 0]].concat();
    let value = [&[0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 4], &[0, 0], &[0; 8]].concat();
    let record = LogRecord { key: key.into(), value: Some(value.into()) };
    node.log.push(Entry::Record(ProducerId::NONE, record));
    node.reload(false);
    let group = ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: None,
        ..Default::default()
    };
    let (_, done) = node.handle(Command::OffsetFetch { group, require_stable: true }, 9);
    let Response::OffsetFetch(answer) = &done[0].1 else { panic!("{done:?}") };
    assert_eq!(answer.topics[0].partitions[0].committed_offset, 4);
}

#[test]
fn groups_of_other_kinds_are_left_alone() {
    let mut node = Node::new(GroupConfig::default());
    let record = LogRecord {
        key: vec![0, 3, 0, 1, b'g'].into(),
        value: Some(vec![0, 0, 0, 0, 0, 1, 0].into()),
    };
    node.log.push(Entry::Record(ProducerId::NONE, record));
    node.handle(commit(Uuid::ZERO, -1), 9);
    node.reload(false);
    let appended = node.log.len();
    node.advance(30 * 24 * 60 * 60 * 1000);
    assert_eq!(node.log.len(), appended, "its offsets must not expire");
}
