//! The immutable picture of the cluster's metadata.

mod cluster;
pub(crate) mod convert;
pub(crate) mod replay;
mod security;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp};

use crate::features::{ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};

pub use cluster::{BrokerRegistration, ControllerRegistration, Listener, VersionRange};
pub use replay::ReplayError;
pub use security::{Acl, DelegationToken, QuotaEntity, ScramCredential};
pub use topics::{LeaderRecovery, PartitionImage, TopicImage};

/// Up to where the log was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// The last applied offset, control records included; [`Offset::NONE`] if none.
    pub offset: Offset,
    /// The leader epoch of the last applied batch.
    pub epoch: LeaderEpoch,
    /// The largest timestamp of the last applied batch.
    pub timestamp: Timestamp,
}

impl Default for Provenance {
    fn default() -> Self {
        Self { offset: Offset::NONE, epoch: LeaderEpoch::NONE, timestamp: Timestamp::NONE }
    }
}

/// What a configuration value belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// [`ConfigResource::TOPIC`] and so on: the number that records and requests carry.
    pub kind: i8,
    /// Topic or group name, broker id in decimal; empty for the default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// Resource type of topics.
    pub const TOPIC: i8 = 2;
    /// Resource type of brokers.
    pub const BROKER: i8 = 4;
    /// Resource type of client metrics subscriptions (KIP-714).
    pub const CLIENT_METRICS: i8 = 16;
    /// Resource type of groups (KIP-848).
    pub const GROUP: i8 = 32;

    /// A resource of any type.
    #[must_use]
    pub fn new(kind: i8, name: &str) -> Self {
        Self { kind, name: name.into() }
    }

    /// A topic.
    #[must_use]
    pub fn topic(name: &str) -> Self {
        Self::new(Self::TOPIC, name)
    }

    /// One broker.
    #[must_use]
    pub fn broker(id: BrokerId) -> Self {
        Self::new(Self::BROKER, &id.to_string())
    }

    /// The default of all brokers.
    #[must_use]
    pub fn default_broker() -> Self {
        Self::new(Self::BROKER, "")
    }

    /// A group.
    #[must_use]
    pub fn group(id: &str) -> Self {
        Self::new(Self::GROUP, id)
    }
}

/// The dynamic values of one resource, by key name.
pub type ConfigMap = BTreeMap<String, String>;

/// Everything that the metadata log says. Cloning takes a few reference counts; changing a clone
/// copies only what changes (persistent maps with shared leaves), so an image per batch is cheap
/// with 20,000 partitions.
///
/// Every record type has its place here, also those that nothing reads yet: a snapshot written by
/// this node must lose nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    provenance: Provenance,
    /// Finalized levels by feature name, also of features unknown here.
    features: OrdMap<Arc<str>, i16>,
    topics: OrdMap<Uuid, Arc<TopicImage>>,
    topic_ids: OrdMap<Arc<str>, Uuid>,
    /// Topic names by [`crate::names::collision_key`].
    colliding: OrdMap<Arc<str>, Arc<Vec<Arc<str>>>>,
    brokers: OrdMap<BrokerId, Arc<BrokerRegistration>>,
    controllers: OrdMap<BrokerId, Arc<ControllerRegistration>>,
    configs: OrdMap<ConfigResource, Arc<ConfigMap>>,
    quotas: OrdMap<QuotaEntity, Arc<BTreeMap<String, f64>>>,
    scram: OrdMap<(i8, Arc<str>), Arc<ScramCredential>>,
    acls: OrdMap<Uuid, Arc<Acl>>,
    tokens: OrdMap<Arc<str>, Arc<DelegationToken>>,
    next_producer_id: Option<ProducerIdBlock>,
    zk_migration_state: Option<i8>,
}

/// The last given block of producer ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The broker that got the last block.
    pub broker: BrokerId,
    /// Its epoch.
    pub broker_epoch: i64,
    /// The first id that nobody has.
    pub next: i64,
}

impl Image {
    /// Up to where the log was applied. Its offset is the finalized features epoch of ApiVersions.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Moves the image to another place in the log, after the records up to there were applied.
    pub fn set_provenance(&mut self, provenance: Provenance) {
        self.provenance = provenance;
    }

    /// The topic with this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicImage> {
        self.topic_by_id(*self.topic_ids.get(name)?)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&TopicImage> {
        self.topics.get(&id).map(Arc::as_ref)
    }

