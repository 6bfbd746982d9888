//! `ottla cluster`.

use clap::{Args as ClapArgs, Subcommand};
use ottla_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use ottla_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest,
};
use serde_json::{Map, Value, json};

use super::{Common, run as with_cluster};
use crate::client::{Cluster, Connection};
use crate::failure::{Failure, Outcome, check};
use crate::output::{Out, cell, show_bytes, table};

const HEALTH_HELP: &str = "Exit code 0 if everything is well, 1 if not, 3 if no broker answers.";

#[derive(Debug, ClapArgs)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show brokers, quorum and features
    Info,
    /// Look for partitions without leader, missing replicas, brokers and directories that are gone
    #[command(after_help = HEALTH_HELP)]
    Health,
}

pub(crate) fn run(args: ClusterArgs) -> Outcome {
    with_cluster(&args.common, async |cluster, out| match args.command {
        Command::Info => info(cluster, out).await,
        Command::Health => health(cluster, out).await,
    })
}

async fn info(cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let metadata = cluster.metadata(Some(&[])).await?;
    let features = features(cluster).await?;
    let quorum = quorum(cluster).await?;
    let controller = quorum.as_ref().and_then(|quorum| quorum.get("leader").cloned());
    let mut brokers = Vec::new();
    for broker in &metadata.brokers {
        let (used, dirs) = match log_dirs(cluster, broker.node_id).await {
            Ok(dirs) => (Some(dirs.iter().map(|dir| dir.bytes).sum::<i64>()), dirs.len()),
            Err(failure) => {
                eprintln!("ottla: broker {}: {failure}", broker.node_id);
                (None, 0)
            }
        };
        brokers.push(json!({
            "broker": broker.node_id,
            "host": &*broker.host,
            "port": broker.port,
            "rack": broker.rack.as_deref(),
            "directories": dirs,
            "bytes": used,
        }));
    }
    let value = json!({
        "cluster_id": metadata.cluster_id.as_deref(),
        "controller": controller.unwrap_or_else(|| metadata.controller_id.into()),
        "brokers": brokers,
        "quorum": quorum,
        "features": features,
    });
    out.report(&value, || text(&value))
}

fn text(value: &Value) -> String {
    let none = Vec::new();
    let mut brokers = value.get("brokers").and_then(Value::as_array).unwrap_or(&none).clone();
    for broker in &mut brokers {
        let bytes = broker.get("bytes").and_then(Value::as_u64);
        if let (Some(bytes), Some(members)) = (bytes, broker.as_object_mut()) {
            members.insert("data".into(), show_bytes(bytes).into());
        }
    }
    let mut text = format!(
        "Cluster:     {}\nController:  {}\n\n{}",
        cell(value.get("cluster_id")),
        cell(value.get("controller")),
        table(&["broker", "host", "port", "rack", "directories", "data"], &brokers)
    );
    if let Some(members) = value.pointer("/quorum/members").and_then(Value::as_array) {
        text.push('\n');
        text.push_str(&table(&["node", "role", "log_end", "behind"], members));
    }
    if let Some(features) = value.get("features").and_then(Value::as_object) {
        let rows: Vec<_> =
            features.iter().map(|(name, level)| json!({"feature": name, "level": level})).collect();
        text.push('\n');
        text.push_str(&table(&["feature", "level"], &rows));
    }
    text
}

