//! Real threads against the broker: bounded rounds with seeded yields, and no time limits. What
//! waits is model-checked in `wait_model.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
#![allow(clippy::disallowed_methods, reason = "threads are what is tested here")]

#[allow(dead_code, reason = "shared with the fuzz targets")]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use ottla_protocol::codec::Request;
use ottla_protocol::frame;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, Timestamp};
use ottla_protocol::messages::*;
use ottla_protocol::records::{BatchBuilder, BatchOptions, WalkLimits, batches, records};
use ottla_protocol::{ByteString, Records};
use ottla_storage::{Log, LogConfig, LogSlice, OpenLog, ProduceRules, validate};
use ottla_testkit::{MemDisk, Rng};
use parking_lot::Mutex;
use support::{Client, Node, formatted};

const TOPIC: ByteString = ByteString::from_static("t");
const NOW: Now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };

fn encoded<R: Request>(version: i16, request: &R) -> Bytes {
    let frame = frame::encode_request(version, 1, None, request).unwrap();
    frame.bytes.slice(4..)
}

fn batch(value: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW.wall, None, Some(value.as_bytes())).unwrap();
    builder.build().unwrap()
}

fn create(names: impl Iterator<Item = ByteString>) -> Bytes {
    let topic = |name| create_topics_request::CreatableTopic {
        name,
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let topics = names.map(topic).collect();
    encoded(7, &CreateTopicsRequest { topics, timeout_ms: 1000, ..Default::default() })
}

fn produce(value: &str) -> Bytes {
    let data = produce_request::PartitionProduceData {
        records: Some(Records::Bytes(batch(value).into())),
        ..Default::default()
    };
    let topic = produce_request::TopicProduceData {
        name: TOPIC,
        partition_data: vec![data],
        ..Default::default()
    };
    encoded(9, &ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() })
}

fn fetch(offset: i64) -> Bytes {
    let partition = fetch_request::FetchPartition {
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: TOPIC,
        partitions: vec![partition],
        ..Default::default()
    };
    let request = FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    };
    encoded(11, &request)
}

fn pause(rng: &mut Rng) {
    for _ in 0..rng.below(4) {
        thread::yield_now();
    }
}

/// One past the last offset of a fetch's answer.
fn next_offset(response: &Bytes) -> Option<Offset> {
    let (_, body) = frame::decode_response::<FetchRequest>(response.slice(4..), 11).unwrap();
    let data = &body.responses[0].partitions[0];
    assert_eq!(data.error_code, 0);
    let bytes = data.records.as_ref().unwrap().as_bytes().unwrap();
    batches(bytes).last().map(|batch| batch.unwrap().header().next_offset())
}

/// Waits for the answer to a parked request without ever looking at a clock: only wakes count.
fn await_response(client: &mut Client, done: &AtomicBool) -> Bytes {
    loop {
        if let Some(response) = client.response() {
            return response;
        }
        let last_chance = done.load(Ordering::SeqCst);
        if client.flag.take() {
            client.connection.poll(NOW);
        } else {
            assert!(!last_chance, "records were appended and the fetch was not woken");
            thread::yield_now();
        }
    }
}

#[test]
fn a_parked_fetch_is_woken_by_every_append() {
    const APPENDS: i64 = 300;
    for seed in 0..4 {
        let node = Node::start(&formatted()).unwrap();
        node.connect().send(&node, create([TOPIC].into_iter()));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Rng::new(seed);
                let mut client = node.connect();
                for i in 0..APPENDS {
                    client.send(&node, produce(&i.to_string()));
                    client.response().expect("acks=1 is answered at once");
                    pause(&mut rng);
                }
                done.store(true, Ordering::SeqCst);
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = node.connect();
                    let mut next = Offset(0);
                    while next < Offset(APPENDS) {
                        client.connection.frame(fetch(next.0), NOW);
                        let response = await_response(&mut client, &done);
                        next = next_offset(&response).expect("an answer before the deadline");
                    }
                });
            }
        });
    }
}

