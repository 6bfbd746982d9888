//! A snapshot must lose no record type.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use common::Cluster;
use ottla_metadata::snapshot::{image_records, read_image};
use ottla_metadata::{Image, record_name};
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages as m;
use ottla_protocol::{MetadataRecord, Uuid};

/// Everything that an image can hold.
fn full() -> Image {
    let mut cluster = Cluster::brokers(&[1, 2]);
    cluster.create("a.b", &[&[1, 2], &[2, 1]]);
    cluster.beat(2, true, false);
    let mut image = cluster.image().clone();
    let records: Vec<MetadataRecord> = vec![
        m::RegisterControllerRecord {
            controller_id: 1,
            zk_migration_ready: true,
            ..Default::default()
        }
        .into(),
        m::ProducerIdsRecord {
            broker_id: 1,
            broker_epoch: 5,
            next_producer_id: 3000,
            ..Default::default()
        }
        .into(),
        m::ClientQuotaRecord {
            entity: vec![m::client_quota_record::EntityData {
                entity_type: "user".into(),
                ..Default::default()
            }],
            key: "producer_byte_rate".into(),
            value: 7.5,
            ..Default::default()
        }
        .into(),
        m::UserScramCredentialRecord {
            name: "al".into(),
            mechanism: 1,
            iterations: 4096,
            ..Default::default()
        }
        .into(),
        m::AccessControlEntryRecord {
            id: Uuid::from_u128(3),
            host: "*".into(),
            ..Default::default()
        }
        .into(),
        m::DelegationTokenRecord {
            token_id: "t".into(),
            renewers: vec!["User:a".into()],
            ..Default::default()
        }
        .into(),
        m::ZkMigrationStateRecord { zk_migration_state: 3, ..Default::default() }.into(),
        m::FeatureLevelRecord {
            name: "of.a.later.release".into(),
            feature_level: 4,
            ..Default::default()
        }
        .into(),
        m::ConfigRecord {
            resource_type: 64, // A kind of resource that is not known here.
            resource_name: "x".into(),
            name: "k".into(),
            value: Some("v".into()),
            ..Default::default()
        }
        .into(),
    ];
    for record in &records {
        image.apply(record).unwrap();
    }
    image
}

#[test]
fn every_record_type_survives_a_snapshot() {
    let image = full();
    let records = image_records(&image);
    let names: std::collections::BTreeSet<_> =
        records.iter().map(|r| record_name(&r.record)).collect();
    assert_eq!(names.len(), 12, "{names:?}");
    for record in &records {
        let bytes = record.record.encode(record.version).unwrap();
        assert_eq!(MetadataRecord::decode(bytes).unwrap(), (record.record.clone(), record.version));
    }
    let read = read_image(image.provenance(), records.iter().map(|record| &record.record)).unwrap();
    assert_eq!(read, image);
}

#[test]
fn what_was_removed_is_gone() {
    let mut image = full();
    let topic = image.topic("a.b").unwrap().id;
    let epoch = |id| image.broker(BrokerId(id)).unwrap().epoch;
    let (first, second) = (epoch(1), epoch(2));
    let removals: Vec<MetadataRecord> = vec![
        m::RemoveTopicRecord { topic_id: topic, ..Default::default() }.into(),
        m::UnregisterBrokerRecord { broker_id: 1, broker_epoch: first, ..Default::default() }
            .into(),
        m::UnfenceBrokerRecord { id: 2, epoch: second, ..Default::default() }.into(),
        m::FenceBrokerRecord { id: 2, epoch: second, ..Default::default() }.into(),
        m::UnregisterBrokerRecord { broker_id: 2, broker_epoch: second, ..Default::default() }
            .into(),
        m::UnregisterControllerRecord { controller_id: 1, ..Default::default() }.into(),
        m::RemoveUserScramCredentialRecord {
            name: "al".into(),
            mechanism: 1,
            ..Default::default()
        }
        .into(),
        m::RemoveAccessControlEntryRecord { id: Uuid::from_u128(3), ..Default::default() }.into(),
        m::RemoveDelegationTokenRecord { token_id: "t".into(), ..Default::default() }.into(),
        m::ClientQuotaRecord {
            entity: vec![m::client_quota_record::EntityData {
                entity_type: "user".into(),
                ..Default::default()
            }],
            key: "producer_byte_rate".into(),
            remove: true,
            ..Default::default()
        }
        .into(),
        m::NoOpRecord::default().into(),
    ];
    for record in &removals {
        image.apply(record).unwrap();
    }
    let names: std::collections::BTreeSet<_> =
        image_records(&image).iter().map(|r| record_name(&r.record)).collect();
    let left =
        ["ConfigRecord", "FeatureLevelRecord", "ProducerIdsRecord", "ZkMigrationStateRecord"];
    assert!(names.iter().eq(left.iter()), "{names:?}");
}

#[test]
fn a_record_that_does_not_fit_is_an_error_and_changes_nothing() {
    let image = full();
    let nowhere = Uuid::from_u128(77);
    let topic_id = image.topic("a.b").unwrap().id;
    let misfits: Vec<MetadataRecord> = vec![
        m::TopicRecord { name: "a.b".into(), topic_id: nowhere, ..Default::default() }.into(),
        m::PartitionRecord { topic_id: nowhere, ..Default::default() }.into(),
        m::PartitionRecord {
            topic_id,
            replicas: vec![1, 2],
            directories: vec![nowhere],
            ..Default::default()
        }
        .into(),
        m::PartitionChangeRecord { topic_id: nowhere, ..Default::default() }.into(),
        m::PartitionChangeRecord { topic_id, partition_id: 9, ..Default::default() }.into(),
        m::PartitionChangeRecord {
            topic_id,
            partition_id: 0,
            leader_recovery_state: 7,
            ..Default::default()
        }
        .into(),
        m::RemoveTopicRecord { topic_id: nowhere, ..Default::default() }.into(),
        m::UnregisterBrokerRecord { broker_id: 1, broker_epoch: 12345, ..Default::default() }
            .into(),
        m::BrokerRegistrationChangeRecord { broker_id: 9, ..Default::default() }.into(),
        m::BeginTransactionRecord::default().into(),
    ];
    for record in &misfits {
        let mut changed = image.clone();
        assert!(changed.apply(record).is_err(), "{record:?}");
        assert_eq!(changed, image, "{record:?}");
    }
}

#[test]
fn a_change_shares_what_it_does_not_touch() {
    let before = full();
    let mut after = before.clone();
    let topic_id = before.topic("a.b").unwrap().id;
    let change =
        m::PartitionChangeRecord { topic_id, partition_id: 0, leader: 2, ..Default::default() };
    after.apply(&change.into()).unwrap();
    let of = |image: &Image, index| {
        image.topic("a.b").unwrap().partitions[&PartitionIndex(index)].clone()
    };
    assert_ne!(of(&before, 0), of(&after, 0));
    assert!(Arc::ptr_eq(&of(&before, 1), &of(&after, 1)));
}
