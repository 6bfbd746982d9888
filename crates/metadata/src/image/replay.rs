//! The only place where an image changes.

use std::sync::Arc;

use ottla_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use ottla_protocol::messages as m;
use ottla_protocol::{MetadataRecord, Uuid};

use super::convert::{directories, ids, recovery, set_or_remove};
use super::{
    Acl, BrokerRegistration, ConfigResource, ControllerRegistration, DelegationToken, Image,
    PartitionImage, ProducerIdBlock, QuotaEntity, ScramCredential, TopicImage,
};
use crate::record::record_name;

/// A record that does not fit the image: the log is damaged, or a record of it was lost. A node must
/// stop at it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A change of a topic that does not exist.
    #[error("{record} names the topic id {topic}, which no earlier record made")]
    UnknownTopic {
        /// The record's name.
        record: &'static str,
        /// The id.
        topic: Uuid,
    },
    /// A change of a partition that does not exist.
    #[error(
        "PartitionChangeRecord names partition {index} of the topic id {topic}, which no earlier record made"
    )]
    UnknownPartition {
        /// The topic.
        topic: Uuid,
        /// The partition.
        index: PartitionIndex,
    },
    /// A second topic with the name of an existing one.
    #[error("TopicRecord makes a second topic {0:?}")]
    DuplicateTopic(String),
    /// A change of a broker that is not registered with that epoch.
    #[error("{record} names broker {id} with epoch {epoch}, which is not registered so")]
    UnknownBroker {
        /// The record's name.
        record: &'static str,
        /// The broker.
        id: BrokerId,
        /// The epoch in the record.
        epoch: i64,
    },
    /// As many directories as replicas are needed, or none.
    #[error("a partition has {replicas} replicas and {directories} directories")]
    Directories {
        /// Number of replicas.
        replicas: usize,
        /// Number of directories.
        directories: usize,
    },
    /// A leader recovery state that is not known.
    #[error("leader recovery state {0} is unknown")]
    LeaderRecovery(i8),
    /// Transaction markers are for [`crate::Loader`].
    #[error("{0} outside of the loader, or in a snapshot")]
    Transaction(&'static str),
    /// A transaction in a transaction, or an end without a begin.
    #[error("{0} where no such marker can be")]
    MisplacedMarker(&'static str),
}

impl Image {
    /// Applies one record.
    ///
    /// # Errors
    /// A record that does not fit; the image is unchanged then.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        use MetadataRecord as R;
        match record {
            R::Topic(_)
            | R::RemoveTopic(_)
            | R::Partition(_)
            | R::PartitionChange(_)
            | R::ClearElr(_) => {
                self.apply_topic(record)?;
            }
            R::RegisterBroker(_)
            | R::UnregisterBroker(_)
            | R::FenceBroker(_)
            | R::UnfenceBroker(_)
            | R::BrokerRegistrationChange(_)
            | R::RegisterController(_)
            | R::UnregisterController(_) => self.apply_node(record)?,
            R::UserScramCredential(_)
            | R::RemoveUserScramCredential(_)
            | R::AccessControlEntry(_)
            | R::RemoveAccessControlEntry(_)
            | R::DelegationToken(_)
            | R::RemoveDelegationToken(_) => self.apply_security(record),
            R::Config(record) => self.config_record(record),
            R::ClientQuota(record) => self.quota_record(record),
            R::FeatureLevel(record) => self.feature_record(record),
            R::ProducerIds(record) => {
                let (broker, broker_epoch) = (BrokerId(record.broker_id), record.broker_epoch);
                let block = ProducerIdBlock { broker, broker_epoch, next: record.next_producer_id };
                self.next_producer_id = Some(block);
            }
            R::ZkMigrationState(record) => {
                self.zk_migration_state = Some(record.zk_migration_state)
            }
            R::NoOp(_) => {}
            R::BeginTransaction(_) | R::EndTransaction(_) | R::AbortTransaction(_) => {
                return Err(ReplayError::Transaction(record_name(record)));
            }
        }
        Ok(())
    }

    fn apply_topic(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::Topic(record) => self.topic_record(record),
            MetadataRecord::RemoveTopic(record) => self.remove_topic_record(record.topic_id),
            MetadataRecord::Partition(record) => {
                let partition = Arc::new(PartitionImage::from_record(record)?);
                let unknown = || ReplayError::UnknownTopic {
                    record: "PartitionRecord",
                    topic: record.topic_id,
                };
                let topic = self.topics.get_mut(&record.topic_id).ok_or_else(unknown)?;
                Arc::make_mut(topic)
                    .partitions
                    .insert(PartitionIndex(record.partition_id), partition);
                Ok(())
            }
            MetadataRecord::PartitionChange(record) => self.partition_change_record(record),
            MetadataRecord::ClearElr(record) => self.clear_elr_record(&record.topic_name),
            _ => Ok(()),
        }
    }

    fn topic_record(&mut self, record: &m::TopicRecord) -> Result<(), ReplayError> {
        let name: Arc<str> = Arc::from(&*record.name);
        if self.topic_ids.contains_key(&name) {
            return Err(ReplayError::DuplicateTopic(name.to_string()));
        }
        let id = record.topic_id;
        self.topic_ids.insert(name.clone(), id);
        if let Some(key) = crate::names::collision_key(&name) {
            let names = self.colliding.entry(Arc::from(key)).or_default();
            Arc::make_mut(names).push(name.clone());
        }
        self.topics.insert(id, Arc::new(TopicImage { id, name, partitions: imbl::OrdMap::new() }));
        Ok(())
    }

    fn remove_topic_record(&mut self, id: Uuid) -> Result<(), ReplayError> {
        let unknown = ReplayError::UnknownTopic { record: "RemoveTopicRecord", topic: id };
        let topic = self.topics.remove(&id).ok_or(unknown)?;
        self.topic_ids.remove(&topic.name);
        self.configs
            .remove(&ConfigResource { kind: ConfigResource::TOPIC, name: topic.name.clone() });
        if let Some(key) = crate::names::collision_key(&topic.name) {
            let names = self.colliding.get(key.as_str()).map(|names| names.as_ref().clone());
            let others: Vec<_> =
                names.into_iter().flatten().filter(|name| *name != topic.name).collect();
            if others.is_empty() {
                self.colliding.remove(key.as_str());
            } else {
                self.colliding.insert(Arc::from(key), Arc::new(others));
            }
        }
        Ok(())
    }

    fn partition_change_record(
        &mut self,
        record: &m::PartitionChangeRecord,
    ) -> Result<(), ReplayError> {
        let (topic, index) = (record.topic_id, PartitionIndex(record.partition_id));
        let unknown = ReplayError::UnknownTopic { record: "PartitionChangeRecord", topic };
        let image = self.topics.get_mut(&topic).ok_or(unknown)?;
        let old = image.partition(index).ok_or(ReplayError::UnknownPartition { topic, index })?;
        let new = old.changed_by(record)?;
        Arc::make_mut(image).partitions.insert(index, Arc::new(new));
        Ok(())
    }

    /// An empty name means all topics. The partition epochs stay, as in Kafka.
    fn clear_elr_record(&mut self, name: &str) -> Result<(), ReplayError> {
        let ids: Vec<Uuid> = match name {
            "" => self.topics.keys().copied().collect(),
            _ => self.topic_ids.get(name).copied().into_iter().collect(),
        };
        for id in ids {
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            let with_elr = |p: &PartitionImage| !p.elr.is_empty() || !p.last_known_elr.is_empty();
            let found: Vec<_> = topic
                .partitions()
                .filter(|(_, p)| with_elr(p))
                .map(|(at, p)| (at, p.clone()))
                .collect();
            for (index, mut partition) in found {
                partition.elr.clear();
                partition.last_known_elr.clear();
                Arc::make_mut(topic).partitions.insert(index, Arc::new(partition));
            }
        }
        Ok(())
    }

    fn apply_node(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        let name = record_name(record);
        match record {
            MetadataRecord::RegisterBroker(record) => {
                let broker = BrokerRegistration::from_record(record);
                self.brokers.insert(broker.id, Arc::new(broker));
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.registered(name, record.broker_id, record.broker_epoch)?;
                self.brokers.remove(&BrokerId(record.broker_id));
            }
            MetadataRecord::FenceBroker(record) => {
                self.registered(name, record.id, record.epoch)?.fenced = true;
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.registered(name, record.id, record.epoch)?.fenced = false;
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                let broker = self.registered(name, record.broker_id, record.broker_epoch)?;
                match record.fenced {
                    1.. => broker.fenced = true,
                    0 => {}
                    _ => broker.fenced = false,
                }
                broker.in_controlled_shutdown |= record.in_controlled_shutdown > 0;
                if !record.log_dirs.is_empty() {
                    broker.log_dirs.clone_from(&record.log_dirs);
                }
                if let Some(cordoned) = &record.cordoned_log_dirs {
                    broker.cordoned_dirs = Some(cordoned.clone());
                }
            }
            MetadataRecord::RegisterController(record) => {
                let controller = ControllerRegistration::from_record(record);
                self.controllers.insert(controller.id, Arc::new(controller));
            }
            MetadataRecord::UnregisterController(record) => {
                self.controllers.remove(&BrokerId(record.controller_id));
            }
            _ => {}
        }
        Ok(())
    }

    fn registered(
        &mut self,
        record: &'static str,
        id: i32,
        epoch: i64,
    ) -> Result<&mut BrokerRegistration, ReplayError> {
        let id = BrokerId(id);
        let found = self.brokers.get_mut(&id).filter(|broker| broker.epoch == epoch);
        found.map(Arc::make_mut).ok_or(ReplayError::UnknownBroker { record, id, epoch })
    }

    fn apply_security(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::UserScramCredential(record) => {
                let key = (record.mechanism, Arc::from(&*record.name));
                self.scram.insert(key, Arc::new(ScramCredential::from_record(record)));
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                self.scram.remove(&(record.mechanism, Arc::from(&*record.name)));
            }
            MetadataRecord::AccessControlEntry(record) => {
                self.acls.insert(record.id, Arc::new(Acl::from_record(record)));
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                self.acls.remove(&record.id);
            }
            MetadataRecord::DelegationToken(record) => {
                let token = Arc::new(DelegationToken::from_record(record));
                self.tokens.insert(Arc::from(&*record.token_id), token);
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                self.tokens.remove::<str>(&record.token_id);
            }
            _ => {}
        }
    }

    fn config_record(&mut self, record: &m::ConfigRecord) {
        let resource = ConfigResource::new(record.resource_type, &record.resource_name);
        let mut map =
            self.configs.get(&resource).map(|map| map.as_ref().clone()).unwrap_or_default();
        set_or_remove(&mut map, &record.name, record.value.as_ref().map(ToString::to_string));
        if map.is_empty() {
            self.configs.remove(&resource);
        } else {
            self.configs.insert(resource, Arc::new(map));
        }
    }

    fn quota_record(&mut self, record: &m::ClientQuotaRecord) {
        let entity = QuotaEntity::from_record(record);
        let mut map = self.quotas.get(&entity).map(|map| map.as_ref().clone()).unwrap_or_default();
        set_or_remove(&mut map, &record.key, (!record.remove).then_some(record.value));
        if map.is_empty() {
            self.quotas.remove(&entity);
        } else {
            self.quotas.insert(entity, Arc::new(map));
        }
    }

    fn feature_record(&mut self, record: &m::FeatureLevelRecord) {
        if record.feature_level == 0 {
            self.features.remove::<str>(&record.name);
        } else {
            self.features.insert(Arc::from(&*record.name), record.feature_level);
        }
    }
}

