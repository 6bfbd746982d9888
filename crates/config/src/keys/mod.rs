//! The tables: one row per key, a file per area. Code reads broker keys through the handles.

mod client_metrics;
mod group;
mod group_resource;
mod handles;
mod log;
mod network;
mod node;
mod observe;
mod quorum;
mod replication;
mod security;
mod share;
mod tiered;
mod topic;
mod transaction;

use crate::def::KeyDef;

pub use handles::*;

/// What a key belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The node: `server.properties` and dynamic broker configuration.
    Broker,
    /// A topic's overrides.
    Topic,
    /// A group's overrides (KIP-848).
    Group,
    /// A client metrics subscription (KIP-714).
    ClientMetrics,
}

/// Broker keys by area. Order is that of the reference page and of [`crate::Key::index`].
pub(crate) static BROKER: &[&[KeyDef]] = &[
    node::KEYS,
    quorum::KEYS,
    network::KEYS,
    log::KEYS,
    replication::KEYS,
    group::KEYS,
    share::KEYS,
    transaction::KEYS,
    security::KEYS,
    observe::KEYS,
    tiered::KEYS,
];
/// The same with the titles of the reference page.
pub(crate) const AREAS: [(&str, &[KeyDef]); 11] = [
    ("The node", node::KEYS),
    ("The metadata quorum", quorum::KEYS),
    ("Listeners, sockets, requests, quotas", network::KEYS),
    ("The log", log::KEYS),
    ("Replication", replication::KEYS),
    ("Groups and offsets", group::KEYS),
    ("Share groups", share::KEYS),
    ("Transactions and producers", transaction::KEYS),
    ("Security", security::KEYS),
    ("Observation, and Ottla's own keys", observe::KEYS),
    ("Tiered storage", tiered::KEYS),
];
static TOPIC: &[&[KeyDef]] = &[topic::KEYS];
static GROUP: &[&[KeyDef]] = &[group_resource::KEYS];
static CLIENT_METRICS: &[&[KeyDef]] = &[client_metrics::KEYS];

impl Kind {
    /// All kinds, in the order of the reference page.
    pub const ALL: [Self; 4] = [Self::Broker, Self::Topic, Self::Group, Self::ClientMetrics];

    /// The word for it in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Topic => "topic",
            Self::Group => "group",
            Self::ClientMetrics => "client metrics",
        }
    }

    /// The `ConfigResource` type on the wire.
    pub const fn resource_type(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    /// Every row, internal ones included.
    pub fn keys(self) -> impl Iterator<Item = &'static KeyDef> {
        let areas = match self {
            Self::Broker => BROKER,
            Self::Topic => TOPIC,
            Self::Group => GROUP,
            Self::ClientMetrics => CLIENT_METRICS,
        };
        areas.iter().copied().flatten()
    }

    /// The row of a name. A scan: 400 rows take about a microsecond, and nothing is built at start.
    pub fn find(self, name: &str) -> Option<&'static KeyDef> {
        self.keys().find(|row| row.name == name)
    }
}

