//! `kafka-topics`.

use std::str::FromStr;

use ottla_config::Kind;
use ottla_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::options::{Options, Spec};
use super::{error, parse, usage, with_cluster};
use crate::client::{Cluster, TopicPartition};
use crate::failure::{Failure, Outcome, check};
use crate::output::Out;
use crate::tool::config::{Resource, describe};
use crate::tool::topic::{Elr, NewTopic, add_partitions, create_topic, delete_topics, elr, whole};

const SPEC: Spec = Spec {
    about: "Creates, deletes, describes and changes topics.",
    flags: &[
        "alter",
        "at-min-isr-partitions",
        "create",
        "delete",
        "describe",
        "exclude-internal",
        "if-exists",
        "if-not-exists",
        "list",
        "topics-with-overrides",
        "unavailable-partitions",
        "under-min-isr-partitions",
        "under-replicated-partitions",
    ],
    values: &[
        "bootstrap-server",
        "command-config",
        "config",
        "delete-config",
        "partition-size-limit-per-response",
        "partitions",
        "replica-assignment",
        "replication-factor",
        "topic",
        "topic-id",
    ],
    optional: &[],
};

const COLLISION: &str = "WARNING: Due to limitations in metric names, topics with a period ('.') or \
    underscore ('_') could collide. To avoid issues it is best to use either, but not both.";

