//! Every setting that may change while a node runs: that it takes effect, or why it has none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "shared with other tests and the fuzz targets")]
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_broker::partition::Partition;
use ottla_config::{Kind, Support, TopicConfig, UpdateMode};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages as m;
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_storage::{LogConfig, ProduceRules};
use support::{DIR, Node, formatted, formatted_with};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// What a partition runs by.
struct Running {
    topic: Arc<TopicConfig>,
    log: LogConfig,
    produce: ProduceRules,
}

/// A setting of a topic, the broker's setting that supplies its default, a value, and what the
/// partition then runs by.
struct OfTopic(&'static str, &'static str, &'static str, fn(&Running) -> String, &'static str);

/// Compaction, retention and elections read the topic's configuration each time; the log and Produce
/// have copies of what they need.
const OF_TOPICS: &[OfTopic] = &[
    OfTopic(
        "cleanup.policy",
        "log.cleanup.policy",
        "compact",
        |r| format!("{} {} {}", r.log.cleanup_delete, r.log.cleanup_compact, r.produce.compact),
        "false true true",
    ),
    OfTopic(
        "compression.type",
        "compression.type",
        "zstd",
        |r| format!("{:?}", r.produce.compression),
        "Some(Zstd)",
    ),
    OfTopic(
        "compression.gzip.level",
        "compression.gzip.level",
        "7",
        |r| r.topic.gzip_level.to_string(),
        "7",
    ),
    OfTopic(
        "compression.lz4.level",
        "compression.lz4.level",
        "8",
        |r| r.topic.lz4_level.to_string(),
        "8",
    ),
    OfTopic(
        "compression.zstd.level",
        "compression.zstd.level",
        "9",
        |r| r.topic.zstd_level.to_string(),
        "9",
    ),
    OfTopic(
        "delete.retention.ms",
        "log.cleaner.delete.retention.ms",
        "11",
        |r| r.topic.delete_retention_ms.to_string(),
        "11",
    ),
    OfTopic(
        "file.delete.delay.ms",
        "log.segment.delete.delay.ms",
        "12",
        |r| r.log.file_delete_delay_ms.to_string(),
        "12",
    ),
    OfTopic(
        "flush.messages",
        "log.flush.interval.messages",
        "13",
        |r| r.log.flush_messages.to_string(),
        "13",
    ),
    OfTopic("flush.ms", "log.flush.interval.ms", "14", |r| r.log.flush_ms.to_string(), "14"),
    OfTopic(
        "index.interval.bytes",
        "log.index.interval.bytes",
        "15",
        |r| r.log.index_interval_bytes.to_string(),
        "15",
    ),
    OfTopic(
        "max.compaction.lag.ms",
        "log.cleaner.max.compaction.lag.ms",
        "16000",
        |r| r.topic.max_compaction_lag_ms.to_string(),
        "16000",
    ),
    OfTopic(
        "min.compaction.lag.ms",
        "log.cleaner.min.compaction.lag.ms",
        "17",
        |r| r.topic.min_compaction_lag_ms.to_string(),
        "17",
    ),
    OfTopic(
        "max.decompressed.message.bytes",
        "max.decompressed.message.bytes",
        "18000",
        |r| r.produce.inflated_bytes_max.to_string(),
        "18000",
    ),
    OfTopic(
        "max.message.bytes",
        "message.max.bytes",
        "19000",
        |r| format!("{} {}", r.produce.max_message_bytes, r.log.max_message_bytes),
        "19000 19000",
    ),
    OfTopic(
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
        "20",
        |r| r.produce.timestamp_after_max_ms.to_string(),
        "20",
    ),
    OfTopic(
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        "21",
        |r| r.produce.timestamp_before_max_ms.to_string(),
        "21",
    ),
    OfTopic(
        "message.timestamp.type",
        "log.message.timestamp.type",
        "LogAppendTime",
        |r| format!("{:?}", r.produce.timestamp_type),
        "LogAppendTime",
    ),
    OfTopic(
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
        "0.25",
        |r| r.topic.min_cleanable_dirty_ratio.to_string(),
        "0.25",
    ),
    OfTopic(
        "min.insync.replicas",
        "min.insync.replicas",
        "2",
        |r| r.topic.min_insync_replicas.to_string(),
        "2",
    ),
    OfTopic("preallocate", "log.preallocate", "true", |r| r.log.preallocate.to_string(), "true"),
    OfTopic(
        "retention.bytes",
        "log.retention.bytes",
        "24",
        |r| r.log.retention_bytes.to_string(),
        "24",
    ),
    OfTopic("retention.ms", "log.retention.ms", "25", |r| r.log.retention_ms.to_string(), "25"),
    OfTopic(
        "segment.bytes",
        "log.segment.bytes",
        "2097152",
        |r| r.log.segment_bytes.to_string(),
        "2097152",
    ),
    OfTopic(
        "segment.index.bytes",
        "log.index.size.max.bytes",
        "27000",
        |r| r.log.segment_index_bytes.to_string(),
        "27000",
    ),
    OfTopic(
        "segment.jitter.ms",
        "log.roll.jitter.ms",
        "1",
        |r| format!("{} {}", r.topic.segment_jitter_ms, r.log.segment_jitter_ms),
        "1 0",
    ),
    OfTopic("segment.ms", "log.roll.ms", "29", |r| r.log.segment_ms.to_string(), "29"),
    // The controller reads it in the metadata when it elects.
    OfTopic(
        "unclean.leader.election.enable",
        "unclean.leader.election.enable",
        "true",
        |r| r.topic.unclean_leader_election.to_string(),
        "true",
    ),
];

