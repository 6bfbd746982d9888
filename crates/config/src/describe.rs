//! What `DescribeConfigs` answers: every value with its source, synonyms and documentation.

use crate::broker::{BrokerConfig, Settings, Source};
use crate::def::{KeyDef, UpdateMode};
use crate::group;
use crate::keys::{Kind, find_broker};
use crate::topic;

/// One configuration entry of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Effective value; absent for null and for sensitive ones.
    pub value: Option<String>,
    /// Where the value is from.
    pub source: Source,
    /// True for broker keys that cannot change at run time.
    pub read_only: bool,
    /// True for passwords, and for names nobody declared.
    pub sensitive: bool,
    /// `ConfigType` on the wire; 0 for names nobody declared.
    pub ty: i8,
    /// What the key means; empty for names nobody declared.
    pub doc: &'static str,
    /// Every setting that would apply, the effective one first.
    pub synonyms: Vec<Synonym>,
}

/// A setting that applies, or would if those before it were removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Synonym {
    /// The key.
    pub name: String,
    /// The value as set; absent for sensitive ones.
    pub value: Option<String>,
    /// Where it is set.
    pub source: Source,
}

/// All keys of a topic.
pub fn describe_topic(overrides: &Settings, broker: &BrokerConfig) -> Vec<Entry> {
    let rows = Kind::Topic.keys().filter(|row| !row.internal || overrides.contains_key(row.name));
    rows.map(|row| {
        let value = topic::effective(row.name, overrides, broker).text();
        let inherited = row.synonyms.first().map(|name| broker_synonyms(name, broker));
        resource_entry(row, value, overrides, (Source::Topic, inherited.unwrap_or_default()))
    })
    .collect()
}

/// The configuration that an answer of `CreateTopics` shows. Unlike `DescribeConfigs` it follows
/// every spelling of a broker key, so `retention.ms` has source STATIC when only hours are set.
pub fn created_topic(overrides: &Settings, broker: &BrokerConfig) -> Vec<Entry> {
    let mut entries = describe_topic(overrides, broker);
    for entry in entries.iter_mut().filter(|entry| entry.source != Source::Topic) {
        let names = Kind::Topic.find(&entry.name).map_or(&[][..], |row| row.synonyms);
        let layers = [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker];
        let set_in = |source: &Source| {
            broker.layer(*source).is_some_and(|layer| names.iter().any(|n| layer.contains_key(*n)))
        };
        entry.source = layers.into_iter().find(set_in).unwrap_or(Source::Default);
    }
    entries
}

/// All keys of a group.
pub fn describe_group(overrides: &Settings, broker: &BrokerConfig) -> Vec<Entry> {
    let rows = Kind::Group.keys().filter(|row| !row.internal || overrides.contains_key(row.name));
    rows.map(|row| {
        let value = group::effective(row, overrides, broker).text();
        let inherited = match row.synonyms.first() {
            Some(name) => broker_synonyms(name, broker),
            None => own_default(row).into_iter().collect(),
        };
        resource_entry(row, value, overrides, (Source::Group, inherited))
    })
    .collect()
}

/// All keys of a client metrics subscription.
pub fn describe_client_metrics(overrides: &Settings) -> Vec<Entry> {
    let entry = |row: &'static KeyDef| {
        let own = overrides.get(row.name).and_then(|text| row.parse(text).ok());
        let value = own.unwrap_or_else(|| row.default_value()).text();
        resource_entry(row, value, overrides, (Source::ClientMetrics, Vec::new()))
    };
    Kind::ClientMetrics.keys().map(entry).collect()
}

/// All keys of a node, then what else is in its file or set dynamically.
pub fn describe_broker(broker: &BrokerConfig) -> Vec<Entry> {
    let mut entries = Vec::new();
    for row in Kind::Broker.keys().filter(|row| !row.internal || broker.is_set(row.name)) {
        let value = broker.value(row.name).and_then(|value| value.text());
        entries.push(broker_entry(row.name, value, broker_synonyms(row.name, broker)));
    }
    let layers = [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker];
    let mut others: Vec<&String> = layers
        .into_iter()
        .filter_map(|source| broker.layer(source))
        .flat_map(Settings::keys)
        .filter(|name| Kind::Broker.find(name).is_none())
        .collect();
    others.sort();
    others.dedup();
    for name in others {
        let value = broker.text(name).map(str::to_owned);
        entries.push(broker_entry(name, value, broker_synonyms(name, broker)));
    }
    entries
}