/// The row of a broker key or of its form for one listener: `listener.name.{listener}.{key}`, with
/// a SASL mechanism before the key where it is about one.
pub(crate) fn find_broker(name: &str) -> Option<&'static KeyDef> {
    Kind::Broker.find(name).or_else(|| {
        let (_listener, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
        let of_mechanism = || Kind::Broker.find(rest.split_once('.')?.1);
        Kind::Broker.find(rest).or_else(of_mechanism)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::{Default, Support};
    use std::collections::BTreeSet;

    /// A fact file of Kafka 4.4.0 and the rows that must equal it.
    fn facts(kind: Kind) -> serde_json::Map<String, serde_json::Value> {
        let text = match kind {
            Kind::Broker => include_str!("../../testdata/broker-configs.json"),
            Kind::Topic => include_str!("../../testdata/topic-configs.json"),
            Kind::Group => include_str!("../../testdata/group-configs.json"),
            Kind::ClientMetrics => include_str!("../../testdata/client-metrics-configs.json"),
        };
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        json["configs"].as_object().unwrap().clone()
    }

    #[test]
    fn the_tables_hold_exactly_kafkas_keys_and_ours() {
        for kind in Kind::ALL {
            let names: Vec<&str> =
                kind.keys().map(|k| k.name).filter(|n| !n.starts_with("ottla.")).collect();
            let unique: BTreeSet<&str> = names.iter().copied().collect();
            let facts = facts(kind);
            assert_eq!(names.len(), unique.len(), "{kind:?} has a key twice");
            assert_eq!(unique, facts.keys().map(String::as_str).collect(), "{kind:?}");
        }
    }

    #[test]
    fn every_row_says_what_kafka_says() {
        for kind in Kind::ALL {
            for (name, fact) in facts(kind) {
                let row = kind.find(&name).unwrap();
                let text = |field: &str| fact[field].as_str().unwrap_or("").to_owned();
                assert_eq!(row.ty.name(), text("type"), "{name}");
                assert_eq!(row.default.text(), fact["default"].as_str(), "{name}");
                assert_eq!(row.valid.to_string(), text("valid"), "{name}");
                assert_eq!(row.importance.name(), text("importance"), "{name}");
                assert_eq!(row.internal, fact["described"] == false, "{name}");
                assert_eq!(row.sensitive(), fact["sensitive"] == true, "{name}");
                assert_eq!(row.default == Default::Required, fact["required"] == true, "{name}");
                if kind == Kind::Broker {
                    assert_eq!(row.update.name(), text("update"), "{name}");
                    continue;
                }
                let synonyms: Vec<&str> = match &fact["broker_synonym"] {
                    serde_json::Value::Array(all) => {
                        all.iter().map(|one| one.as_str().unwrap()).collect()
                    }
                    one => one.as_str().into_iter().collect(),
                };
                assert_eq!(row.synonyms, synonyms, "{name}");
            }
        }
    }

    #[test]
    fn every_default_is_a_value_the_row_accepts() {
        for row in Kind::ALL.into_iter().flat_map(Kind::keys) {
            if let Default::Is(text) = row.default {
                assert!(row.parse(text).is_ok(), "{}={text}", row.name);
                assert_eq!(row.default_value().text().as_deref(), Some(text), "{}", row.name);
            }
        }
    }

    #[test]
    fn every_row_is_documented_in_sentences() {
        for row in Kind::ALL.into_iter().flat_map(Kind::keys) {
            assert!(row.doc.len() > 20 && row.doc.ends_with('.'), "{}: {}", row.name, row.doc);
            assert!(!row.doc.contains("  "), "{}: {}", row.name, row.doc);
        }
    }

    #[test]
    fn rows_marked_as_read_or_refused_are_those_with_a_handle() {
        /// A part that checks the value, and nothing that uses it.
        const CHECKED_ONLY: [&str; 1] = ["log.cleaner.threads"];
        let read: BTreeSet<&str> = Kind::Broker
            .keys()
            .filter(|row| matches!(row.support, Support::Read | Support::Refused))
            .map(|row| row.name)
            .collect();
        let handles: BTreeSet<&str> = handles::NAMES.iter().copied().collect();
        assert_eq!(&read | &BTreeSet::from(CHECKED_ONLY), handles);
        assert!(CHECKED_ONLY.iter().all(|name| !read.contains(name)));
    }

    #[test]
    fn the_reference_page_has_every_area() {
        assert!(AREAS.iter().map(|(_, rows)| *rows).eq(BROKER.iter().copied()));
    }

    #[test]
    fn a_key_for_one_listener_has_the_row_of_the_key() {
        for (name, want) in [
            ("listener.name.ext.ssl.keystore.location", Some("ssl.keystore.location")),
            ("listener.name.ext.scram-sha-256.sasl.jaas.config", Some("sasl.jaas.config")),
            ("listener.name.ext.max.connections", Some("max.connections")),
            ("listener.name.ext.nonsense", None),
            ("listener.name.ext", None),
        ] {
            assert_eq!(find_broker(name).map(|row| row.name), want, "{name}");
        }
    }
}
