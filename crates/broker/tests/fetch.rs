//! Fetches of many partitions: what one answer holds, and that every partition has its turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
#![allow(dead_code, reason = "a part of the support is of other tests")]

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::ids::Timestamp;
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{CreateTopicsRequest, FetchRequest, FetchResponse, ProduceRequest};
use ottla_protocol::records::{BatchBuilder, BatchOptions};

use support::{Node, formatted};

const PARTITIONS: i32 = 20;

fn create() -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

/// One record for every partition.
fn produce() -> ProduceRequest {
    let data = |index| {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.append(Timestamp(1_700_000_000_000), Some(b"k"), Some(b"v")).unwrap();
        let records = Some(Records::from(Bytes::from(batch.build().unwrap())));
        PartitionProduceData { index, records, ..Default::default() }
    };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: (0..PARTITIONS).map(data).collect(),
        ..Default::default()
    };
    ProduceRequest { acks: 1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

/// Fetches these offsets of all partitions, and waits up to a second for a megabyte.
fn fetch(offsets: &[i64]) -> FetchRequest {
    let partition = |(index, &fetch_offset): (usize, &i64)| FetchPartition {
        partition: index as i32,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: "t".into(),
        partitions: offsets.iter().enumerate().map(partition).collect(),
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 1000,
        min_bytes: 1 << 20,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The partitions of which an answer holds records.
fn found(answer: &FetchResponse) -> Vec<usize> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let full = partitions
        .filter(|p| p.records.as_ref().and_then(Records::as_bytes).is_some_and(|r| !r.is_empty()));
    full.map(|p| p.partition_index as usize).collect()
}

#[test]
fn an_answer_is_made_of_few_files_and_the_next_one_of_others() {
    let node = Node::open_within(&formatted(), &[], 32).unwrap();
    node.run_jobs();
    let mut client = node.connect();
    assert_eq!(client.call(&node, 7, &create()).topics[0].error_code, 0);
    client.call(&node, 9, &produce());
    let mut offsets = [0; PARTITIONS as usize];
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        // It answers at once, although a megabyte is not there.
        let answer = client.call(&node, 11, &fetch(&offsets));
        assert_eq!(answer.responses[0].partitions.len(), PARTITIONS as usize);
        let found = found(&answer);
        assert_eq!(found.len(), 4, "an eighth of the files that may be open");
        for index in found {
            offsets[index] += 1;
            assert!(seen.insert(index), "partition {index} twice");
        }
    }
    assert_eq!(seen.len(), PARTITIONS as usize);
}
