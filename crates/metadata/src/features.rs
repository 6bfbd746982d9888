//! Feature names, the levels this release supports, and what metadata.version allows.

/// The feature that decides which records may be written.
pub const METADATA_VERSION: &str = "metadata.version";
/// Voter records in the metadata log (KIP-853). Its level is in control records, never in a FeatureLevelRecord.
pub const KRAFT_VERSION: &str = "kraft.version";
/// Eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
/// Consumer groups (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// Share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// Streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";
/// Transactions (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// A feature and the levels that this release can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level; 0 is "off".
    pub min: i16,
    /// The highest level; also what a new cluster gets.
    pub max: i16,
}

const fn feature(name: &'static str, min: i16, max: i16) -> Feature {
    Feature { name, min, max }
}

/// All features, as Kafka 4.4.0 supports them; sorted by name.
pub const FEATURES: [Feature; 7] = [
    feature(ELR_VERSION, 0, 1),
    feature(GROUP_VERSION, 0, 1),
    feature(KRAFT_VERSION, 0, 1),
    feature(METADATA_VERSION, 7, 33),
    feature(SHARE_VERSION, 0, 2),
    feature(STREAMS_VERSION, 0, 1),
    feature(TRANSACTION_VERSION, 0, 2),
];

/// The feature with this name.
#[must_use]
pub fn find(name: &str) -> Option<Feature> {
    FEATURES.into_iter().find(|feature| feature.name == name)
}

/// A finalized level of metadata.version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(pub i16);

impl MetadataVersion {
    /// 3.3-IV3: the oldest level that a cluster may have; in force until a record says otherwise.
    pub const MINIMUM: Self = Self(7);
    /// 4.4-IV2: the level of a new cluster.
    pub const LATEST: Self = Self(33);

    const NAMES: [&'static str; 28] = [
        "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
        "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0",
        "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
        "4.4-IV0", "4.4-IV1", "4.4-IV2", "4.5-IV0",
    ];

    /// The release name of the level, such as `4.4-IV2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let index = usize::try_from(self.0 - Self::MINIMUM.0).ok();
        index.and_then(|index| Self::NAMES.get(index)).copied().unwrap_or("unknown")
    }

    /// The level with this name, or named by its release alone (`4.4`: the last level of it).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().rposition(|known| {
            *known == name || known.strip_prefix(name).is_some_and(|rest| rest.starts_with("-IV"))
        })?;
        Some(Self(Self::MINIMUM.0 + i16::try_from(found).ok()?))
            .filter(|level| *level <= Self::LATEST)
    }

    /// ISR shrinks do not raise the leader epoch.
    #[must_use]
    pub const fn skips_leader_epoch_bump_on_shrink(self) -> bool {
        self.0 >= 12
    }

    /// Metadata transactions (KIP-868).
    #[must_use]
    pub const fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Delegation tokens in the metadata log.
    #[must_use]
    pub const fn has_delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    /// Controllers register.
    #[must_use]
    pub const fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Replicas have directory ids (KIP-858).
    #[must_use]
    pub const fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// SCRAM credentials in the metadata log.
    #[must_use]
    pub const fn has_scram(self) -> bool {
        self.0 >= 11
    }

    /// ELR fields of partition records (KIP-966).
    #[must_use]
    pub const fn has_elr(self) -> bool {
        self.0 >= 23
    }

    /// Cordoned log directories.
    #[must_use]
    pub const fn has_cordoned_dirs(self) -> bool {
        self.0 >= 30
    }

    /// Controllers can be unregistered.
    #[must_use]
    pub const fn has_controller_unregistration(self) -> bool {
        self.0 >= 33
    }

    /// The version in which RegisterBrokerRecord is written.
    #[must_use]
    pub const fn register_broker_record(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// The version in which PartitionRecord and PartitionChangeRecord are written.
    #[must_use]
    pub const fn partition_record(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels_agree() {
        for (name, level) in
            [("3.3-IV3", 7), ("3.9-IV0", 21), ("4.4-IV2", 33), ("4.4", 33), ("3.7", 19)]
        {
            assert_eq!(MetadataVersion::from_name(name), Some(MetadataVersion(level)), "{name}");
        }
        assert_eq!(MetadataVersion::from_name("4.5-IV0"), None, "unstable");
        assert_eq!(MetadataVersion::from_name(""), None);
        assert_eq!(MetadataVersion(34).name(), "4.5-IV0");
        assert_eq!(MetadataVersion(99).name(), "unknown");
        assert_eq!(
            find(METADATA_VERSION).map(|feature| feature.max),
            Some(MetadataVersion::LATEST.0)
        );
        assert!(FEATURES.is_sorted_by_key(|feature| feature.name));
    }
}
