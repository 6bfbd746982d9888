//! What is on the disk when, with nobody asking: the flush in the background, checkpoints, and what
//! a deleted topic leaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
#![allow(dead_code, reason = "a part of the support is of other tests")]

mod support;

use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::ids::{Offset, PartitionIndex, Timestamp};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, ProduceRequest,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_storage::Disk;
use ottla_testkit::{Errno, Fault, MemDisk, OpKind};

use support::{Client, Node, formatted};

fn call<R: Request>(node: &Node, client: &mut Client, version: i16, request: &R) -> R::Response {
    let frame = encode_request(version, 5, None, request).unwrap().bytes;
    client.send(node, frame.slice(4..));
    let answer = client.response().expect("an answer at once");
    decode_response::<R>(answer.slice(4..), version).unwrap().1
}

fn create(node: &Node, client: &mut Client, topic: &str, partitions: i32) {
    let topic = CreatableTopic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    assert_eq!(call(node, client, 7, &request).topics[0].error_code, 0);
}

fn delete(node: &Node, client: &mut Client, topic: &str) {
    let topic = DeleteTopicState { name: Some(topic.into()), ..DeleteTopicState::default() };
    let request = DeleteTopicsRequest {
        topics: vec![topic],
        timeout_ms: 1000,
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(call(node, client, 6, &request).responses[0].error_code, 0);
}

/// Appends one record to a partition; returns its offset.
fn produce(node: &Node, client: &mut Client, topic: &str, partition: i32) -> i64 {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(Timestamp(1_700_000_000_000), Some(b"k"), Some(b"v")).unwrap();
    let data = PartitionProduceData {
        index: partition,
        records: Some(Records::from(Bytes::from(batch.build().unwrap()))),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let answer = &call(node, client, 9, &request).responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0);
    answer.base_offset
}

/// Where the log of a partition begins and ends.
fn ends(node: &Node, topic: &str, partition: i32) -> (i64, i64) {
    let image = node.broker.image();
    let id = image.topic(topic).unwrap().id;
    let offsets = node.broker.partitions.get(id, partition).unwrap().offsets(None).unwrap();
    (offsets.log_start.0, offsets.log_end.0)
}

/// The node that comes up after a power cut.
fn after_a_power_cut(disk: &MemDisk) -> Node {
    Node::start(&disk.crash_drop_all()).unwrap()
}

#[test]
fn what_was_written_some_time_ago_survives_a_power_cut_though_nobody_asked_for_a_flush() {
    for shared in [true, false] {
        let disk = formatted();
        if !shared {
            disk.refuse_tree_syncs();
        }
        let node = Node::start(&disk).unwrap();
        let mut client = node.connect();
        create(&node, &mut client, "t", 30);
        for partition in 0..30 {
            produce(&node, &mut client, "t", partition);
        }
        node.pass(1000);
        assert_eq!(ends(&after_a_power_cut(&disk), "t", 7), (0, 0), "too early for a flush");
        let before = disk.count(OpKind::Sync);
        for _ in 0..10 {
            node.pass(1000);
        }
        let cut = after_a_power_cut(&disk);
        for partition in 0..30 {
            assert_eq!(ends(&cut, "t", partition), (0, 1), "partition {partition}, {shared}");
        }
        let syncs = disk.count(OpKind::Sync) - before;
        assert_eq!(syncs < 10, shared, "{syncs} syncs for 30 logs");
    }
}

#[test]
fn a_start_after_a_crash_reads_again_only_what_is_young() {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", 1);
    for _ in 0..4000 {
        produce(&node, &mut client, "t", 0);
    }
    let read_by_a_start = || {
        let killed = disk.crash_keep_all();
        killed.record_ops();
        let node = Node::start(&killed).unwrap();
        assert_eq!(ends(&node, "t", 0), (0, 4000));
        let log = |path: &str| path.starts_with("/data/t-0/") && path.ends_with(".log");
        let size = |detail: &str| detail.split_once('+').unwrap().1.parse::<u64>().unwrap();
        let ops = killed.take_ops();
        let reads = ops.iter().filter(|op| op.kind == OpKind::Read && log(&op.path));
        reads.map(|op| size(&op.detail)).sum::<u64>()
    };
    let everything = read_by_a_start();
    for _ in 0..24 {
        node.pass(1000);
    }
    let little = read_by_a_start();
    assert!(little * 10 < everything, "{little} bytes of {everything}");
}

/// Whoever reads it may rely on it, whether or not its log can be flushed in full.
#[test]
fn what_a_start_on_a_full_disk_recovers_survives_a_power_cut() {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", 1);
    node.pass(20_000);
    for offset in 0..3 {
        assert_eq!(produce(&node, &mut client, "t", 0), offset);
    }
    drop((client, node)); // The process ends; what it wrote is in memory.
    disk.fail(Fault::on(OpKind::Create).path("*/t-0/*").error(Errno::NoSpace));
    let node = Node::start(&disk).unwrap();
    assert_eq!(ends(&node, "t", 0), (0, 3));
    drop(node);
    assert_eq!(ends(&after_a_power_cut(&disk), "t", 0), (0, 3));
}

#[test]
fn an_idle_node_leaves_the_disk_alone() {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", 5);
    produce(&node, &mut client, "t", 0);
    for _ in 0..120 {
        node.pass(1000);
    }
    let before = (disk.mutations(), disk.counts());
    for _ in 0..600 {
        node.pass(1000);
    }
    assert_eq!((disk.mutations(), disk.counts()), before);
}

/// Removes the records below an offset.
fn delete_records(node: &Node, client: &mut Client, topic: &str, offset: i64) {
    let partition = DeleteRecordsPartition { offset, ..DeleteRecordsPartition::default() };
    let topic = DeleteRecordsTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..DeleteRecordsTopic::default()
    };
    let request = DeleteRecordsRequest {
        topics: vec![topic],
        timeout_ms: 1000,
        ..DeleteRecordsRequest::default()
    };
    assert_eq!(call(node, client, 2, &request).topics[0].partitions[0].error_code, 0);
}

