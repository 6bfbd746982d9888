//! Registered nodes.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Such as `PLAINTEXT`.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// Lowest.
    pub min: i16,
    /// Highest.
    pub max: i16,
}

/// A broker that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its id.
    pub id: BrokerId,
    /// The offset at which it registered: tells its lives apart.
    pub epoch: i64,
    /// Made anew by each start of the process.
    pub incarnation: Uuid,
    /// In the broker's order.
    pub listeners: Vec<Listener>,
    /// Supported features by name.
    pub features: BTreeMap<String, VersionRange>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Not yet ready or not heard from: leads nothing and is in no ISR.
    pub fenced: bool,
    /// Handing over its leaderships.
    pub in_controlled_shutdown: bool,
    /// Left over from a migration from ZooKeeper.
    pub is_migrating_zk_broker: bool,
    /// Ids of its log directories that are online, sorted.
    pub log_dirs: Vec<Uuid>,
    /// Directories that get no new replicas; `None` if never told.
    pub cordoned_dirs: Option<Vec<Uuid>>,
}

/// A controller that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Its id.
    pub id: BrokerId,
    /// Made anew by each start of the process.
    pub incarnation: Uuid,
    /// Left over from a migration from ZooKeeper.
    pub zk_migration_ready: bool,
    /// In the controller's order.
    pub listeners: Vec<Listener>,
    /// Supported features by name.
    pub features: BTreeMap<String, VersionRange>,
}

impl BrokerRegistration {
    /// The listener with this name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }

    /// Whether new leaderships may go here: not fenced and not shutting down.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}