/// Settings of a broker that its partitions run by and that no topic has.
const OF_ALL_TOPICS: &[OfTopic] = &[
    OfTopic("", "producer.id.expiration.ms", "31", |r| r.log.producer_expiry_ms.to_string(), "31"),
    OfTopic(
        "",
        "transaction.partition.verification.enable",
        "false",
        |r| r.log.verify_transactions.to_string(),
        "false",
    ),
];

/// Settings that are read in the node's configuration whenever they are used: with a value, and by
/// whom.
const OF_NODE: &[(&str, &str, &str)] = &[
    ("log.cleaner.backoff.ms", "41", "the cleaner, when nothing is to be done"),
    ("log.cleaner.dedupe.buffer.size", "4194304", "the cleaner, for each log"),
    ("log.cleaner.io.buffer.load.factor", "0.5", "the cleaner, for each log"),
    ("log.cleaner.io.max.bytes.per.second", "1000000", "the cleaner, at each step"),
    ("num.recovery.threads.per.data.dir", "4", "the next start"),
    ("ottla.log.background.flush.ms", "45", "the flusher, once a second"),
];

/// Settings of the listeners.
const OF_CONNECTIONS: &[(&str, &str)] = &[
    ("max.connections", "51"),
    ("max.connections.per.ip", "52"),
    ("max.connections.per.ip.overrides", "127.0.0.1:53"),
    ("max.connection.creation.rate", "54"),
];

/// Settings with a test of their own below.
const TESTED_ALONE: &[&str] = &["cordoned.log.dirs", "ottla.log.level"];

/// Settings that are refused when they would change anything.
const REFUSED: &[&str] = &["listeners", "listener.security.protocol.map"];

/// Settings of groups that are not served yet; their range is checked.
const OF_OTHER_GROUPS: &[&str] = &[
    "group.consumer.assignment.interval.ms",
    "group.share.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
];

fn node() -> Node {
    let node = Node::start(&formatted()).unwrap();
    create(&node, "t");
    node
}

fn create(node: &Node, name: &str) -> ErrorCode {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 4,
        replication_factor: 1,
        ..Default::default()
    };
    let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    code(node.connect().call(node, 7, &request).topics[0].error_code)
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

/// Sets a setting, or removes it. Of a broker it is the default of all if `resource` is empty.
fn alter(
    node: &Node,
    (kind, resource): (i8, &str),
    (key, value): (&str, Option<&str>),
) -> (ErrorCode, String) {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: resource.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = node.connect().call(node, 1, &request).responses.remove(0);
    (code(answer.error_code), answer.error_message.unwrap_or_default().to_string())
}

