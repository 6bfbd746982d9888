//! Replicas that are moved between the log directories of one broker: nothing is lost on the way,
//! wherever it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "shared with other tests and the fuzz targets")]
mod support;

use std::path::Path;

use ottla_protocol::ids::Offset;
use ottla_protocol::messages as m;
use ottla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::records::{BatchBuilder, BatchOptions, batches};
use ottla_protocol::{ErrorCode, Records};
use ottla_storage::Disk;
use ottla_testkit::{Errno, Fault, MemDisk, OpKind};
use support::{Client, DIR, Node, formatted_with};

const MORE: &str = "/more";
const DIRS: (&str, &str) = ("log.dirs", "/data,/more");
const SLOW: (&str, &str) = ("replica.alter.log.dirs.io.max.bytes.per.second", "163840");

/// A node with two directories, and a topic `t` of one partition in the first.
fn node_with_topic(configs: &[(&str, &str)]) -> (MemDisk, Node) {
    let disk = formatted_with(&[DIR, MORE]);
    let node = Node::start_with(&disk, &[DIRS]).unwrap();
    let mut client = node.connect();
    create(&node, &mut client, "t", configs);
    node.run_jobs();
    if directory(&node) != DIR {
        move_to(&node, &mut client, DIR);
        finish(&node);
    }
    assert_eq!(directory(&node), DIR);
    (disk, node)
}

/// Creates a topic of one partition.
fn create(node: &Node, client: &mut Client, name: &str, configs: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..CreatableTopicConfig::default()
    };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(node, 7, &request).topics[0].error_code, 0);
}

