//! Which client is to push what.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ottla_config::{ClientMetricsConfig, Regex};
use ottla_metadata::{ConfigResource, Image};
use ottla_protocol::Uuid;
use ottla_protocol::records::crc32c;

/// Kafka's name for all metrics.
const ALL: &str = "*";

/// The longest pause between two pushes, and what a client that pushes nothing waits.
const INTERVAL_MS_DEFAULT: i32 = 300_000;

/// What is known of a client, to choose subscriptions and to label its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    /// `client.id`.
    pub client_id: String,
    /// What it calls itself in ApiVersions; empty if it did not.
    pub software_name: String,
    /// Its version.
    pub software_version: String,
    /// Where it connects from.
    pub address: SocketAddr,
}

/// What one client is to push, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Differs when the rest does.
    pub(crate) id: i32,
    pub(crate) interval_ms: i32,
    /// Prefixes of names; `*` alone for all.
    pub(crate) metrics: Vec<String>,
}

/// The subscriptions of an image.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Grows with every change.
    pub(crate) version: u64,
    all: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    interval_ms: i32,
    metrics: Vec<String>,
    matches: Vec<(String, Regex)>,
}

impl Subscriptions {
    pub(crate) fn of(image: &Image, version: u64) -> Self {
        let resources =
            image.configs().filter(|(resource, _)| resource.kind == ConfigResource::CLIENT_METRICS);
        let rule = |(resource, settings): (&ConfigResource, _)| {
            let config = ClientMetricsConfig::new(settings);
            let config = config.and_then(|config| Ok((config.patterns()?, config)));
            match config {
                Ok((matches, ClientMetricsConfig { interval_ms, metrics, .. })) => {
                    Some(Rule { interval_ms, metrics, matches })
                }
                Err(error) => {
                    let name = &*resource.name;
                    tracing::warn!(name, "a client metrics subscription is not used: {error}");
                    None
                }
            }
        };
        Self { version, all: resources.filter_map(rule).collect() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All that a client is to push, of every subscription that is for it.
    pub(crate) fn for_client(&self, id: Uuid, facts: &ClientFacts) -> Subscription {
        let (mut metrics, mut interval_ms) = (BTreeSet::new(), INTERVAL_MS_DEFAULT);
        for rule in self.all.iter().filter(|rule| rule.is_for(id, facts)) {
            metrics.extend(rule.metrics.iter().cloned());
            interval_ms = interval_ms.min(rule.interval_ms);
        }
        if metrics.contains(ALL) {
            metrics = BTreeSet::from([ALL.to_owned()]);
        }
        let metrics: Vec<String> = metrics.into_iter().collect();
        let text = format!("{id} {interval_ms} {}", metrics.join(","));
        Subscription { id: crc32c(text.as_bytes()).cast_signed(), interval_ms, metrics }
    }
}

impl Rule {
    fn is_for(&self, id: Uuid, facts: &ClientFacts) -> bool {
        self.matches.iter().all(|(selector, pattern)| match selector.as_str() {
            "client_id" => pattern.is_match(&facts.client_id),
            "client_instance_id" => pattern.is_match(&id.to_string()),
            "client_software_name" => pattern.is_match(&facts.software_name),
            "client_software_version" => pattern.is_match(&facts.software_version),
            "client_source_address" => pattern.is_match(&facts.address.ip().to_string()),
            "client_source_port" => pattern.is_match(&facts.address.port().to_string()),
            _ => false,
        })
    }
}
