//! CreateTopics, DeleteTopics and CreatePartitions: the rows of the error matrix.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Cluster, dir};
use ottla_metadata::{Command, ConfigResource};
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages as m;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::{MetadataRecord, Uuid};

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        ..Default::default()
    }
}

fn manual(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    };
    CreatableTopic {
        assignments: assignments.iter().map(assignment).collect(),
        ..topic(name, -1, -1)
    }
}

fn create(topics: Vec<CreatableTopic>) -> m::CreateTopicsRequest {
    m::CreateTopicsRequest { topics, timeout_ms: 5000, ..Default::default() }
}

#[test]
fn a_topic_is_its_record_its_configs_and_its_partitions() {
    let mut cluster = Cluster::brokers(&[1]);
    let config = CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("1000".into()),
        ..Default::default()
    };
    let wish = CreatableTopic { configs: vec![config], ..topic("a.b", 3, 1) };
    let (records, response) = cluster.run(create(vec![wish]));
    let names: Vec<_> = records.iter().map(|r| ottla_metadata::record_name(&r.record)).collect();
    assert_eq!(
        names,
        ["TopicRecord", "ConfigRecord", "PartitionRecord", "PartitionRecord", "PartitionRecord"]
    );
    let MetadataRecord::Partition(partition) = &records[4].record else { panic!() };
    assert_eq!((partition.partition_id, partition.leader, partition.leader_epoch), (2, 1, 0));
    assert_eq!(
        (partition.isr.as_slice(), partition.directories.as_slice()),
        (&[1][..], &[dir(1)][..])
    );
    let answer = m::CreateTopicsResponse::try_from(response).unwrap();
    let result = &answer.topics[0];
    assert_eq!((result.error_code, result.num_partitions, result.replication_factor), (0, 3, 1));
    assert_eq!(result.configs.as_ref().map(Vec::len), Some(37));
    let image = cluster.image();
    assert_eq!(image.topic("a.b").unwrap().id, result.topic_id);
    assert_eq!(image.config_value(&ConfigResource::topic("a.b"), "retention.ms"), Some("1000"));
}

#[test]
fn create_topics_answers_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("old", &[&[1]]);
    cluster.create("ct_c", &[&[1]]);
    let null =
        CreatableTopicConfig { name: "retention.ms".into(), value: None, ..Default::default() };
    let rows = [
        ("new", topic("n1", 1, 1), 0),
        ("exists", topic("old", 1, 1), 36),
        ("replication factor 2 on 1 broker", topic("n2", 1, 2), 38),
        ("replication factor 0", topic("n2", 1, 0), 38),
        ("replication factor -2", topic("n2", 1, -2), 38),
        ("partitions 0", topic("n2", 0, 1), 37),
        ("partitions -2", topic("n2", -2, 1), 37),
        ("defaults", topic("n3", -1, -1), 0),
        ("config value null", CreatableTopic { configs: vec![null], ..topic("n2", 1, 1) }, 40),
        ("manual", manual("n4", &[(0, &[1]), (1, &[1])]), 0),
        (
            "manual and partitions",
            CreatableTopic { num_partitions: 1, ..manual("n2", &[(0, &[1])]) },
            42,
        ),
        ("manual, unknown broker", manual("n2", &[(0, &[77])]), 39),
        ("manual, gap", manual("n2", &[(0, &[1]), (2, &[1])]), 39),
        ("manual, replica twice", manual("n2", &[(0, &[1, 1])]), 39),
        ("manual, no replica", manual("n2", &[(0, &[])]), 39),
        ("manual, partition twice", manual("n2", &[(0, &[1]), (0, &[1])]), 39),
        ("bad character", topic("a b", 1, 1), 17),
        ("empty name", topic("", 1, 1), 17),
        ("two dots", topic("..", 1, 1), 17),
        ("250 characters", topic(&"x".repeat(250), 1, 1), 17),
        ("collision", topic("ct.c", 1, 1), 17),
        ("consumer offsets", topic("__consumer_offsets", 1, 1), 0),
        ("metadata log", topic("__cluster_metadata", 1, 1), 42),
        ("10001 partitions", topic("n2", 10_001, 1), 44),
    ];
    for (what, wish, code) in rows {
        let before = cluster.image().topic_count();
        let answer: m::CreateTopicsResponse = cluster.ask(create(vec![wish]));
        let result = &answer.topics[0];
        assert_eq!(result.error_code, code, "{what}: {:?}", result.error_message);
        assert_eq!(result.error_message.is_some(), code != 0, "{what}");
        assert_eq!(cluster.image().topic_count(), before + usize::from(code == 0), "{what}");
        if code != 0 {
            assert_eq!((result.num_partitions, result.replication_factor), (-1, -1), "{what}");
            assert_eq!(
                (result.topic_id, result.configs.as_deref()),
                (Uuid::ZERO, Some(&[][..])),
                "{what}"
            );
        }
    }
}

