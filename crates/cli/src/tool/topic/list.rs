//! `ottla topic list`.

use regex::Regex;
use serde_json::json;

use crate::client::Cluster;
use crate::failure::{Failure, Outcome};
use crate::output::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A regular expression for the whole name
    pattern: Option<String>,
    /// Topics of Kafka's own, too
    #[arg(short, long)]
    internal: bool,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let matches = whole(args.pattern.as_deref().unwrap_or(".*"))?;
    let mut rows = Vec::new();
    for topic in cluster.all_topics().await? {
        let name = topic.name.as_deref().unwrap_or_default();
        if !matches.is_match(name) || (topic.is_internal && !args.internal) {
            continue;
        }
        let parts = &topic.partitions;
        let led = parts.iter().all(|part| part.leader_id >= 0);
        let full = parts.iter().all(|part| part.isr_nodes.len() == part.replica_nodes.len());
        rows.push(json!({
            "topic": name,
            "partitions": parts.len(),
            "replicas": parts.first().map_or(0, |part| part.replica_nodes.len()),
            "state": if !led { "no leader" } else if !full { "under-replicated" } else { "ok" },
        }));
    }
    out.rows(&["topic", "partitions", "replicas", "state"], rows)
}

/// An expression that must match the whole text.
pub(crate) fn whole(pattern: &str) -> Outcome<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| Failure::Usage(format!("{pattern} is no regular expression: {error}")))
}
