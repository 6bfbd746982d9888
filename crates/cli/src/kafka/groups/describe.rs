//! `kafka-consumer-groups --describe`.

use super::groups;
use crate::client::Cluster;
use crate::client::group::{Group, GroupMember};
use crate::client::offsets::by_topic;
use crate::failure::Outcome;
use crate::kafka::options::Options;
use crate::output::Out;
use crate::tool::group::{LagRow, lag_rows};

/// What a cell says when there is nothing to say.
const MISSING: &str = "-";
/// The least width of a column.
const WIDTH: usize = 15;
/// The least width of a column of partitions.
const ASSIGNMENT_WIDTH: usize = 20;

pub(super) async fn run(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    for name in groups(options, cluster).await? {
        let group = cluster.describe_group(&name).await?;
        if group.state == "Dead" {
            // Brokers before 4.0 describe a group that is not there as dead.
            eprintln!("\nConsumer group '{name}' does not exist.");
            continue;
        }
        if group.members.is_empty() {
            eprintln!("\nConsumer group '{name}' has no active members.");
        } else if group.state.ends_with("Rebalance") || group.state == "Reconciling" {
            eprintln!("\nWarning: Consumer group '{name}' is rebalancing.");
        }
        let verbose = options.has("verbose");
        if options.has("members") {
            members(&group, verbose, out)?;
        } else if options.has("state") {
            let coordinator = cluster.nodes.get(&group.coordinator);
            let place = coordinator.map_or_else(String::new, ToString::to_string);
            state(&group, (&place, verbose), out)?;
        } else {
            let rows = lag_rows(cluster, &group).await?;
            offsets(&group, (&rows, verbose), out)?;
        }
    }
    Ok(())
}

/// The width of a column with these texts.
fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(str::len).max().unwrap_or(0).max(WIDTH)
}

fn offsets(group: &Group, (rows, verbose): (&[LagRow], bool), out: &mut Out) -> Outcome {
    if rows.is_empty() {
        return Ok(());
    }
    let member = |row: &LagRow, text: fn(&GroupMember) -> String| {
        row.member.as_ref().map_or_else(|| MISSING.to_owned(), text)
    };
    let number = |number: Option<i64>| number.map_or_else(|| MISSING.to_owned(), |n| n.to_string());
    let consumers: Vec<_> = rows.iter().map(|row| member(row, |m| m.id.clone())).collect();
    let hosts: Vec<_> = rows.iter().map(|row| member(row, |m| m.host.clone())).collect();
    let widths = (
        width(std::iter::once(group.id.as_str())),
        width(rows.iter().map(|row| row.partition.topic.as_str())),
        width(consumers.iter().map(String::as_str)),
        width(hosts.iter().map(String::as_str)),
    );
    let (g, t, c, h) = widths;
    out.line("")?;
    let mut line = |cells: [&str; 10]| {
        let [name, topic, part, epoch, current, end, lag, consumer, host, client] = cells;
        let mut line = format!("{name:<g$} {topic:<t$} {part:<10} ");
        if verbose {
            line.push_str(&format!("{epoch:<15} "));
        }
        line.push_str(&format!(
            "{current:<15} {end:<15} {lag:<15} {consumer:<c$} {host:<h$} {client}"
        ));
        out.line(&line)
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ])?;
    for (row, (consumer, host)) in rows.iter().zip(consumers.iter().zip(&hosts)) {
        let epoch = row.committed.as_ref().and_then(|committed| committed.leader_epoch);
        line([
            &group.id,
            &row.partition.topic,
            &row.partition.partition.to_string(),
            &number(epoch.map(i64::from)),
            &number(row.committed.as_ref().map(|committed| committed.offset)),
            &number(row.end),
            &number(row.lag()),
            consumer,
            host,
            &member(row, |m| m.client_id.clone()),
        ])?;
    }
    Ok(())
}

