//! Groups whose log is being read, or can no longer be written: who waits is told, and what was
//! acknowledged is there after a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "shared with the fuzz targets")]
mod support;

use bytes::Bytes;
use ottla_broker::Env;
use ottla_protocol::codec::Request;
use ottla_protocol::messages as m;
use ottla_protocol::records::{Compression, batches};
use ottla_protocol::{ErrorCode, frame};
use ottla_testkit::{Fault, MemDisk, OpKind};
use support::{Client, Node, formatted};

const GROUP: &str = "g";

fn encoded<R: Request>(version: i16, request: &R) -> Bytes {
    frame::encode_request(version, 1, None, request).unwrap().bytes.slice(4..)
}

/// Takes the answer, if there is one yet.
fn answer<R: Request>(client: &mut Client, version: i16) -> Option<R::Response> {
    let response = client.response()?;
    Some(frame::decode_response::<R>(response.slice(4..), version).unwrap().1)
}

fn ask<R: Request>(node: &Node, version: i16, request: &R) -> R::Response {
    let mut client = node.connect();
    client.send(node, encoded(version, request));
    answer::<R>(&mut client, version).expect("an answer")
}

/// A topic, the groups' topic, and an acknowledgement of the latter that waits for fsync.
fn start(disk: &MemDisk) -> Node {
    start_with(disk, &[])
}

fn start_with(disk: &MemDisk, settings: &[(&str, &str)]) -> Node {
    let node = Node::start_with(disk, settings).unwrap();
    let topic = m::create_topics_request::CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(ask(&node, 7, &request).topics[0].error_code, 0);
    let request =
        m::FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..Default::default() };
    ask(&node, 4, &request);
    let found = ask(&node, 4, &request).coordinators[0].error_code;
    assert_eq!(found, 0, "the topic is there");
    let config = m::incremental_alter_configs_request::AlterableConfig {
        name: "flush.messages".into(),
        value: Some("1".into()),
        ..Default::default()
    };
    let resource = m::incremental_alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name: "__consumer_offsets".into(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(ask(&node, 1, &request).responses[0].error_code, 0);
    node
}