#[test]
fn a_topic_that_is_made_anew_begins_at_0_whatever_the_old_one_deleted() {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", 1);
    for _ in 0..9 {
        produce(&node, &mut client, "t", 0);
    }
    delete_records(&node, &mut client, "t", 5);
    node.broker.shut_down();

    let node = Node::start(&disk.crash_keep_all()).unwrap();
    let mut client = node.connect();
    assert_eq!(ends(&node, "t", 0), (5, 9));
    delete(&node, &mut client, "t");
    create(&node, &mut client, "t", 1);
    assert_eq!(ends(&node, "t", 0), (0, 0));
    assert_eq!(produce(&node, &mut client, "t", 0), 0);
}

#[test]
fn deleted_records_stay_deleted_when_a_full_disk_delays_the_opening_of_their_log() {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", 1);
    for _ in 0..9 {
        produce(&node, &mut client, "t", 0);
    }
    delete_records(&node, &mut client, "t", 5);
    node.broker.shut_down();

    let disk = disk.crash_keep_all();
    // Without its index the log is recovered, which writes.
    disk.remove_file(std::path::Path::new("/data/t-0/00000000000000000000.index")).unwrap();
    for kind in [OpKind::Create, OpKind::Write, OpKind::SetLen] {
        disk.fail(Fault::on(kind).path("*/t-0/*").error(Errno::NoSpace));
    }
    let node = Node::start(&disk).unwrap();
    let id = node.broker.image().topic("t").unwrap().id;
    assert!(node.broker.partitions.get(id, 0).is_none(), "the disk is full");
    disk.clear_faults();
    node.pass(60_000);
    assert_eq!(ends(&node, "t", 0), (5, 9));
}

/// A broker that opens the directories next would believe, until it has registered, that it leads: one
/// of Kafka then takes the markers of prepared transactions for written.
#[test]
fn a_clean_stop_gives_up_leaderships_before_the_logs_are_closed() {
    for (settings, hands_over) in
        [(&[][..], true), (&[("controlled.shutdown.enable", "false")][..], false)]
    {
        let disk = formatted();
        let node = Node::start_with(&disk, settings).unwrap();
        let mut client = node.connect();
        create(&node, &mut client, "t", 1);
        produce(&node, &mut client, "t", 0);
        let before = node.broker.image().topic("t").unwrap().clone();
        let (_, led) = before.partitions().next().unwrap();
        assert_eq!(led.leader(), Some(node.broker.node_id()));
        node.broker.shut_down();

        let image = node.broker.image();
        let left = image.partition(before.id, PartitionIndex(0)).unwrap();
        assert_eq!(left.leader().is_none(), hands_over, "{settings:?}");
        assert_eq!(image.broker(node.broker.node_id()).unwrap().fenced, hands_over, "{settings:?}");
        assert_eq!(left.leader_epoch.0, led.leader_epoch.0 + i32::from(hands_over));

        let node = Node::start(&disk.crash(1)).unwrap();
        let mut client = node.connect();
        assert_eq!(produce(&node, &mut client, "t", 0), 1, "{settings:?}");
        let epoch = node.broker.partitions.get(before.id, 0).unwrap().leader_epoch();
        assert_eq!(epoch.0, led.leader_epoch.0 + 2, "given up once and taken once, {settings:?}");
    }
}