impl PartitionImage {
    /// The state after a change: every change raises the partition epoch, one that names a leader
    /// (even the same) also the leader epoch.
    ///
    /// # Errors
    /// Directories that do not fit the replicas.
    pub fn changed_by(&self, record: &m::PartitionChangeRecord) -> Result<Self, ReplayError> {
        let mut new = self.clone();
        if let Some(replicas) = &record.replicas {
            new.directories = self.directories_for(&ids(replicas));
            new.replicas = ids(replicas);
        }
        if let Some(given) = record.directories.as_deref().filter(|given| !given.is_empty()) {
            new.directories = directories(given, new.replicas.len())?;
        }
        let lists = [
            (&record.isr, &mut new.isr),
            (&record.removing_replicas, &mut new.removing),
            (&record.adding_replicas, &mut new.adding),
            (&record.eligible_leader_replicas, &mut new.elr),
            (&record.last_known_elr, &mut new.last_known_elr),
        ];
        for (given, list) in lists {
            if let Some(given) = given {
                *list = ids(given);
            }
        }
        if record.leader != NO_LEADER_CHANGE {
            new.leader = BrokerId(record.leader);
            new.leader_epoch = LeaderEpoch(self.leader_epoch.0.saturating_add(1));
        }
        if record.leader_recovery_state >= 0 {
            new.leader_recovery = recovery(record.leader_recovery_state)?;
        }
        new.partition_epoch = self.partition_epoch.saturating_add(1);
        Ok(new)
    }

    /// The directories for other replicas: known ones stay, new ones are not assigned yet.
    #[must_use]
    pub fn directories_for(&self, replicas: &[BrokerId]) -> Vec<Uuid> {
        let unassigned = crate::placement::UNASSIGNED_DIRECTORY;
        replicas.iter().map(|id| self.directory_of(*id).unwrap_or(unassigned)).collect()
    }
}

/// The leader in a PartitionChangeRecord that changes no leader.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;
