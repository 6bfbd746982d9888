//! Client quotas on a connection: what the answers say, and what starts when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "shared with other tests and the fuzz targets")]
mod support;

use bytes::Bytes;
use ottla_broker::Env;
use ottla_protocol::codec::Request;
use ottla_protocol::frame;
use ottla_protocol::ids::Timestamp;
use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::*;
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::{ErrorCode, Records, Uuid};
use support::{Client, Node, formatted};

/// A broker and one client, called `c`.
struct Bench {
    node: Node,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        let node = Node::start(&formatted()).unwrap();
        let client = node.connect();
        Self { node, client }
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) {
        let frame = frame::encode_request(version, 7, Some(&"c".into()), request).unwrap();
        self.client.send(&self.node, frame.bytes.slice(4..));
    }

    fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let bytes = self.client.response()?.slice(4..);
        Some(frame::decode_response::<R>(bytes, version).unwrap().1)
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version).expect("an answer at once")
    }

    /// Sets a quota of client id `c`.
    fn limit(&mut self, key: &str, value: f64) {
        let entity = EntityData {
            entity_type: "client-id".into(),
            entity_name: Some("c".into()),
            ..EntityData::default()
        };
        let op = OpData { key: key.into(), value, ..OpData::default() };
        let entry = EntryData { entity: vec![entity], ops: vec![op], ..EntryData::default() };
        let request = AlterClientQuotasRequest {
            entries: vec![entry],
            ..AlterClientQuotasRequest::default()
        };
        assert_eq!(self.call(1, &request).entries[0].error_code, 0);
    }

    fn create(&mut self, version: i16, name: &str, partitions: i32) -> (i16, i32) {
        let topic = create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = vec![topic];
        let request = CreateTopicsRequest { topics, timeout_ms: 1000, ..Default::default() };
        let answer = self.call(version, &request);
        (answer.topics[0].error_code, answer.throttle_time_ms)
    }

    fn pass(&mut self, millis: i64) {
        self.node.pass(millis);
        self.client.connection.poll(self.node.world.now());
    }
}

fn produce(bytes: usize, acks: i16) -> ProduceRequest {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'x'; bytes];
    builder.append(Timestamp(1_700_000_000_000), None, Some(&value)).unwrap();
    let data = produce_request::PartitionProduceData {
        records: Some(Records::Bytes(builder.build().unwrap().into())),
        ..Default::default()
    };
    let topic = produce_request::TopicProduceData {
        name: "t".into(),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

/// A full fetch that opens a session, or an incremental one of a session.
fn fetch(session_id: i32, session_epoch: i32) -> FetchRequest {
    let partition = fetch_request::FetchPartition {
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        session_id,
        session_epoch,
        topics: if session_epoch == 0 { vec![topic] } else { Vec::new() },
        ..Default::default()
    }
}

fn size(answer: &FetchResponse) -> usize {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| p.records.as_ref().and_then(Records::as_bytes).map_or(0, Bytes::len)).sum()
}

#[test]
fn a_producer_over_its_quota_is_answered_at_once_and_then_nothing_starts_until_its_pause_ends() {
    let mut bench = Bench::new();
    bench.create(7, "t", 1);
    bench.limit("producer_byte_rate", 1000.0);
    assert_eq!(bench.call(9, &produce(9000, 1)).throttle_time_ms, 0);
    let answer = bench.call(9, &produce(5000, 1));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    // 14,000 bytes are those of 14 s, of which 10 count as past.
    let pause = i64::from(answer.throttle_time_ms);
    assert!((4000..4400).contains(&pause), "{pause}");
    assert!(!bench.client.connection.ready_for_frame());
    bench.send(
        4,
        &ApiVersionsRequest {
            client_software_name: "n".into(),
            client_software_version: "1".into(),
            node_id: -1,
            ..Default::default()
        },
    );
    bench.pass(pause - 1);
    assert!(bench.receive::<ApiVersionsRequest>(4).is_none(), "it waits for the pause to end");
    bench.pass(1);
    assert!(bench.receive::<ApiVersionsRequest>(4).is_some());
    assert!(bench.client.connection.ready_for_frame());
}

