//! Records to parts of the image, and back for snapshots.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use ottla_protocol::messages::{
    self as m, register_broker_record as rb, register_controller_record as rc,
};

use super::{
    Acl, BrokerRegistration, ConfigResource, ControllerRegistration, DelegationToken,
    LeaderRecovery, Listener, PartitionImage, QuotaEntity, ReplayError, ScramCredential,
    VersionRange,
};
use crate::features::MetadataVersion;
use crate::record::VersionedRecord;

pub(crate) fn ids(raw: &[i32]) -> Vec<BrokerId> {
    raw.iter().copied().map(BrokerId).collect()
}

pub(crate) fn raw_ids(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

pub(crate) fn text(text: &str) -> ByteString {
    ByteString::from(text.to_owned())
}

/// Record bodies are slices of whole batches: what stays must be copied.
fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

impl LeaderRecovery {
    /// The number in records.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// From the number in records and requests.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

pub(super) fn recovery(code: i8) -> Result<LeaderRecovery, ReplayError> {
    LeaderRecovery::from_code(code).ok_or(ReplayError::LeaderRecovery(code))
}

/// The directories of `replicas`: those given, or "unassigned" for each (before metadata.version 17).
pub(super) fn directories(given: &[Uuid], replicas: usize) -> Result<Vec<Uuid>, ReplayError> {
    match given.len() {
        0 => Ok(vec![crate::placement::UNASSIGNED_DIRECTORY; replicas]),
        len if len == replicas => Ok(given.to_vec()),
        len => Err(ReplayError::Directories { replicas, directories: len }),
    }
}

impl PartitionImage {
    pub(super) fn from_record(record: &m::PartitionRecord) -> Result<Self, ReplayError> {
        let list = |given: &Option<Vec<i32>>| given.as_deref().map(ids).unwrap_or_default();
        Ok(Self {
            replicas: ids(&record.replicas),
            directories: directories(&record.directories, record.replicas.len())?,
            isr: ids(&record.isr),
            removing: ids(&record.removing_replicas),
            adding: ids(&record.adding_replicas),
            elr: list(&record.eligible_leader_replicas),
            last_known_elr: list(&record.last_known_elr),
            leader: BrokerId(record.leader),
            leader_recovery: recovery(record.leader_recovery_state)?,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        })
    }

    /// The record that makes this partition. Fields that `version` cannot carry are left out.
    #[must_use]
    pub fn to_record(
        &self,
        topic: Uuid,
        index: PartitionIndex,
        version: i16,
    ) -> m::PartitionRecord {
        let list = |ids: &[BrokerId]| (version >= 2 && !ids.is_empty()).then(|| raw_ids(ids));
        m::PartitionRecord {
            partition_id: index.0,
            topic_id: topic,
            replicas: raw_ids(&self.replicas),
            isr: raw_ids(&self.isr),
            removing_replicas: raw_ids(&self.removing),
            adding_replicas: raw_ids(&self.adding),
            leader: self.leader.0,
            leader_recovery_state: self.leader_recovery.code(),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: if version >= 1 { self.directories.clone() } else { Vec::new() },
            eligible_leader_replicas: list(&self.elr),
            last_known_elr: list(&self.last_known_elr),
            ..Default::default()
        }
    }
}

impl BrokerRegistration {
    pub(super) fn from_record(record: &m::RegisterBrokerRecord) -> Self {
        let listener = |end: &rb::BrokerEndpoint| Listener {
            name: end.name.to_string(),
            host: end.host.to_string(),
            port: end.port,
            security_protocol: end.security_protocol,
        };
        let range = |feature: &rb::BrokerFeature| {
            let (min, max) = (feature.min_supported_version, feature.max_supported_version);
            (feature.name.to_string(), VersionRange { min, max })
        };
        Self {
            id: BrokerId(record.broker_id),
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            listeners: record.end_points.iter().map(listener).collect(),
            features: record.features.iter().map(range).collect(),
            rack: record.rack.as_ref().map(ToString::to_string),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            log_dirs: record.log_dirs.clone(),
            cordoned_dirs: record.cordoned_log_dirs.clone(),
        }
    }

    /// The record that makes this registration.
    #[must_use]
    pub fn to_record(&self, version: MetadataVersion) -> m::RegisterBrokerRecord {
        let end_point = |listener: &Listener| rb::BrokerEndpoint {
            name: text(&listener.name),
            host: text(&listener.host),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..Default::default()
        };
        let feature = |(name, range): (&String, &VersionRange)| rb::BrokerFeature {
            name: text(name),
            min_supported_version: range.min,
            max_supported_version: range.max,
            ..Default::default()
        };
        m::RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation,
            broker_epoch: self.epoch,
            end_points: self.listeners.iter().map(end_point).collect(),
            features: self.features.iter().map(feature).collect(),
            rack: self.rack.as_deref().map(text),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: if version.has_directories() { self.log_dirs.clone() } else { Vec::new() },
            cordoned_log_dirs: self.cordoned_dirs.clone().filter(|_| version.has_cordoned_dirs()),
            ..Default::default()
        }
    }
}

impl ControllerRegistration {
    pub(super) fn from_record(record: &m::RegisterControllerRecord) -> Self {
        let listener = |end: &rc::ControllerEndpoint| Listener {
            name: end.name.to_string(),
            host: end.host.to_string(),
            port: end.port,
            security_protocol: end.security_protocol,
        };
        let range = |feature: &rc::ControllerFeature| {
            let (min, max) = (feature.min_supported_version, feature.max_supported_version);
            (feature.name.to_string(), VersionRange { min, max })
        };
        Self {
            id: BrokerId(record.controller_id),
            incarnation: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            listeners: record.end_points.iter().map(listener).collect(),
            features: record.features.iter().map(range).collect(),
        }
    }

    /// The record that makes this registration.
    #[must_use]
    pub fn to_record(&self) -> m::RegisterControllerRecord {
        let end_point = |listener: &Listener| rc::ControllerEndpoint {
            name: text(&listener.name),
            host: text(&listener.host),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..Default::default()
        };
        let feature = |(name, range): (&String, &VersionRange)| rc::ControllerFeature {
            name: text(name),
            min_supported_version: range.min,
            max_supported_version: range.max,
            ..Default::default()
        };
        m::RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self.listeners.iter().map(end_point).collect(),
            features: self.features.iter().map(feature).collect(),
            ..Default::default()
        }
    }
}

