//! `kafka-broker-api-versions`.

use ottla_protocol::ApiKey;

use super::options::Spec;
use super::{exit, parse, with_cluster};
use crate::client::Connection;

const SPEC: Spec = Spec {
    about: "This tool helps to retrieve broker version information.",
    flags: &[],
    values: &["bootstrap-server", "command-config"],
    optional: &[],
};

pub(super) fn main(arguments: &[String]) -> u8 {
    let options = match parse(&SPEC, arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if !options.has("bootstrap-server") {
        return super::usage(&SPEC, SPEC.about);
    }
    exit(with_cluster(&options, async |cluster, out| {
        let metadata = cluster.metadata(Some(&[])).await?;
        for broker in &metadata.brokers {
            let connection = cluster.node(broker.node_id).await?;
            out.line(&format!(
                "{} (id: {} rack: {} isFenced: false) -> (",
                connection.address,
                broker.node_id,
                broker.rack.as_deref().unwrap_or("null")
            ))?;
            let lines = lines(connection);
            out.line(&lines.join(",\n"))?;
            out.line(")")?;
        }
        Ok(())
    }))
}

/// A line for every API of this client, and for those of the broker that it does not know.
fn lines(connection: &Connection) -> Vec<String> {
    let known = ApiKey::all().filter(|key| key.on_broker() && !key.versions().is_empty());
    let known = known.map(|key| {
        let name = format!("\t{key}({}): ", key.key());
        match connection.versions.get(&key.key()) {
            None => name + "UNSUPPORTED",
            Some(&(low, high)) => {
                let usable = high.min(*key.stable_versions().end());
                name + &range(low, high) + &format!(" [usable: {usable}]")
            }
        }
    });
    let unknown = connection
        .versions
        .iter()
        .filter(|(key, _)| ApiKey::from_key(**key).is_none_or(|key| !key.on_broker()));
    let unknown = unknown.map(|(key, (low, high))| {
        let name = ApiKey::from_key(*key).map_or("UNKNOWN", ApiKey::name);
        format!("\t{name}({key}): {}", range(*low, *high))
    });
    known.chain(unknown).collect()
}

fn range(low: i16, high: i16) -> String {
    if low == high { low.to_string() } else { format!("{low} to {high}") }
}
