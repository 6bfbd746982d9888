//! `ottla topic create`.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::create_topics_response::CreatableTopicResult;
use serde_json::json;

use crate::client::Cluster;
use crate::failure::{Failure, Outcome, check};
use crate::output::Out;
use crate::tool::pair;

pub(crate) const EXAMPLES: &str = "Examples:
  ottla topic create orders
  ottla topic create orders -p 12 -c retention.ms=604800000 -c cleanup.policy=compact";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name: letters, digits, dots, underscores, dashes
    topic: String,
    /// How many partitions; the broker's num.partitions if not given
    #[arg(short, long, value_name = "COUNT")]
    partitions: Option<i32>,
    /// How many replicas of each; the broker's default.replication.factor if not given
    #[arg(short, long, value_name = "COUNT")]
    replicas: Option<i16>,
    /// A setting of the topic; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = pair)]
    configs: Vec<(String, String)>,
    /// Succeed if the topic is there already
    #[arg(long)]
    if_not_exists: bool,
    /// Check, do not create
    #[arg(long)]
    dry_run: bool,
}

/// A topic to create.
#[derive(Debug, Default)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: Option<i32>,
    pub(crate) replicas: Option<i16>,
    /// Brokers of each partition, instead of numbers.
    pub(crate) assignment: Vec<Vec<i32>>,
    pub(crate) configs: &'a [(String, String)],
    pub(crate) validate_only: bool,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let new = NewTopic {
        name: &args.topic,
        partitions: args.partitions,
        replicas: args.replicas,
        configs: &args.configs,
        validate_only: args.dry_run,
        ..NewTopic::default()
    };
    let made = create(cluster, &new).await?;
    let there = made.error_code == ErrorCode::TopicAlreadyExists as i16;
    if !(there && args.if_not_exists) {
        let what = format_args!("topic {}", args.topic);
        check(what, made.error_code, made.error_message.as_deref())?;
    }
    let done = match (there, args.dry_run) {
        (true, _) => "exists",
        (false, true) => "would be created",
        (false, false) => "created",
    };
    let value = json!({
        "topic": args.topic,
        "state": done,
        "topic_id": made.topic_id.to_string(),
        "partitions": made.num_partitions,
        "replicas": made.replication_factor,
    });
    out.report(&value, || match there {
        true => format!("Topic {} is there already.", args.topic),
        false => format!(
            "Topic {} {done}: {} partition(s), {} replica(s).",
            args.topic, made.num_partitions, made.replication_factor
        ),
    })
}

/// Creates one topic; the result has the error code.
pub(crate) async fn create(
    cluster: &mut Cluster,
    new: &NewTopic<'_>,
) -> Outcome<CreatableTopicResult> {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.as_str().into(),
        value: Some(value.as_str().into()),
        ..Default::default()
    };
    let assignments = new.assignment.iter().zip(0..).map(|(brokers, partition_index)| {
        CreatableReplicaAssignment {
            partition_index,
            broker_ids: brokers.clone(),
            ..Default::default()
        }
    });
    let topic = CreatableTopic {
        name: new.name.into(),
        num_partitions: new.partitions.unwrap_or(-1),
        replication_factor: new.replicas.unwrap_or(-1),
        assignments: assignments.collect(),
        configs: new.configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: cluster.timeout_ms(),
        validate_only: new.validate_only,
        ..Default::default()
    };
    let answer = cluster.controller(&request, i16::MAX).await?;
    let none = || Failure::Failed(format!("the broker did not say what became of {}", new.name));
    answer.topics.into_iter().next().ok_or_else(none)
}
