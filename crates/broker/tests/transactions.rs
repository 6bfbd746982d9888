//! Transactions as producers and readers of committed records see them, over a broker in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[allow(dead_code, reason = "shared with other tests and the fuzz targets")]
mod support;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::ids::{ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::messages as m;
use ottla_protocol::records::{BatchBuilder, BatchOptions, batches};
use ottla_protocol::{ErrorCode, Records};
use ottla_testkit::{Errno, Fault, MemDisk, OpKind};
use support::{Node, formatted};

const TOPIC: &str = "t";
const OTHER: &str = "u";
const GROUP: &str = "g";

/// A node with two topics of two partitions, whose coordinators are there.
fn node(settings: &[(&str, &str)]) -> (MemDisk, Node) {
    let disk = formatted();
    let node = Node::start_with(&disk, settings).unwrap();
    let topics = [TOPIC, OTHER].map(|name| m::create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    });
    call(&node, 7, &m::CreateTopicsRequest { topics: topics.into(), ..Default::default() });
    for key_type in [0, 1] {
        let request = m::FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec!["k".into()],
            ..Default::default()
        };
        let first = call(&node, 6, &request).coordinators[0].error_code;
        assert_eq!(code(first), ErrorCode::CoordinatorNotAvailable, "its topic is being created");
        assert_eq!(call(&node, 6, &request).coordinators[0].error_code, 0);
    }
    (disk, node)
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

fn frame<R: Request>(version: i16, request: &R) -> Bytes {
    encode_request(version, 9, None, request).unwrap().bytes.slice(4..)
}

fn answer<R: Request>(version: i16, response: &Bytes) -> R::Response {
    decode_response::<R>(response.slice(4..), version).unwrap().1
}

/// The answer to a request that nothing but jobs is needed for.
fn call<R: Request>(node: &Node, version: i16, request: &R) -> R::Response {
    let mut client = node.connect();
    client.send(node, frame(version, request));
    let response = client.response().unwrap_or_else(|| panic!("{request:?} waits"));
    answer::<R>(version, &response)
}

/// A transactional producer.
#[derive(Debug, Clone, Copy)]
struct Producer {
    transactional_id: &'static str,
    id: i64,
    epoch: i16,
    /// The next sequence number in every partition.
    sequence: i32,
}

impl Producer {
    fn init(node: &Node, transactional_id: &'static str) -> Self {
        Self::try_init(node, transactional_id, 60_000).unwrap()
    }

    fn try_init(
        node: &Node,
        transactional_id: &'static str,
        transaction_timeout_ms: i32,
    ) -> Result<Self, ErrorCode> {
        let request = m::InitProducerIdRequest {
            transactional_id: Some(transactional_id.into()),
            transaction_timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let response = call(node, 5, &request);
        match code(response.error_code) {
            ErrorCode::None => Ok(Self {
                transactional_id,
                id: response.producer_id,
                epoch: response.producer_epoch,
                sequence: 0,
            }),
            error => Err(error),
        }
    }

    fn batch(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            transactional: true,
            producer_id: ProducerId(self.id),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: self.sequence,
            ..BatchOptions::default()
        });
        builder.append(Timestamp(1_700_000_000_000), None, Some(b"in a transaction")).unwrap();
        builder.build().unwrap()
    }

    fn produce_request(&self, topic: &str, index: i32, acks: i16) -> m::ProduceRequest {
        let data = m::produce_request::PartitionProduceData {
            index,
            records: Some(Records::Bytes(self.batch().into())),
            ..Default::default()
        };
        let topic = m::produce_request::TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..Default::default()
        };
        m::ProduceRequest {
            transactional_id: Some(self.transactional_id.into()),
            acks,
            timeout_ms: 30_000,
            topic_data: vec![topic],
            ..Default::default()
        }
    }

    /// Sends one record; version 12 and later adds the partition to the transaction.
    fn send(&self, node: &Node, version: i16, topic: &str) -> ErrorCode {
        let response = call(node, version, &self.produce_request(topic, 0, -1));
        code(response.responses[0].partition_responses[0].error_code)
    }

    /// Ends the transaction as clients of transaction.version 2 do, and takes over the new epoch.
    fn end(&mut self, node: &Node, committed: bool) -> ErrorCode {
        let request = m::EndTxnRequest {
            transactional_id: self.transactional_id.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
            ..Default::default()
        };
        let response = call(node, 5, &request);
        if response.error_code == 0 {
            (self.id, self.epoch, self.sequence) =
                (response.producer_id, response.producer_epoch, 0);
        }
        code(response.error_code)
    }
}

