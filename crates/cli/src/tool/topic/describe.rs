//! `ottla topic describe`.

use std::collections::BTreeMap;

use ottla_protocol::messages::DescribeTopicPartitionsRequest;
use ottla_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;
use serde_json::{Value, json};

use crate::client::offsets::At;
use crate::client::{Cluster, TopicPartition};
use crate::failure::{Outcome, check};
use crate::output::{Out, cell, table};
use crate::tool::config::{Kind, Resource, describe_many};

/// Most partitions in one answer; Kafka's default.
const PARTITIONS_PER_ANSWER: i32 = 2000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

/// Eligible leader replicas of a partition (KIP-966): eligible, last known.
pub(crate) type Elr = BTreeMap<TopicPartition, (Vec<i32>, Vec<i32>)>;

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let topics = cluster.topics(&args.topics).await?;
    let partitions = cluster.partitions_of(&args.topics).await?;
    let starts = cluster.offsets_at(&partitions, At::Earliest).await?;
    let ends = cluster.offsets_at(&partitions, At::Latest).await?;
    let resources: Vec<_> = args.topics.iter().map(|topic| Resource::topic(topic)).collect();
    let configs = describe_many(cluster, &resources, false).await?;
    let mut described = Vec::new();
    for (topic, configs) in topics.iter().zip(configs) {
        let own = configs.entries.iter().filter(|entry| entry.is_set(Kind::Topic));
        let settings: serde_json::Map<String, Value> =
            own.map(|entry| (entry.name.clone(), entry.value.clone().into())).collect();
        described.push(value(topic, (&starts, &ends), settings));
    }
    out.report(&Value::Array(described.clone()), || {
        described.iter().map(text).collect::<Vec<_>>().join("\n")
    })
}

fn value(
    topic: &MetadataResponseTopic,
    (starts, ends): (&BTreeMap<TopicPartition, i64>, &BTreeMap<TopicPartition, i64>),
    settings: serde_json::Map<String, Value>,
) -> Value {
    let name = topic.name.as_deref().unwrap_or_default();
    let partitions = topic.partitions.iter().map(|part| {
        let partition = TopicPartition::new(name, part.partition_index);
        json!({
            "partition": part.partition_index,
            "leader": part.leader_id,
            "epoch": part.leader_epoch,
            "replicas": part.replica_nodes,
            "isr": part.isr_nodes,
            "offline": part.offline_replicas,
            "start_offset": starts.get(&partition),
            "end_offset": ends.get(&partition),
        })
    });
    json!({
        "topic": name,
        "topic_id": topic.topic_id.to_string(),
        "internal": topic.is_internal,
        "settings": settings,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn text(topic: &Value) -> String {
    let none = Vec::new();
    let partitions = topic.get("partitions").and_then(Value::as_array).unwrap_or(&none);
    let columns = ["partition", "leader", "epoch", "replicas", "isr", "start_offset", "end_offset"];
    format!(
        "Topic:     {}\nId:        {}\nSettings:  {}\n\n{}",
        cell(topic.get("topic")),
        cell(topic.get("topic_id")),
        cell(topic.get("settings")),
        table(&columns, partitions)
    )
}

/// Eligible leader replicas of topics, where the broker knows of them.
pub(crate) async fn elr(cluster: &mut Cluster, topics: &[String]) -> Outcome<Option<Elr>> {
    if !cluster.serves::<DescribeTopicPartitionsRequest>().await {
        return Ok(None);
    }
    let mut found = Elr::new();
    let mut cursor = None;
    loop {
        let topic =
            |name: &String| TopicRequest { name: name.as_str().into(), ..Default::default() };
        let request = DescribeTopicPartitionsRequest {
            topics: topics.iter().map(topic).collect(),
            response_partition_limit: PARTITIONS_PER_ANSWER,
            cursor,
            ..Default::default()
        };
        let answer = cluster.any(&request).await?;
        for topic in &answer.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            check(format_args!("topic {name}"), topic.error_code, None)?;
            for part in &topic.partitions {
                let partition = TopicPartition::new(name, part.partition_index);
                let list = |ids: &Option<Vec<i32>>| ids.clone().unwrap_or_default();
                let both = (list(&part.eligible_leader_replicas), list(&part.last_known_elr));
                found.insert(partition, both);
            }
        }
        let Some(next) = answer.next_cursor else { return Ok(Some(found)) };
        cursor = Some(Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Default::default()
        });
    }
}
