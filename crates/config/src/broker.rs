//! The configuration of a node: the layers, the effective values, and what is derived from several
//! keys.

use std::collections::BTreeMap;
use std::fmt;

use crate::checks;
use crate::def::{Default, KeyDef, UpdateMode};
use crate::error::{ConfigError, Warning};
use crate::key::{Key, KeyType};
use crate::keys::{self, Kind, find_broker};
use crate::listener::{Listener, SecurityProtocol, Server, Voter, server, voter};
use crate::network::{Input, Network};
use crate::properties;
use crate::value::Value;

/// What a node without configuration file runs with: one broker and controller on this machine, as
/// in the `server.properties` Kafka is packaged with. The data directory is the caller's choice.
pub const PACKAGED: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.quorum.bootstrap.servers", "localhost:9093"),
    ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
    ("controller.listener.names", "CONTROLLER"),
    (
        "listener.security.protocol.map",
        "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
    ),
    ("num.network.threads", "3"),
    ("num.io.threads", "8"),
    ("socket.send.buffer.bytes", "102400"),
    ("socket.receive.buffer.bytes", "102400"),
    ("socket.request.max.bytes", "104857600"),
    ("num.partitions", "1"),
    ("num.recovery.threads.per.data.dir", "2"),
    ("offsets.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("log.retention.hours", "168"),
    ("log.segment.bytes", "1073741824"),
    ("log.retention.check.interval.ms", "300000"),
];

/// Where a value comes from, as `DescribeConfigs` numbers it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set dynamically for this broker.
    DynamicBroker = 2,
    /// Set dynamically for all brokers.
    DynamicDefaultBroker = 3,
    /// In the file or on the command line.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
    /// Level of a logger.
    DynamicBrokerLogger = 6,
    /// Set on the client metrics subscription.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

/// Settings by name, unparsed, as the metadata log has them.
pub type Settings = BTreeMap<String, String>;

/// A node's configuration. Immutable: dynamic changes make a new one with [`Self::with_dynamic`].
#[derive(Clone)]
pub struct BrokerConfig {
    file: Settings,
    cluster: Settings,
    broker: Settings,
    /// Effective values, by [`Key::index`].
    values: Vec<Value>,
    network: Network,
}

/// Shows names only: the values may be passwords.
impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |settings: &Settings| settings.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("BrokerConfig")
            .field("file", &names(&self.file))
            .field("cluster", &names(&self.cluster))
            .field("broker", &names(&self.broker))
            .finish_non_exhaustive()
    }
}

impl BrokerConfig {
    /// Reads `server.properties` (its text; `None` means the packaged configuration) and settings
    /// that win over it, such as those of the command line. Keys nobody declared are warnings.
    ///
    /// # Errors
    /// The first line, value or combination of keys that cannot be used.
    pub fn load(
        file: Option<&str>,
        overrides: &[(&str, &str)],
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut settings: Settings = match file {
            Some(text) => properties::parse(text)?.into_iter().map(|p| (p.key, p.value)).collect(),
            None => owned(PACKAGED),
        };
        settings.extend(owned(overrides));
        let warnings = unknown(&settings);
        spell_node_id(&mut settings);
        for (name, text) in &settings {
            if let Some(row) = find_broker(name) {
                row.parse(text)?;
            }
        }
        for row in Kind::Broker.keys().filter(|row| row.default == Default::Required) {
            if !settings.contains_key(row.name) {
                return Err(missing(row, &settings));
            }
        }
        let mut values = Vec::new();
        for row in Kind::Broker.keys() {
            values.push(match settings.get(row.name) {
                Some(text) => row.parse(text)?,
                None => row.default_value(),
            });
        }
        let network = network(&settings, &values)?;
        let config = Self {
            file: settings,
            cluster: Settings::new(),
            broker: Settings::new(),
            values,
            network,
        };
        checks::check(&config)?;
        Ok((config, warnings))
    }

