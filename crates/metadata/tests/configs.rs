//! IncrementalAlterConfigs and AlterConfigs: the rows of the error matrix.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::Cluster;
use ottla_metadata::{ConfigResource, record_name};
use ottla_protocol::messages as m;
use ottla_protocol::messages::alter_configs_request as replace;
use ottla_protocol::messages::incremental_alter_configs_request as alter;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource(
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> alter::AlterConfigsResource {
    let config = |(name, operation, value): &(&str, i8, Option<&str>)| alter::AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
        ..Default::default()
    };
    alter::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes.iter().map(config).collect(),
        ..Default::default()
    }
}

fn request(resources: Vec<alter::AlterConfigsResource>) -> m::IncrementalAlterConfigsRequest {
    m::IncrementalAlterConfigsRequest { resources, ..Default::default() }
}

#[test]
fn alterations_answer_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("t", &[&[1]]);
    let set = |key, value| vec![(key, SET, Some(value))];
    type Changes<'a> = Vec<(&'a str, i8, Option<&'a str>)>;
    let rows: Vec<(i8, &str, Changes<'_>, i16)> = vec![
        (TOPIC, "t", set("retention.ms", "5"), 0),
        (TOPIC, "t", vec![("retention.ms", DELETE, None)], 0),
        (TOPIC, "t", vec![("retention.ms", DELETE, None)], 0),
        (TOPIC, "t", vec![("cleanup.policy", APPEND, Some("compact"))], 0),
        (TOPIC, "t", vec![("cleanup.policy", SUBTRACT, Some("delete"))], 0),
        (TOPIC, "t", vec![("retention.ms", APPEND, Some("1"))], 40),
        (TOPIC, "t", vec![("retention.ms", 9, Some("1"))], 42),
        (TOPIC, "t", vec![("retention.ms", SET, None)], 42),
        (TOPIC, "t", set("bad.name", "1"), 40),
        (TOPIC, "t", set("retention.ms", "zz"), 40),
        (TOPIC, "nosuch", set("retention.ms", "1"), 3),
        (TOPIC, "t", vec![("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))], 42),
        (BROKER, "1", set("node.id", "3"), 42),
        (BROKER, "", set("ssl.keystore.location", "x"), 42),
        (BROKER, "1", set("no.such.key", "x"), 0),
        (BROKER, "1", set("log.cleaner.threads", "x"), 42),
        (BROKER, "99", set("log.cleaner.threads", "2"), 42),
        (BROKER, "one", set("log.cleaner.threads", "2"), 42),
        (BROKER, "1", set("num.io.threads", "100"), 42),
        (BROKER, "1", set("min.insync.replicas", "2"), 40),
        (BROKER, "", vec![("min.insync.replicas", DELETE, None)], 40),
        (0, "t", set("retention.ms", "5"), 42),
        (99, "t", set("retention.ms", "5"), 42),
        (GROUP, "g", set("no.such.key", "5"), 40),
        (GROUP, "g", set("consumer.session.timeout.ms", "1"), 40),
        (GROUP, "g", set("consumer.session.timeout.ms", "50000"), 0),
        (GROUP, "", set("consumer.session.timeout.ms", "50000"), 42),
        (METRICS, "m", set("interval.ms", "1"), 42),
        (METRICS, "m", set("interval.ms", "1000"), 0),
        (TOPIC, "t", set("min.insync.replicas", "0"), 40),
    ];
    for (kind, name, changes, code) in rows {
        let answer: m::IncrementalAlterConfigsResponse =
            cluster.ask(request(vec![resource(kind, name, &changes)]));
        let result = &answer.responses[0];
        assert_eq!(
            result.error_code, code,
            "{kind} {name} {changes:?}: {:?}",
            result.error_message
        );
        assert_eq!(result.error_message.is_some(), code != 0, "{kind} {name} {changes:?}");
    }
    let image = cluster.image();
    let topic = ConfigResource::topic("t");
    assert_eq!(image.config_value(&topic, "cleanup.policy"), Some("compact"));
    assert_eq!(image.config(&topic).map(|map| map.len()), Some(1));
    assert_eq!(
        image.config_value(&ConfigResource::group("g"), "consumer.session.timeout.ms"),
        Some("50000")
    );
}

#[test]
fn a_resource_named_twice_is_refused_both_times() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("t", &[&[1]]);
    let one = || resource(TOPIC, "t", &[("retention.ms", SET, Some("5"))]);
    let answer: m::IncrementalAlterConfigsResponse = cluster.ask(request(vec![one(), one()]));
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [42, 42]);
    let dry = m::IncrementalAlterConfigsRequest { validate_only: true, ..request(vec![one()]) };
    assert!(cluster.records(dry).is_empty());
}

#[test]
fn a_new_min_isr_clears_the_eligible_leader_replicas() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("t", &[&[1]]);
    for (kind, name) in [(TOPIC, "t"), (BROKER, "")] {
        let records = cluster.records(request(vec![resource(
            kind,
            name,
            &[("min.insync.replicas", SET, Some("2"))],
        )]));
        let names: Vec<_> = records.iter().map(|record| record_name(&record.record)).collect();
        assert_eq!(names, ["ConfigRecord", "ClearElrRecord"], "{kind} {name}");
    }
}

#[test]
fn replacing_drops_what_is_not_named_but_the_clusters_min_isr() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("t", &[&[1]]);
    let sets = [("retention.ms", SET, Some("5")), ("segment.ms", SET, Some("7"))];
    cluster.records(request(vec![resource(TOPIC, "t", &sets)]));
    let config = |name: &str, value: &str| replace::AlterableConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let wish = |kind, name: &str, configs| replace::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs,
        ..Default::default()
    };
    let resources = vec![
        wish(TOPIC, "t", vec![config("segment.ms", "8")]),
        wish(BROKER, "", vec![config("log.retention.ms", "5")]),
    ];
    let answer: m::AlterConfigsResponse =
        cluster.ask(m::AlterConfigsRequest { resources, ..Default::default() });
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [0, 0]);
    let map = cluster.image().config(&ConfigResource::topic("t")).unwrap();
    assert_eq!(
        map.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
        [("segment.ms", "8")]
    );
    let cluster_wide = cluster.image().config(&ConfigResource::default_broker()).unwrap();
    assert_eq!(
        cluster_wide.keys().collect::<Vec<_>>(),
        ["log.retention.ms", "min.insync.replicas"]
    );
}