pub(super) fn main(arguments: &[String]) -> u8 {
    let options = match parse(&SPEC, arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let action = match options.action(&["list", "describe", "create", "alter", "delete"]) {
        Ok(action) => action,
        Err(error) => return usage(&SPEC, &error.replace(", --delete", " or --delete")),
    };
    if let Some(error) = missing(&options, action) {
        return usage(&SPEC, &error);
    }
    let done = with_cluster(&options, async |cluster, out| match action {
        "list" => list(&options, cluster, out).await,
        "describe" => describe_topics(&options, cluster, out).await,
        "create" => create(&options, cluster, out).await,
        "alter" => alter(&options, cluster).await,
        _ => delete(&options, cluster).await,
    });
    match done {
        Ok(()) | Err(Failure::OutputClosed) => 0,
        Err(failure) => {
            println!("Error while executing topic command : {}", error::message_of(&failure));
            eprintln!("ERROR {}", error::with_class(&failure));
            1
        }
    }
}

fn missing(options: &Options, action: &str) -> Option<String> {
    let need = |name: &str| {
        (!options.has(name)).then(|| format!("Missing required argument \"[{name}]\""))
    };
    if !options.has("bootstrap-server") {
        return Some("--bootstrap-server must be specified".to_owned());
    }
    match action {
        "create" | "delete" => need("topic"),
        "alter" => need("topic").or_else(|| need("partitions")),
        _ => None,
    }
}

/// The topics that `--topic` and `--topic-id` choose.
async fn chosen(options: &Options, cluster: &mut Cluster) -> Outcome<Vec<MetadataResponseTopic>> {
    let illegal = |text: String| Failure::Failed(text);
    if let Some(text) = options.value("topic-id") {
        let id = Uuid::from_str(text).map_err(|error| illegal(error.to_string()))?;
        let found = cluster.metadata_by_id(id).await?.topics;
        let found: Vec<_> = found.into_iter().filter(|topic| topic.error_code == 0).collect();
        if found.is_empty() && !options.has("if-exists") {
            return Err(illegal(format!("TopicId '{text}' does not exist as expected")));
        }
        return Ok(found);
    }
    let all = cluster.all_topics().await?;
    let wanted = match options.value("topic") {
        Some(pattern) => Some((pattern, whole(pattern)?)),
        None => None,
    };
    let internal = !options.has("exclude-internal");
    let fits = |topic: &MetadataResponseTopic| {
        let name = topic.name.as_deref().unwrap_or_default();
        (internal || !topic.is_internal)
            && wanted.as_ref().is_none_or(|(_, pattern)| pattern.is_match(name))
    };
    let found: Vec<_> = all.into_iter().filter(fits).collect();
    match wanted {
        Some((pattern, _)) if found.is_empty() && !options.has("if-exists") => {
            Err(illegal(format!("Topic '{pattern}' does not exist as expected")))
        }
        _ => Ok(found),
    }
}

async fn list(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    // A pattern that matches nothing is no error here.
    let found = match chosen(options, cluster).await {
        Err(Failure::Failed(_)) => Vec::new(),
        other => other?,
    };
    found.iter().try_for_each(|topic| out.line(topic.name.as_deref().unwrap_or_default()))
}

async fn create(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let name = options.value("topic").unwrap_or_default();
    let configs = options.pairs(&["config"]);
    // Kafka's tool looks at names before it asks a broker.
    if let Some((unknown, _)) = configs.iter().find(|(key, _)| Kind::Topic.find(key).is_none()) {
        return Err(Failure::Failed(format!("Unknown topic config name: {unknown}")));
    }
    if name.contains(['.', '_']) {
        out.line(COLLISION)?;
    }
    let number = |text: Result<Option<i32>, String>| text.map_err(Failure::Usage);
    let replicas = number(options.number("replication-factor"))?;
    let new = NewTopic {
        name,
        partitions: number(options.number("partitions"))?,
        replicas: replicas.map(|count| i16::try_from(count).unwrap_or(i16::MAX)),
        assignment: assignment(options)?,
        configs: &configs,
        validate_only: false,
    };
    let made = create_topic(cluster, &new).await?;
    if made.error_code == ErrorCode::TopicAlreadyExists as i16 && options.has("if-not-exists") {
        return Ok(());
    }
    check(name, made.error_code, made.error_message.as_deref())?;
    out.line(&format!("Created topic {name}."))
}

/// `1:2,2:3`: the brokers of each partition.
fn assignment(options: &Options) -> Outcome<Vec<Vec<i32>>> {
    let Some(text) = options.value("replica-assignment") else { return Ok(Vec::new()) };
    let wrong = || Failure::Usage(format!("{text}: a list such as 1:2,2:3 is expected"));
    let partition = |part: &str| -> Outcome<Vec<i32>> {
        part.split(':').map(|id| id.trim().parse().map_err(|_| wrong())).collect()
    };
    text.split(',').map(partition).collect()
}

async fn alter(options: &Options, cluster: &mut Cluster) -> Outcome {
    let count = options.number("partitions").map_err(Failure::Usage)?.unwrap_or(0);
    let assignment = assignment(options)?;
    for topic in chosen(options, cluster).await? {
        let name = topic.name.as_deref().unwrap_or_default();
        // The brokers of the partitions that are there come first.
        let new = assignment.get(topic.partitions.len()..).unwrap_or_default();
        let brokers = (!assignment.is_empty()).then_some(new);
        add_partitions(cluster, (name, count), brokers).await?;
    }
    Ok(())
}

async fn delete(options: &Options, cluster: &mut Cluster) -> Outcome {
    let found = chosen(options, cluster).await?;
    let names: Vec<_> =
        found.iter().filter_map(|topic| topic.name.as_ref().map(ToString::to_string)).collect();
    if names.is_empty() {
        return Ok(());
    }
    delete_topics(cluster, &names).await?.into_iter().try_for_each(|(_, done)| done)
}

/// Which partitions `--describe` shows.
struct Filter {
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
}

impl Filter {
    const fn any(&self) -> bool {
        self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr
    }

    fn fits(&self, part: &MetadataResponsePartition, min_isr: usize) -> bool {
        let isr = part.isr_nodes.len();
        !self.any()
            || (self.under_replicated && isr < part.replica_nodes.len())
            || (self.unavailable && part.leader_id < 0)
            || (self.under_min_isr && isr < min_isr)
            || (self.at_min_isr && isr == min_isr)
    }
}

async fn describe_topics(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let filter = Filter {
        under_replicated: options.has("under-replicated-partitions"),
        unavailable: options.has("unavailable-partitions"),
        under_min_isr: options.has("under-min-isr-partitions"),
        at_min_isr: options.has("at-min-isr-partitions"),
    };
    let topics = chosen(options, cluster).await?;
    let names: Vec<_> =
        topics.iter().filter_map(|topic| topic.name.as_ref().map(ToString::to_string)).collect();
    let elr = if names.is_empty() { None } else { elr(cluster, &names).await? };
    for topic in &topics {
        let name = topic.name.as_deref().unwrap_or_default();
        let configs = describe(cluster, &Resource::topic(name), false).await?.entries;
        let min_isr = configs.iter().find(|entry| entry.name == "min.insync.replicas");
        let min_isr = min_isr.and_then(|entry| entry.value.as_ref()?.parse().ok()).unwrap_or(1);
        let own: Vec<_> = configs
            .iter()
            .filter(|entry| !entry.is_default())
            .map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null")))
            .collect();
        let overrides = options.has("topics-with-overrides");
        let hidden = filter.any() || (overrides && own.is_empty());
        if !hidden {
            out.line(&format!(
                "Topic: {name}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}",
                topic.topic_id,
                topic.partitions.len(),
                topic.partitions.first().map_or(0, |part| part.replica_nodes.len()),
                own.join(",")
            ))?;
        }
        if overrides {
            continue;
        }
        for part in topic.partitions.iter().filter(|part| filter.fits(part, min_isr)) {
            out.line(&partition_line(name, part, elr.as_ref()))?;
        }
    }
    Ok(())
}

fn partition_line(name: &str, part: &MetadataResponsePartition, elr: Option<&Elr>) -> String {
    let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let leader = if part.leader_id < 0 { "none".to_owned() } else { part.leader_id.to_string() };
    let found = elr.and_then(|elr| elr.get(&TopicPartition::new(name, part.partition_index)));
    let (eligible, last) = match found {
        Some((eligible, last)) => (list(eligible), list(last)),
        None => ("N/A".to_owned(), "N/A".to_owned()),
    };
    format!(
        "\tTopic: {name}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {eligible}\t\
         LastKnownElr: {last}",
        part.partition_index,
        list(&part.replica_nodes),
        list(&part.isr_nodes),
    )
}
