//! The process log's levels as Kafka's broker loggers (KIP-412): a name of Kafka's for each part of
//! this broker, and levels that last until the process ends.

use std::collections::BTreeMap;
use std::fmt::Write;

use parking_lot::Mutex;

/// The logger of everything.
pub(crate) const ROOT: &str = "root";

/// Kafka's levels; `FATAL` is `ERROR` here.
pub(crate) const LEVELS: [&str; 6] = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// Loggers with the tracing target each stands for, by name. A name covers the names below it.
const LOGGERS: [(&str, &str); 10] = [
    ("kafka", "ottla"),
    ("kafka.network", "ottla_net"),
    ("kafka.server", "ottla_broker"),
    ("kafka.server.KafkaApis", "ottla_broker::api"),
    ("org.apache.kafka.controller", "ottla_metadata"),
    ("org.apache.kafka.coordinator.group", "ottla_coordinator"),
    ("org.apache.kafka.raft", "ottla_raft"),
    ("org.apache.kafka.storage.internals.log", "ottla_storage"),
    (ROOT, ""),
    ("state.change.logger", "ottla_broker::publish"),
];

/// The levels that were set by clients.
#[derive(Default)]
pub(crate) struct Loggers {
    levels: Mutex<BTreeMap<&'static str, &'static str>>,
}

impl Loggers {
    /// Sets or removes levels, all at once. Returns the directives for the process log: `base` with
    /// the levels after it.
    pub(crate) fn change(
        &self,
        changes: &[(&'static str, Option<&'static str>)],
        base: &str,
    ) -> String {
        let mut levels = self.levels.lock();
        for (name, level) in changes {
            match level {
                Some(level) => levels.insert(name, level),
                None => levels.remove(name),
            };
        }
        directives(base, &levels)
    }

    /// Every logger with the level in force.
    pub(crate) fn describe(&self, base: &str) -> Vec<(&'static str, &'static str)> {
        let levels = self.levels.lock();
        let root = levels.get(ROOT).copied().unwrap_or_else(|| root_level(base));
        let in_force = |name: &'static str, target: &str| {
            // The level of the longest name that was set and covers this one.
            let set = LOGGERS.iter().filter(|(_, other)| target.starts_with(other));
            let set = set.filter_map(|(name, other)| Some((other.len(), *levels.get(name)?)));
            (name, set.max_by_key(|(length, _)| *length).map_or(root, |(_, level)| level))
        };
        LOGGERS.iter().map(|(name, target)| in_force(name, target)).collect()
    }
}

/// A logger's name, if there is such a logger.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    LOGGERS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

/// A level's name, if there is such a level.
pub(crate) fn level(name: &str) -> Option<&'static str> {
    LEVELS.into_iter().find(|known| *known == name)
}

fn directives(base: &str, levels: &BTreeMap<&'static str, &'static str>) -> String {
    let mut all = base.to_owned();
    for (name, target) in LOGGERS {
        let Some(level) = levels.get(name) else { continue };
        let level = if *level == "FATAL" { "ERROR" } else { level };
        let _infallible = match target {
            "" => write!(all, ",{level}"),
            target => write!(all, ",{target}={level}"),
        };
    }
    all
}

/// The level of the directive that names no target.
fn root_level(base: &str) -> &'static str {
    let bare = base.split(',').rfind(|part| !part.contains('='));
    bare.and_then(|bare| level(&bare.trim().to_ascii_uppercase())).unwrap_or("INFO")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(loggers: &Loggers, name: &str) -> &'static str {
        loggers.describe("warn,ottla_net=debug").into_iter().find(|(n, _)| *n == name).unwrap().1
    }

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(LOGGERS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_level_covers_the_loggers_below_until_it_is_removed() {
        let loggers = Loggers::default();
        assert_eq!(level_of(&loggers, "kafka.server.KafkaApis"), "WARN");
        let told = loggers.change(&[("kafka.server", Some("DEBUG"))], "warn");
        assert_eq!(told, "warn,ottla_broker=DEBUG");
        assert_eq!(level_of(&loggers, "kafka.server.KafkaApis"), "DEBUG");
        assert_eq!(level_of(&loggers, "kafka.network"), "WARN");
        loggers.change(&[("kafka.server.KafkaApis", Some("TRACE")), (ROOT, Some("FATAL"))], "warn");
        assert_eq!(level_of(&loggers, "kafka.server.KafkaApis"), "TRACE");
        assert_eq!(level_of(&loggers, "kafka.network"), "FATAL");
        let told = loggers.change(&[("kafka.server", None)], "warn");
        assert_eq!(told, "warn,ottla_broker::api=TRACE,ERROR");
    }
}
