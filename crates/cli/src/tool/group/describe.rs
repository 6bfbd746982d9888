//! `ottla group describe`.

use serde_json::{Value, json};

use super::no_group;
use crate::client::group::{Group, GroupMember};
use crate::client::offsets::by_topic;
use crate::client::{Cluster, TopicPartition};
use crate::failure::Outcome;
use crate::output::{Out, cell, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut described = Vec::new();
    for name in &args.groups {
        let group = cluster.describe_group(name).await?;
        if group.state == "Dead" {
            return Err(no_group(name));
        }
        described.push(value(&group));
    }
    out.report(&Value::Array(described.clone()), || {
        described.iter().map(text).collect::<Vec<_>>().join("\n")
    })
}

fn value(group: &Group) -> Value {
    json!({
        "group": group.id,
        "type": group.kind,
        "state": group.state,
        "assignor": group.assignor,
        "coordinator": group.coordinator,
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn member(member: &GroupMember) -> Value {
    json!({
        "member": member.id,
        "instance": member.instance,
        "client_id": member.client_id,
        "host": member.host,
        "partitions": texts(&member.partitions),
    })
}

/// Partitions as `topic:0,1,2`.
fn texts(partitions: &[TopicPartition]) -> Vec<String> {
    let mut partitions: Vec<_> = partitions.iter().collect();
    partitions.sort();
    let topics = by_topic(partitions.into_iter().map(|partition| (partition, ())));
    let one = |(topic, parts): (&str, Vec<(i32, ())>)| {
        let indexes: Vec<_> = parts.iter().map(|(index, ())| index.to_string()).collect();
        format!("{topic}:{}", indexes.join("+"))
    };
    topics.into_iter().map(one).collect()
}

fn text(group: &Value) -> String {
    let none = Vec::new();
    let members = group.get("members").and_then(Value::as_array).unwrap_or(&none);
    let mut text = format!(
        "Group:        {}\nType:         {}\nState:        {}\nAssignor:     {}\n\
         Coordinator:  {}\n",
        cell(group.get("group")),
        cell(group.get("type")),
        cell(group.get("state")),
        cell(group.get("assignor")),
        cell(group.get("coordinator")),
    );
    if members.is_empty() {
        text.push_str("Members:      none\n");
    } else {
        text.push('\n');
        text.push_str(&table(&["member", "client_id", "host", "partitions"], members));
    }
    text
}
