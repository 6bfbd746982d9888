//! Changes of dynamic configuration: what `IncrementalAlterConfigs` and `AlterConfigs` do to the
//! settings of a resource, and what they refuse.

use std::collections::BTreeSet;

use crate::broker::{BrokerConfig, Settings};
use crate::checks;
use crate::client_metrics::ClientMetricsConfig;
use crate::def::{KeyDef, Type, UpdateMode};
use crate::error::{AlterError, ConfigError};
use crate::group::validate_group;
use crate::keys::{Kind, find_broker};
use crate::topic::validate_topic;
use crate::value::Value;

/// An operation of `IncrementalAlterConfigs`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Replaces the value.
    Set,
    /// Goes back to the default.
    Delete,
    /// Adds items to a list that lack there.
    Append,
    /// Removes items from a list.
    Subtract,
}

impl Operation {
    /// The operation of a byte on the wire.
    pub const fn from_wire(byte: i8) -> Option<Self> {
        match byte {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// One change of one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change<'a> {
    /// The key.
    pub name: &'a str,
    /// What to do.
    pub operation: Operation,
    /// With what; needed by all but `Delete`.
    pub value: Option<&'a str>,
}

/// Settings that differ afterwards: the new value, or `None` where the key is removed.
pub type Delta = Vec<(String, Option<String>)>;

/// Applies changes to the settings of a topic, group or subscription and checks the result.
/// For brokers, check the result of [`apply_broker`] instead.
///
/// # Errors
/// What Kafka refuses, with its error code.
pub fn apply(
    kind: Kind,
    existing: &Settings,
    changes: &[Change<'_>],
    broker: &BrokerConfig,
) -> Result<Delta, AlterError> {
    let after = changed(kind, existing, changes)?;
    validate(kind, &after, broker)?;
    Ok(delta(existing, &after))
}

/// Replaces all settings of a topic, group or subscription, as `AlterConfigs` does.
///
/// # Errors
/// A value is null, a key is there twice, or the result is refused.
pub fn replace(
    kind: Kind,
    existing: &Settings,
    settings: &[(&str, Option<&str>)],
    broker: &BrokerConfig,
) -> Result<Delta, AlterError> {
    let changes: Vec<Change<'_>> = settings
        .iter()
        .map(|(name, value)| Change { name, operation: Operation::Set, value: *value })
        .collect();
    let after = changed(kind, &Settings::new(), &changes)?;
    validate(kind, &after, broker)?;
    Ok(delta(existing, &after))
}

/// The settings a new topic is created with.
///
/// # Errors
/// `InvalidConfig` for a null value or anything [`validate_topic`] refuses.
pub fn for_new_topic(
    settings: &[(&str, Option<&str>)],
    broker: &BrokerConfig,
) -> Result<Settings, AlterError> {
    let mut after = Settings::new();
    for (name, value) in settings {
        let value = value.ok_or_else(|| {
            AlterError::InvalidConfig(format!("{name} has no value: leave it out, or give one"))
        })?;
        after.insert((*name).to_owned(), value.to_owned());
    }
    validate_topic(&after, broker)?;
    Ok(after)
}

/// Checks the settings of a topic, group or subscription.
///
/// # Errors
/// What Kafka refuses, with its error code.
pub fn validate(kind: Kind, settings: &Settings, broker: &BrokerConfig) -> Result<(), AlterError> {
    match kind {
        Kind::Topic => Ok(validate_topic(settings, broker)?),
        Kind::Group => Ok(validate_group(settings, broker)?),
        Kind::ClientMetrics => ClientMetricsConfig::new(settings).map(drop),
        Kind::Broker => Ok(()),
    }
}

/// Applies changes to a layer of dynamic broker settings: that of one broker, or of all.
/// `current` is the configuration of the broker that checks them, with both layers as they are.
///
/// # Errors
/// `InvalidRequest` for keys that cannot change, or not in this layer, and for bad values.
pub fn apply_broker(
    layer: BrokerLayer,
    changes: &[Change<'_>],
    current: &BrokerConfig,
) -> Result<Delta, AlterError> {
    let source = match layer {
        BrokerLayer::OneBroker => crate::Source::DynamicBroker,
        BrokerLayer::AllBrokers => crate::Source::DynamicDefaultBroker,
    };
    let empty = Settings::new();
    let existing = current.layer(source).unwrap_or(&empty);
    let after = changed(Kind::Broker, existing, changes)?;
    check_update_modes(layer, &after)?;
    let other = match layer {
        BrokerLayer::OneBroker => current.layer(crate::Source::DynamicDefaultBroker),
        BrokerLayer::AllBrokers => current.layer(crate::Source::DynamicBroker),
    };
    let other = other.cloned().unwrap_or_default();
    let candidate = match layer {
        BrokerLayer::OneBroker => current.with_dynamic(other, after.clone()),
        BrokerLayer::AllBrokers => current.with_dynamic(after.clone(), other),
    };
    let (candidate, warnings) = candidate;
    if let Some(problem) = warnings.into_iter().find(|w| w.0.starts_with("the listeners")) {
        return Err(AlterError::InvalidRequest(problem.0));
    }
    if !candidate.has_listeners_of(current) {
        return Err(AlterError::InvalidRequest(
            "listeners are opened when the broker starts: edit its file and start it again"
                .to_owned(),
        ));
    }
    checks::check(&candidate).map_err(|e| AlterError::InvalidRequest(e.to_string()))?;
    check_threads(current, &candidate)?;
    let mut delta = delta(existing, &after);
    // Setting a value again makes brokers read files anew, for example a renewed certificate.
    for change in changes {
        let same = existing
            .get(change.name)
            .filter(|_| after.get(change.name) == existing.get(change.name));
        delta.extend(same.map(|value| (change.name.to_owned(), Some(value.clone()))));
    }
    Ok(delta)
}

/// Whose dynamic broker settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BrokerLayer {
    /// Those of one broker id.
    OneBroker,
    /// The default of all brokers: the resource with an empty name.
    AllBrokers,
}

fn changed(
    kind: Kind,
    existing: &Settings,
    changes: &[Change<'_>],
) -> Result<Settings, AlterError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = changes.iter().find(|change| !names.insert(change.name)) {
        return Err(AlterError::InvalidRequest(format!("{} is there twice", twice.name)));
    }
    let mut after = existing.clone();
    for change in changes {
        let value = match (change.operation, change.value) {
            (Operation::Delete, _) => {
                after.remove(change.name);
                continue;
            }
            (_, None) => {
                return Err(AlterError::InvalidRequest(format!(
                    "{} has no value: give one, or use the delete operation",
                    change.name
                )));
            }
            (Operation::Set, Some(value)) => value.to_owned(),
            (Operation::Append | Operation::Subtract, Some(value)) => {
                list_operation(kind, existing, change, value)?
            }
        };
        after.insert(change.name.to_owned(), value);
    }
    Ok(after)
}

/// Appending and subtracting start from the default where nothing is set.
fn list_operation(
    kind: Kind,
    existing: &Settings,
    change: &Change<'_>,
    value: &str,
) -> Result<String, AlterError> {
    let row = match kind {
        Kind::Broker => find_broker(change.name),
        _ => kind.find(change.name),
    };
    let row = row.ok_or_else(|| {
        AlterError::from(ConfigError::Unknown { key: change.name.to_owned(), kind: kind.name() })
    })?;
    if row.ty != Type::List {
        let sentence = format!("{} is not a list, so nothing can be added or removed", change.name);
        return Err(match kind {
            Kind::Broker => AlterError::InvalidRequest(sentence),
            _ => AlterError::InvalidConfig(sentence),
        });
    }
    let current = existing.get(change.name).map(String::as_str).or(row.default.text());
    let items = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|i| !i.is_empty()).map(str::to_owned).collect()
    };
    let mut list = items(current.unwrap_or_default());
    for item in items(value) {
        match change.operation {
            Operation::Append if list.contains(&item) => {}
            Operation::Append => list.push(item),
            _ => list.retain(|one| *one != item),
        }
    }
    Ok(list.join(","))
}

fn delta(existing: &Settings, after: &Settings) -> Delta {
    let removed = existing.keys().filter(|name| !after.contains_key(*name));
    let removed = removed.map(|name| (name.clone(), None));
    let set = after.iter().filter(|(name, value)| existing.get(*name) != Some(value));
    removed.chain(set.map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
}

fn check_update_modes(layer: BrokerLayer, settings: &Settings) -> Result<(), AlterError> {
    let refuse = |sentence: String| Err(AlterError::InvalidRequest(sentence));
    for (name, text) in settings {
        // As Kafka, keep names of plug-ins this broker does not know.
        let Some(row) = find_broker(name) else { continue };
        let for_listener = row.name != name;
        if row.update == UpdateMode::ReadOnly {
            return refuse(format!(
                "{name} cannot be changed while the broker runs: edit its file"
            ));
        }
        if !for_listener && only_per_listener(row) {
            return refuse(format!(
                "{name} can be changed for one listener only: set listener.name.NAME.{name}"
            ));
        }
        let one_broker_only = row.update == UpdateMode::PerBroker || for_listener;
        if one_broker_only && layer == BrokerLayer::AllBrokers {
            return refuse(format!("{name} has to be set broker by broker"));
        }
        row.parse(text).map_err(|e| AlterError::InvalidRequest(e.to_string()))?;
    }
    Ok(())
}

/// Keys and certificates are reloaded listener by listener.
fn only_per_listener(row: &KeyDef) -> bool {
    row.update == UpdateMode::PerBroker
        && row.name.starts_with("ssl.")
        && row.name != "ssl.client.auth"
}

/// A pool may at most double or halve in one step, so that a slip does not stop a broker.
fn check_threads(current: &BrokerConfig, candidate: &BrokerConfig) -> Result<(), AlterError> {
    for name in [
        "num.io.threads",
        "num.network.threads",
        "num.replica.fetchers",
        "num.recovery.threads.per.data.dir",
        "background.threads",
        "log.cleaner.threads",
    ] {
        let (Some(Value::Integer(old)), Some(Value::Integer(new))) =
            (current.value(name), candidate.value(name))
        else {
            continue;
        };
        if old != new && (*new < 1 || *new < old / 2 || *new > old * 2) {
            return Err(AlterError::InvalidRequest(format!(
                "{name}={new}: from {old}, one step may go from {} to {}",
                (old / 2).max(1),
                old * 2
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn broker() -> BrokerConfig {
        BrokerConfig::load(None, &[]).unwrap().0
    }

    fn change<'a>(name: &'a str, operation: Operation, value: Option<&'a str>) -> Change<'a> {
        Change { name, operation, value }
    }

    #[test]
    fn operations_do_to_a_topic_what_kafka_does() {
        use Operation::{Append, Delete, Set, Subtract};
        let set = settings(&[("cleanup.policy", "compact"), ("retention.ms", "5")]);
        for (change, want) in [
            (change("retention.ms", Set, Some("6")), Ok(vec![("retention.ms", Some("6"))])),
            (change("retention.ms", Set, Some("5")), Ok(vec![])),
            (change("retention.ms", Delete, None), Ok(vec![("retention.ms", None)])),
            (change("segment.ms", Delete, None), Ok(vec![])),
            (
                change("cleanup.policy", Append, Some("delete")),
                Ok(vec![("cleanup.policy", Some("compact,delete"))]),
            ),
            (change("cleanup.policy", Append, Some("compact")), Ok(vec![])),
            (
                change("cleanup.policy", Subtract, Some("compact")),
                Ok(vec![("cleanup.policy", Some(""))]),
            ),
            (change("retention.ms", Append, Some("6")), Err(40)),
            (change("retention.ms", Set, None), Err(42)),
            (change("retention.ms", Set, Some("x")), Err(40)),
            (change("nonsense", Set, Some("x")), Err(40)),
            (change("min.insync.replicas", Set, Some("0")), Err(40)),
        ] {
            let got = apply(Kind::Topic, &set, &[change], &broker());
            let want: Result<Delta, i16> = want.map(|all: Vec<(&str, Option<&str>)>| {
                all.into_iter().map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect()
            });
            assert_eq!(got.map_err(|e| e.code()), want, "{change:?}");
        }
        let twice = [change("retention.ms", Set, Some("6")), change("retention.ms", Delete, None)];
        assert_eq!(apply(Kind::Topic, &set, &twice, &broker()).unwrap_err().code(), 42);
    }

    #[test]
    fn appending_to_an_unset_list_starts_from_the_default() {
        let append = change("cleanup.policy", Operation::Append, Some("compact"));
        let got = apply(Kind::Topic, &Settings::new(), &[append], &broker()).unwrap();
        assert_eq!(got, [("cleanup.policy".to_owned(), Some("delete,compact".to_owned()))]);
    }

    #[test]
    fn replacing_removes_what_is_not_named() {
        let set = settings(&[("retention.ms", "5"), ("segment.ms", "7")]);
        let got = replace(Kind::Topic, &set, &[("segment.ms", Some("8"))], &broker()).unwrap();
        let want =
            [("retention.ms".to_owned(), None), ("segment.ms".to_owned(), Some("8".to_owned()))];
        assert_eq!(got, want);
    }

    #[test]
    fn a_new_topic_takes_no_null() {
        let error = for_new_topic(&[("retention.ms", None)], &broker()).unwrap_err();
        assert_eq!(error.code(), 40);
    }

    #[test]
    fn a_broker_refuses_what_kafka_refuses() {
        use BrokerLayer::{AllBrokers, OneBroker};
        for (layer, name, value, accepted) in [
            (OneBroker, "node.id", "3", false),
            (AllBrokers, "log.dirs", "/x", false),
            (AllBrokers, "ssl.keystore.location", "x", false),
            (OneBroker, "ssl.keystore.location", "x", false),
            (OneBroker, "listener.name.external.ssl.keystore.location", "x", true),
            (AllBrokers, "listener.name.external.ssl.keystore.location", "x", false),
            (AllBrokers, "listeners", "PLAINTEXT://:1", false),
            (OneBroker, "listeners", "PLAINTEXT://:1,PLAINTEXT://:2", false),
            (OneBroker, "listeners", "PLAINTEXT://:7,CONTROLLER://:9093", false),
            (OneBroker, "log.cleaner.threads", "-5", false),
            (OneBroker, "log.cleaner.threads", "2", true),
            (OneBroker, "num.io.threads", "100", false),
            (OneBroker, "num.io.threads", "16", true),
            (OneBroker, "num.io.threads", "3", false),
            (OneBroker, "unknown.to.us", "3", true),
            (OneBroker, "listener.name.external.max.connections", "5", true),
            (AllBrokers, "log.retention.ms", "5", true),
            (AllBrokers, "log.retention.ms", "0", false),
        ] {
            let set = [change(name, Operation::Set, Some(value))];
            let got = apply_broker(layer, &set, &broker()).map_err(|e| e.code());
            let want = vec![(name.to_owned(), Some(value.to_owned()))];
            assert_eq!(got, if accepted { Ok(want) } else { Err(42) }, "{layer:?} {name}={value}");
        }
    }

    #[test]
    fn setting_the_same_broker_value_again_is_written_again() {
        let layer = settings(&[("log.cleaner.threads", "2")]);
        let (current, _) = broker().with_dynamic(Settings::new(), layer);
        let set = [change("log.cleaner.threads", Operation::Set, Some("2"))];
        let got = apply_broker(BrokerLayer::OneBroker, &set, &current).unwrap();
        assert_eq!(got, [("log.cleaner.threads".to_owned(), Some("2".to_owned()))]);
    }
}
