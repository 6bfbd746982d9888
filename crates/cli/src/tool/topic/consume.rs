//! `ottla topic consume` and `ottla topic tail`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_protocol::records::{Record, TimestampType};

use crate::client::consume::{Fetcher, Next, Sink};
use crate::client::member::Member;
use crate::client::offsets::{At, Isolation};
use crate::client::{Cluster, TopicPartition};
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Out};
use crate::progress::Progress;
use crate::record::{to_json, to_text};
use crate::time::parse_time;
use crate::tool::stop::until_signal;

pub(crate) const EXAMPLES: &str = "Examples:
  ottla topic consume orders                      everything there is now
  ottla topic consume orders --from -10           the last ten of each partition
  ottla topic consume orders --from 2026-01-31T12:00 -n 1
  ottla topic consume orders -o json > orders.jsonl
  ottla topic consume orders -g audit --follow    as a member of a group, on and on

With --group the command is a member of the group (classic protocol, range assignment), begins at
what the group has committed, commits every five seconds and at the end, and leaves.";

/// How long one fetch waits for records.
const WAIT: Duration = Duration::from_millis(500);
/// How often a member commits: Kafka's `auto.commit.interval.ms`.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Where to begin: earliest, latest, an offset, -COUNT from the end, or a time
    #[arg(
        short, long, value_name = "PLACE", default_value = "earliest", value_parser = start,
        allow_hyphen_values = true
    )]
    from: Start,
    /// Wait for more at the end
    #[arg(short = 'F', long)]
    follow: bool,
    /// Stop after so many records
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// A partition to read; may be repeated, all if not given
    #[arg(short, long = "partition", value_name = "NUMBER")]
    partitions: Vec<i32>,
    /// Read as a member of this consumer group
    #[arg(short, long, conflicts_with = "partitions")]
    group: Option<String>,
    /// Leave out records of transactions that are open or were aborted
    #[arg(long)]
    read_committed: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// The topic
    topic: String,
    /// How many of the latest records of each partition
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    count: u32,
    /// A partition to read; may be repeated, all if not given
    #[arg(short, long = "partition", value_name = "NUMBER")]
    partitions: Vec<i32>,
    /// Leave out records of transactions that are open or were aborted
    #[arg(long)]
    read_committed: bool,
}

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    /// At an offset, or the nearest there is.
    Offset(i64),
    /// So many before the end.
    Last(i64),
    /// At the first record that is not older.
    Time(i64),
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At the ends found at the start.
    AtEnds,
    /// Never by itself.
    Never,
    /// When nothing came for so long.
    Idle(Duration),
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) topics: Vec<String>,
    /// All of them if empty.
    pub(crate) partitions: Vec<i32>,
    pub(crate) start: Start,
    pub(crate) stop: Stop,
    pub(crate) isolation: Isolation,
    pub(crate) group: Option<String>,
}

pub(crate) async fn run(args: Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let reading = Reading {
        topics: vec![args.topic],
        partitions: args.partitions,
        start: args.from,
        stop: if args.follow { Stop::Never } else { Stop::AtEnds },
        isolation: isolation(args.read_committed),
        group: args.group,
    };
    read_topics(cluster, &reading, &mut Printer::new(out, args.count)).await
}

pub(crate) async fn tail(args: TailArgs, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let reading = Reading {
        topics: vec![args.topic],
        partitions: args.partitions,
        start: Start::Last(args.count.into()),
        stop: Stop::Never,
        isolation: isolation(args.read_committed),
        group: None,
    };
    read_topics(cluster, &reading, &mut Printer::new(out, None)).await
}

const fn isolation(read_committed: bool) -> Isolation {
    if read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" | "beginning" => return Ok(Start::Earliest),
        "latest" | "end" => return Ok(Start::Latest),
        _ => {}
    }
    if let Some(count) = text.strip_prefix('-').and_then(|count| count.parse().ok()) {
        return Ok(Start::Last(count));
    }
    if let Ok(offset) = text.parse() {
        return Ok(Start::Offset(offset));
    }
    parse_time(text).map(Start::Time).map_err(|_| {
        format!("{text}: earliest, latest, an offset, -COUNT or a time such as 2026-01-31T12:00")
    })
}

/// Prints records in the form that was asked for.
struct Printer<'a> {
    out: &'a mut Out,
    left: Option<u64>,
    progress: Progress,
}

impl<'a> Printer<'a> {
    fn new(out: &'a mut Out, count: Option<u64>) -> Self {
        Self { out, left: count, progress: Progress::of_count(0) }
    }
}