fn set(node: &Node, resource: (i8, &str), setting: (&str, Option<&str>)) {
    let (error, message) = alter(node, resource, setting);
    assert_eq!(error, ErrorCode::None, "{setting:?}: {message}");
}

fn partition(node: &Node) -> Arc<Partition> {
    let id = node.broker.image().topic("t").unwrap().id;
    node.broker.partitions.get(id, 0).unwrap()
}

fn running(node: &Node) -> Running {
    let partition = partition(node);
    Running {
        topic: partition.topic_config(),
        log: partition.with_log(None, |log, _| log.config().clone()).unwrap(),
        produce: partition.produce_rules(9),
    }
}

fn names(of: &[OfTopic]) -> impl Iterator<Item = &'static str> {
    of.iter().map(|row| row.1)
}

#[test]
fn the_tables_have_every_setting_that_may_change_and_has_a_reader() {
    let changes = |row: &&ottla_config::KeyDef| row.update != UpdateMode::ReadOnly;
    let is_read = |row: &&ottla_config::KeyDef| row.support == Support::Read;
    let want: BTreeSet<&str> =
        Kind::Broker.keys().filter(changes).filter(is_read).map(|row| row.name).collect();
    let rows = names(OF_TOPICS)
        .chain(names(OF_ALL_TOPICS))
        .chain(OF_NODE.iter().map(|row| row.0))
        .chain(OF_CONNECTIONS.iter().map(|row| row.0))
        .chain([TESTED_ALONE, REFUSED, OF_OTHER_GROUPS].concat());
    assert_eq!(rows.collect::<BTreeSet<_>>(), want);
    let want: BTreeSet<&str> = Kind::Topic
        .keys()
        .filter(is_read)
        .filter(|row| !row.internal)
        .map(|row| row.name)
        .collect();
    assert_eq!(OF_TOPICS.iter().map(|row| row.0).collect::<BTreeSet<_>>(), want);
}

#[test]
fn a_partition_runs_by_what_its_topic_is_set_to_and_by_the_default_again_afterwards() {
    let node = node();
    for OfTopic(key, _, value, read, want) in OF_TOPICS {
        let before = read(&running(&node));
        assert_ne!(before, *want, "{key} has the value before it is set");
        set(&node, (TOPIC, "t"), (key, Some(value)));
        assert_eq!(read(&running(&node)), *want, "{key}");
        set(&node, (TOPIC, "t"), (key, None));
        assert_eq!(read(&running(&node)), before, "{key} is removed");
    }
}

#[test]
fn a_partition_runs_by_the_default_of_all_brokers_and_by_that_of_its_own_before_it() {
    let node = node();
    for OfTopic(_, key, value, read, want) in OF_TOPICS.iter().chain(OF_ALL_TOPICS) {
        let before = read(&running(&node));
        assert_ne!(before, *want, "{key} has the value before it is set");
        // With ELR, min.insync.replicas belongs to topics and the cluster.
        let resources: &[&str] = if *key == "min.insync.replicas" { &[""] } else { &["", "1"] };
        for resource in resources {
            // The cluster always has a default of this one.
            let old = (*key == "min.insync.replicas").then_some("1");
            set(&node, (BROKER, resource), (key, Some(value)));
            assert_eq!(read(&running(&node)), *want, "{key} of broker {resource:?}");
            set(&node, (BROKER, resource), (key, old));
            assert_eq!(read(&running(&node)), before, "{key} of broker {resource:?} is removed");
        }
    }
}

#[test]
fn the_parts_of_a_node_find_the_new_value_when_they_look() {
    let node = node();
    for (key, value, reader) in OF_NODE {
        let current = || node.broker.config().value(key).unwrap().text();
        let before = current();
        set(&node, (BROKER, ""), (key, Some(value)));
        let parsed = |text: &str| Kind::Broker.find(key).unwrap().parse(text).unwrap().text();
        assert_eq!(current(), parsed(value), "{key}, which {reader} reads");
        set(&node, (BROKER, ""), (key, None));
        assert_eq!(current(), before, "{key} is removed");
    }
}