    /// The same file with other dynamic settings: those of all brokers, and those of this one. A
    /// setting that cannot be used is left out with a warning, so that a node always comes up.
    pub fn with_dynamic(&self, cluster: Settings, broker: Settings) -> (Self, Vec<Warning>) {
        let mut warnings = Vec::new();
        let mut usable = |mut settings: Settings, per_broker: bool| {
            settings.retain(|name, text| {
                let problem = dynamic_problem(name, text, per_broker).map(Warning);
                let fine = problem.is_none();
                warnings.extend(problem);
                fine
            });
            settings
        };
        let (use_cluster, use_broker) = (usable(cluster, false), usable(broker, true));
        let value = |(row, old): (&'static KeyDef, &Value)| {
            let text = use_broker.get(row.name).or_else(|| use_cluster.get(row.name));
            let text = text.or_else(|| self.file.get(row.name));
            match text {
                Some(text) => row.parse(text).unwrap_or_else(|_| old.clone()),
                None => row.default_value(),
            }
        };
        let values: Vec<Value> = Kind::Broker.keys().zip(&self.values).map(value).collect();
        let mut merged = self.file.clone();
        merged.extend(use_cluster.clone());
        merged.extend(use_broker.clone());
        let network = network(&merged, &values).unwrap_or_else(|problem| {
            warnings.push(Warning(format!("the listeners stay as they are: {problem}")));
            self.network.clone()
        });
        let file = self.file.clone();
        (Self { file, cluster: use_cluster, broker: use_broker, values, network }, warnings)
    }