fn commit(offset: i64) -> m::OffsetCommitRequest {
    use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    m::OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

fn committed(node: &Node) -> (ErrorCode, Option<i64>) {
    let group =
        m::offset_fetch_request::OffsetFetchRequestGroup { group_id: GROUP.into(), ..all() };
    let request = m::OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let group = ask(node, 8, &request).groups.remove(0);
    let offset = group.topics.first().map(|topic| topic.partitions[0].committed_offset);
    (ErrorCode::from_code(group.error_code).unwrap(), offset)
}

fn all() -> m::offset_fetch_request::OffsetFetchRequestGroup {
    m::offset_fetch_request::OffsetFetchRequestGroup { topics: None, ..Default::default() }
}

fn join() -> m::JoinGroupRequest {
    let protocol = m::join_group_request::JoinGroupRequestProtocol {
        name: "range".into(),
        ..Default::default()
    };
    m::JoinGroupRequest {
        group_id: "waiting".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

#[test]
fn while_groups_load_members_are_alive_and_no_list_passes_for_the_whole() {
    let disk = formatted();
    let node = start(&disk);
    ask(&node, 9, &commit(5));
    drop(node);
    let node = Node::open(&disk, &[]).unwrap();
    let heartbeat = m::HeartbeatRequest { group_id: GROUP.into(), ..Default::default() };
    let list = m::ListGroupsRequest::default();
    let code = |code| ErrorCode::from_code(code).unwrap();

    // Both are handled when they come, before the jobs that load.
    let (mut member, mut client) = (node.connect(), node.connect());
    let now = node.world.now();
    member.connection.frame(encoded(4, &heartbeat), now);
    client.connection.frame(encoded(5, &list), now);
    let told = answer::<m::HeartbeatRequest>(&mut member, 4).unwrap();
    assert_eq!(code(told.error_code), ErrorCode::None);
    let told = answer::<m::ListGroupsRequest>(&mut client, 5).unwrap();
    assert_eq!(code(told.error_code), ErrorCode::CoordinatorLoadInProgress);
    assert!(told.groups.is_empty());

    node.run_jobs();
    let told = ask(&node, 5, &list);
    assert_eq!((code(told.error_code), told.groups.len()), (ErrorCode::None, 1));
    assert_eq!(code(ask(&node, 4, &heartbeat).error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn a_failed_fsync_refuses_the_requests_that_wait_and_loses_nothing_acknowledged() {
    let disk = formatted();
    let node = start(&disk);
    let topic = &ask(&node, 9, &commit(5)).topics[0];
    assert_eq!(topic.partitions[0].error_code, 0, "synced and acknowledged");

    // A member that waits in its join phase, and a commit that waits for its fsync.
    let mut member = node.connect();
    member.send(&node, encoded(3, &join()));
    assert!(answer::<m::JoinGroupRequest>(&mut member, 3).is_none(), "the initial delay runs");
    disk.fail(Fault::on(OpKind::Sync).path("*__consumer_offsets-0/*"));
    let mut committer = node.connect();
    committer.send(&node, encoded(9, &commit(6)));
    let refused = ErrorCode::NotCoordinator.code();
    let told = answer::<m::OffsetCommitRequest>(&mut committer, 9).expect("the commit waits on");
    assert_eq!(told.topics[0].partitions[0].error_code, refused);
    member.settle(&node);
    let told = answer::<m::JoinGroupRequest>(&mut member, 3).expect("the member waits on");
    assert_eq!(told.error_code, refused);
    assert_eq!(committed(&node).0, ErrorCode::NotCoordinator);

    drop((member, committer, node));
    let node = Node::start(&disk.crash_drop_all()).unwrap();
    assert_eq!(committed(&node), (ErrorCode::None, Some(5)));
}

#[test]
fn what_is_not_durable_within_the_commit_timeout_is_answered_so_and_counts_once_it_is() {
    let settings =
        [("offsets.commit.timeout.ms", "700"), ("group.initial.rebalance.delay.ms", "0")];
    let disk = formatted();
    let node = start_with(&disk, &settings);
    // From here on no job runs, so nothing is synced.
    let (mut committer, mut member) = (node.connect(), node.connect());
    committer.connection.frame(encoded(9, &commit(5)), node.world.now());
    member.connection.frame(encoded(3, &join()), node.world.now());
    let mut after = |millis| {
        node.world.advance(millis);
        let next = node.broker.tick();
        committer.connection.poll(node.world.now());
        member.connection.poll(node.world.now());
        let commit = answer::<m::OffsetCommitRequest>(&mut committer, 9);
        let join = answer::<m::JoinGroupRequest>(&mut member, 3);
        let codes = (
            commit.map(|told| told.topics[0].partitions[0].error_code),
            join.map(|told| told.error_code),
        );
        (codes, next)
    };
    let (codes, next) = after(0);
    assert_eq!(codes, (None, None));
    let in_700_ms = node.world.now().monotonic.plus_millis(700);
    assert!(
        next <= in_700_ms,
        "the broker is to be called at {in_700_ms:?} at the latest: {next:?}"
    );
    assert_eq!(after(699).0, (None, None));
    let late = Some(ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(after(1).0, (late, late));

    node.run_jobs();
    assert_eq!(committed(&node), (ErrorCode::None, Some(5)));
}

#[test]
fn a_commit_is_answered_once_per_topic_and_what_is_refused_of_it_comes_first() {
    use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let node = start(&formatted());
    let image = ask(&node, 12, &m::MetadataRequest { topics: None, ..Default::default() });
    let named = |topic: &&m::metadata_response::MetadataResponseTopic| {
        topic.name.as_ref().is_some_and(|name| **name == *"t")
    };
    let id = image.topics.iter().find(named).unwrap().topic_id;
    let unknown = ottla_protocol::Uuid::from_random([9; 16]);
    let topic = |known: bool, partitions: &[i32]| OffsetCommitRequestTopic {
        name: if known { "t".into() } else { "u".into() },
        topic_id: if known { id } else { unknown },
        partitions: partitions
            .iter()
            .map(|&partition_index| OffsetCommitRequestPartition {
                partition_index,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let topics =
        vec![topic(true, &[0, 7]), topic(false, &[1]), topic(true, &[0]), topic(true, &[])];
    for version in [2, 9, 10] {
        let missing = if version < 10 { 3 } else { 100 };
        let told =
            ask(&node, version, &m::OffsetCommitRequest { topics: topics.clone(), ..commit(1) });
        let told: Vec<_> = told
            .topics
            .iter()
            .map(|topic| {
                let known = if version < 10 { *topic.name == *"t" } else { topic.topic_id == id };
                let codes = topic.partitions.iter().map(|p| (p.partition_index, p.error_code));
                (known, codes.collect::<Vec<_>>())
            })
            .collect();
        let want = [(true, vec![(7, 3), (0, 0), (0, 0)]), (false, vec![(1, missing)])];
        assert_eq!(told, want, "v{version}");
    }
    let nothing = m::OffsetCommitRequest { topics: vec![topic(false, &[])], ..commit(1) };
    assert_eq!(ask(&node, 9, &nothing).topics.len(), 1, "a topic that does not exist is answered");
}

#[test]
fn a_search_for_a_coordinator_has_a_sentence_in_old_versions_and_for_unknown_types() {
    let node = start(&formatted());
    for (key_type, code) in [(0, 0), (2, 42), (9, 42)] {
        let of = m::FindCoordinatorRequest { key_type, ..Default::default() };
        let request = m::FindCoordinatorRequest { key: GROUP.into(), ..of.clone() };
        for version in 1..=3 {
            let told = ask(&node, version, &request);
            assert_eq!(told.error_code, code, "type {key_type} v{version}");
            let message = told.error_message.unwrap();
            assert_eq!(*message == *"NONE", code == 0, "type {key_type} v{version}: {message}");
            assert!(!message.is_empty(), "type {key_type} v{version}");
        }
        let request = m::FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..of };
        for version in 4..=6 {
            let told = &ask(&node, version, &request).coordinators[0];
            assert_eq!(told.error_code, code, "type {key_type} v{version}");
            let message = told.error_message.clone().unwrap();
            assert_eq!(message.is_empty(), key_type != 9, "type {key_type} v{version}: {message}");
        }
    }
}

/// The codec of the last batch that the groups' shard wrote.
fn last_codec(disk: &MemDisk) -> Compression {
    let log = disk.get("/data/__consumer_offsets-0/00000000000000000000.log").unwrap();
    let last = batches(&log).map_while(Result::ok).last().unwrap();
    last.header().compression().unwrap()
}

#[test]
fn commits_are_stored_with_the_codec_of_the_offsets_topic_and_read_again() {
    for codec in Compression::ALL {
        let disk = formatted();
        let id = codec.id().to_string();
        let settings = [("offsets.topic.compression.codec", &*id)];
        let node = start_with(&disk, &settings);
        ask(&node, 9, &commit(5));
        drop(node);
        assert_eq!(last_codec(&disk), codec);
        let node = Node::start(&disk).unwrap();
        assert_eq!(committed(&node), (ErrorCode::None, Some(5)), "{codec:?}");
        ask(&node, 9, &commit(6));
        assert_eq!(last_codec(&disk), Compression::None, "written without the setting");
    }
}

#[test]
fn a_shard_is_loaded_by_reads_of_the_load_buffer_s_size_or_of_one_batch() {
    let reads = |size| {
        let disk = formatted();
        let node = start(&disk);
        for offset in 0..50 {
            ask(&node, 9, &commit(offset));
        }
        drop(node);
        let node = Node::open(&disk, &[("offsets.load.buffer.size", size)]).unwrap();
        let before = disk.count(OpKind::Read);
        node.run_jobs();
        let reads = disk.count(OpKind::Read) - before;
        assert_eq!(committed(&node), (ErrorCode::None, Some(49)));
        reads
    };
    let (one, all) = (reads("1"), reads("1000000"));
    assert!(one >= all + 49, "{one} reads of a batch, {all} with room for all");
}

#[test]
fn a_directory_that_goes_offline_for_another_log_takes_its_groups_along() {
    let disk = formatted();
    let node = start(&disk);
    ask(&node, 9, &commit(5));
    let mut member = node.connect();
    member.send(&node, encoded(3, &join()));
    disk.fail(Fault::on(OpKind::Write).path("*/t-0/*"));
    let batch = ottla_protocol::records::BatchBuilder::new(Default::default());
    produce_to_t(&node, batch);
    node.pass(1);
    member.settle(&node);
    let told = answer::<m::JoinGroupRequest>(&mut member, 3).expect("the member waits on");
    assert_eq!(told.error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(committed(&node).0, ErrorCode::NotCoordinator);
}

fn produce_to_t(node: &Node, mut batch: ottla_protocol::records::BatchBuilder) {
    use m::produce_request::{PartitionProduceData, TopicProduceData};
    batch.append(ottla_protocol::ids::Timestamp(1_700_000_000_000), None, Some(b"x")).unwrap();
    let data = PartitionProduceData {
        records: Some(ottla_protocol::Records::Bytes(batch.build().unwrap().into())),
        ..Default::default()
    };
    let topic =
        TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request = m::ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() };
    let code = ask(node, 9, &request).responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::KafkaStorageError.code());
}
