//! A transactional producer of one transaction at a time, as a client of transaction.version 2
//! (KIP-890): Produce adds the partitions, EndTxn brings the epoch of the next transaction.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ids::{ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ProduceRequest,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ErrorCode, Records};

use crate::call::{BenchError, Caller, refuse};

const FIND_COORDINATOR: i16 = 4;
const CREATE_TOPICS: i16 = 5;
const DELETE_TOPICS: i16 = 5;
const INIT_PRODUCER_ID: i16 = 4;
const PRODUCE: i16 = 12;
const END_TXN: i16 = 5;

/// The coordinator type of transactions in FindCoordinator.
const TRANSACTIONS: i8 = 1;
/// Time for one request, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;
/// A refused request is sent again after this pause, as often as [`RETRIES_MAX`] says.
const BACKOFF: Duration = Duration::from_millis(1);
const RETRIES_MAX: u32 = 20_000;

/// The producer and its topic.
pub(crate) struct Producer {
    caller: Caller,
    topic: ByteString,
    transactional_id: ByteString,
    id: ProducerId,
    epoch: ProducerEpoch,
    /// Next sequence number by partition.
    sequences: Vec<i32>,
    value: Bytes,
    /// Requests that had to be sent again.
    pub(crate) retries: u64,
}

impl Producer {
    /// Creates a topic of `partitions` partitions and takes the transactional id of the same name.
    pub(crate) async fn start(
        address: &str,
        topic: &str,
        partitions: i32,
        record_bytes: usize,
    ) -> Result<Self, BenchError> {
        let mut caller = Caller::connect(address).await?;
        let creation = CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![creation],
            timeout_ms: TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let created = caller.call(CREATE_TOPICS, &request).await?;
        let first = created.topics.first().ok_or(BenchError::Incomplete("CreateTopics"))?;
        refuse("CreateTopics", first.error_code)?;
        let mut producer = Self {
            caller,
            topic: topic.into(),
            transactional_id: topic.into(),
            id: ProducerId::NONE,
            epoch: ProducerEpoch::NONE,
            sequences: vec![0; usize::try_from(partitions).unwrap_or(0)],
            value: Bytes::from(vec![b'x'; record_bytes]),
            retries: 0,
        };
        producer.find_coordinator().await?;
        producer.init().await?;
        producer.retries = 0;
        Ok(producer)
    }

    /// Appends `count` records, spread evenly over the partitions, in one request.
    pub(crate) async fn send(&mut self, count: usize, now: Timestamp) -> Result<(), BenchError> {
        let partitions = self.sequences.len().max(1);
        let mut data = Vec::with_capacity(partitions);
        for (index, sequence) in self.sequences.iter_mut().enumerate() {
            let records = count / partitions + usize::from(index < count % partitions);
            if records == 0 {
                continue;
            }
            let mut batch = BatchBuilder::new(BatchOptions {
                transactional: true,
                producer_id: self.id,
                producer_epoch: self.epoch,
                base_sequence: *sequence,
                ..BatchOptions::default()
            });
            for _ in 0..records {
                batch.append(now, None, Some(&self.value))?;
            }
            let records = i32::try_from(records).unwrap_or(i32::MAX);
            *sequence = sequence.wrapping_add(records) & i32::MAX;
            data.push(PartitionProduceData {
                index: i32::try_from(index).unwrap_or(i32::MAX),
                records: Some(Records::from(Bytes::from(batch.build()?))),
                ..PartitionProduceData::default()
            });
        }
        let topic = TopicProduceData {
            name: self.topic.clone(),
            partition_data: data,
            ..TopicProduceData::default()
        };
        self.produce(topic).await
    }

    /// Commits and waits for the answer.
    pub(crate) async fn commit(&mut self) -> Result<(), BenchError> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id.0,
            producer_epoch: self.epoch.0,
            committed: true,
            ..EndTxnRequest::default()
        };
        for _ in 0..RETRIES_MAX {
            let answer = self.caller.call(END_TXN, &request).await?;
            if !self.is_retriable(answer.error_code).await {
                refuse("EndTxn", answer.error_code)?;
                if self.epoch != ProducerEpoch(answer.producer_epoch) {
                    self.sequences.fill(0);
                }
                self.id = ProducerId(answer.producer_id);
                self.epoch = ProducerEpoch(answer.producer_epoch);
                return Ok(());
            }
        }
        Err(BenchError::Incomplete("EndTxn"))
    }

    /// Deletes the topic.
    pub(crate) async fn finish(mut self) -> Result<(), BenchError> {
        let request = DeleteTopicsRequest {
            topic_names: vec![self.topic.clone()],
            timeout_ms: TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        self.caller.call(DELETE_TOPICS, &request).await?;
        Ok(())
    }

    async fn produce(&mut self, topic: TopicProduceData) -> Result<(), BenchError> {
        let mut request = ProduceRequest {
            transactional_id: Some(self.transactional_id.clone()),
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        for _ in 0..RETRIES_MAX {
            let answer = self.caller.call(PRODUCE, &request).await?;
            let results = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            let mut again = Vec::new();
            for result in results {
                if self.is_retriable(result.error_code).await {
                    again.push(result.index);
                } else {
                    refuse("Produce", result.error_code)?;
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            for topic in &mut request.topic_data {
                topic.partition_data.retain(|data| again.contains(&data.index));
            }
        }
        Err(BenchError::Incomplete("Produce"))
    }

    async fn find_coordinator(&mut self) -> Result<(), BenchError> {
        let request = FindCoordinatorRequest {
            key_type: TRANSACTIONS,
            coordinator_keys: vec![self.transactional_id.clone()],
            ..FindCoordinatorRequest::default()
        };
        for _ in 0..RETRIES_MAX {
            let answer = self.caller.call(FIND_COORDINATOR, &request).await?;
            let found = answer.coordinators.first();
            let code = found.ok_or(BenchError::Incomplete("FindCoordinator"))?.error_code;
            if !self.is_retriable(code).await {
                return refuse("FindCoordinator", code);
            }
        }
        Err(BenchError::Incomplete("FindCoordinator"))
    }

    async fn init(&mut self) -> Result<(), BenchError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        for _ in 0..RETRIES_MAX {
            let answer = self.caller.call(INIT_PRODUCER_ID, &request).await?;
            if !self.is_retriable(answer.error_code).await {
                refuse("InitProducerId", answer.error_code)?;
                self.id = ProducerId(answer.producer_id);
                self.epoch = ProducerEpoch(answer.producer_epoch);
                return Ok(());
            }
        }
        Err(BenchError::Incomplete("InitProducerId"))
    }

    /// Whether the request is to be sent again; waits before it.
    async fn is_retriable(&mut self, code: i16) -> bool {
        let retriable = matches!(
            ErrorCode::from_code(code),
            Some(
                ErrorCode::ConcurrentTransactions
                    | ErrorCode::CoordinatorLoadInProgress
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotCoordinator
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::UnknownTopicOrPartition
            )
        );
        if retriable {
            self.retries += 1;
            tokio::time::sleep(BACKOFF).await;
        }
        retriable
    }
}