    /// The effective value of a key.
    #[allow(clippy::expect_used, reason = "a handle's type was checked at compile time")]
    pub fn get<T: KeyType>(&self, key: Key<T>) -> T::Read<'_> {
        let value = self.values.get(key.index()).unwrap_or(&Value::Null);
        T::read(value).expect("the value of a row has the row's type")
    }

    /// The effective value of a row of [`Kind::Broker`], by name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let index = Kind::Broker.keys().position(|row| row.name == name)?;
        self.values.get(index)
    }

    /// A setting for one listener, else the general one: `ssl.keystore.location` of listener
    /// `EXTERNAL` is looked up as `listener.name.external.ssl.keystore.location` first.
    pub fn listener_text(&self, listener: &str, key: &str) -> Option<&str> {
        let prefixed = format!("listener.name.{}.{key}", listener.to_ascii_lowercase());
        self.text(&prefixed).or_else(|| self.text(key))
    }

    /// A setting as written, dynamic layers first; `None` if nobody set it.
    pub fn text(&self, name: &str) -> Option<&str> {
        let layers = [&self.broker, &self.cluster, &self.file];
        layers.into_iter().find_map(|layer| layer.get(name)).map(String::as_str)
    }

    /// Whether anybody set the key, at start or dynamically.
    pub fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The layer a source stands for: static, dynamic default or dynamic broker.
    pub fn layer(&self, source: Source) -> Option<&Settings> {
        match source {
            Source::StaticBroker => Some(&self.file),
            Source::DynamicDefaultBroker => Some(&self.cluster),
            Source::DynamicBroker => Some(&self.broker),
            _ => None,
        }
    }

    /// `node.id`, or `broker.id` where only that is set.
    pub fn node_id(&self) -> i32 {
        self.get(keys::NODE_ID).unwrap_or(-1)
    }

    /// Whether `process.roles` has broker.
    pub fn is_broker(&self) -> bool {
        has_role(self.get(keys::PROCESS_ROLES), "broker")
    }

    /// Whether `process.roles` has controller.
    pub fn is_controller(&self) -> bool {
        has_role(self.get(keys::PROCESS_ROLES), "controller")
    }

    /// Data directories: `log.dirs`, else `log.dir`.
    pub fn log_dirs(&self) -> &[String] {
        self.get(keys::LOG_DIRS).unwrap_or_else(|| self.get(keys::LOG_DIR))
    }

    /// Directory of the metadata log: `metadata.log.dir`, else the first data directory.
    pub fn metadata_log_dir(&self) -> &str {
        let first = || self.log_dirs().first().map_or("", String::as_str);
        self.get(keys::METADATA_LOG_DIR).unwrap_or_else(first)
    }

    /// Listeners of the broker role, as bound. An empty host means all interfaces.
    pub fn broker_listeners(&self) -> &[Listener] {
        &self.network.broker
    }

    /// Listeners of the controller role, as bound.
    pub fn controller_listeners(&self) -> &[Listener] {
        &self.network.controller
    }

    /// Whether the same sockets are listened on.
    pub(crate) fn has_listeners_of(&self, other: &Self) -> bool {
        let (own, others) = (&self.network, &other.network);
        own.broker == others.broker && own.controller == others.controller
    }

    /// What clients and brokers are told. An empty host stands for this machine's name, port 0 for
    /// the port the listener got.
    pub fn advertised_listeners(&self) -> &[Listener] {
        &self.network.advertised_broker
    }

    /// What the quorum is told about this controller, empty hosts as above.
    pub fn advertised_controller_listeners(&self) -> &[Listener] {
        &self.network.advertised_controller
    }

    /// Name of the listener brokers reach each other by, upper case.
    pub fn inter_broker_listener(&self) -> &str {
        &self.network.inter_broker
    }

    /// Names of the controllers' listeners, upper case, the preferred one first.
    pub fn controller_listener_names(&self) -> &[String] {
        &self.network.controller_names
    }

    /// The protocol a listener name speaks; of controllers' listeners too, which a node that is
    /// only a broker connects to.
    pub fn protocol(&self, listener: &str) -> Option<SecurityProtocol> {
        let find = |(name, _): &&(String, SecurityProtocol)| name.eq_ignore_ascii_case(listener);
        self.network.protocols.iter().find(find).map(|(_, protocol)| *protocol)
    }

    /// The fixed voters; empty for a quorum whose members can change (KIP-853).
    pub fn quorum_voters(&self) -> Vec<Voter> {
        self.get(keys::CONTROLLER_QUORUM_VOTERS).iter().filter_map(|text| voter(text)).collect()
    }

    /// Controllers to ask at start: the bootstrap servers, else the voters.
    pub fn bootstrap_servers(&self) -> Vec<Server> {
        let texts = self.get(keys::CONTROLLER_QUORUM_BOOTSTRAP_SERVERS);
        if texts.is_empty() {
            return self.quorum_voters().into_iter().map(|voter| voter.server).collect();
        }
        texts.iter().filter_map(|text| server(text)).collect()
    }

    /// Retention time: milliseconds win over minutes over hours; -1 is for ever.
    pub fn log_retention_ms(&self) -> i64 {
        let minutes = || self.get(keys::LOG_RETENTION_MINUTES).map(|m| i64::from(m) * 60_000);
        let hours = || i64::from(self.get(keys::LOG_RETENTION_HOURS)) * 3_600_000;
        let ms = self.get(keys::LOG_RETENTION_MS).or_else(minutes).unwrap_or_else(hours);
        if ms < 0 { -1 } else { ms }
    }

    /// Age at which segments are rolled: milliseconds win over hours.
    pub fn log_roll_ms(&self) -> i64 {
        let hours = || i64::from(self.get(keys::LOG_ROLL_HOURS)) * 3_600_000;
        self.get(keys::LOG_ROLL_MS).unwrap_or_else(hours)
    }

    /// Random time taken off that: milliseconds win over hours.
    pub fn log_roll_jitter_ms(&self) -> i64 {
        let hours = || i64::from(self.get(keys::LOG_ROLL_JITTER_HOURS)) * 3_600_000;
        self.get(keys::LOG_ROLL_JITTER_MS).unwrap_or_else(hours)
    }

    /// Flush interval: its own key, else that of the scheduler.
    pub fn log_flush_interval_ms(&self) -> i64 {
        let scheduler = || self.get(keys::LOG_FLUSH_SCHEDULER_INTERVAL_MS);
        self.get(keys::LOG_FLUSH_INTERVAL_MS).unwrap_or_else(scheduler)
    }
}