/// Appends records with the numbers as values; true if all were acknowledged.
fn produce(node: &Node, client: &mut Client, numbers: std::ops::Range<u32>) -> bool {
    numbers.into_iter().all(|number| {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        let value = format!("{number:0>1000}");
        batch
            .append(ottla_protocol::ids::Timestamp(1_700_000_000_000), None, Some(value.as_bytes()))
            .unwrap();
        let data = PartitionProduceData {
            records: Some(Records::Bytes(batch.build().unwrap().into())),
            ..PartitionProduceData::default()
        };
        let topic = TopicProduceData {
            name: "t".into(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let request = m::ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![topic],
            ..m::ProduceRequest::default()
        };
        client.ask(node, 9, &request);
        let Some(answer) = client.answer::<m::ProduceRequest>(9) else { return false };
        answer.responses[0].partition_responses[0].error_code == 0
    })
}

/// The numbers of all records of the partition.
fn numbers(node: &Node, client: &mut Client) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = partition(node).offsets(None).unwrap().log_start.0;
    loop {
        let wanted = FetchPartition {
            fetch_offset: next,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic =
            FetchTopic { topic: "t".into(), partitions: vec![wanted], ..FetchTopic::default() };
        let request = m::FetchRequest {
            session_epoch: -1,
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..m::FetchRequest::default()
        };
        let answer = client.call(node, 12, &request);
        let data = &answer.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        let bytes = data.records.as_ref().unwrap().as_bytes().unwrap().clone();
        let before = next;
        for batch in batches(&bytes).map_while(Result::ok) {
            assert_eq!(batch.header().base_offset.0, next);
            next = batch.header().last_offset().0 + 1;
            let limits = ottla_protocol::records::WalkLimits { inflated_bytes_max: 1 << 20 };
            for record in ottla_protocol::records::records(&batch, &limits).unwrap() {
                let value = record.unwrap().value.unwrap();
                found.push(std::str::from_utf8(&value).unwrap().parse().unwrap());
            }
        }
        if next == before {
            return found;
        }
    }
}

fn partition(node: &Node) -> std::sync::Arc<ottla_broker::partition::Partition> {
    let topic = node.broker.image().topic("t").unwrap().id;
    node.broker.partitions.get(topic, 0).unwrap()
}

/// Where the partition lives.
fn directory(node: &Node) -> String {
    partition(node).directory().path.to_str().unwrap().to_owned()
}

/// Where the metadata says that it lives.
fn named_directory(node: &Node) -> String {
    let image = node.broker.image();
    let (_, found) = image.topic("t").unwrap().partitions().next().unwrap();
    let id = found.directory_of(node.broker.node_id()).unwrap();
    let directory = node.broker.directories().iter().find(|directory| directory.id == id);
    directory.unwrap().path.to_str().unwrap().to_owned()
}

fn try_move_to(node: &Node, client: &mut Client, path: &str, topic: &str) -> ErrorCode {
    let topic = AlterReplicaLogDirTopic {
        name: topic.into(),
        partitions: vec![0],
        ..AlterReplicaLogDirTopic::default()
    };
    let dir = AlterReplicaLogDir {
        path: path.into(),
        topics: vec![topic],
        ..AlterReplicaLogDir::default()
    };
    let request = m::AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
    let frame = ottla_protocol::frame::encode_request(2, 5, None, &request).unwrap().bytes;
    // Answered at once; the jobs that it leads to run when the test lets them.
    client.connection.frame(frame.slice(4..), node.broker.env().now());
    let answer = client.answer::<m::AlterReplicaLogDirsRequest>(2).unwrap();
    ErrorCode::from_code(answer.results[0].partitions[0].error_code).unwrap()
}

fn move_to(node: &Node, client: &mut Client, path: &str) {
    assert_eq!(try_move_to(node, client, path, "t"), ErrorCode::None);
}

/// Directory, size, lag and whether it is a copy, of each replica of the partition.
fn described(node: &Node, client: &mut Client) -> Vec<(String, i64, i64, bool)> {
    let answer =
        client.call(node, 4, &m::DescribeLogDirsRequest { topics: None, ..Default::default() });
    let mut found = Vec::new();
    for result in answer.results {
        for partition in
            result.topics.iter().filter(|t| *t.name == *"t").flat_map(|t| &t.partitions)
        {
            let (size, lag) = (partition.partition_size, partition.offset_lag);
            found.push((result.log_dir.to_string(), size, lag, partition.is_future_key));
        }
    }
    found
}

fn is_moving(node: &Node) -> bool {
    described(node, &mut node.connect()).len() > 1
}

/// Lets time pass until no move is under way.
fn finish(node: &Node) {
    node.run_jobs();
    while is_moving(node) {
        node.pass(10);
    }
}

fn logs_in(disk: &MemDisk, dir: &str) -> Vec<String> {
    let listing = ottla_storage::dirs::list_logs(disk, Path::new(dir)).unwrap();
    listing.logs.into_iter().map(|log| log.dir_name).filter(|name| name.starts_with("t-")).collect()
}

#[test]
fn a_replica_is_moved_with_all_that_is_written_meanwhile() {
    let (disk, node) = node_with_topic(&[]);
    let mut client = node.connect();
    assert!(produce(&node, &mut client, 0..100));
    set_rate(&node, &mut client);
    move_to(&node, &mut client, MORE);
    node.run_jobs();
    let [(here, size, 0, false), (there, copied, lag, true)] = &described(&node, &mut client)[..]
    else {
        panic!("{:?}", described(&node, &mut client))
    };
    assert_eq!((here.as_str(), there.as_str()), (DIR, MORE));
    assert!(copied < size && *lag > 0, "{copied} of {size} bytes, {lag} records behind");
    assert!(produce(&node, &mut client, 100..120));
    finish(&node);
    assert_eq!((directory(&node), named_directory(&node)), (MORE.to_owned(), MORE.to_owned()));
    assert_eq!(described(&node, &mut client).len(), 1);
    assert!(produce(&node, &mut client, 120..130));
    assert_eq!(numbers(&node, &mut client), (0..130).collect::<Vec<_>>());
    // The old directory goes after file.delete.delay.ms.
    node.pass(60_000);
    assert_eq!(logs_in(&disk, DIR), [""; 0]);
    assert_eq!(logs_in(&disk, MORE), ["t-0"]);
    node.broker.shut_down();
    let node = Node::start_with(&disk.crash_keep_all(), &[DIRS]).unwrap();
    assert_eq!(directory(&node), MORE);
    assert_eq!(numbers(&node, &mut node.connect()), (0..130).collect::<Vec<_>>());
}

/// Bounds the rate of moves, so that one takes several steps.
fn set_rate(node: &Node, client: &mut Client) {
    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configs: vec![AlterableConfig {
            name: SLOW.0.into(),
            value: Some(SLOW.1.into()),
            ..AlterableConfig::default()
        }],
        ..AlterConfigsResource::default()
    };
    let request =
        m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(client.call(node, 1, &request).responses[0].error_code, 0);
}