#[test]
fn a_log_that_a_full_disk_let_be_made_by_halves_survives_a_power_cut() {
    let disk = formatted();
    Node::start(&disk).unwrap().broker.shut_down();
    let disk = disk.crash_keep_all();
    disk.refuse_tree_syncs();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    disk.fail(Fault::on(OpKind::Write).path("*/t-0/partition.metadata*").error(Errno::NoSpace));
    create(&node, &mut client, "t", 1);
    let id = node.broker.image().topic("t").unwrap().id;
    assert!(node.broker.partitions.get(id, 0).is_none(), "the disk is full");
    disk.clear_faults();
    // Whoever writes a checkpoint syncs the names beside it.
    for name in ["replication-offset", "recovery-point-offset", "log-start-offset"] {
        let path = format!("/data/{name}-checkpoint*");
        for kind in [OpKind::Create, OpKind::Write] {
            disk.fail(Fault::on(kind).path(&path).error(Errno::NoSpace));
        }
    }
    for _ in 0..10 {
        node.pass(1000);
    }
    assert_eq!(produce(&node, &mut client, "t", 0), 0);
    for _ in 0..20 {
        node.pass(1000);
    }
    assert_eq!(ends(&after_a_power_cut(&disk), "t", 0), (0, 1));
}

#[test]
fn a_flush_under_way_writes_nothing_into_the_directory_of_a_topic_made_anew() {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", 1);
    produce(&node, &mut client, "t", 0);
    let id = node.broker.image().topic("t").unwrap().id;
    let old = node.broker.partitions.get(id, 0).unwrap();
    let work = old.flush_work().unwrap();
    delete(&node, &mut client, "t");
    create(&node, &mut client, "t", 1);
    work.run().unwrap();
    let epochs = "/data/t-0/leader-epoch-checkpoint";
    assert_eq!(disk.get(epochs), None, "the new log has no record, so no epoch");
    assert!(
        old.update_log(|log, _| Ok(log.log_end_offset())).is_err(),
        "nor does retention touch it"
    );
    assert_eq!(Offset(produce(&node, &mut client, "t", 0)), Offset(0));
}

#[test]
fn the_metadata_survives_a_power_cut_while_a_snapshot_takes_the_place_of_another() {
    let often = [
        ("metadata.log.max.record.bytes.between.snapshots", "1"),
        ("metadata.log.segment.ms", "500"),
    ];
    for ops in 0..60 {
        let disk = formatted();
        let node = Node::start_with(&disk, &often).unwrap();
        let mut client = node.connect();
        for topic in ["a", "b"] {
            create(&node, &mut client, topic, 1);
            node.pass(1000);
        }
        // The log rolls, so that the next snapshot lets its beginning go.
        disk.crash_after_ops(ops);
        let topic = CreatableTopic {
            name: "c".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        client.send(&node, encode_request(7, 5, None, &request).unwrap().bytes.slice(4..));
        node.pass(1000);
        disk.kill();
        for crash in 0..8 {
            let context = format!("operation {ops}, crash {crash}");
            let cut = Node::start(&disk.crash(ops * 100 + crash));
            let cut = cut.unwrap_or_else(|error| panic!("{context}: {error}"));
            for topic in ["a", "b"] {
                assert!(cut.broker.image().topic(topic).is_some(), "{context}: {topic} is lost");
            }
        }
    }
}

#[test]
fn a_metadata_snapshot_is_on_the_disk_when_the_one_before_it_goes() {
    let disk = formatted();
    let often = [("metadata.log.max.record.bytes.between.snapshots", "1")];
    let node = Node::start_with(&disk, &often).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "a", 1);
    node.run_jobs();
    let snapshots = |disk: &MemDisk| -> Vec<String> {
        disk.tree().into_iter().filter(|name| name.ends_with(".checkpoint")).collect()
    };
    let written = snapshots(&disk);
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(snapshots(&disk.crash_drop_all()).contains(&written[0]), "{written:?}");
}

#[test]
fn partitions_that_a_full_disk_keeps_closed_are_tried_again_once_in_a_while_and_not_more_and_more_often()
 {
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    disk.fail(Fault::on(OpKind::Write).path("*/t-*/partition.metadata*").error(Errno::NoSpace));
    create(&node, &mut client, "t", 5);
    disk.record_ops();
    let mut tries = Vec::new();
    for _ in 0..6 {
        node.pass(500);
        let tried = disk
            .take_ops()
            .into_iter()
            .filter(|op| op.kind == OpKind::Write && op.path.contains("/t-0/partition.metadata"));
        tries.push(tried.count());
    }
    assert!(tries.iter().all(|count| *count <= 1), "{tries:?} in each half second");
    assert!(tries.iter().sum::<usize>() > 2, "{tries:?} in each half second");
    disk.clear_faults();
    node.pass(500);
    for partition in 0..5 {
        assert_eq!(produce(&node, &mut client, "t", partition), 0);
    }
}