/// Splits `key=value` of a command line.
///
/// # Errors
/// There is no `=`, or no key before it.
pub fn parse_override(text: &str) -> Result<(&str, &str), ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim(), value.trim())),
        _ => Err(ConfigError::conflict(format!("{text}: KEY=VALUE is expected"))),
    }
}

/// Why a dynamic setting in the metadata log is not used.
fn dynamic_problem(name: &str, text: &str, per_broker: bool) -> Option<String> {
    // Kafka stores and reports names it does not know.
    let row = find_broker(name)?;
    let prefixed = row.name != name;
    match row.update {
        UpdateMode::ReadOnly | UpdateMode::PerResource => {
            Some(format!("the dynamic setting {name} is not used: the key is read at start only"))
        }
        UpdateMode::PerBroker if !per_broker && !prefixed => Some(format!(
            "the dynamic setting {name} for all brokers is not used: it is set broker by broker"
        )),
        _ => row.parse(text).err().map(|e| format!("a dynamic setting is not used: {e}")),
    }
}

fn has_role(roles: Option<&[String]>, role: &str) -> bool {
    roles.is_some_and(|roles| roles.iter().any(|one| one == role))
}

fn owned(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Keys of `StandardAuthorizer`, which Kafka does not declare either.
const AUTHORIZER_KEYS: [&str; 2] = ["super.users", "allow.everyone.if.no.acl.found"];

fn unknown(settings: &Settings) -> Vec<Warning> {
    let known =
        |name: &String| find_broker(name).is_some() || AUTHORIZER_KEYS.contains(&name.as_str());
    let names = settings.keys().filter(|name| !known(name));
    names
        .map(|name| Warning(format!("{name} is not a broker configuration key; ignored")))
        .collect()
}

/// The two spellings of the id stand for each other, as Kafka reports them.
fn spell_node_id(settings: &mut Settings) {
    for (from, to) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
        if !settings.contains_key(to)
            && let Some(id) = settings.get(from).cloned()
        {
            settings.insert(to.to_owned(), id);
        }
    }
}

fn missing(row: &KeyDef, settings: &Settings) -> ConfigError {
    let allowed = match row.name {
        "process.roles" if settings.contains_key("zookeeper.connect") => {
            "set broker, controller or both; a cluster on ZooKeeper has to be migrated to KRaft first"
        }
        "process.roles" => "set broker, controller or both",
        "node.id" => "give every node of the cluster a number of its own",
        _ => "name at least one listener of the controllers, such as CONTROLLER",
    };
    ConfigError::Missing { key: row.name.to_owned(), allowed: allowed.to_owned() }
}

/// Feeds the listener rules with effective values.
fn network(settings: &Settings, values: &[Value]) -> Result<Network, ConfigError> {
    fn read<'a, T: KeyType>(values: &'a [Value], key: Key<T>) -> Option<T::Read<'a>> {
        values.get(key.index()).and_then(T::read)
    }
    let roles = read(values, keys::PROCESS_ROLES).flatten();
    Network::new(&Input {
        broker: has_role(roles, "broker"),
        controller: has_role(roles, "controller"),
        listeners: read(values, keys::LISTENERS).unwrap_or_default(),
        advertised: read(values, keys::ADVERTISED_LISTENERS).flatten(),
        map: read(values, keys::LISTENER_SECURITY_PROTOCOL_MAP).unwrap_or_default(),
        map_is_set: settings.contains_key("listener.security.protocol.map"),
        controller_names: read(values, keys::CONTROLLER_LISTENER_NAMES)
            .flatten()
            .unwrap_or_default(),
        inter_broker_name: read(values, keys::INTER_BROKER_LISTENER_NAME).flatten(),
        inter_broker_protocol: settings.get("security.inter.broker.protocol").map(String::as_str),
    })
}