/// The settings of all brokers: the resource with an empty name.
pub fn describe_broker_defaults(broker: &BrokerConfig) -> Vec<Entry> {
    let cluster = broker.layer(Source::DynamicDefaultBroker);
    let entry = |(name, value): (&String, &String)| {
        let mut synonyms = broker_synonyms(name, broker);
        synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        broker_entry(name, Some(value.clone()), synonyms)
    };
    cluster.into_iter().flatten().map(entry).collect()
}

fn broker_entry(name: &str, value: Option<String>, synonyms: Vec<Synonym>) -> Entry {
    let row = find_broker(name);
    let sensitive = row.is_none_or(KeyDef::sensitive);
    Entry {
        name: name.to_owned(),
        value: value.filter(|_| !sensitive),
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        read_only: row.is_none_or(|row| row.update == UpdateMode::ReadOnly),
        sensitive,
        ty: row.map_or(0, |row| row.ty.wire()),
        doc: row.map_or("", |row| row.doc),
        synonyms,
    }
}

fn resource_entry(
    row: &'static KeyDef,
    value: Option<String>,
    overrides: &Settings,
    (source, mut synonyms): (Source, Vec<Synonym>),
) -> Entry {
    if overrides.contains_key(row.name) {
        let own = Synonym { name: row.name.to_owned(), value: value.clone(), source };
        synonyms.insert(0, own);
    }
    Entry {
        name: row.name.to_owned(),
        value,
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        read_only: false,
        sensitive: false,
        ty: row.ty.wire(),
        doc: row.doc,
        synonyms,
    }
}

/// Settings of a broker key and its other spellings, layer by layer. Those before the first of the
/// key's own name are dropped, as Kafka does: `log.retention.ms` that is not set has no synonyms
/// even if the hours are.
fn broker_synonyms(name: &str, broker: &BrokerConfig) -> Vec<Synonym> {
    let row = find_broker(name);
    let spellings: Vec<&str> = match row {
        Some(row) if row.name != name => vec![name, row.name],
        Some(row) if !row.synonyms.is_empty() => row.synonyms.to_vec(),
        _ => vec![name],
    };
    let sensitive = row.is_none_or(KeyDef::sensitive);
    let mut all = Vec::new();
    for source in [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker] {
        for spelling in &spellings {
            if let Some(value) = broker.layer(source).and_then(|layer| layer.get(*spelling)) {
                let value = Some(value.clone()).filter(|_| !sensitive);
                all.push(Synonym { name: (*spelling).to_owned(), value, source });
            }
        }
    }
    all.extend(spellings.iter().filter_map(|name| own_default(Kind::Broker.find(name)?)));
    all.into_iter().skip_while(|synonym| synonym.name != name).collect()
}