    /// The topic with this id, to keep.
    #[must_use]
    pub fn topic_arc(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &TopicImage> {
        self.topic_ids.values().filter_map(|id| self.topic_by_id(*id))
    }

    /// All topics whose names are at or after `from`, in the order of their names.
    pub fn topics_from<'a>(&'a self, from: &str) -> impl Iterator<Item = &'a TopicImage> {
        self.topic_ids.range(Arc::<str>::from(from)..).filter_map(|(_, id)| self.topic_by_id(*id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, topic: Uuid, index: PartitionIndex) -> Option<&PartitionImage> {
        self.topic_by_id(topic)?.partition(index)
    }

    /// A topic whose name differs from `name` only in `.` and `_`.
    #[must_use]
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        let key = crate::names::collision_key(name)?;
        let names = self.colliding.get(key.as_str())?;
        names.iter().map(Arc::as_ref).find(|other| *other != name)
    }

    /// All registered brokers, fenced or not, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.values().map(Arc::as_ref)
    }

    /// How many brokers are registered.
    #[must_use]
    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// One registered broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id).map(Arc::as_ref)
    }

    /// Whether the broker is registered and not fenced.
    #[must_use]
    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| !broker.fenced)
    }

    /// All registered controllers, by id.
    pub fn controllers(&self) -> impl Iterator<Item = &ControllerRegistration> {
        self.controllers.values().map(Arc::as_ref)
    }

    /// One registered controller.
    #[must_use]
    pub fn controller(&self, id: BrokerId) -> Option<&ControllerRegistration> {
        self.controllers.get(&id).map(Arc::as_ref)
    }

    /// The dynamic values of a resource; `None` if it has none.
    #[must_use]
    pub fn config(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        self.configs.get(resource).map(Arc::as_ref)
    }

    /// One dynamic value.
    #[must_use]
    pub fn config_value(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.config(resource)?.get(key).map(String::as_str)
    }

    /// All resources that have dynamic values.
    pub fn configs(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.configs.iter().map(|(resource, map)| (resource, map.as_ref()))
    }

    /// Client quotas by entity.
    pub fn quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<String, f64>)> {
        self.quotas.iter().map(|(entity, map)| (entity, map.as_ref()))
    }

    /// The quotas set for exactly this entity.
    #[must_use]
    pub fn quota(&self, entity: &QuotaEntity) -> Option<&BTreeMap<String, f64>> {
        self.quotas.get(entity).map(Arc::as_ref)
    }

    /// SCRAM credentials by mechanism (1 SHA-256, 2 SHA-512) and user.
    pub fn scram_credentials(&self) -> impl Iterator<Item = (i8, &str, &ScramCredential)> {
        self.scram
            .iter()
            .map(|((mechanism, user), found)| (*mechanism, user.as_ref(), found.as_ref()))
    }

    /// One SCRAM credential.
    #[must_use]
    pub fn scram_credential(&self, mechanism: i8, user: &str) -> Option<&ScramCredential> {
        self.scram.get(&(mechanism, Arc::from(user))).map(Arc::as_ref)
    }

    /// Access control entries by id.
    pub fn acls(&self) -> impl Iterator<Item = (Uuid, &Acl)> {
        self.acls.iter().map(|(id, acl)| (*id, acl.as_ref()))
    }

    /// Delegation tokens by token id.
    pub fn delegation_tokens(&self) -> impl Iterator<Item = (&str, &DelegationToken)> {
        self.tokens.iter().map(|(id, token)| (id.as_ref(), token.as_ref()))
    }

    /// One delegation token.
    #[must_use]
    pub fn delegation_token(&self, id: &str) -> Option<&DelegationToken> {
        self.tokens.get(id).map(Arc::as_ref)
    }

    /// Finalized feature levels by name; kraft.version is not among them (see `ottla-raft`).
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_ref(), *level))
    }

    /// The finalized level of a feature; 0 if it is off.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        debug_assert_ne!(name, KRAFT_VERSION, "kraft.version is known to the quorum");
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The finalized metadata.version.
    #[must_use]
    pub fn metadata_version(&self) -> MetadataVersion {
        self.features
            .get(METADATA_VERSION)
            .map_or(MetadataVersion::MINIMUM, |level| MetadataVersion(*level))
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    #[must_use]
    pub fn elr_enabled(&self) -> bool {
        self.feature(ELR_VERSION) >= 1
    }

    /// The last given block of producer ids.
    #[must_use]
    pub fn producer_id_block(&self) -> Option<ProducerIdBlock> {
        self.next_producer_id
    }

    /// What is left of a migration from ZooKeeper.
    #[must_use]
    pub fn zk_migration_state(&self) -> Option<i8> {
        self.zk_migration_state
    }
}
