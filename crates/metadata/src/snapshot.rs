//! An image as the records of a snapshot, and back. Batches, header and footer are framed by whoever
//! writes the file.

use ottla_protocol::messages as m;
use ottla_protocol::{MetadataRecord, Uuid};

use crate::features::METADATA_VERSION;
use crate::image::convert::text;
use crate::image::{Image, Provenance, ReplayError};
use crate::record::VersionedRecord;

/// Gives every record of the image to `sink`, features first, in an order in which they can be
/// replayed. Stops at the first error of `sink`.
///
/// # Errors
/// Only those of `sink`.
pub fn write_image<E>(
    image: &Image,
    mut sink: impl FnMut(VersionedRecord) -> Result<(), E>,
) -> Result<(), E> {
    write_features(image, &mut sink)?;
    write_nodes(image, &mut sink)?;
    write_topics(image, &mut sink)?;
    write_configs(image, &mut sink)?;
    write_security(image, &mut sink)
}

/// The same as one list, for small images and tests.
#[must_use]
pub fn image_records(image: &Image) -> Vec<VersionedRecord> {
    let mut records = Vec::new();
    let all: Result<(), std::convert::Infallible> = write_image(image, |record| {
        records.push(record);
        Ok(())
    });
    let Ok(()) = all;
    records
}

/// Builds the image that a snapshot holds. `at`: the snapshot's last contained offset, epoch and
/// timestamp.
///
/// # Errors
/// A record that does not fit the ones before it.
pub fn read_image<'a>(
    at: Provenance,
    records: impl IntoIterator<Item = &'a MetadataRecord>,
) -> Result<Image, ReplayError> {
    let mut image = Image::default();
    for record in records {
        image.apply(record)?;
    }
    image.set_provenance(at);
    Ok(image)
}

/// metadata.version comes first: it says how to read the rest.
fn write_features<E>(
    image: &Image,
    sink: &mut impl FnMut(VersionedRecord) -> Result<(), E>,
) -> Result<(), E> {
    let record = |(name, level): (&str, i16)| {
        let name = text(name);
        VersionedRecord::v0(m::FeatureLevelRecord {
            name,
            feature_level: level,
            ..Default::default()
        })
    };
    let is_version = |(name, _): &(&str, i16)| *name == METADATA_VERSION;
    image.features().filter(is_version).map(record).try_for_each(&mut *sink)?;
    image.features().filter(|feature| !is_version(feature)).map(record).try_for_each(sink)
}

fn write_nodes<E>(
    image: &Image,
    sink: &mut impl FnMut(VersionedRecord) -> Result<(), E>,
) -> Result<(), E> {
    let version = image.metadata_version();
    for controller in image.controllers() {
        sink(VersionedRecord::v0(controller.to_record()))?;
    }
    for broker in image.brokers() {
        sink(VersionedRecord::new(broker.to_record(version), version.register_broker_record()))?;
    }
    if let Some(block) = image.producer_id_block() {
        sink(VersionedRecord::v0(m::ProducerIdsRecord {
            broker_id: block.broker.0,
            broker_epoch: block.broker_epoch,
            next_producer_id: block.next,
            ..Default::default()
        }))?;
    }
    if let Some(state) = image.zk_migration_state() {
        let record = m::ZkMigrationStateRecord { zk_migration_state: state, ..Default::default() };
        sink(VersionedRecord::v0(record))?;
    }
    Ok(())
}

fn write_topics<E>(
    image: &Image,
    sink: &mut impl FnMut(VersionedRecord) -> Result<(), E>,
) -> Result<(), E> {
    let version = image.metadata_version().partition_record();
    for topic in image.topics() {
        sink(topic_record(&topic.name, topic.id))?;
        for (index, partition) in topic.partitions() {
            sink(VersionedRecord::new(partition.to_record(topic.id, index, version), version))?;
        }
    }
    Ok(())
}

pub(crate) fn topic_record(name: &str, topic_id: Uuid) -> VersionedRecord {
    VersionedRecord::v0(m::TopicRecord { name: text(name), topic_id, ..Default::default() })
}

fn write_configs<E>(
    image: &Image,
    sink: &mut impl FnMut(VersionedRecord) -> Result<(), E>,
) -> Result<(), E> {
    for (resource, map) in image.configs() {
        for (key, value) in map {
            sink(resource.to_record(key, Some(value)))?;
        }
    }
    for (entity, quotas) in image.quotas() {
        for (key, value) in quotas {
            sink(VersionedRecord::v0(entity.to_record(key, Some(*value))))?;
        }
    }
    Ok(())
}

fn write_security<E>(
    image: &Image,
    sink: &mut impl FnMut(VersionedRecord) -> Result<(), E>,
) -> Result<(), E> {
    for (_, acl) in image.acls() {
        sink(VersionedRecord::v0(acl.to_record()))?;
    }
    for (mechanism, user, credential) in image.scram_credentials() {
        sink(VersionedRecord::v0(credential.to_record(mechanism, user)))?;
    }
    for (id, token) in image.delegation_tokens() {
        sink(VersionedRecord::v0(token.to_record(id)))?;
    }
    Ok(())
}
