//! The first records of a cluster.

use ottla_protocol::messages as m;

use crate::features::{
    ELR_VERSION, FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION, MetadataVersion,
};
use crate::image::ConfigResource;
use crate::image::convert::text;
use crate::record::VersionedRecord;

/// The name of the transaction in which the first controller writes.
const TRANSACTION: &str = "Bootstrap records";

/// The data records of the bootstrap snapshot 0-0 that `storage format` writes: feature levels at
/// their defaults, or at those in `levels` (name, level). metadata.version comes first, then the
/// others by name; features at level 0 and kraft.version (a control record) are left out.
#[must_use]
pub fn format_records(levels: &[(&str, i16)]) -> Vec<VersionedRecord> {
    let level_of = |feature: &Feature| {
        let given = levels.iter().find(|(name, _)| *name == feature.name);
        given.map_or(feature.max, |(_, level)| *level)
    };
    let first = |feature: &&Feature| feature.name == METADATA_VERSION;
    let others = FEATURES.iter().filter(|feature| !first(feature) && feature.name != KRAFT_VERSION);
    let ordered = FEATURES.iter().filter(first).chain(others);
    ordered
        .map(|feature| (feature.name, level_of(feature)))
        .filter(|(_, level)| *level > 0)
        .map(level)
        .collect()
}

/// What the first active controller writes into an empty log: `bootstrap` (the records of the
/// snapshot 0-0) in a metadata transaction. With ELR the default of min.insync.replicas becomes a
/// record: the election rules read it from the log alone.
#[must_use]
pub fn activation_records(bootstrap: &[VersionedRecord]) -> Vec<VersionedRecord> {
    use ottla_protocol::MetadataRecord::FeatureLevel;
    let level_of = |name: &str| {
        bootstrap.iter().find_map(|record| match &record.record {
            FeatureLevel(feature) if *feature.name == *name => Some(feature.feature_level),
            _ => None,
        })
    };
    let version = level_of(METADATA_VERSION).map_or(MetadataVersion::MINIMUM, MetadataVersion);
    let mut records = bootstrap.to_vec();
    if level_of(ELR_VERSION).is_some_and(|level| level > 0) {
        records.push(ConfigResource::default_broker().to_record("min.insync.replicas", Some("1")));
    }
    if version.has_transactions() {
        let begin =
            m::BeginTransactionRecord { name: Some(text(TRANSACTION)), ..Default::default() };
        records.insert(0, VersionedRecord::v0(begin));
        records.push(VersionedRecord::v0(m::EndTransactionRecord::default()));
    }
    records
}

/// Ends a transaction that will not be completed.
#[must_use]
pub fn abort_record(reason: &str) -> VersionedRecord {
    VersionedRecord::v0(m::AbortTransactionRecord {
        reason: Some(text(reason)),
        ..Default::default()
    })
}

fn level((name, feature_level): (&str, i16)) -> VersionedRecord {
    VersionedRecord::v0(m::FeatureLevelRecord {
        name: text(name),
        feature_level,
        ..Default::default()
    })
}