impl ConfigResource {
    /// The record that sets (`Some`) or removes a value of this resource.
    #[must_use]
    pub fn to_record(&self, key: &str, value: Option<&str>) -> VersionedRecord {
        VersionedRecord::v0(m::ConfigRecord {
            resource_type: self.kind,
            resource_name: text(&self.name),
            name: text(key),
            value: value.map(text),
            ..Default::default()
        })
    }
}

impl QuotaEntity {
    pub(super) fn from_record(record: &m::ClientQuotaRecord) -> Self {
        let part = |part: &m::client_quota_record::EntityData| {
            (part.entity_type.to_string(), part.entity_name.as_ref().map(ToString::to_string))
        };
        Self(record.entity.iter().map(part).collect())
    }

    /// The record that sets one quota (`Some`) or removes it.
    #[must_use]
    pub fn to_record(&self, key: &str, value: Option<f64>) -> m::ClientQuotaRecord {
        let part = |(kind, name): (&String, &Option<String>)| m::client_quota_record::EntityData {
            entity_type: text(kind),
            entity_name: name.as_deref().map(text),
            ..Default::default()
        };
        m::ClientQuotaRecord {
            entity: self.0.iter().map(part).collect(),
            key: text(key),
            value: value.unwrap_or(0.0),
            remove: value.is_none(),
            ..Default::default()
        }
    }
}

impl ScramCredential {
    pub(super) fn from_record(record: &m::UserScramCredentialRecord) -> Self {
        Self {
            salt: copied(&record.salt),
            stored_key: copied(&record.stored_key),
            server_key: copied(&record.server_key),
            iterations: record.iterations,
        }
    }

    /// The record that sets this credential.
    #[must_use]
    pub fn to_record(&self, mechanism: i8, user: &str) -> m::UserScramCredentialRecord {
        m::UserScramCredentialRecord {
            name: text(user),
            mechanism,
            salt: self.salt.clone(),
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
            iterations: self.iterations,
            ..Default::default()
        }
    }
}

impl Acl {
    pub(super) fn from_record(record: &m::AccessControlEntryRecord) -> Self {
        Self {
            id: record.id,
            resource_type: record.resource_type,
            resource_name: record.resource_name.to_string(),
            pattern_type: record.pattern_type,
            principal: record.principal.to_string(),
            host: record.host.to_string(),
            operation: record.operation,
            permission: record.permission_type,
        }
    }

    /// The record that makes this rule.
    #[must_use]
    pub fn to_record(&self) -> m::AccessControlEntryRecord {
        m::AccessControlEntryRecord {
            id: self.id,
            resource_type: self.resource_type,
            resource_name: text(&self.resource_name),
            pattern_type: self.pattern_type,
            principal: text(&self.principal),
            host: text(&self.host),
            operation: self.operation,
            permission_type: self.permission,
            ..Default::default()
        }
    }
}

impl DelegationToken {
    pub(super) fn from_record(record: &m::DelegationTokenRecord) -> Self {
        Self {
            owner: record.owner.to_string(),
            requester: record.requester.to_string(),
            renewers: record.renewers.iter().map(ToString::to_string).collect(),
            issued: record.issue_timestamp,
            max: record.max_timestamp,
            expires: record.expiration_timestamp,
        }
    }

    /// The record that makes this token.
    #[must_use]
    pub fn to_record(&self, id: &str) -> m::DelegationTokenRecord {
        m::DelegationTokenRecord {
            owner: text(&self.owner),
            requester: text(&self.requester),
            renewers: self.renewers.iter().map(|renewer| text(renewer)).collect(),
            issue_timestamp: self.issued,
            max_timestamp: self.max,
            expiration_timestamp: self.expires,
            token_id: text(id),
            ..Default::default()
        }
    }
}

/// Sets (`Some`) or removes one value.
pub(super) fn set_or_remove<V>(map: &mut BTreeMap<String, V>, key: &str, value: Option<V>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}
