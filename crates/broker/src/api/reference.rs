//! `docs/reference/apis.md`, made from the table.

use std::fmt::Write;

use super::{Rule, TABLE, Throttle};
use crate::listener::ListenerKind;

const HEAD: &str = "# APIs

Made from the table in `crates/broker/src/api/mod.rs`; do not edit, run `make docs`. *Listeners* says
whether listeners of brokers, of controllers or both serve it. *Rule* is what an authorizer is asked;
none can be configured yet. *Quota* is what counts towards a client quota besides time in handlers, which
every API listed here does. What is *not listed* is left out of ApiVersions: it does not do all that
Kafka's does.

| key | API | versions | listeners | rule | quota |
| ---: | --- | --- | --- | --- | --- |
";

/// The whole page.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    for row in TABLE {
        let (min, max) = (row.versions.start(), row.versions.end());
        let versions = if min == max { min.to_string() } else { format!("{min}-{max}") };
        let rule = match row.rule {
            Rule::Open => "open".to_owned(),
            Rule::Cluster(operation) => format!("{operation:?} on the cluster"),
            Rule::EachTopic(operation) => format!("{operation:?} on each topic"),
            Rule::Group(operation) => format!("{operation:?} on the group"),
            Rule::TransactionalId(operation) => format!("{operation:?} on the transactional id"),
            Rule::Producer => {
                "Write on the transactional id, else IdempotentWrite on the cluster".to_owned()
            }
            Rule::EachResource(operation) => format!("{operation:?} on each resource"),
            Rule::FilterEach(operation) => format!("shows what may be seen ({operation:?})"),
        };
        let versions = if row.advertised { versions } else { format!("{versions}, not listed") };
        let quota = match row.throttle {
            Throttle::Request => String::new(),
            Throttle::Produce => "bytes of the request".to_owned(),
            Throttle::Fetch => "bytes of the response".to_owned(),
            Throttle::Mutation { strict_from } if strict_from <= *min => "partitions".to_owned(),
            Throttle::Mutation { strict_from } => {
                format!("partitions, refused from v{strict_from}")
            }
            Throttle::Exempt => "exempt, time too".to_owned(),
        };
        let broker = row.is_served_on(ListenerKind::Broker);
        let listeners = match (broker, row.is_served_on(ListenerKind::Controller)) {
            (true, true) => "both",
            (true, false) => "broker",
            (false, _) => "controller",
        };
        let (key, name) = (row.key.key(), row.name());
        let _infallible =
            writeln!(page, "| {key} | {name} | {versions} | {listeners} | {rule} | {quota} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/apis.md");

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test that compares and rewrites a page")]
    fn the_reference_page_is_what_the_table_says() {
        let made = reference_markdown();
        if std::env::var_os("OTTLA_BLESS").is_some() {
            std::fs::write(PAGE, &made).unwrap();
        }
        let committed = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(committed == made, "run OTTLA_BLESS=1 cargo test -p ottla-broker");
    }
}
