//! `ottla topic alter`.

use ottla_protocol::messages::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use serde_json::json;

use crate::client::Cluster;
use crate::failure::{Failure, Outcome, check};
use crate::output::Out;
use crate::tool::config::{Change, Resource, alter as alter_configs};
use crate::tool::pair;

pub(crate) const EXAMPLES: &str = "Examples:
  ottla topic alter orders -p 24
  ottla topic alter orders -c retention.ms=86400000 --unset cleanup.policy";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// The new number of partitions, larger than now
    ///
    /// Records with a key may then go to other partitions than before.
    #[arg(short, long, value_name = "COUNT")]
    partitions: Option<i32>,
    /// A setting; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = pair)]
    configs: Vec<(String, String)>,
    /// A setting that returns to its default; may be repeated
    #[arg(short, long, value_name = "KEY")]
    unset: Vec<String>,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let set = args.configs.iter().map(|(key, value)| Change::Set(key.clone(), value.clone()));
    let unset = args.unset.iter().map(|key| Change::Unset(key.clone()));
    let changes: Vec<Change> = set.chain(unset).collect();
    if args.partitions.is_none() && changes.is_empty() {
        return Err(Failure::Usage(
            "nothing to change: give --partitions, --config or --unset".into(),
        ));
    }
    cluster.topic(&args.topic).await?;
    if !changes.is_empty() {
        alter_configs(cluster, &Resource::topic(&args.topic), &changes).await?;
    }
    if let Some(count) = args.partitions {
        add_partitions(cluster, (&args.topic, count), None).await?;
    }
    let value = json!({
        "topic": args.topic,
        "partitions": args.partitions,
        "settings": changes.len(),
    });
    out.report(&value, || format!("Topic {} altered.", args.topic))
}

/// Raises the number of partitions; `assignment` names the brokers of the new ones.
pub(crate) async fn add_partitions(
    cluster: &mut Cluster,
    (topic, count): (&str, i32),
    assignment: Option<&[Vec<i32>]>,
) -> Outcome {
    let brokers = |ids: &Vec<i32>| CreatePartitionsAssignment {
        broker_ids: ids.clone(),
        ..Default::default()
    };
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: topic.into(),
            count,
            assignments: assignment.map(|list| list.iter().map(brokers).collect()),
            ..Default::default()
        }],
        timeout_ms: cluster.timeout_ms(),
        ..Default::default()
    };
    let answer = cluster.controller(&request, i16::MAX).await?;
    for result in &answer.results {
        let what = format_args!("topic {topic}");
        check(what, result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}
