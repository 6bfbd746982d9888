//! `ottla group delete`.

use ottla_protocol::ErrorCode;
use serde_json::json;

use super::no_group;
use super::reset::{Scope, partitions};
use crate::client::Cluster;
use crate::failure::{Outcome, check};
use crate::output::Out;
use crate::tool::first_of;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Only what is committed for this topic, or some of its partitions; may be repeated
    #[arg(short, long = "topic", value_name = "TOPIC[:0,1]")]
    topics: Vec<Scope>,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for group in &args.groups {
        let done = if args.topics.is_empty() {
            cluster.delete_group(group).await
        } else {
            delete_offsets(cluster, group, &args.topics).await
        };
        match done {
            Ok(()) => rows.push(json!({"group": group, "state": "deleted"})),
            Err(failure) if failure.code() == Some(ErrorCode::GroupIdNotFound) => {
                failures.push(no_group(group));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if !rows.is_empty() {
        out.rows(&["group", "state"], rows)?;
    }
    first_of(failures)
}

async fn delete_offsets(cluster: &mut Cluster, group: &str, scopes: &[Scope]) -> Outcome {
    let partitions = partitions(cluster, group, scopes).await?;
    for (partition, code) in cluster.delete_offsets(group, &partitions).await? {
        check(format_args!("{partition} of group {group}"), code, None)?;
    }
    Ok(())
}