impl Sink for Printer<'_> {
    fn record(
        &mut self,
        partition: &TopicPartition,
        record: &Record<'_>,
        kind: TimestampType,
    ) -> Outcome<Next> {
        if self.left == Some(0) {
            return Ok(Next::Enough);
        }
        match self.out.format {
            Format::Table => self.out.line(&to_text(partition, record, kind))?,
            Format::Json | Format::Yaml => self.out.item(&to_json(partition, record))?,
        }
        self.progress.add(1);
        self.left = self.left.map(|left| left - 1);
        Ok(if self.left == Some(0) { Next::Enough } else { Next::More })
    }

    fn flush(&mut self) -> Outcome {
        self.out.flush()
    }

    fn expect(&mut self, records: u64) {
        self.progress = Progress::of_count(self.left.unwrap_or(records).min(records));
    }
}

/// Reads topics until the stop, or a signal. A group's member commits and leaves in any case.
pub(crate) async fn read_topics(
    cluster: &mut Cluster,
    reading: &Reading,
    sink: &mut impl Sink,
) -> Outcome {
    match &reading.group {
        None => {
            let partitions = chosen(cluster, reading).await?;
            let starts = starts(cluster, &partitions, reading.start).await?;
            let ends = ends(cluster, reading, &partitions).await?;
            let mut fetcher = Fetcher::new(starts, reading.isolation);
            expect(sink, &fetcher, ends.as_ref());
            let mut clock = Idle::new(reading.stop);
            until_signal(async {
                while !at_ends(&fetcher, ends.as_ref()) && !clock.over() {
                    let next = fetcher.poll(cluster, WAIT, sink).await?;
                    sink.flush()?;
                    clock.saw(&fetcher);
                    if next == Next::Enough {
                        break;
                    }
                }
                Ok(())
            })
            .await
        }
        Some(group) => {
            let mut part = Part { group, reading, member: None, fetcher: None, ends: None };
            let done = until_signal(part.read(cluster, sink)).await;
            if matches!(done, Err(Failure::Signal(_))) {
                // An answer may have been cut off in the middle.
                cluster.disconnect();
            }
            let ended = part.end(cluster).await;
            done.and(ended)
        }
    }
}

/// The partitions to read without a group.
async fn chosen(cluster: &mut Cluster, reading: &Reading) -> Outcome<Vec<TopicPartition>> {
    let all = cluster.partitions_of(&reading.topics).await?;
    if reading.partitions.is_empty() {
        return Ok(all);
    }
    let pairs = reading.topics.iter().flat_map(|topic| {
        reading.partitions.iter().map(move |index| TopicPartition::new(topic, *index))
    });
    // Asks for them, so that one that is not there is an error.
    let wanted: Vec<_> = pairs.collect();
    cluster.leaders(&wanted).await?;
    Ok(wanted)
}

/// Where to begin in each partition.
async fn starts(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    start: Start,
) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let first = cluster.offsets_at(partitions, At::Earliest).await?;
    if start == Start::Earliest {
        return Ok(first);
    }
    let last = cluster.offsets_at(partitions, At::Latest).await?;
    let found = match start {
        Start::Time(millis) => cluster.offsets_at(partitions, At::Time(millis)).await?,
        _ => BTreeMap::new(),
    };
    let place = |partition: &TopicPartition| {
        let of = |map: &BTreeMap<TopicPartition, i64>| map.get(partition).copied();
        let (first, last) = (of(&first).unwrap_or(0), of(&last).unwrap_or(0));
        let offset = match start {
            Start::Earliest => first,
            Start::Latest => last,
            Start::Offset(offset) => offset,
            Start::Last(count) => last.saturating_sub(count),
            Start::Time(_) => of(&found).unwrap_or(last),
        };
        (partition.clone(), offset.min(last).max(first))
    };
    Ok(partitions.iter().map(place).collect())
}

/// Where to stop in each partition, if that is how to stop.
async fn ends(
    cluster: &mut Cluster,
    reading: &Reading,
    partitions: &[TopicPartition],
) -> Outcome<Option<BTreeMap<TopicPartition, i64>>> {
    if reading.stop != Stop::AtEnds {
        return Ok(None);
    }
    let wanted: Vec<_> = partitions.iter().map(|p| (p.clone(), At::Latest)).collect();
    let found = cluster.offsets(&wanted, reading.isolation).await?;
    Ok(Some(found.into_iter().filter_map(|(p, end)| Some((p, end?))).collect()))
}

fn at_ends(fetcher: &Fetcher, ends: Option<&BTreeMap<TopicPartition, i64>>) -> bool {
    ends.is_some_and(|ends| {
        let reached = |(partition, position): (&TopicPartition, &i64)| {
            ends.get(partition).is_none_or(|end| position >= end)
        };
        fetcher.positions.iter().all(reached)
    })
}

