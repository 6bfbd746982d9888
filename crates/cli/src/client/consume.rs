//! Fetches records of partitions from their leaders.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_protocol::codec::Records;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::records::{BatchView, Record, TimestampType, WalkLimits, batches, records};
use ottla_protocol::{ErrorCode, Uuid};

use super::aborted::Aborted;
use super::offsets::{At, Isolation, by_topic};
use super::{Cluster, RETRY_PAUSE, TopicPartition, is_passing, is_passing_code};
use crate::failure::{Failure, Outcome, check};

/// The last version that names topics instead of ids.
const FETCH_MAX: i16 = 12;
/// What one answer of a broker, and one partition in it, should hold at most.
const ANSWER_BYTES: i32 = 50 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// What one batch may inflate to.
pub(crate) const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 30 };

/// Whether the reader of records wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    More,
    Enough,
}

/// Gets each record with its partition.
pub(crate) trait Sink {
    /// Takes one record.
    ///
    /// # Errors
    /// The output failed.
    fn record(
        &mut self,
        partition: &TopicPartition,
        record: &Record<'_>,
        timestamp_type: TimestampType,
    ) -> Outcome<Next>;

    /// Everything that was taken is to be out; only then is it committed.
    ///
    /// # Errors
    /// The output failed.
    fn flush(&mut self) -> Outcome;

    /// About so many records are to come.
    fn expect(&mut self, _records: u64) {}
}

/// Reads partitions from positions of their own.
#[derive(Debug)]
pub(crate) struct Fetcher {
    /// The next offset of each partition.
    pub(crate) positions: BTreeMap<TopicPartition, i64>,
    isolation: Isolation,
    leaders: BTreeMap<i32, Vec<TopicPartition>>,
    /// Since when no broker has answered properly.
    failing_since: Option<Instant>,
}

impl Fetcher {
    pub(crate) fn new(positions: BTreeMap<TopicPartition, i64>, isolation: Isolation) -> Self {
        Self { positions, isolation, leaders: BTreeMap::new(), failing_since: None }
    }