#[test]
fn a_request_is_checked_against_itself() {
    let mut cluster = Cluster::brokers(&[1]);
    let twice = create(vec![topic("a", 1, 1), topic("b", 1, 1), topic("a", 2, 1)]);
    let answer: m::CreateTopicsResponse = cluster.ask(twice);
    let codes: Vec<_> = answer.topics.iter().map(|t| (t.name.to_string(), t.error_code)).collect();
    assert_eq!(codes, [("a".to_owned(), 42), ("b".to_owned(), 0)]);
    let colliding: m::CreateTopicsResponse =
        cluster.ask(create(vec![topic("x.y", 1, 1), topic("x_y", 1, 1)]));
    assert_eq!((colliding.topics[0].error_code, colliding.topics[1].error_code), (0, 17));
    let none: m::CreateTopicsResponse = cluster.ask(create(vec![]));
    assert_eq!(none.topics.len(), 0);
    let late = m::CreateTopicsRequest { timeout_ms: 0, ..create(vec![topic("c", 1, 1)]) };
    let late: m::CreateTopicsResponse = cluster.ask(late);
    assert_eq!((late.topics[0].error_code, &late.topics[0].error_message), (7, &None));
    let dry = m::CreateTopicsRequest { validate_only: true, ..create(vec![topic("d", 4, 1)]) };
    let (records, response) = cluster.run(dry);
    let dry = m::CreateTopicsResponse::try_from(response).unwrap();
    assert!(records.is_empty() && dry.topics[0].num_partitions == 4);
}

#[test]
fn delete_topics_answers_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    let ids: Vec<Uuid> =
        ["d1", "d2", "d3", "d4"].iter().map(|name| cluster.create(name, &[&[1]])).collect();
    let by = |name: Option<&str>, topic_id| DeleteTopicState {
        name: name.map(Into::into),
        topic_id,
        ..Default::default()
    };
    let rows = [
        (by(Some("d1"), Uuid::ZERO), 0, Some("d1")),
        (by(None, ids[1]), 0, Some("d2")),
        (by(Some("nosuch"), Uuid::ZERO), 3, Some("nosuch")),
        (by(None, Uuid::from_u128(9999)), 100, None),
        (by(Some("d3"), ids[2]), 42, Some("d3")),
        (by(None, Uuid::ZERO), 42, None),
    ];
    for (state, code, name) in rows {
        let what = format!("{state:?}");
        let request =
            m::DeleteTopicsRequest { topics: vec![state], timeout_ms: 1000, ..Default::default() };
        let answer: m::DeleteTopicsResponse = cluster.ask(request);
        let result = &answer.responses[0];
        assert_eq!((result.error_code, result.name.as_deref()), (code, name), "{what}");
    }
    assert!(cluster.image().topic("d1").is_none() && cluster.image().topic_by_id(ids[1]).is_none());
    let old = m::DeleteTopicsRequest {
        topic_names: vec!["nox".into(), "nox".into(), "d3".into()],
        timeout_ms: 1000,
        ..Default::default()
    };
    let old: m::DeleteTopicsResponse = cluster.ask(old);
    let codes: Vec<_> = old.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [42, 0]);
    let both = vec![by(Some("d4"), Uuid::ZERO), by(None, ids[3])];
    let both = m::DeleteTopicsRequest { topics: both, timeout_ms: 1000, ..Default::default() };
    let records = cluster.records(both);
    assert_eq!(records.len(), 1, "the topic is removed once");
}

#[test]
fn deleting_a_topic_frees_its_name_and_drops_its_configs() {
    let mut cluster = Cluster::brokers(&[1]);
    let config = CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("5".into()),
        ..Default::default()
    };
    cluster.records(create(vec![CreatableTopic { configs: vec![config], ..topic("a.b", 1, 1) }]));
    let delete = m::DeleteTopicsRequest {
        topic_names: vec!["a.b".into()],
        timeout_ms: 1,
        ..Default::default()
    };
    cluster.records(delete);
    assert_eq!(cluster.image().config(&ConfigResource::topic("a.b")), None);
    cluster.create("a_b", &[&[1]]);
}