#[test]
fn the_listeners_are_told_how_many_connections_they_may_take() {
    let node = node();
    for (key, value) in OF_CONNECTIONS {
        let told = || node.world.limits().unwrap().value(key).unwrap().text();
        let before = told();
        set(&node, (BROKER, ""), (key, Some(value)));
        assert_eq!(told().as_deref(), Some(*value), "{key}");
        set(&node, (BROKER, ""), (key, None));
        assert_eq!(told(), before, "{key} is removed");
    }
}

#[test]
fn listeners_that_would_have_to_be_opened_are_refused() {
    let node = node();
    let before = node.broker.config().text("listeners").map(str::to_owned);
    for (key, value) in [
        ("listeners", "PLAINTEXT://:9192,CONTROLLER://:9093"),
        ("listener.security.protocol.map", "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT"),
    ] {
        assert!(REFUSED.contains(&key));
        let (error, message) = alter(&node, (BROKER, "1"), (key, Some(value)));
        assert_eq!(error, ErrorCode::InvalidRequest, "{key}: {message}");
    }
    assert_eq!(node.broker.config().text("listeners").map(str::to_owned), before);
}

#[test]
fn the_process_log_gets_its_new_level() {
    let node = node();
    assert_eq!(node.world.log_levels(), None);
    set(&node, (BROKER, ""), ("ottla.log.level", Some("warn,ottla_net=debug")));
    assert_eq!(node.world.log_levels().as_deref(), Some("warn,ottla_net=debug"));
    set(&node, (BROKER, ""), ("ottla.log.level", None));
    assert_eq!(node.world.log_levels().as_deref(), Some("info"));
}

#[test]
fn a_cordoned_directory_gets_no_new_replicas() {
    const OTHER: &str = "/other";
    let disk = formatted_with(&[DIR, OTHER]);
    let both = format!("{DIR},{OTHER}");
    let settings = [("log.dirs", both.as_str())];
    let node = Node::start_with(&disk, &settings).unwrap();
    let homes = |name: &str| -> BTreeSet<String> {
        let id = node.broker.image().topic(name).unwrap().id;
        let home = |index| {
            let partition = node.broker.partitions.get(id, index).unwrap();
            partition.directory().path.to_string_lossy().into_owned()
        };
        (0..4).map(home).collect()
    };
    let cordoned = || -> Vec<bool> {
        let answer = node.connect().call(&node, 5, &m::DescribeLogDirsRequest::default());
        answer.results.iter().map(|dir| dir.is_cordoned).collect()
    };
    assert_eq!(create(&node, "both"), ErrorCode::None);
    assert_eq!(homes("both"), [DIR, OTHER].map(String::from).into());

    set(&node, (BROKER, "1"), ("cordoned.log.dirs", Some(OTHER)));
    assert_eq!(cordoned(), [false, true]);
    assert_eq!(create(&node, "one"), ErrorCode::None);
    assert_eq!(homes("one"), [DIR.to_owned()].into());
    let moved = |path: &str| {
        use m::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
        let topic = AlterReplicaLogDirTopic {
            name: "one".into(),
            partitions: vec![0],
            ..Default::default()
        };
        let dir =
            AlterReplicaLogDir { path: path.into(), topics: vec![topic], ..Default::default() };
        let request = m::AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
        code(node.connect().call(&node, 2, &request).results[0].partitions[0].error_code)
    };
    assert_eq!(moved(OTHER), ErrorCode::InvalidReplicaAssignment);

    set(&node, (BROKER, "1"), ("cordoned.log.dirs", Some("*")));
    assert_eq!(cordoned(), [true, true]);
    assert_eq!(create(&node, "none"), ErrorCode::InvalidReplicationFactor);

    set(&node, (BROKER, "1"), ("cordoned.log.dirs", None));
    assert_eq!(cordoned(), [false, false]);
    assert_eq!(create(&node, "again"), ErrorCode::None);
    assert!(homes("again").contains(OTHER));
}
