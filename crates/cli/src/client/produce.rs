//! Produces records: partitions chosen as Java's producer does, batches, retries without duplicates.

use std::collections::BTreeMap;
use std::time::Instant;

use ottla_protocol::ErrorCode;
use ottla_protocol::codec::Records;
use ottla_protocol::ids::{ProducerEpoch, ProducerId};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::records::{BatchBuilder, BatchOptions, Compression, Record, sequence_plus};

use super::murmur2::partition_of;
use super::offsets::by_topic;
use super::{Cluster, RETRY_PAUSE, TopicPartition, is_passing, is_passing_code};
use crate::failure::{Failure, Outcome, Refusal, check};

/// The last version that names topics instead of ids.
const PRODUCE_MAX: i16 = 12;
/// A batch is closed at this size before compression, as Kafka's `batch.size` closes one; below any
/// broker's default `message.max.bytes` (1,048,588).
const BATCH_BYTES: usize = 512 << 10;
/// Batches of all partitions are sent at this size together.
const OPEN_BYTES: usize = 16 << 20;

/// How to produce.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Produce {
    pub(crate) compression: Compression,
    /// 0, 1 or -1 for all.
    pub(crate) acks: i16,
}

/// Collects records and sends them. With acks=all, and where the broker serves it, an idempotent
/// producer: what is sent again after a lost answer is not there twice.
#[derive(Debug)]
pub(crate) struct Producer {
    how: Produce,
    id: Option<(ProducerId, ProducerEpoch)>,
    sequences: BTreeMap<TopicPartition, i32>,
    counts: BTreeMap<String, usize>,
    /// The partition that records without a key go to, until it was sent a batch.
    sticky: BTreeMap<String, usize>,
    open: BTreeMap<TopicPartition, BatchBuilder>,
    open_bytes: usize,
    /// Records acknowledged so far (sent, with acks=0).
    pub(crate) sent: u64,
}

/// A batch on its way.
#[derive(Debug)]
struct Batch {
    bytes: bytes::Bytes,
    count: usize,
}

impl Producer {
    pub(crate) async fn new(cluster: &mut Cluster, how: Produce) -> Outcome<Self> {
        let id = if how.acks == -1 && cluster.serves::<InitProducerIdRequest>().await {
            Some(producer_id(cluster).await?)
        } else {
            None
        };
        Ok(Self {
            how,
            id,
            sequences: BTreeMap::new(),
            counts: BTreeMap::new(),
            sticky: BTreeMap::new(),
            open: BTreeMap::new(),
            open_bytes: 0,
            sent: 0,
        })
    }

    /// Adds a record; its offset is ignored. Sends when a batch is full.
    pub(crate) async fn add(
        &mut self,
        cluster: &mut Cluster,
        (topic, partition): (&str, Option<i32>),
        mut record: Record<'_>,
    ) -> Outcome {
        let partition = self.choose(cluster, topic, (partition, record.key.as_deref())).await?;
        let target = TopicPartition::new(topic, partition);
        let options = self.options(&target);
        let builder = self.open.entry(target).or_insert_with(|| BatchBuilder::new(options));
        let before = builder.uncompressed_size();
        record.offset = builder.next_offset();
        builder.append_record(&record).map_err(|error| Failure::Failed(error.to_string()))?;
        let size = builder.uncompressed_size();
        self.open_bytes += size - before;
        if size >= BATCH_BYTES || self.open_bytes >= OPEN_BYTES {
            self.flush(cluster).await?;
        }
        Ok(())
    }