    /// Fetches once from every leader and hands the records on. Waits up to `wait` for the first.
    pub(crate) async fn poll(
        &mut self,
        cluster: &mut Cluster,
        wait: Duration,
        sink: &mut impl Sink,
    ) -> Outcome<Next> {
        match self.fetch(cluster, wait).await {
            Ok(answers) => self.hand_on(cluster, answers, sink).await,
            Err(failure) if is_passing(&failure) => {
                self.failed(cluster, failure)?;
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(Next::More)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Notes a failure; gives up when there was nothing else for the whole timeout.
    fn failed(&mut self, cluster: &Cluster, failure: Failure) -> Outcome {
        self.leaders.clear();
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < cluster.target.timeout { Ok(()) } else { Err(failure) }
    }

    async fn fetch(
        &mut self,
        cluster: &mut Cluster,
        wait: Duration,
    ) -> Outcome<Vec<FetchResponse>> {
        if self.leaders.is_empty() {
            let partitions: Vec<_> = self.positions.keys().cloned().collect();
            self.leaders = cluster.leaders(&partitions).await?;
        }
        let mut sent = Vec::new();
        for (&leader, partitions) in &self.leaders {
            let request = self.request(partitions, wait);
            match cluster.node(leader).await?.send(&request, FETCH_MAX).await {
                Ok(how) => sent.push((leader, how)),
                Err(failure) => {
                    // Answers are under way: begin with new connections.
                    sent.iter().for_each(|(id, _)| cluster.forget(*id));
                    cluster.forget(leader);
                    return Err(failure);
                }
            }
        }
        let mut answers = Vec::new();
        let mut problem = None;
        for (leader, how) in sent {
            match cluster.node(leader).await?.receive::<FetchRequest>(how).await {
                Ok(answer) => answers.push(answer),
                Err(failure) => {
                    cluster.forget(leader);
                    problem = Some(failure);
                }
            }
        }
        problem.map_or(Ok(answers), Err)
    }

    fn request(&self, partitions: &[TopicPartition], wait: Duration) -> FetchRequest {
        let wanted = partitions.iter().filter_map(|p| Some((p, *self.positions.get(p)?)));
        let topics = by_topic(wanted).into_iter().map(|(name, parts)| FetchTopic {
            topic: name.into(),
            topic_id: Uuid::ZERO,
            partitions: parts
                .into_iter()
                .map(|(partition, fetch_offset)| FetchPartition {
                    partition,
                    fetch_offset,
                    partition_max_bytes: PARTITION_BYTES,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        FetchRequest {
            replica_id: -1,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: ANSWER_BYTES,
            isolation_level: self.isolation as i8,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    async fn hand_on(
        &mut self,
        cluster: &mut Cluster,
        answers: Vec<FetchResponse>,
        sink: &mut impl Sink,
    ) -> Outcome<Next> {
        for answer in answers {
            check("Fetch", answer.error_code, None)?;
            for topic in answer.responses {
                for part in topic.partitions {
                    let partition = TopicPartition::new(&*topic.topic, part.partition_index);
                    if self.partition(cluster, &partition, part, sink).await? == Next::Enough {
                        return Ok(Next::Enough);
                    }
                }
            }
        }
        Ok(Next::More)
    }

    async fn partition(
        &mut self,
        cluster: &mut Cluster,
        partition: &TopicPartition,
        part: PartitionData,
        sink: &mut impl Sink,
    ) -> Outcome<Next> {
        match ErrorCode::from_code(part.error_code) {
            Some(ErrorCode::None) => {
                self.failing_since = None;
                self.records(partition, &part, sink)
            }
            Some(ErrorCode::OffsetOutOfRange) => {
                let position = self.positions.get(partition).copied().unwrap_or(-1);
                let starts = cluster.offsets_at(std::slice::from_ref(partition), At::Earliest);
                let start = starts.await?.get(partition).copied().unwrap_or(0);
                eprintln!(
                    "ottla: {partition}: offset {position} is not there (any more); going on at {start}"
                );
                self.positions.insert(partition.clone(), start);
                Ok(Next::More)
            }
            code => {
                let failure = check(format_args!("fetching {partition}"), part.error_code, None);
                let moving = code == Some(ErrorCode::UnknownTopicOrPartition);
                match failure {
                    Err(failure) if moving || is_passing_code(part.error_code) => {
                        self.failed(cluster, failure)?;
                        tokio::time::sleep(RETRY_PAUSE).await;
                        Ok(Next::More)
                    }
                    other => other.map(|()| Next::More),
                }
            }
        }
    }

    fn records(
        &mut self,
        partition: &TopicPartition,
        part: &PartitionData,
        sink: &mut impl Sink,
    ) -> Outcome<Next> {
        let bytes = part.records.as_ref().and_then(Records::as_bytes);
        let Some(bytes) = bytes else { return Ok(Next::More) };
        let Some(position) = self.positions.get_mut(partition) else { return Ok(Next::More) };
        let mut aborted = Aborted::new(part.aborted_transactions.as_deref());
        let broken = |why: &dyn std::fmt::Display| Failure::Failed(format!("{partition}: {why}"));
        for batch in batches(bytes) {
            // An answer may end inside a batch: that ends the iteration, too.
            let batch = batch.map_err(|error| broken(&error))?;
            batch.verify_crc().map_err(|error| broken(&error))?;
            let skips = match self.isolation {
                Isolation::ReadCommitted => aborted.skips(&batch, &LIMITS),
                Isolation::ReadUncommitted => batch.header().is_control(),
            };
            if !skips && each(partition, &batch, position, sink)? == Next::Enough {
                return Ok(Next::Enough);
            }
            *position = (*position).max(batch.header().next_offset().0);
        }
        Ok(Next::More)
    }
}

fn each(
    partition: &TopicPartition,
    batch: &BatchView<'_>,
    position: &mut i64,
    sink: &mut impl Sink,
) -> Outcome<Next> {
    let kind = batch.header().timestamp_type();
    let broken = |error| Failure::Failed(format!("{partition}: {error}"));
    for record in records(batch, &LIMITS).map_err(broken)? {
        let record = record.map_err(broken)?;
        if record.offset.0 < *position {
            continue;
        }
        // After the record is out, not before: a failed output must not count as read.
        let next = sink.record(partition, &record, kind)?;
        *position = record.offset.0 + 1;
        if next == Next::Enough {
            return Ok(Next::Enough);
        }
    }
    Ok(Next::More)
}