#[test]
fn a_producer_that_wants_no_answer_pauses_too() {
    let mut bench = Bench::new();
    bench.create(7, "t", 1);
    bench.limit("producer_byte_rate", 1000.0);
    bench.send(9, &produce(20_000, 0));
    assert_eq!(bench.client.connection.should_close(), None);
    assert!(!bench.client.connection.ready_for_frame());
    bench.pass(11_000);
    assert!(bench.client.connection.ready_for_frame());
}

#[test]
fn a_request_that_wants_no_answer_has_a_latency() {
    let mut bench = Bench::new();
    bench.create(7, "t", 1);
    for acks in [0, 1, 0] {
        bench.send(9, &produce(100, acks));
    }
    let latencies = bench.node.broker.metrics.latencies();
    let (_, produce) = latencies.iter().find(|(name, _)| *name == "Produce").unwrap();
    assert_eq!(produce.total.count(), 3);
}

#[test]
fn a_consumer_over_its_quota_gets_no_records_until_its_pause_is_over() {
    let mut bench = Bench::new();
    bench.create(7, "t", 1);
    for _ in 0..32 {
        bench.call(9, &produce(500, 1));
    }
    bench.limit("consumer_byte_rate", 1000.0);
    // What the quota lets through at once, and no more, or it would never be let through.
    let first = bench.call(12, &fetch(0, 0));
    assert_eq!(size(&first), 10_000);
    assert_ne!(first.session_id, 0);
    // No more than comes in a second, and for that it has to wait.
    let throttled = bench.call(12, &fetch(0, 0));
    assert_eq!((size(&throttled), throttled.responses.len(), throttled.session_id), (0, 0, 0));
    let pause = throttled.throttle_time_ms;
    assert!((900..=1000).contains(&pause), "{pause}");
    bench.pass(i64::from(pause));
    let again = bench.call(12, &fetch(first.session_id, 1));
    assert_eq!((size(&again), again.throttle_time_ms), (1000, 0));
    let throttled = bench.call(12, &fetch(first.session_id, 2));
    assert_eq!((size(&throttled), throttled.session_id), (0, first.session_id));
    bench.pass(20_000);
    let again = bench.call(12, &fetch(first.session_id, 3));
    assert_eq!((size(&again), again.throttle_time_ms), (10_000, 0));
}

#[test]
fn another_client_is_not_held_back() {
    let mut bench = Bench::new();
    bench.create(7, "t", 1);
    bench.limit("producer_byte_rate", 1000.0);
    bench.send(9, &produce(50_000, 1));
    let mut other = bench.node.connect();
    let frame = frame::encode_request(9, 7, Some(&"other".into()), &produce(50_000, 1)).unwrap();
    other.send(&bench.node, frame.bytes.slice(4..));
    let bytes = other.response().unwrap().slice(4..);
    let (_, answer) = frame::decode_response::<ProduceRequest>(bytes, 9).unwrap();
    assert_eq!(answer.throttle_time_ms, 0);
    assert!(other.connection.ready_for_frame());
}

#[test]
fn partitions_over_the_quota_are_refused_with_the_time_to_wait() {
    let mut bench = Bench::new();
    bench.limit("controller_mutation_rate", 1.0);
    let refused = ErrorCode::ThrottlingQuotaExceeded.code();
    assert_eq!(bench.create(7, "a", 15), (0, 0));
    assert_eq!(bench.create(7, "b", 1), (refused, 4000));
    assert!(!bench.client.connection.ready_for_frame());
    bench.pass(4000);
    // Clients of before KIP-599 know no such error: they are let pass and pause.
    assert_eq!(bench.create(5, "b", 3), (0, 3000));
    bench.pass(3000);
    let state = |name: &str| delete_topics_request::DeleteTopicState {
        name: Some(name.into()),
        topic_id: Uuid::ZERO,
        ..Default::default()
    };
    let topics = vec![state("a"), state("b")];
    let request = DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() };
    let answer = bench.call(6, &request);
    let codes: Vec<_> = answer.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!((codes, answer.throttle_time_ms), (vec![0, refused], 15_000));
}
