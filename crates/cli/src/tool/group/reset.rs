//! `ottla group reset`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Value, json};

use crate::client::group::ADMINISTRATOR;
use crate::client::offsets::At;
use crate::client::{Cluster, TopicPartition};
use crate::failure::{Failure, Outcome, file_error};
use crate::output::{Format, Out};
use crate::time::{now_millis, parse_duration, parse_time};

pub(crate) const EXAMPLES: &str = "Places:
  earliest, latest         the start, the end of each partition
  current                  what is committed now
  offset:N                 an offset
  datetime:TIME            the first record that is not older, such as datetime:2026-01-31T12:00
  duration:LENGTH          the same, so long before now: duration:PT1H, duration:7d
  shift:N                  N forward, or back with a minus
  file:PATH                topic,partition,offset a line, or what `-o json` printed

What lies before the start or after the end of a partition becomes the start or the end. The group
must have no members. Examples:
  ottla group reset audit --to earliest
  ottla group reset audit --to shift:-100 --topic orders:0,1 --execute";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The group
    group: String,
    /// The place to move to
    #[arg(long, value_name = "PLACE")]
    to: To,
    /// A topic, or some of its partitions; may be repeated, what is committed if not given
    #[arg(short, long = "topic", value_name = "TOPIC[:0,1]")]
    topics: Vec<Scope>,
    /// Show only what would be moved; so it is without --execute
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Move
    #[arg(long)]
    execute: bool,
}

/// Where to move to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    /// Milliseconds since 1970.
    Time(i64),
    /// Milliseconds before now.
    Duration(i64),
    Shift(i64),
    File(PathBuf),
}

/// A topic, or some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    topic: String,
    /// All of them if empty.
    partitions: Vec<i32>,
}

/// One partition's move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) partition: TopicPartition,
    pub(crate) from: Option<i64>,
    pub(crate) to: i64,
    /// What was asked for, where that is not there.
    pub(crate) outside: Option<i64>,
    /// No record is as young as the time asked for: the end is taken.
    pub(crate) nothing_since: bool,
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once([':', '=']).unwrap_or((text, ""));
        let number = || value.parse().map_err(|_| format!("{kind}:N with a number is expected"));
        match (kind, value) {
            ("earliest", "") => Ok(Self::Earliest),
            ("latest", "") => Ok(Self::Latest),
            ("current", "") => Ok(Self::Current),
            ("offset", _) => number().map(Self::Offset),
            ("shift", _) => number().map(Self::Shift),
            ("datetime", _) => parse_time(value).map(Self::Time),
            ("duration", _) => parse_duration(value).map(Self::Duration),
            ("file", path) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("earliest, latest, current, offset:N, shift:N, datetime:TIME, \
                      duration:LENGTH or file:PATH is expected"
                .to_owned()),
        }
    }
}

