//! Records of the metadata log with the version in which they are written.

use ottla_protocol::MetadataRecord;

/// A record and its version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionedRecord {
    /// What changes.
    pub record: MetadataRecord,
    /// The schema version, chosen by the finalized metadata.version.
    pub version: i16,
}

impl VersionedRecord {
    /// A record written in version 0.
    #[must_use]
    pub fn v0(record: impl Into<MetadataRecord>) -> Self {
        Self::new(record, 0)
    }

    /// A record written in `version`.
    #[must_use]
    pub fn new(record: impl Into<MetadataRecord>, version: i16) -> Self {
        Self { record: record.into(), version }
    }
}

/// The schema's name of a record.
#[must_use]
pub fn record_name(record: &MetadataRecord) -> &'static str {
    use MetadataRecord as R;
    match record {
        R::RegisterBroker(_) => "RegisterBrokerRecord",
        R::UnregisterBroker(_) => "UnregisterBrokerRecord",
        R::Topic(_) => "TopicRecord",
        R::Partition(_) => "PartitionRecord",
        R::Config(_) => "ConfigRecord",
        R::PartitionChange(_) => "PartitionChangeRecord",
        R::FenceBroker(_) => "FenceBrokerRecord",
        R::UnfenceBroker(_) => "UnfenceBrokerRecord",
        R::RemoveTopic(_) => "RemoveTopicRecord",
        R::DelegationToken(_) => "DelegationTokenRecord",
        R::UserScramCredential(_) => "UserScramCredentialRecord",
        R::FeatureLevel(_) => "FeatureLevelRecord",
        R::ClientQuota(_) => "ClientQuotaRecord",
        R::ProducerIds(_) => "ProducerIdsRecord",
        R::BrokerRegistrationChange(_) => "BrokerRegistrationChangeRecord",
        R::AccessControlEntry(_) => "AccessControlEntryRecord",
        R::RemoveAccessControlEntry(_) => "RemoveAccessControlEntryRecord",
        R::NoOp(_) => "NoOpRecord",
        R::ZkMigrationState(_) => "ZkMigrationStateRecord",
        R::RemoveUserScramCredential(_) => "RemoveUserScramCredentialRecord",
        R::BeginTransaction(_) => "BeginTransactionRecord",
        R::EndTransaction(_) => "EndTransactionRecord",
        R::AbortTransaction(_) => "AbortTransactionRecord",
        R::RemoveDelegationToken(_) => "RemoveDelegationTokenRecord",
        R::RegisterController(_) => "RegisterControllerRecord",
        R::ClearElr(_) => "ClearElrRecord",
        R::UnregisterController(_) => "UnregisterControllerRecord",
    }
}