/// The finalized level of each feature; empty for a broker that has none.
async fn features(cluster: &mut Cluster) -> Outcome<Map<String, Value>> {
    let request = ApiVersionsRequest {
        client_software_name: crate::client::CLIENT_ID.into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    let answer = cluster.any(&request).await?;
    check("ApiVersions", answer.error_code, None)?;
    let levels = answer.finalized_features.iter();
    let mut levels: Vec<_> =
        levels.map(|f| (f.name.to_string(), Value::from(f.max_version_level))).collect();
    levels.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(levels.into_iter().collect())
}

/// The metadata quorum, of a broker that has one.
async fn quorum(cluster: &mut Cluster) -> Outcome<Option<Value>> {
    if !cluster.serves::<DescribeQuorumRequest>().await {
        return Ok(None);
    }
    let request = DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = cluster.any(&request).await?;
    check("DescribeQuorum", answer.error_code, answer.error_message.as_deref())?;
    let Some(part) = answer.topics.first().and_then(|topic| topic.partitions.first()) else {
        return Ok(None);
    };
    check("DescribeQuorum", part.error_code, part.error_message.as_deref())?;
    let voters = part.current_voters.iter().map(|state| (state, "voter"));
    let observers = part.observers.iter().map(|state| (state, "observer"));
    let end = part.current_voters.iter().map(|state| state.log_end_offset).max().unwrap_or(0);
    let members = voters.chain(observers).map(|(state, role)| {
        json!({
            "node": state.replica_id,
            "role": if state.replica_id == part.leader_id { "leader" } else { role },
            "log_end": state.log_end_offset,
            "behind": (end - state.log_end_offset).max(0),
        })
    });
    Ok(Some(json!({
        "leader": part.leader_id,
        "epoch": part.leader_epoch,
        "high_watermark": part.high_watermark,
        "members": members.collect::<Vec<_>>(),
    })))
}

/// A log directory of a broker.
struct LogDir {
    path: String,
    bytes: i64,
    error: i16,
}

async fn log_dirs(cluster: &mut Cluster, broker: i32) -> Outcome<Vec<LogDir>> {
    let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let answer = cluster.broker(broker, &request, i16::MAX).await?;
    check("DescribeLogDirs", answer.error_code, None)?;
    let dirs = answer.results.iter().map(|dir| {
        let parts = dir.topics.iter().flat_map(|topic| &topic.partitions);
        LogDir {
            path: dir.log_dir.to_string(),
            bytes: parts.map(|part| part.partition_size).sum(),
            error: dir.error_code,
        }
    });
    Ok(dirs.collect())
}

async fn health(cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut problems: Vec<String> = Vec::new();
    let nodes: Vec<_> = cluster.nodes.clone().into_iter().collect();
    for (id, address) in &nodes {
        if let Err(failure) = Connection::open(address, cluster.target.timeout).await {
            problems.push(format!("broker {id} does not answer at {address}: {failure}"));
            continue;
        }
        for dir in log_dirs(cluster, *id).await? {
            if let Err(failure) = check(format_args!("{}", dir.path), dir.error, None) {
                problems.push(format!("broker {id}: directory {failure}"));
            }
        }
    }
    let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
    // Older brokers do not tell of fenced ones.
    if cluster.connection_version::<DescribeClusterRequest>().await? >= 2 {
        let answer = cluster.any(&request).await?;
        check("DescribeCluster", answer.error_code, answer.error_message.as_deref())?;
        let fenced = answer.brokers.iter().filter(|broker| broker.is_fenced);
        problems.extend(fenced.map(|broker| format!("broker {} is fenced", broker.broker_id)));
    }
    let topics = cluster.all_topics().await?;
    let mut partitions = 0;
    for topic in &topics {
        let name = topic.name.as_deref().unwrap_or_default();
        for part in &topic.partitions {
            partitions += 1;
            let place = format!("{name}-{}", part.partition_index);
            if part.leader_id < 0 {
                problems.push(format!("{place} has no leader"));
            } else if part.isr_nodes.len() < part.replica_nodes.len() {
                problems.push(format!(
                    "{place} has {} of {} replicas in sync",
                    part.isr_nodes.len(),
                    part.replica_nodes.len()
                ));
            }
        }
    }
    let value = json!({
        "healthy": problems.is_empty(),
        "brokers": nodes.len(),
        "topics": topics.len(),
        "partitions": partitions,
        "problems": problems,
    });
    out.report(&value, || {
        let head = format!(
            "{} broker(s), {} topic(s), {partitions} partition(s)\n",
            nodes.len(),
            topics.len()
        );
        match problems.is_empty() {
            true => head + "Everything is well.\n",
            false => head + &problems.join("\n") + "\n",
        }
    })?;
    match problems.len() {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} problem(s)"))),
    }
}