fn fetch_committed(topic: &str, max_wait_ms: i32) -> m::FetchRequest {
    let partition = m::fetch_request::FetchPartition {
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topic = m::fetch_request::FetchTopic {
        topic: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    m::FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation_level: 1,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// What a reader of committed records finds in partition 0.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Data batches below the last stable offset.
    batches: usize,
    /// Producer and first offset.
    aborted: Vec<(i64, i64)>,
    last_stable: i64,
    high_watermark: i64,
}

fn seen(response: &m::FetchResponse) -> Seen {
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, 0);
    let bytes = data.records.as_ref().and_then(Records::as_bytes).cloned().unwrap_or_default();
    let whole = batches(&bytes).map(Result::unwrap);
    let aborted = data.aborted_transactions.iter().flatten();
    Seen {
        batches: whole.filter(|batch| !batch.header().is_control()).count(),
        aborted: aborted.map(|txn| (txn.producer_id, txn.first_offset)).collect(),
        last_stable: data.last_stable_offset,
        high_watermark: data.high_watermark,
    }
}

fn look(node: &Node, topic: &str) -> Seen {
    seen(&call(node, 12, &fetch_committed(topic, 0)))
}

fn state(node: &Node, transactional_id: &str) -> String {
    let request = m::DescribeTransactionsRequest {
        transactional_ids: vec![transactional_id.into()],
        ..Default::default()
    };
    call(node, 0, &request).transaction_states[0].transaction_state.to_string()
}

fn producers(node: &Node, topic: &str) -> Vec<m::describe_producers_response::ProducerState> {
    let topic = m::describe_producers_request::TopicRequest {
        name: topic.into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let request = m::DescribeProducersRequest { topics: vec![topic], ..Default::default() };
    call(node, 0, &request).topics[0].partitions[0].active_producers.clone()
}

#[test]
fn a_committed_transaction_is_seen_whole_and_an_open_one_not_at_all() {
    let (_disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    let open = Seen { batches: 0, aborted: vec![], last_stable: 0, high_watermark: 1 };
    for topic in [TOPIC, OTHER] {
        assert_eq!(producer.send(&node, 12, topic), ErrorCode::None);
        assert_eq!(look(&node, topic), open);
    }
    assert_eq!(state(&node, "a"), "Ongoing");
    let before = producer;
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!((producer.id, producer.epoch), (before.id, before.epoch + 1));
    assert_eq!(state(&node, "a"), "CompleteCommit");
    for topic in [TOPIC, OTHER] {
        let committed = Seen { batches: 1, aborted: vec![], last_stable: 2, high_watermark: 2 };
        assert_eq!(look(&node, topic), committed);
    }
}

#[test]
fn an_aborted_transaction_is_told_to_readers_and_holds_nobody() {
    let (_disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    assert_eq!(producer.end(&node, false), ErrorCode::None);
    let aborted =
        Seen { batches: 1, aborted: vec![(producer.id, 0)], last_stable: 2, high_watermark: 2 };
    assert_eq!(look(&node, TOPIC), aborted);
    assert_eq!(state(&node, "a"), "CompleteAbort");
}

#[test]
fn a_waiting_reader_of_committed_records_is_woken_by_the_marker() {
    let (_disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    let mut reader = node.connect();
    reader.send(&node, frame(12, &fetch_committed(TOPIC, i32::MAX)));
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    reader.settle(&node);
    assert!(reader.response().is_none(), "the transaction is open");
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    reader.settle(&node);
    let response = reader.response().expect("the marker wakes the reader");
    assert_eq!(seen(&answer::<m::FetchRequest>(12, &response)).batches, 1);
}

#[test]
fn a_new_instance_fences_the_old_one_and_aborts_its_transaction() {
    let (_disk, node) = node(&[]);
    let mut old = Producer::init(&node, "a");
    assert_eq!(old.send(&node, 12, TOPIC), ErrorCode::None);
    let first = Producer::try_init(&node, "a", 60_000);
    assert_eq!(first.unwrap_err(), ErrorCode::ConcurrentTransactions, "it is being aborted");
    let new = Producer::init(&node, "a");
    assert!(new.id == old.id && new.epoch > old.epoch, "{old:?} {new:?}");
    assert_eq!(look(&node, TOPIC).aborted, [(old.id, 0)]);
    old.sequence = 1;
    assert_eq!(old.send(&node, 12, TOPIC), ErrorCode::InvalidProducerEpoch);
    assert_eq!(old.end(&node, true), ErrorCode::ProducerFenced);
    assert_eq!(new.send(&node, 12, TOPIC), ErrorCode::None);
}

#[test]
fn a_transaction_that_outlives_its_timeout_is_aborted() {
    let (_disk, node) = node(&[]);
    let producer = Producer::try_init(&node, "a", 5_000).unwrap();
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    node.pass(4_000);
    assert_eq!(look(&node, TOPIC).last_stable, 0);
    for _ in 0..3 {
        node.pass(10_000); // transaction.abort.timed.out.transaction.cleanup.interval.ms
    }
    assert_eq!(state(&node, "a"), "CompleteAbort");
    assert_eq!(look(&node, TOPIC).last_stable, 2);
    assert_eq!(
        Producer { sequence: 1, ..producer }.send(&node, 12, TOPIC),
        ErrorCode::InvalidProducerEpoch
    );
}

#[test]
fn a_restart_keeps_an_open_transaction_open() {
    let (disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    drop(node);
    let node = Node::start(&disk.crash_keep_all()).unwrap();
    assert_eq!(look(&node, TOPIC).last_stable, 0);
    let known = &producers(&node, TOPIC)[0];
    assert_eq!((known.producer_id, known.current_txn_start_offset), (producer.id, 0));
    producer.sequence = 1;
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!(look(&node, TOPIC).batches, 2);
    let known = &producers(&node, TOPIC)[0];
    assert_eq!((known.producer_epoch, known.current_txn_start_offset), (1, -1));
}

#[test]
fn a_transaction_that_was_decided_before_a_crash_completes_after_it() {
    for committed in [true, false] {
        let (disk, node) = node(&[]);
        let mut producer = Producer::init(&node, "a");
        assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
        let full = Fault::on(OpKind::Write).path("*/t-0/*.log").error(Errno::NoSpace);
        disk.fail(full);
        assert_eq!(producer.end(&node, committed), ErrorCode::None, "the decision is stored");
        let prepared = if committed { "PrepareCommit" } else { "PrepareAbort" };
        assert_eq!(state(&node, "a"), prepared);
        drop(node);
        let disk = disk.crash_keep_all();
        disk.clear_faults();
        let node = Node::start(&disk).unwrap();
        let complete = if committed { "CompleteCommit" } else { "CompleteAbort" };
        assert_eq!(state(&node, "a"), complete);
        let Seen { aborted, last_stable, .. } = look(&node, TOPIC);
        assert_eq!((aborted.is_empty(), last_stable), (committed, 2));
        assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None, "in the new epoch");
    }
}

#[test]
fn a_marker_that_a_full_disk_refused_is_written_when_there_is_room() {
    let (disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    assert_eq!(producer.send(&node, 12, OTHER), ErrorCode::None);
    disk.fail(Fault::on(OpKind::Write).path("*/t-0/*.log").error(Errno::NoSpace));
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!(look(&node, OTHER).last_stable, 2, "its marker is there");
    node.pass(1_000);
    assert_eq!(state(&node, "a"), "PrepareCommit");
    assert_eq!(look(&node, TOPIC).last_stable, 0);
    disk.clear_faults();
    node.pass(5_000);
    assert_eq!(state(&node, "a"), "CompleteCommit");
    assert_eq!(look(&node, TOPIC).last_stable, 2);
}

#[test]
fn a_batch_that_waits_for_the_marker_of_the_transaction_before_begins_the_next() {
    let (disk, node) = node(&[("add.partitions.to.txn.retry.backoff.max.ms", "20000")]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    disk.fail(Fault::on(OpKind::Write).path("*/t-0/*.log").error(Errno::NoSpace));
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    disk.clear_faults();
    let mut client = node.connect();
    client.send(&node, frame(12, &producer.produce_request(TOPIC, 0, -1)));
    assert!(client.response().is_none(), "the marker is not written yet");
    for _ in 0..100 {
        node.pass(50);
        client.settle(&node);
    }
    let response = answer::<m::ProduceRequest>(12, &client.response().unwrap());
    let part = &response.responses[0].partition_responses[0];
    assert_eq!((code(part.error_code), part.base_offset), (ErrorCode::None, 2));
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!(look(&node, TOPIC).last_stable, 4);
}

#[test]
fn a_transaction_completes_without_the_partitions_of_a_deleted_topic() {
    let (_disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    assert_eq!(producer.send(&node, 12, OTHER), ErrorCode::None);
    let topic = m::delete_topics_request::DeleteTopicState {
        name: Some(TOPIC.into()),
        ..Default::default()
    };
    let request =
        m::DeleteTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    assert_eq!(call(&node, 6, &request).responses[0].error_code, 0);
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!(state(&node, "a"), "CompleteCommit");
    assert_eq!(look(&node, OTHER).last_stable, 2);
}

#[test]
fn a_partition_that_was_not_added_is_refused_as_the_client_understands() {
    let (_disk, node) = node(&[]);
    let producer = Producer::init(&node, "a");
    for (version, want) in [
        (10, ErrorCode::InvalidTxnState),
        (11, ErrorCode::TransactionAbortable),
        (12, ErrorCode::None),
    ] {
        assert_eq!(producer.send(&node, version, TOPIC), want, "v{version}");
    }
    let other = Producer { transactional_id: "b", ..producer };
    assert_eq!(other.send(&node, 11, OTHER), ErrorCode::InvalidProducerIdMapping);
    let anonymous =
        m::ProduceRequest { transactional_id: None, ..producer.produce_request(OTHER, 0, -1) };
    let response = call(&node, 11, &anonymous);
    let error = code(response.responses[0].partition_responses[0].error_code);
    assert_eq!(error, ErrorCode::TransactionalIdAuthorizationFailed);
}

/// Adds partition 0 of a topic as clients of transaction.version 1 do.
fn add(node: &Node, producer: Producer, topic: &str) -> ErrorCode {
    let topic = m::add_partitions_to_txn_request::AddPartitionsToTxnTopic {
        name: topic.into(),
        partitions: vec![0],
        ..Default::default()
    };
    let request = m::AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: producer.transactional_id.into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let response = call(node, 3, &request);
    let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
    code(results[0].partition_error_code)
}

#[test]
fn transaction_version_1_keeps_the_epoch() {
    let (_disk, node) = node(&[]);
    let update = m::update_features_request::FeatureUpdateKey {
        feature: "transaction.version".into(),
        max_version_level: 1,
        upgrade_type: 2,
        ..Default::default()
    };
    let request = m::UpdateFeaturesRequest {
        timeout_ms: 1000,
        feature_updates: vec![update],
        ..Default::default()
    };
    let response = call(&node, 2, &request);
    assert_eq!(response.error_code, 0, "{response:?}");
    let producer = Producer::init(&node, "a");
    for sequence in 0..3 {
        let producer = Producer { sequence, ..producer };
        assert_eq!(producer.send(&node, 11, TOPIC), ErrorCode::TransactionAbortable);
        assert_eq!(add(&node, producer, TOPIC), ErrorCode::None);
        assert_eq!(producer.send(&node, 11, TOPIC), ErrorCode::None);
        let request = m::EndTxnRequest {
            transactional_id: "a".into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: true,
            ..Default::default()
        };
        assert_eq!(call(&node, 4, &request).error_code, 0);
        assert_eq!(state(&node, "a"), "CompleteCommit");
        assert_eq!(i32::from(producer.epoch), producers(&node, TOPIC)[0].producer_epoch);
        assert_eq!(look(&node, TOPIC).last_stable, i64::from(sequence + 1) * 2);
    }
}

fn commit_offset(node: &Node, producer: Producer, version: i16) -> ErrorCode {
    let partition = m::txn_offset_commit_request::TxnOffsetCommitRequestPartition {
        committed_offset: 5,
        ..Default::default()
    };
    let topic = m::txn_offset_commit_request::TxnOffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = m::TxnOffsetCommitRequest {
        transactional_id: producer.transactional_id.into(),
        group_id: GROUP.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    code(call(node, version, &request).topics[0].partitions[0].error_code)
}

/// Error and committed offset, asked for only if it is stable.
fn committed_offset(node: &Node) -> (ErrorCode, i64) {
    let topic = m::offset_fetch_request::OffsetFetchRequestTopics {
        name: TOPIC.into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = m::offset_fetch_request::OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request =
        m::OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let response = call(node, 9, &request);
    let partition = &response.groups[0].topics[0].partitions[0];
    (code(partition.error_code), partition.committed_offset)
}

#[test]
fn offsets_are_committed_with_the_transaction_or_not_at_all() {
    let (disk, node) = node(&[]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(commit_offset(&node, producer, 4), ErrorCode::TransactionAbortable, "not added");
    assert_eq!(commit_offset(&node, producer, 5), ErrorCode::None);
    assert_eq!(committed_offset(&node), (ErrorCode::UnstableOffsetCommit, -1));
    assert_eq!(producer.end(&node, false), ErrorCode::None);
    assert_eq!(committed_offset(&node), (ErrorCode::None, -1));
    assert_eq!(commit_offset(&node, producer, 5), ErrorCode::None);
    drop(node);
    let disk = disk.crash_keep_all();
    let node = Node::start(&disk).unwrap();
    assert_eq!(committed_offset(&node), (ErrorCode::UnstableOffsetCommit, -1), "still pending");
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!(committed_offset(&node), (ErrorCode::None, 5));
    drop(node);
    let node = Node::start(&disk.crash_keep_all()).unwrap();
    assert_eq!(committed_offset(&node), (ErrorCode::None, 5));
}

#[test]
fn a_marker_counts_when_it_is_synced_where_acknowledgements_wait_for_that() {
    let (_disk, node) = node(&[("log.flush.interval.messages", "1")]);
    let mut producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    assert_eq!(producer.end(&node, true), ErrorCode::None);
    assert_eq!(state(&node, "a"), "CompleteCommit");
    assert_eq!(
        look(&node, TOPIC),
        Seen { batches: 1, aborted: vec![], last_stable: 2, high_watermark: 2 }
    );
}

#[test]
fn no_batch_overtakes_one_that_is_being_verified() {
    // Adding the partition waits for the disk here.
    let (_disk, node) = node(&[("log.flush.interval.messages", "1")]);
    let producer = Producer::init(&node, "a");
    let mut client = node.connect();
    let now = || ottla_broker::Env::now(&*node.world);
    let request =
        |sequence| frame(12, &Producer { sequence, ..producer }.produce_request(TOPIC, 0, -1));
    client.connection.frame(request(0), now());
    assert!(!client.connection.ready_for_frame(), "nothing is appended yet");
    client.settle(&node);
    assert!(client.response().is_some());
    for sequence in 1..3 {
        assert!(client.connection.ready_for_frame(), "only the acknowledgement is missing");
        client.connection.frame(request(sequence), now());
    }
    client.settle(&node);
    for sequence in 1..3 {
        let response = client.response().expect("an answer");
        let response = answer::<m::ProduceRequest>(12, &response);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, sequence));
    }
}

#[test]
fn a_batch_without_acknowledgement_is_verified_too() {
    let (_disk, node) = node(&[("log.flush.interval.messages", "1")]);
    let producer = Producer::init(&node, "a");
    let mut client = node.connect();
    client.send(&node, frame(12, &producer.produce_request(TOPIC, 0, 0)));
    client.settle(&node);
    assert!(client.response().is_none() && client.connection.should_close().is_none());
    assert_eq!(look(&node, TOPIC).high_watermark, 1);
    let fenced = Producer { epoch: 7, ..producer };
    client.send(&node, frame(12, &fenced.produce_request(OTHER, 0, 0)));
    client.settle(&node);
    assert!(client.response().is_none() && client.connection.should_close().is_some());
}

#[test]
fn a_listing_names_states_and_filters() {
    let (_disk, node) = node(&[]);
    let mut done = Producer::init(&node, "done");
    let open = Producer::init(&node, "open");
    assert_eq!(open.send(&node, 12, TOPIC), ErrorCode::None);
    assert_eq!(done.end(&node, false), ErrorCode::None);
    let list = |states: &[&str], pattern: Option<&str>| {
        let request = m::ListTransactionsRequest {
            state_filters: states.iter().map(|state| (*state).into()).collect(),
            duration_filter: -1,
            transactional_id_pattern: pattern.map(ByteString::from),
            ..Default::default()
        };
        let response = call(&node, 2, &request);
        assert_eq!(response.error_code, 0);
        let ids = response.transaction_states.iter().map(|s| s.transactional_id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(list(&[], None), ["done", "open"]);
    assert_eq!(list(&["Ongoing"], None), ["open"]);
    assert_eq!(list(&[], Some("d.*")), ["done"]);
    let request = m::DescribeTransactionsRequest {
        transactional_ids: vec!["open".into(), "nobody".into()],
        ..Default::default()
    };
    let states = call(&node, 0, &request).transaction_states;
    let topics: Vec<_> = states[0].topics.iter().map(|t| (&*t.topic, &*t.partitions)).collect();
    assert_eq!(topics, [(TOPIC, &[0][..])]);
    assert_eq!(code(states[1].error_code), ErrorCode::TransactionalIdNotFound);
}

fn marker_request(producer: Producer, epoch: i16, version: i8) -> m::WriteTxnMarkersRequest {
    use m::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
    let topic = |name: &str| WritableTxnMarkerTopic {
        name: name.into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let marker = WritableTxnMarker {
        producer_id: producer.id,
        producer_epoch: epoch,
        transaction_version: version,
        topics: vec![topic(TOPIC), topic("nosuch")],
        ..Default::default()
    };
    m::WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() }
}

#[test]
fn a_hanging_transaction_is_ended_by_a_marker_from_outside() {
    let (_disk, node) = node(&[]);
    let producer = Producer::init(&node, "a");
    assert_eq!(producer.send(&node, 12, TOPIC), ErrorCode::None);
    for (epoch, version, want) in [
        (producer.epoch, 2, ErrorCode::InvalidProducerEpoch),
        (producer.epoch, 0, ErrorCode::None), // kafka-transactions abort
    ] {
        let response = call(&node, 2, &marker_request(producer, epoch, version));
        let topics = &response.markers[0].topics;
        assert_eq!(code(topics[0].partitions[0].error_code), want);
        assert_eq!(code(topics[1].partitions[0].error_code), ErrorCode::UnknownTopicOrPartition);
    }
    assert_eq!(look(&node, TOPIC).last_stable, 2);
}

#[test]
fn the_answer_to_markers_names_what_was_tried() {
    use m::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
    let (_disk, node) = node(&[]);
    let empty = WritableTxnMarkerTopic { name: OTHER.into(), ..Default::default() };
    let mut request = marker_request(Producer::init(&node, "a"), 0, 0);
    request.markers[0].topics.push(empty.clone());
    request.markers.insert(0, WritableTxnMarker { topics: vec![empty], ..Default::default() });
    request.markers.insert(0, WritableTxnMarker::default());
    let markers = call(&node, 2, &request).markers;
    let topics: Vec<_> = markers.iter().map(|marker| marker.topics.len()).collect();
    assert_eq!(topics, [2], "of three markers, one has partitions, in two of its three topics");
}

#[test]
fn transactional_batches_of_two_producers_in_one_request_are_refused_with_a_sentence() {
    let (_disk, node) = node(&[]);
    let (one, other) = (Producer::init(&node, "a"), Producer::init(&node, "b"));
    let mut request = one.produce_request(TOPIC, 0, -1);
    request.topic_data.append(&mut other.produce_request(OTHER, 0, -1).topic_data);
    for topic in call(&node, 11, &request).responses {
        let part = &topic.partition_responses[0];
        assert_eq!(code(part.error_code), ErrorCode::InvalidProducerIdMapping);
        assert!(part.error_message.as_ref().is_some_and(|text| text.contains("several producer")));
    }
}