#[test]
fn who_sees_a_topic_in_the_image_finds_its_partitions() {
    let node = Node::start(&formatted()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = Offset::NONE;
                while !done.load(Ordering::SeqCst) {
                    let image = node.broker.image();
                    assert!(image.provenance().offset >= seen, "the image went back");
                    seen = image.provenance().offset;
                    for topic in image.topics() {
                        for (index, _) in topic.partitions() {
                            let found = node.broker.partitions.get(topic.id, index.0);
                            assert!(found.is_some(), "{}-{index} is not open", topic.name);
                        }
                    }
                    thread::yield_now();
                }
            });
        }
        let mut client = node.connect();
        for i in 0..60 {
            let names = [format!("a{i}"), format!("b{i}")];
            client.send(&node, create(names.into_iter().map(ByteString::from)));
            client.response().expect("the quorum of one commits at once");
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(node.broker.image().topics().count(), 120);
}

/// Every value in `bytes`: `generation offset`, which must match the place it is found at.
fn check_slice(slice: &LogSlice, bytes: &[u8], generation: u64) {
    let limits = WalkLimits { inflated_bytes_max: 1 << 20 };
    let mut at = slice.base_offset;
    for batch in batches(bytes) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.header().base_offset, at);
        at = batch.header().next_offset();
        for record in records(&batch, &limits).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().into_owned()).unwrap();
            let (written, offset) = value.split_once(' ').unwrap();
            assert_eq!(offset.parse(), Ok(record.offset.0));
            assert!(written.parse::<u64>().unwrap() <= generation, "of a later truncation");
        }
    }
}

#[test]
fn a_slice_that_is_intact_after_its_read_holds_what_was_there() {
    let config = LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..Default::default() };
    let options =
        OpenLog { recovery_point: Offset(0), log_start_offset: Offset(0), clean: true, now: NOW };
    let disk = Arc::new(MemDisk::with_dirs(&["/data"]));
    let (log, _) = Log::open(disk, PathBuf::from("/data/t-0"), config, options).unwrap();
    let log = Mutex::new(log);
    let (generation, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (intact, disturbed) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for reader in 0..2 {
            let (log, generation, done) = (&log, &generation, &done);
            let (intact, disturbed) = (&intact, &disturbed);
            scope.spawn(move || {
                let mut rng = Rng::new(100 + reader);
                while !done.load(Ordering::SeqCst) {
                    let (slice, generation) = {
                        let log = log.lock();
                        let end = log.log_end_offset();
                        let from = Offset(end.0.saturating_sub(rng.below(8) as i64).max(0));
                        let slice = log.read(from, 600, end, true).unwrap();
                        (slice, generation.load(Ordering::SeqCst))
                    };
                    pause(&mut rng);
                    let read = slice.read();
                    if slice.is_intact() {
                        check_slice(&slice, &read.unwrap(), generation);
                        intact.fetch_add(1, Ordering::Relaxed);
                    } else {
                        disturbed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut rng = Rng::new(7);
        for _ in 0..3000 {
            {
                let mut log = log.lock();
                let end = log.log_end_offset();
                if rng.chance(1, 6) {
                    generation.fetch_add(1, Ordering::SeqCst);
                    log.truncate_to(Offset((end.0 - rng.below(9) as i64).max(0))).unwrap();
                }
                let value =
                    format!("{} {}", generation.load(Ordering::SeqCst), log.log_end_offset());
                let batch = batch(&value);
                let valid = validate(&batch, &ProduceRules::default(), NOW).unwrap();
                log.append_as_leader(&valid, None, LeaderEpoch(0), NOW).unwrap();
            }
            pause(&mut rng);
        }
        done.store(true, Ordering::SeqCst);
    });
    // Both happen, or the test says nothing.
    assert!(intact.into_inner() > 0 && disturbed.into_inner() > 0);
}
