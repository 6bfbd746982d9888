//! `ottla group lag`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::no_group;
use crate::client::group::{Committed, Group, GroupMember};
use crate::client::offsets::{At, Isolation};
use crate::client::{Cluster, TopicPartition};
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Out, table};
use crate::tool::stop::until_signal;

pub(crate) const EXAMPLES: &str = "Examples:
  ottla group lag                  every group
  ottla group lag audit --watch    again every two seconds
  ottla group lag audit --max 1000 exit code 1 if it is more than 1000 behind";

const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The groups; all if none is named
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// Show it again and again, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Time between two looks, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, requires = "watch")]
    interval: f64,
    /// Fail if one group is more than so many records behind
    #[arg(long, value_name = "RECORDS", conflicts_with = "watch")]
    max: Option<i64>,
}

/// One partition of a group.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) partition: TopicPartition,
    pub(crate) committed: Option<Committed>,
    /// `None` where no leader tells.
    pub(crate) end: Option<i64>,
    pub(crate) member: Option<GroupMember>,
}

impl Row {
    /// Records between what is committed and the end.
    pub(crate) fn lag(&self) -> Option<i64> {
        Some(self.end? - self.committed.as_ref()?.offset)
    }
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    if !args.watch {
        let values = look(args, cluster).await?;
        show(out, &values)?;
        return too_far(&values, args.max);
    }
    let every = Duration::try_from_secs_f64(args.interval)
        .map_err(|_| Failure::Usage(format!("--interval {} is no time", args.interval)))?;
    let screen = out.format == Format::Table && std::io::stdout().is_terminal();
    until_signal(async {
        loop {
            let values = look(args, cluster).await?;
            if screen {
                out.raw(CLEAR_SCREEN.as_bytes())?;
            }
            show(out, &values)?;
            out.flush()?;
            tokio::time::sleep(every).await;
        }
    })
    .await
}

/// A value of every group.
async fn look(args: &Args, cluster: &mut Cluster) -> Outcome<Vec<Value>> {
    let named = !args.groups.is_empty();
    let groups = if named {
        args.groups.clone()
    } else {
        let all = cluster.list_groups().await?;
        all.iter().map(|group| group.group_id.to_string()).collect()
    };
    let mut values = Vec::new();
    for name in groups {
        let group = cluster.describe_group(&name).await?;
        let rows = rows(cluster, &group).await?;
        if rows.is_empty() && group.state == "Dead" && named {
            return Err(no_group(&name));
        }
        values.push(value(&group, &rows));
    }
    Ok(values)
}

fn value(group: &Group, rows: &[Row]) -> Value {
    let partitions = rows.iter().map(|row| {
        json!({
            "topic": row.partition.topic,
            "partition": row.partition.partition,
            "committed": row.committed.as_ref().map(|committed| committed.offset),
            "end": row.end,
            "lag": row.lag(),
            "client_id": row.member.as_ref().map(|member| member.client_id.as_str()),
            "host": row.member.as_ref().map(|member| member.host.as_str()),
        })
    });
    json!({
        "group": group.id,
        "state": group.state,
        "lag": rows.iter().filter_map(Row::lag).sum::<i64>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn show(out: &mut Out, values: &[Value]) -> Outcome {
    out.report(&Value::Array(values.to_vec()), || {
        values.iter().map(text).collect::<Vec<_>>().join("\n")
    })
}

fn text(group: &Value) -> String {
    let none = Vec::new();
    let member = |name| group.get(name).map(ToString::to_string).unwrap_or_default();
    let partitions = group.get("partitions").and_then(Value::as_array).unwrap_or(&none);
    let columns = ["topic", "partition", "committed", "end", "lag", "client_id", "host"];
    let head = format!(
        "Group {}: {}, {} record(s) behind\n",
        member("group").trim_matches('"'),
        member("state").trim_matches('"'),
        member("lag")
    );
    if partitions.is_empty() { head } else { head + "\n" + &table(&columns, partitions) }
}

fn too_far(groups: &[Value], max: Option<i64>) -> Outcome {
    let Some(max) = max else { return Ok(()) };
    let lag = |group: &Value| group.get("lag").and_then(Value::as_i64).unwrap_or(0);
    match groups.iter().find(|group| lag(group) > max) {
        None => Ok(()),
        Some(group) => {
            let name = group.get("group").and_then(Value::as_str).unwrap_or_default();
            let lag = lag(group);
            Err(Failure::Failed(format!("group {name} is {lag} records behind, more than {max}")))
        }
    }
}

/// What a group has committed and what its members read, with the ends.
pub(crate) async fn rows(cluster: &mut Cluster, group: &Group) -> Outcome<Vec<Row>> {
    let committed = cluster.committed(&group.id).await?;
    let mut rows: BTreeMap<TopicPartition, Row> = BTreeMap::new();
    let empty = |partition: &TopicPartition| Row {
        partition: partition.clone(),
        committed: None,
        end: None,
        member: None,
    };
    for (partition, committed) in committed {
        let row = rows.entry(partition.clone()).or_insert_with(|| empty(&partition));
        row.committed = Some(committed);
    }
    for member in &group.members {
        for partition in &member.partitions {
            let row = rows.entry(partition.clone()).or_insert_with(|| empty(partition));
            row.member = Some(member.clone());
        }
    }
    // A topic may be gone while its offsets are still there.
    let topics = cluster.all_topics().await?;
    let there = |partition: &TopicPartition| {
        let topic = topics.iter().find(|t| t.name.as_deref() == Some(&partition.topic));
        topic.is_some_and(|topic| {
            topic.partitions.iter().any(|part| part.partition_index == partition.partition)
        })
    };
    let wanted = rows.keys().filter(|partition| there(partition));
    let wanted: Vec<_> = wanted.map(|partition| (partition.clone(), At::Latest)).collect();
    let (ends, _) = cluster.offsets_each(&wanted, Isolation::default()).await?;
    for (partition, end) in ends {
        if let Some(row) = rows.get_mut(&partition) {
            row.end = end;
        }
    }
    Ok(rows.into_values().collect())
}