impl Scope {
    /// The partition, if it is exactly one.
    pub(crate) fn one(&self) -> Option<TopicPartition> {
        match *self.partitions {
            [index] => Some(TopicPartition::new(&self.topic, index)),
            _ => None,
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((topic, list)) = text.split_once(':') else {
            return Ok(Self { topic: text.to_owned(), partitions: Vec::new() });
        };
        let partitions: Result<_, _> = list.split(',').map(|part| part.trim().parse()).collect();
        let partitions = partitions
            .map_err(|_| format!("{text}: TOPIC or TOPIC:0,1 with partitions is expected"))?;
        Ok(Self { topic: topic.to_owned(), partitions })
    }
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let moves = plan(cluster, &args.group, (&args.topics, &args.to)).await?;
    if moves.is_empty() {
        return Err(Failure::NotFound(format!(
            "group {} has committed nothing; name topics with --topic",
            args.group
        )));
    }
    if args.execute {
        apply(cluster, &args.group, &moves).await?;
    }
    let rows = moves.iter().map(|one| {
        json!({
            "topic": one.partition.topic,
            "partition": one.partition.partition,
            "from": one.from,
            "to": one.to,
            "note": one.note(),
        })
    });
    out.rows(&["topic", "partition", "from", "to", "note"], rows.collect())?;
    match (out.format, args.execute) {
        (Format::Table, true) => out.line("\nMoved."),
        (Format::Table, false) => out.line("\nNothing was moved: add --execute to do it."),
        _ => Ok(()),
    }
}

impl Move {
    fn note(&self) -> Option<String> {
        match (self.outside, self.nothing_since) {
            (Some(asked), _) => Some(format!("{asked} is not there")),
            (None, true) => Some("no record since then".to_owned()),
            (None, false) => None,
        }
    }
}

/// Commits the moves.
pub(crate) async fn apply(cluster: &mut Cluster, group: &str, moves: &[Move]) -> Outcome {
    let offsets = moves.iter().map(|one| (one.partition.clone(), one.to)).collect();
    cluster.commit(group, ADMINISTRATOR(), &offsets).await
}

/// The partitions that scopes name; of no scope, those that a group has committed.
pub(crate) async fn partitions(
    cluster: &mut Cluster,
    group: &str,
    scopes: &[Scope],
) -> Outcome<Vec<TopicPartition>> {
    if scopes.is_empty() {
        return Ok(cluster.committed(group).await?.into_keys().collect());
    }
    let mut all = Vec::new();
    for scope in scopes {
        if scope.partitions.is_empty() {
            all.extend(cluster.partitions_of(std::slice::from_ref(&scope.topic)).await?);
        } else {
            let some = scope.partitions.iter();
            all.extend(some.map(|index| TopicPartition::new(&scope.topic, *index)));
        }
    }
    Ok(all)
}

/// What would be moved where.
pub(crate) async fn plan(
    cluster: &mut Cluster,
    group: &str,
    (scopes, to): (&[Scope], &To),
) -> Outcome<Vec<Move>> {
    let committed = cluster.committed(group).await?;
    let from_file = match to {
        To::File(path) => Some(read_file(path)?),
        _ => None,
    };
    let partitions = match &from_file {
        Some(offsets) => offsets.keys().cloned().collect(),
        None => partitions(cluster, group, scopes).await?,
    };
    let starts = cluster.offsets_at(&partitions, At::Earliest).await?;
    let ends = cluster.offsets_at(&partitions, At::Latest).await?;
    let since = match to {
        To::Time(millis) => Some(*millis),
        To::Duration(length) => Some(now_millis().saturating_sub(*length)),
        _ => None,
    };
    let found = match since {
        Some(millis) => cluster.offsets_at(&partitions, At::Time(millis)).await?,
        None => BTreeMap::new(),
    };
    let mut moves = Vec::new();
    for partition in partitions {
        let of = |map: &BTreeMap<TopicPartition, i64>| map.get(&partition).copied();
        let (start, end) = (of(&starts).unwrap_or(0), of(&ends).unwrap_or(0));
        let from = committed.get(&partition).map(|committed| committed.offset);
        let asked = match to {
            To::Earliest => start,
            To::Latest => end,
            To::Current => from.unwrap_or(end),
            To::Offset(offset) => *offset,
            To::Time(_) | To::Duration(_) => of(&found).unwrap_or(end),
            To::Shift(by) => match from {
                Some(from) => from.saturating_add(*by),
                None => return Err(nothing_to_shift(group, &partition)),
            },
            To::File(_) => from_file.as_ref().and_then(of).unwrap_or(end),
        };
        moves.push(Move {
            from,
            to: asked.min(end).max(start),
            outside: (asked < start || asked > end).then_some(asked),
            nothing_since: since.is_some() && of(&found).is_none(),
            partition,
        });
    }
    Ok(moves)
}

fn nothing_to_shift(group: &str, partition: &TopicPartition) -> Failure {
    Failure::Failed(format!("group {group} has committed nothing in {partition} to shift from"))
}

/// Offsets from a file: Kafka's CSV, or what this command prints as JSON.
fn read_file(path: &Path) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let text = std::fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
    let wrong = |what: String| Failure::Failed(format!("{}: {what}", path.display()));
    let parsed =
        if text.trim_start().starts_with('[') { from_json(&text) } else { from_csv(&text) };
    parsed.map_err(wrong)
}

fn from_csv(text: &str) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let mut offsets = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || format!("line {}: topic,partition,offset is expected: {line}", number + 1);
        let mut parts = line.split(',').map(|part| part.trim().trim_matches('"'));
        let (Some(topic), Some(partition), Some(offset), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let partition = TopicPartition::new(topic, partition.parse().map_err(|_| wrong())?);
        offsets.insert(partition, offset.parse().map_err(|_| wrong())?);
    }
    Ok(offsets)
}

fn from_json(text: &str) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let rows: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut offsets = BTreeMap::new();
    for row in &rows {
        let wrong = || format!("topic, partition and to are expected: {row}");
        let topic = row.get("topic").and_then(Value::as_str).ok_or_else(wrong)?;
        let partition = row.get("partition").and_then(Value::as_i64);
        let partition = partition.and_then(|index| i32::try_from(index).ok()).ok_or_else(wrong)?;
        let offset = row.get("to").and_then(Value::as_i64).ok_or_else(wrong)?;
        offsets.insert(TopicPartition::new(topic, partition), offset);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_its_word() {
        for (text, want) in [
            ("earliest", Some(To::Earliest)),
            ("offset:5", Some(To::Offset(5))),
            ("shift:-5", Some(To::Shift(-5))),
            ("datetime:2020-01-01T00:00", Some(To::Time(1_577_836_800_000))),
            ("duration:PT1H", Some(To::Duration(3_600_000))),
            ("file:a:b", Some(To::File("a:b".into()))),
            ("offset", None),
            ("file", None),
            ("earliest:1", None),
        ] {
            assert_eq!(text.parse::<To>().ok(), want, "{text}");
        }
        let scope: Scope = "t:0,2".parse().unwrap();
        assert_eq!(scope, Scope { topic: "t".into(), partitions: vec![0, 2] });
        assert!("t:x".parse::<Scope>().is_err());
    }

    #[test]
    fn a_file_is_csv_or_what_the_command_prints() {
        let want = BTreeMap::from([(TopicPartition::new("t", 1), 7)]);
        assert_eq!(from_csv("\n\"t\",1,7\n"), Ok(want.clone()));
        assert_eq!(
            from_json("[{\"topic\":\"t\",\"partition\":1,\"from\":null,\"to\":7}]"),
            Ok(want)
        );
        assert_eq!(
            from_csv("t,1\n").unwrap_err(),
            "line 1: topic,partition,offset is expected: t,1"
        );
    }
}
