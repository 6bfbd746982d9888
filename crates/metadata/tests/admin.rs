//! Quotas, SCRAM credentials and reassignments.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::Cluster;
use ottla_metadata::QuotaEntity;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use ottla_protocol::messages as m;
use ottla_protocol::messages::alter_client_quotas_request as quota;
use ottla_protocol::messages::alter_partition_reassignments_request as move_;
use ottla_protocol::messages::alter_user_scram_credentials_request as scram;

const P0: PartitionIndex = PartitionIndex(0);

fn quota_entry(entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> quota::EntryData {
    let part = |(kind, name): &(&str, Option<&str>)| quota::EntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(Into::into),
        ..Default::default()
    };
    let op = |(key, value): &(&str, Option<f64>)| quota::OpData {
        key: (*key).into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
        ..Default::default()
    };
    quota::EntryData {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
        ..Default::default()
    }
}

#[test]
fn quotas_are_set_and_removed_for_valid_entities() {
    let mut cluster = Cluster::new();
    let rate = [("producer_byte_rate", Some(1024.0))];
    let connections = [("connection_creation_rate", Some(5.0))];
    let rows: [(quota::EntryData, i16, usize); 14] = [
        (quota_entry(&[("user", Some("al"))], &rate), 0, 1),
        (quota_entry(&[("user", Some("al"))], &rate), 0, 0),
        (quota_entry(&[("user", None), ("client-id", Some("c"))], &rate), 0, 1),
        (quota_entry(&[("ip", Some("10.0.0.1"))], &connections), 0, 1),
        (quota_entry(&[("ip", None)], &connections), 0, 1),
        (quota_entry(&[("ip", Some("nowhere"))], &connections), 42, 0),
        (quota_entry(&[("ip", None), ("user", None)], &connections), 42, 0),
        (quota_entry(&[("ip", None)], &rate), 42, 0),
        (quota_entry(&[("user", Some(""))], &rate), 42, 0),
        (quota_entry(&[("group", Some("g"))], &rate), 42, 0),
        (quota_entry(&[], &rate), 42, 0),
        (quota_entry(&[("user", Some("al"))], &[("producer_byte_rate", Some(-1.0))]), 42, 0),
        (quota_entry(&[("user", Some("al"))], &[("producer_byte_rate", None)]), 0, 1),
        (quota_entry(&[("user", Some("al"))], &[("producer_byte_rate", None)]), 0, 0),
    ];
    for (entry, code, written) in rows {
        let what = format!("{entry:?}");
        let (records, response) =
            cluster.run(m::AlterClientQuotasRequest { entries: vec![entry], ..Default::default() });
        let answer = m::AlterClientQuotasResponse::try_from(response).unwrap();
        assert_eq!((answer.entries[0].error_code, records.len()), (code, written), "{what}");
    }
    assert_eq!(cluster.image().quotas().count(), 3);
    let al = QuotaEntity([("user".to_owned(), Some("al".to_owned()))].into());
    assert_eq!(cluster.image().quota(&al), None);
}

#[test]
fn scram_credentials_are_checked_user_by_user() {
    let mut cluster = Cluster::new();
    let set = |name: &str, mechanism, iterations| scram::ScramCredentialUpsertion {
        name: name.into(),
        mechanism,
        iterations,
        salt: vec![1, 2, 3].into(),
        salted_password: vec![7; 32].into(),
        ..Default::default()
    };
    let unset = |name: &str, mechanism| scram::ScramCredentialDeletion {
        name: name.into(),
        mechanism,
        ..Default::default()
    };
    let request = |deletions, upsertions| m::AlterUserScramCredentialsRequest {
        deletions,
        upsertions,
        ..Default::default()
    };
    let rows = [
        (request(vec![], vec![set("al", 1, 4096), set("bo", 1, 4095)]), vec![0, 93]),
        (request(vec![], vec![set("al", 2, 4096)]), vec![0]),
        // Kafka counts the user, not the mechanism.
        (request(vec![], vec![set("al", 1, 5000), set("al", 2, 5000)]), vec![92]),
        (request(vec![unset("al", 1)], vec![set("al", 2, 5000)]), vec![92]),
        (request(vec![], vec![set("bo", 1, 16385)]), vec![93]),
        (request(vec![], vec![set("", 1, 4096)]), vec![93]),
        (request(vec![], vec![set("bo", 3, 4096)]), vec![33]),
        (request(vec![], vec![set("bo", 1, 4096), set("bo", 1, 5000)]), vec![92]),
        (request(vec![unset("nobody", 1)], vec![]), vec![91]),
        (request(vec![unset("al", 2)], vec![set("bo", 2, 5000)]), vec![0, 0]),
    ];
    for (request, codes) in rows {
        let answer: m::AlterUserScramCredentialsResponse = cluster.ask(request.clone());
        assert_eq!(
            answer.results.iter().map(|r| r.error_code).collect::<Vec<_>>(),
            codes,
            "{request:?}"
        );
    }
    let image = cluster.image();
    let users: Vec<_> =
        image.scram_credentials().map(|(kind, user, c)| (kind, user, c.iterations)).collect();
    assert_eq!(users, [(1, "al", 4096), (2, "bo", 5000)]);
    assert_eq!(image.scram_credential(2, "bo").unwrap().stored_key.len(), 64);
}