#[test]
fn create_partitions_answers_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("t", &[&[1]]);
    let wish = |name: &str, count: i32, given: Option<&[&[i32]]>| CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: given.map(|all| {
            let one = |ids: &&[i32]| CreatePartitionsAssignment {
                broker_ids: ids.to_vec(),
                ..Default::default()
            };
            all.iter().map(one).collect()
        }),
        ..Default::default()
    };
    let rows = [
        ("1 to 3", wish("t", 3, None), 0, false),
        ("same", wish("t", 3, None), 37, true),
        ("fewer", wish("t", 2, None), 37, true),
        ("0", wish("t", 0, None), 37, true),
        ("unknown", wish("no", 2, None), 3, false),
        ("too few assignments", wish("t", 5, Some(&[&[1]])), 39, true),
        ("unknown broker", wish("t", 4, Some(&[&[77]])), 39, true),
        ("other factor", wish("t", 4, Some(&[&[1, 1]])), 39, true),
        ("assigned", wish("t", 4, Some(&[&[1]])), 0, false),
        ("too many", wish("t", 20_000, None), 44, true),
    ];
    for (what, wish, code, message) in rows {
        let request =
            m::CreatePartitionsRequest { topics: vec![wish], timeout_ms: 1, ..Default::default() };
        let answer: m::CreatePartitionsResponse = cluster.ask(request);
        let result = &answer.results[0];
        assert_eq!((result.error_code, result.error_message.is_some()), (code, message), "{what}");
    }
    assert_eq!(cluster.image().topic("t").unwrap().partition_count(), 4);
    let twice = m::CreatePartitionsRequest {
        topics: vec![wish("t", 9, None), wish("t", 9, None)],
        timeout_ms: 1,
        ..Default::default()
    };
    let twice: m::CreatePartitionsResponse = cluster.ask(twice);
    assert_eq!((twice.results.len(), twice.results[0].error_code), (1, 42));
    let dry = m::CreatePartitionsRequest {
        topics: vec![wish("t", 9, None)],
        timeout_ms: 1,
        validate_only: true,
        ..Default::default()
    };
    assert!(cluster.records(dry).is_empty());
}

#[test]
fn uncommitted_topics_exist_for_the_next_command_and_can_be_discarded() {
    let mut cluster = Cluster::brokers(&[1]);
    let now = cluster.now();
    let mut random = ottla_metadata::SplitMix64(9);
    let mut ctx = ottla_metadata::CommandContext {
        now,
        next_offset: cluster.next,
        random: &mut random,
        principal: "User:a",
        client_host: "",
        mutations: None,
    };
    let command = Command::from(create(vec![topic("a", 1, 1)]));
    let outcome = cluster.controller.handle(command.clone(), &mut ctx).unwrap();
    assert!(outcome.atomic);
    let at =
        ottla_metadata::Provenance { offset: cluster.next.plus(1), ..cluster.image().provenance() };
    cluster.controller.replay(at, outcome.records.iter().map(|r| &r.record)).unwrap();
    let again = cluster.controller.handle(command, &mut ctx).unwrap();
    assert!(again.records.is_empty());
    assert!(cluster.image().topic("a").is_none());
    assert!(
        cluster.controller.commit(cluster.next.plus(1)).is_none(),
        "the last record is not committed"
    );
    cluster.controller.discard();
    assert!(cluster.controller.speculative().topic("a").is_none());
    cluster.create("a", &[&[1]]);
}

#[test]
fn replicas_are_spread_over_brokers_and_racks() {
    let mut cluster = Cluster::new();
    for (id, rack) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
        let mut request = common::registration(id, common::incarnation(id as u128));
        request.rack = Some(rack.into());
        cluster.records(request);
        cluster.beat(id, false, false);
    }
    cluster.records(create(vec![topic("t", 60, 3)]));
    let image = cluster.image();
    let rack = |id: BrokerId| image.broker(id).unwrap().rack.clone().unwrap();
    let mut leads = std::collections::BTreeMap::new();
    let mut holds = std::collections::BTreeMap::new();
    for (index, partition) in image.topic("t").unwrap().partitions() {
        let racks: std::collections::BTreeSet<_> =
            partition.replicas.iter().map(|id| rack(*id)).collect();
        assert_eq!(racks.len(), 3, "partition {index} {:?}", partition.replicas);
        *leads.entry(partition.leader).or_insert(0) += 1;
        partition.replicas.iter().for_each(|id| *holds.entry(*id).or_insert(0) += 1);
    }
    assert!(leads.values().all(|count| *count == 10), "{leads:?}");
    assert!(holds.values().all(|count| (24..=36).contains(count)), "{holds:?}");
}

#[test]
fn fenced_brokers_get_replicas_only_when_live_ones_are_too_few() {
    let mut cluster = Cluster::brokers(&[1, 2, 3]);
    cluster.beat(3, true, false);
    cluster.records(create(vec![topic("two", 12, 2), topic("three", 1, 3)]));
    let image = cluster.image();
    for (_, partition) in image.topic("two").unwrap().partitions() {
        assert!(!partition.replicas.contains(&BrokerId(3)));
    }
    let partition = image.topic("three").unwrap().partition(PartitionIndex(0)).unwrap();
    assert_eq!((partition.replicas.len(), partition.isr.len()), (3, 2));
    assert_ne!(partition.leader, BrokerId(3));
}