fn expect(sink: &mut impl Sink, fetcher: &Fetcher, ends: Option<&BTreeMap<TopicPartition, i64>>) {
    if let Some(ends) = ends {
        let left = ends.iter().map(|(partition, end)| {
            let position = fetcher.positions.get(partition).copied().unwrap_or(*end);
            u64::try_from(end - position).unwrap_or(0)
        });
        sink.expect(left.sum());
    }
}

/// Watches for silence.
struct Idle {
    limit: Option<Duration>,
    since: Instant,
    last: i64,
}

impl Idle {
    fn new(stop: Stop) -> Self {
        let limit = match stop {
            Stop::Idle(limit) => Some(limit),
            Stop::AtEnds | Stop::Never => None,
        };
        Self { limit, since: Instant::now(), last: -1 }
    }

    fn saw(&mut self, fetcher: &Fetcher) {
        let sum = fetcher.positions.values().sum();
        if sum != self.last {
            self.last = sum;
            self.since = Instant::now();
        }
    }

    fn over(&self) -> bool {
        self.limit.is_some_and(|limit| self.since.elapsed() >= limit)
    }
}

/// A group member's part of the topics.
struct Part<'a> {
    group: &'a str,
    reading: &'a Reading,
    member: Option<Member>,
    fetcher: Option<Fetcher>,
    ends: Option<BTreeMap<TopicPartition, i64>>,
}

impl Part<'_> {
    async fn read(&mut self, cluster: &mut Cluster, sink: &mut impl Sink) -> Outcome {
        let topics = self.reading.topics.clone();
        self.member = Some(Member::join(cluster, self.group, topics).await?);
        self.take_up(cluster, sink).await?;
        let mut clock = Idle::new(self.reading.stop);
        let mut committed = Instant::now();
        loop {
            let (Some(member), Some(fetcher)) = (&mut self.member, &mut self.fetcher) else {
                return Ok(());
            };
            if at_ends(fetcher, self.ends.as_ref()) || clock.over() {
                return Ok(());
            }
            if member.beat(cluster).await? {
                self.rejoin(cluster, sink).await?;
                continue;
            }
            if fetcher.positions.is_empty() {
                tokio::time::sleep(WAIT).await;
                continue;
            }
            let next = fetcher.poll(cluster, WAIT, sink).await?;
            sink.flush()?;
            clock.saw(fetcher);
            if next == Next::Enough {
                return Ok(());
            }
            if committed.elapsed() >= COMMIT_EVERY {
                self.commit(cluster).await?;
                committed = Instant::now();
            }
        }
    }

    /// Gives back, joins again, goes on with what is assigned then.
    async fn rejoin(&mut self, cluster: &mut Cluster, sink: &mut impl Sink) -> Outcome {
        // In vain if the group went on without this member; others then read again what was not
        // committed, as with any consumer.
        if let Err(failure) = self.commit(cluster).await {
            eprintln!("ottla: {failure}");
        }
        if let Some(member) = &mut self.member {
            member.rejoin(cluster).await?;
        }
        self.take_up(cluster, sink).await
    }

    /// Begins with the assignment: at what is committed, else where the command line says.
    async fn take_up(&mut self, cluster: &mut Cluster, sink: &mut impl Sink) -> Outcome {
        let Some(member) = &self.member else { return Ok(()) };
        let assigned = member.assignment.clone();
        let mut positions = starts(cluster, &assigned, self.reading.start).await?;
        for (partition, committed) in cluster.committed(self.group).await? {
            if let Some(position) = positions.get_mut(&partition) {
                *position = committed.offset;
            }
        }
        self.ends = ends(cluster, self.reading, &assigned).await?;
        let fetcher = Fetcher::new(positions, self.reading.isolation);
        expect(sink, &fetcher, self.ends.as_ref());
        self.fetcher = Some(fetcher);
        Ok(())
    }

    async fn commit(&mut self, cluster: &mut Cluster) -> Outcome {
        match (&self.member, &self.fetcher) {
            (Some(member), Some(fetcher)) => {
                cluster.commit(self.group, member.identity(), &fetcher.positions).await
            }
            _ => Ok(()),
        }
    }

    /// Commits and leaves.
    async fn end(mut self, cluster: &mut Cluster) -> Outcome {
        let committed = self.commit(cluster).await;
        match self.member.take() {
            Some(member) => committed.and(member.leave(cluster).await),
            None => committed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_a_count_or_a_time() {
        for (text, want) in [
            ("earliest", Some(Start::Earliest)),
            ("latest", Some(Start::Latest)),
            ("-10", Some(Start::Last(10))),
            ("10", Some(Start::Offset(10))),
            ("2020-01-01", Some(Start::Time(1_577_836_800_000))),
            ("last", None),
        ] {
            assert_eq!(start(text).ok(), want, "{text}");
        }
    }
}