fn reassign(topic: &str, replicas: Option<&[i32]>) -> m::AlterPartitionReassignmentsRequest {
    let partition = move_::ReassignablePartition {
        partition_index: 0,
        replicas: replicas.map(<[i32]>::to_vec),
        ..Default::default()
    };
    let topic = move_::ReassignableTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    m::AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() }
}

#[test]
fn reassignments_answer_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.create("t", &[&[1]]);
    let rows = [
        (reassign("nosuch", Some(&[1])), 3),
        (reassign("t", Some(&[9])), 39),
        (reassign("t", Some(&[])), 39),
        (reassign("t", None), 85),
        (reassign("t", Some(&[1])), 0),
    ];
    for (request, code) in rows {
        let (records, response) = cluster.run(request.clone());
        let answer = m::AlterPartitionReassignmentsResponse::try_from(response).unwrap();
        assert_eq!(
            (answer.responses[0].partitions[0].error_code, records.len()),
            (code, 0),
            "{request:?}"
        );
    }
}

#[test]
fn a_reassignment_ends_when_its_replicas_are_in_sync() {
    let mut cluster = Cluster::brokers(&[1, 2, 3]);
    let id = cluster.create("t", &[&[1, 2]]);
    cluster.records(reassign("t", Some(&[3, 1])));
    let list = m::ListPartitionReassignmentsRequest { topics: None, ..Default::default() };
    let listed: m::ListPartitionReassignmentsResponse = cluster.ask(list.clone());
    let ongoing = &listed.topics[0].partitions[0];
    assert_eq!(ongoing.replicas, [3, 1, 2]);
    assert_eq!(
        (ongoing.adding_replicas.as_slice(), ongoing.removing_replicas.as_slice()),
        (&[3][..], &[2][..])
    );
    let partition = cluster.image().partition(id, P0).unwrap();
    assert_eq!(partition.leader_epoch, LeaderEpoch(0));
    let data = m::alter_partition_request::PartitionData {
        partition_epoch: partition.partition_epoch,
        new_isr: vec![1, 2, 3],
        ..Default::default()
    };
    let topic = m::alter_partition_request::TopicData {
        topic_id: id,
        partitions: vec![data],
        ..Default::default()
    };
    let joined = m::AlterPartitionRequest {
        broker_id: 1,
        broker_epoch: cluster.heartbeat(1).broker_epoch,
        topics: vec![topic],
        ..Default::default()
    };
    cluster.records(joined);
    let partition = cluster.image().partition(id, P0).unwrap();
    assert_eq!(partition.replicas, [BrokerId(3), BrokerId(1)]);
    assert_eq!(partition.isr, [BrokerId(1), BrokerId(3)]);
    assert_eq!(
        (partition.leader, partition.leader_epoch),
        (BrokerId(1), LeaderEpoch(1)),
        "a replica is gone"
    );
    assert_eq!(partition.directories, [common::dir(3), common::dir(1)]);
    let none: m::ListPartitionReassignmentsResponse = cluster.ask(list);
    assert_eq!(none.topics, []);
}

#[test]
fn a_cancelled_reassignment_leaves_the_partition_as_it_was() {
    let mut cluster = Cluster::brokers(&[1, 2, 3]);
    let id = cluster.create("t", &[&[1, 2]]);
    let before = cluster.image().partition(id, P0).unwrap().clone();
    cluster.records(reassign("t", Some(&[3])));
    assert!(cluster.image().partition(id, P0).unwrap().is_reassigning());
    let refused: m::AlterPartitionReassignmentsResponse =
        cluster.ask(m::AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            ..reassign("t", Some(&[3]))
        });
    assert_eq!(refused.responses[0].partitions[0].error_code, 38);
    cluster.records(reassign("t", None));
    let after = cluster.image().partition(id, P0).unwrap();
    assert_eq!(
        (&after.replicas, &after.isr, &after.directories),
        (&before.replicas, &before.isr, &before.directories)
    );
    assert!(!after.is_reassigning());
}