    /// Sends everything that was added and waits until it is acknowledged.
    pub(crate) async fn flush(&mut self, cluster: &mut Cluster) -> Outcome {
        let mut waiting = BTreeMap::new();
        self.open_bytes = 0;
        for (partition, builder) in std::mem::take(&mut self.open) {
            let count = builder.count();
            let bytes = self.close(&partition, builder)?;
            waiting.insert(partition, Batch { bytes, count });
        }
        for (topic, at) in &mut self.sticky {
            *at = (*at + 1) % self.counts.get(topic).copied().unwrap_or(1);
        }
        let deadline = cluster.deadline();
        while !waiting.is_empty() {
            let problem = self.send(cluster, &mut waiting).await;
            match problem {
                Ok(None) => {}
                Ok(Some(failure)) | Err(failure) => {
                    if !is_passing(&failure) || Instant::now() >= deadline {
                        return Err(failure);
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// The partition of a record: the one it names, that of its key's hash, or any.
    async fn choose(
        &mut self,
        cluster: &mut Cluster,
        topic: &str,
        (named, key): (Option<i32>, Option<&[u8]>),
    ) -> Outcome<i32> {
        let count = match self.counts.get(topic) {
            Some(&count) => count,
            None => {
                let count = cluster.topic(topic).await?.partitions.len();
                self.counts.insert(topic.to_owned(), count);
                // Several short runs should not all write to the first partition.
                let start = usize::from(std::process::id() as u16) % count.max(1);
                self.sticky.insert(topic.to_owned(), start);
                count
            }
        };
        if let Some(named) = named {
            let there = usize::try_from(named).is_ok_and(|index| index < count);
            return there.then_some(named).ok_or_else(|| {
                Failure::NotFound(format!("topic {topic} has no partition {named}; it has {count}"))
            });
        }
        let index = match key {
            Some(key) => partition_of(key, count),
            None => self.sticky.get(topic).copied().unwrap_or(0),
        };
        Ok(i32::try_from(index).unwrap_or(0))
    }

    /// What a new batch of this partition is.
    fn options(&self, partition: &TopicPartition) -> BatchOptions {
        let plain = BatchOptions { compression: self.how.compression, ..BatchOptions::default() };
        match self.id {
            None => plain,
            Some((producer_id, producer_epoch)) => BatchOptions {
                producer_id,
                producer_epoch,
                base_sequence: self.sequences.get(partition).copied().unwrap_or(0),
                ..plain
            },
        }
    }

    /// Makes the batch; the next one of its partition goes on after its sequence numbers.
    fn close(
        &mut self,
        partition: &TopicPartition,
        builder: BatchBuilder,
    ) -> Outcome<bytes::Bytes> {
        let count = i32::try_from(builder.count()).unwrap_or(i32::MAX);
        let sequence = self.sequences.entry(partition.clone()).or_insert(0);
        *sequence = sequence_plus(*sequence, count);
        builder.build().map(Into::into).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// Sends what waits to its leaders once; what was acknowledged no longer waits. Returns the first
    /// refusal.
    async fn send(
        &mut self,
        cluster: &mut Cluster,
        waiting: &mut BTreeMap<TopicPartition, Batch>,
    ) -> Outcome<Option<Failure>> {
        let partitions: Vec<_> = waiting.keys().cloned().collect();
        let mut problem = None;
        for (leader, partitions) in cluster.leaders(&partitions).await? {
            let batches = partitions.iter().filter_map(|p| Some((p, waiting.get(p)?)));
            let request = self.request(cluster, batches);
            if self.how.acks == 0 {
                // Nothing is answered.
                cluster.node(leader).await?.send(&request, PRODUCE_MAX).await?;
                for partition in &partitions {
                    self.sent += waiting.remove(partition).map_or(0, |batch| batch.count as u64);
                }
                continue;
            }
            let answer = match cluster.broker(leader, &request, PRODUCE_MAX).await {
                Ok(answer) => answer,
                Err(failure) => {
                    problem = Some(failure);
                    continue;
                }
            };
            for (partition, part) in parts(&answer) {
                match acknowledged(&partition, part) {
                    Ok(()) => {
                        let done = waiting.remove(&partition);
                        self.sent += done.map_or(0, |batch| batch.count as u64);
                    }
                    Err(failure) if is_passing_code(part.error_code) => problem = Some(failure),
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(problem)
    }

    fn request<'a>(
        &self,
        cluster: &Cluster,
        batches: impl Iterator<Item = (&'a TopicPartition, &'a Batch)>,
    ) -> ProduceRequest {
        let topics = by_topic(batches).into_iter().map(|(name, parts)| TopicProduceData {
            name: name.into(),
            partition_data: parts
                .into_iter()
                .map(|(index, batch)| PartitionProduceData {
                    index,
                    records: Some(Records::Bytes(batch.bytes.clone())),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        ProduceRequest {
            acks: self.how.acks,
            timeout_ms: cluster.timeout_ms(),
            topic_data: topics.collect(),
            ..Default::default()
        }
    }
}

async fn producer_id(cluster: &mut Cluster) -> Outcome<(ProducerId, ProducerEpoch)> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let deadline = cluster.deadline();
    let answer = super::until(deadline, async || {
        let answer = cluster.any(&request).await?;
        check("InitProducerId", answer.error_code, None)?;
        Ok(answer)
    });
    let answer = answer.await?;
    Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)))
}

fn parts(
    answer: &ProduceResponse,
) -> impl Iterator<Item = (TopicPartition, &PartitionProduceResponse)> {
    answer.responses.iter().flat_map(|topic| {
        topic
            .partition_responses
            .iter()
            .map(|part| (TopicPartition::new(&*topic.name, part.index), part))
    })
}

fn acknowledged(partition: &TopicPartition, part: &PartitionProduceResponse) -> Outcome {
    // A batch that is there already: its first answer was lost.
    let done = [ErrorCode::None, ErrorCode::DuplicateSequenceNumber];
    if ErrorCode::from_code(part.error_code).is_some_and(|code| done.contains(&code)) {
        return Ok(());
    }
    let record = part.record_errors.first();
    let detail = record.and_then(|error| error.batch_index_error_message.as_deref());
    let message = part.error_message.as_deref().or(detail).map(str::to_owned);
    let what = format!("producing to {partition}");
    Err(Failure::Refused(Refusal { what, code: part.error_code, message }))
}