#[test]
fn the_rate_of_a_move_is_bounded() {
    let (_, node) = node_with_topic(&[]);
    let mut client = node.connect();
    assert!(produce(&node, &mut client, 0..200));
    set_rate(&node, &mut client);
    move_to(&node, &mut client, MORE);
    node.run_jobs();
    let mut millis = 0;
    while is_moving(&node) {
        node.pass(100);
        millis += 100;
    }
    // About 214 KB at 160 KB a second; the last step's share is not waited for.
    assert!((1000..2000).contains(&millis), "{millis} ms");
}

#[test]
fn a_move_back_ends_the_move() {
    let (disk, node) = node_with_topic(&[]);
    let mut client = node.connect();
    assert!(produce(&node, &mut client, 0..100));
    set_rate(&node, &mut client);
    move_to(&node, &mut client, MORE);
    node.run_jobs();
    assert!(is_moving(&node));
    move_to(&node, &mut client, DIR);
    finish(&node);
    node.pass(60_000);
    assert_eq!((directory(&node), named_directory(&node)), (DIR.to_owned(), DIR.to_owned()));
    assert_eq!((logs_in(&disk, DIR), logs_in(&disk, MORE)), (vec!["t-0".to_owned()], vec![]));
    assert_eq!(numbers(&node, &mut client), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_is_deleted_while_it_is_moved_leaves_nothing() {
    let (disk, node) = node_with_topic(&[]);
    let mut client = node.connect();
    assert!(produce(&node, &mut client, 0..100));
    set_rate(&node, &mut client);
    move_to(&node, &mut client, MORE);
    node.run_jobs();
    let request = m::DeleteTopicsRequest {
        topics: vec![m::delete_topics_request::DeleteTopicState {
            name: Some("t".into()),
            ..Default::default()
        }],
        timeout_ms: 1000,
        ..Default::default()
    };
    assert_eq!(client.call(&node, 6, &request).responses[0].error_code, 0);
    for _ in 0..3 {
        node.pass(60_000);
    }
    assert_eq!((logs_in(&disk, DIR), logs_in(&disk, MORE)), (vec![], vec![]));
}

#[test]
fn what_is_deleted_during_the_move_stays_deleted() {
    let (disk, node) = node_with_topic(&[]);
    let mut client = node.connect();
    assert!(produce(&node, &mut client, 0..100));
    set_rate(&node, &mut client);
    move_to(&node, &mut client, MORE);
    node.run_jobs();
    let lag = |node: &Node| described(node, &mut node.connect())[1].2;
    while lag(&node) > 40 {
        node.pass(10);
    }
    // The copy has these records already.
    partition(&node).update_log(|log, _| Ok(log.increase_log_start_offset(Offset(50)))).unwrap();
    finish(&node);
    assert_eq!(directory(&node), MORE);
    assert_eq!(numbers(&node, &mut client), (50..100).collect::<Vec<_>>());
    let node = Node::start_with(&disk.crash_keep_all(), &[DIRS]).unwrap();
    assert_eq!(numbers(&node, &mut node.connect()), (50..100).collect::<Vec<_>>());
}

#[test]
fn wishes_that_cannot_be_are_refused() {
    let (_, node) = node_with_topic(&[]);
    let mut client = node.connect();
    for (path, topic, want) in [
        ("/nowhere", "t", ErrorCode::LogDirNotFound),
        (MORE, "nosuch", ErrorCode::UnknownTopicOrPartition),
        (MORE, &"n".repeat(220), ErrorCode::InvalidTopicException),
        (DIR, "t", ErrorCode::None),
    ] {
        assert_eq!(try_move_to(&node, &mut client, path, topic), want, "{topic} to {path}");
    }
    node.run_jobs();
    assert!(!is_moving(&node), "it is there already");
}

/// Runs a move on a disk that ends after so many of its changes. Returns how many records were
/// acknowledged, and whether the move was over before.
fn move_until(disk: &MemDisk, changes: u64) -> (u32, bool) {
    let Ok(node) = Node::start_with(disk, &[DIRS]) else { return (0, false) };
    let mut client = node.connect();
    disk.crash_after_ops(changes);
    let mut acknowledged = 40;
    move_to(&node, &mut client, MORE);
    for _ in 0..20 {
        node.pass(10);
        if produce(&node, &mut client, acknowledged..acknowledged + 1) {
            acknowledged += 1;
        }
        if disk.is_dead() {
            return (acknowledged, false);
        }
    }
    assert_eq!(directory(&node), MORE);
    (acknowledged, true)
}

/// A partition with 40 records, ready to be moved.
fn prepared(configs: &[(&str, &str)]) -> MemDisk {
    let (disk, node) = node_with_topic(configs);
    assert!(produce(&node, &mut node.connect(), 0..40));
    node.broker.shut_down();
    drop(node);
    disk.crash_keep_all()
}

/// Starts on what a crash left, lets a move that goes on end, and reads everything.
fn after(disk: &MemDisk, at: u64) -> Vec<u32> {
    let node = Node::start_with(disk, &[DIRS]).unwrap();
    for _ in 0..20 {
        node.pass(10);
    }
    let mut client = node.connect();
    assert!(!is_moving(&node), "after change {at}");
    assert_eq!(directory(&node), named_directory(&node), "after change {at}");
    node.pass(60_000);
    let plain = [DIR, MORE].map(|dir| logs_in(disk, dir).iter().filter(|n| *n == "t-0").count());
    assert_eq!(plain.iter().sum::<usize>(), 1, "after change {at}");
    numbers(&node, &mut client)
}

#[test]
fn whatever_a_process_that_is_killed_in_a_move_had_acknowledged_is_there() {
    let base = prepared(&[]);
    for changes in 0.. {
        let disk = base.crash_keep_all();
        let (acknowledged, is_over) = move_until(&disk, changes);
        let left = after(&disk.crash_keep_all(), changes);
        let want: Vec<u32> = (0..acknowledged).collect();
        assert!(left.starts_with(&want), "{acknowledged} after {changes} changes, {left:?} left");
        if is_over {
            assert!(changes > 20, "the move was interrupted {changes} times");
            return;
        }
    }
}

#[test]
fn whatever_was_acknowledged_and_synced_is_there_after_a_power_cut_in_a_move() {
    let base = prepared(&[("flush.messages", "1")]);
    for changes in 0.. {
        let disk = base.crash_keep_all();
        let (acknowledged, is_over) = move_until(&disk, changes);
        let want: Vec<u32> = (0..acknowledged).collect();
        for crashed in [disk.crash_drop_all(), disk.crash(changes), disk.crash(changes + 1000)] {
            let left = after(&crashed, changes);
            assert!(
                left.starts_with(&want),
                "{acknowledged} after {changes} changes, {left:?} left"
            );
        }
        if is_over {
            return;
        }
    }
}

#[test]
fn a_log_that_was_made_by_halves_does_not_stand_in_for_the_one_with_records_in_another_directory() {
    let disk = formatted_with(&[DIR, MORE]);
    let node = Node::start_with(&disk, &[DIRS]).unwrap();
    let mut client = node.connect();
    // The first is made in the first directory, the second in the other one, of which the controller
    // cannot be told.
    for name in ["first", "t"] {
        if name == "t" {
            let records = Fault::on(OpKind::Write).path("*/__cluster_metadata-0/*.log");
            disk.fail(records.after(1).error(Errno::NoSpace));
        }
        create(&node, &mut client, name, &[]);
    }
    assert_eq!(directory(&node), MORE);
    assert!(produce(&node, &mut client, 0..3));
    let image = node.broker.image();
    let (_, told) = image.topic("t").unwrap().partitions().next().unwrap();
    let place = partition(&node).directory().id;
    assert_ne!(told.directory_of(node.broker.node_id()), Some(place), "the controller knows");
    // What a full disk left before the log was made in the other directory.
    let left = disk.crash_keep_all();
    left.create_dir_all(Path::new("/data/t-0")).unwrap();
    left.put("/data/t-0/00000000000000000000.log", b"");
    let node = Node::start_with(&left, &[DIRS]).unwrap();
    assert_eq!(directory(&node), MORE);
    assert_eq!(numbers(&node, &mut node.connect()), [0, 1, 2]);
    let kept = |name: &String| name.starts_with("/data/t-0.") && name.contains("-stray");
    assert!(left.tree().iter().any(kept), "{:?}", left.tree());
    // Nor does one of a topic that had the name before, though it holds more.
    let left = disk.crash_keep_all();
    left.create_dir_all(Path::new("/data/t-0")).unwrap();
    left.put("/data/t-0/00000000000000000000.log", &[0; 100_000]);
    let another = format!("version: 0\ntopic_id: {}\n", ottla_protocol::Uuid::from_random([9; 16]));
    left.put("/data/t-0/partition.metadata", another.as_bytes());
    let node = Node::start_with(&left, &[DIRS]).unwrap();
    assert_eq!(directory(&node), MORE);
    assert_eq!(numbers(&node, &mut node.connect()), [0, 1, 2]);
}