fn own_default(row: &KeyDef) -> Option<Synonym> {
    let text = row.default.text()?;
    let value = Some(text.to_owned()).filter(|_| !row.sensitive());
    Some(Synonym { name: row.name.to_owned(), value, source: Source::Default })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of `kafka-configs --describe --all`.
    fn line(entry: &Entry) -> String {
        let synonym = |s: &Synonym| {
            let source = match s.source {
                Source::Topic => "DYNAMIC_TOPIC_CONFIG",
                Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
                Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
                Source::StaticBroker => "STATIC_BROKER_CONFIG",
                Source::Default => "DEFAULT_CONFIG",
                other => panic!("{other:?}"),
            };
            format!("{source}:{}={}", s.name, s.value.as_deref().unwrap_or("null"))
        };
        let synonyms: Vec<String> = entry.synonyms.iter().map(synonym).collect();
        format!(
            "  {}={} sensitive={} synonyms={{{}}}",
            entry.name,
            entry.value.as_deref().unwrap_or("null"),
            entry.sensitive,
            synonyms.join(", ")
        )
    }

    fn assert_as_kafka(entries: &[Entry], kafka: &str) {
        let mut got: Vec<String> =
            entries.iter().filter(|e| !e.name.starts_with("ottla.")).map(line).collect();
        got.sort();
        let mut want: Vec<&str> = kafka.lines().filter(|l| l.starts_with("  ")).collect();
        want.sort_unstable();
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got, want);
        }
        assert_eq!(got.len(), want.len());
    }

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// The node that wrote the files in `testdata/described-*.txt`, Kafka 4.4.0.
    fn node(cluster: &[(&str, &str)], own: &[(&str, &str)]) -> BrokerConfig {
        let (config, _) = BrokerConfig::load(
            None,
            &[
                ("controller.quorum.bootstrap.servers", "127.0.0.1:19842"),
                ("listeners", "PLAINTEXT://127.0.0.1:19792,CONTROLLER://127.0.0.1:19842"),
                ("advertised.listeners", "PLAINTEXT://127.0.0.1:19792"),
                ("log.dirs", "data"),
            ],
        )
        .unwrap();
        let (config, warnings) = config.with_dynamic(settings(cluster), settings(own));
        assert_eq!(warnings, []);
        config
    }

    fn changed_node() -> BrokerConfig {
        node(
            &[("min.insync.replicas", "1"), ("log.roll.ms", "6000")],
            &[("log.retention.ms", "5000"), ("log.cleaner.threads", "2")],
        )
    }

    #[test]
    fn a_fresh_node_describes_itself_as_kafka_does() {
        let broker = node(&[("min.insync.replicas", "1")], &[]);
        assert_as_kafka(
            &describe_broker(&broker),
            include_str!("../testdata/described-broker.txt"),
        );
    }

    #[test]
    fn a_node_with_dynamic_settings_describes_itself_as_kafka_does() {
        assert_as_kafka(
            &describe_broker(&changed_node()),
            include_str!("../testdata/described-broker-changed.txt"),
        );
    }

    #[test]
    fn a_topic_with_overrides_is_described_as_kafka_does() {
        let overrides = settings(&[("retention.ms", "1000"), ("segment.ms", "70000")]);
        for (broker, want) in [
            (
                node(&[("min.insync.replicas", "1")], &[]),
                include_str!("../testdata/described-topic.txt"),
            ),
            (changed_node(), include_str!("../testdata/described-topic-changed.txt")),
        ] {
            assert_as_kafka(&describe_topic(&overrides, &broker), want);
        }
    }

    #[test]
    fn a_group_is_described_as_kafka_does() {
        let want = include_str!("../testdata/described-group.txt");
        assert_as_kafka(&describe_group(&Settings::new(), &node(&[], &[])), want);
        let set = settings(&[("consumer.session.timeout.ms", "50000")]);
        let entries = describe_group(&set, &node(&[], &[]));
        let entry = entries.iter().find(|e| e.name == "consumer.session.timeout.ms").unwrap();
        assert_eq!((entry.source, entry.synonyms.len()), (Source::Group, 2));
    }

    #[test]
    fn names_nobody_declared_are_hidden_and_listed() {
        let (config, _) = BrokerConfig::load(None, &[("foo.bar", "secret?")]).unwrap();
        let entries = describe_broker(&config);
        let entry = entries.iter().find(|e| e.name == "foo.bar").unwrap();
        assert_eq!((entry.value.as_deref(), entry.sensitive, entry.ty), (None, true, 0));
    }

    #[test]
    fn the_default_resource_shows_what_is_set_for_all_brokers() {
        let entries = describe_broker_defaults(&changed_node());
        let lines: Vec<String> = entries.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "  log.roll.ms=6000 sensitive=false \
                 synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.ms=6000}",
                "  min.insync.replicas=1 sensitive=false \
                 synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:min.insync.replicas=1}",
            ]
        );
    }

    #[test]
    fn a_created_topic_has_the_source_of_any_spelling() {
        let (broker, _) = BrokerConfig::load(None, &[]).unwrap();
        let entries = created_topic(&settings(&[("segment.ms", "5")]), &broker);
        let source = |name: &str| entries.iter().find(|e| e.name == name).unwrap().source;
        assert_eq!(entries.len(), 37);
        assert_eq!(source("segment.ms"), Source::Topic);
        assert_eq!(source("retention.ms"), Source::StaticBroker);
        assert_eq!(source("flush.ms"), Source::Default);
    }
}