fn members(group: &Group, verbose: bool, out: &mut Out) -> Outcome {
    let with_instance = group.members.iter().any(|member| member.instance.is_some());
    let column = |text: fn(&GroupMember) -> &str| width(group.members.iter().map(text));
    // The group's name counts once a member shows it.
    let names = group.members.iter().map(|_| group.id.as_str());
    let (g, c) = (width(names), column(|m| &m.id));
    let (h, l) = (column(|m| &m.host), column(|m| &m.client_id));
    let now: Vec<_> = group.members.iter().map(|member| assignment(&member.partitions)).collect();
    let target = |member: &GroupMember| {
        member.target.as_deref().map_or_else(|| MISSING.to_owned(), assignment)
    };
    let targets: Vec<_> = group.members.iter().map(target).collect();
    let wide = |texts: &[String]| width(texts.iter().map(String::as_str)).max(ASSIGNMENT_WIDTH);
    let (n, t) = (wide(&now), wide(&targets));
    let i = column(|m| m.instance.as_deref().unwrap_or_default()).max(17);
    out.line("")?;
    let mut line = |cells: [&str; 10]| {
        let [name, id, instance, host, client, count, epoch, now, target_epoch, target] = cells;
        let mut line = format!("{name:<g$} {id:<c$} ");
        if with_instance {
            line.push_str(&format!("{instance:<i$} "));
        }
        line.push_str(&format!("{host:<h$} {client:<l$} {count:<15} "));
        if verbose {
            line.push_str(&format!("{epoch:<15} {now:<n$} {target_epoch:<15} {target:<t$}"));
        }
        out.line(&line)
    };
    line([
        "GROUP",
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT",
        "TARGET-EPOCH",
        "TARGET-ASSIGNMENT",
    ])?;
    for (member, (now, target)) in group.members.iter().zip(now.iter().zip(&targets)) {
        let epoch = member.epoch.map_or_else(|| MISSING.to_owned(), |epoch| epoch.to_string());
        line([
            &group.id,
            &member.id,
            member.instance.as_deref().unwrap_or_default(),
            &member.host,
            &member.client_id,
            &member.partitions.len().to_string(),
            &epoch,
            now,
            &epoch,
            target,
        ])?;
    }
    Ok(())
}

/// Partitions as `topic:0,1;other:2`.
fn assignment(partitions: &[crate::client::TopicPartition]) -> String {
    if partitions.is_empty() {
        return MISSING.to_owned();
    }
    let mut partitions: Vec<_> = partitions.iter().collect();
    partitions.sort();
    let topics = by_topic(partitions.into_iter().map(|partition| (partition, ())));
    let one = |(topic, parts): (&str, Vec<(i32, ())>)| {
        let indexes: Vec<_> = parts.iter().map(|(index, ())| index.to_string()).collect();
        format!("{topic}:{}", indexes.join(","))
    };
    topics.into_iter().map(one).collect::<Vec<_>>().join(";")
}

fn state(group: &Group, (place, verbose): (&str, bool), out: &mut Out) -> Outcome {
    let coordinator = format!("{place}  ({})", group.coordinator);
    let (g, c) = (width(std::iter::once(group.id.as_str())), coordinator.len().max(25));
    out.line("")?;
    let mut line = |cells: [&str; 7]| {
        let [name, coordinator, assignor, state, epoch, target, count] = cells;
        let mut line = format!("{name:<g$} {coordinator:<c$} {assignor:<20} {state:<20} ");
        if verbose {
            line.push_str(&format!("{epoch:<15} {target:<25} "));
        }
        out.line(&(line + count))
    };
    line([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ])?;
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let epoch = |epoch: Option<i32>| epoch.map_or_else(|| MISSING.to_owned(), |e| e.to_string());
    let (epochs, count) = (group.epochs.unzip(), group.members.len().to_string());
    line([
        &group.id,
        &coordinator,
        assignor,
        &group.state,
        &epoch(epochs.0),
        &epoch(epochs.1),
        &count,
    ])
}
