//! Transactions: what is open, who holds a partition back, and the end of what hangs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and has files of its own"
)]

mod support;

use std::cell::OnceCell;

use bytes::Bytes;
use ottla_protocol::codec::Records;
use ottla_protocol::ids::{ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ProduceRequest,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use serde_json::json;
use support::{call, fails, fresh, json, ok, until};

/// The producer id and epoch of a transactional id, or of a producer without one.
fn producer(id: Option<&str>) -> (i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: id.map(Into::into),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    // The coordinator's log is made by whoever looks for the coordinator first.
    if let Some(id) = id {
        let find = FindCoordinatorRequest { key: id.into(), key_type: 1, ..Default::default() };
        until("a coordinator", || call(3, &find).error_code == 0);
    }
    let made = OnceCell::new();
    until("a producer id", || {
        let answer = call(4, &request);
        answer.error_code == 0 && made.set((answer.producer_id, answer.producer_epoch)).is_ok()
    });
    *made.get().unwrap()
}

/// Adds the partition to the transaction, as clients of KIP-98 do.
fn begin(id: &str, (producer_id, producer_epoch): (i64, i16), topic: &str) {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.into(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.into(),
            partitions: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = call(3, &request);
    let parts = &answer.results_by_topic_v3_and_below[0].results_by_partition;
    assert_eq!(parts[0].partition_error_code, 0);
}

/// Writes one record of a transaction.
fn write(id: &str, (producer_id, producer_epoch): (i64, i16), topic: &str) {
    let mut builder = BatchBuilder::new(BatchOptions {
        transactional: true,
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(producer_epoch),
        base_sequence: 0,
        ..BatchOptions::default()
    });
    builder.append(Timestamp(1_700_000_000_000), None, Some(b"held")).unwrap();
    let request = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Bytes(Bytes::from(builder.build().unwrap()))),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = call(9, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn an_open_transaction_is_named_with_since_and_until() {
    let (topic, id) = (fresh("held"), fresh("writer"));
    ok(&format!("topic create {topic}"));
    let producer = producer(Some(&id));
    begin(&id, producer, &topic);
    write(&id, producer, &topic);
    let listed = json("txn list --state Ongoing");
    let mine = listed.as_array().unwrap().iter().find(|row| row["transactional_id"] == id.as_str());
    assert_eq!(mine.unwrap()["producer_id"], producer.0);
    let described = &json(&format!("txn describe {id}"))[0];
    assert_eq!(described["state"], "Ongoing");
    assert_eq!(described["partitions"], json!([format!("{topic}:0")]));
    let shown = &json(&format!("txn producers {topic}"))[0];
    assert_eq!((&shown["transactional_id"], &shown["start_offset"]), (&json!(id), &json!(0)));
    assert_eq!(shown["since"], described["since"]);
    assert!(shown["until"].as_str() > shown["since"].as_str(), "{shown}");
    assert_eq!(json(&format!("txn list --hanging -t {topic}")), json!([]));
    let (code, error) = fails(&format!("txn abort {topic}:0 --start-offset 0"));
    assert_eq!((code, error.contains("does not hang")), (1, true), "{error}");
    assert_eq!(ok(&format!("topic consume {topic} --read-committed -o json")), "");
    let request = EndTxnRequest {
        transactional_id: id.as_str().into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed: true,
        ..Default::default()
    };
    assert_eq!(call(3, &request).error_code, 0);
    let read = || ok(&format!("topic consume {topic} --read-committed -o json"));
    until("the commit", || read().contains("held"));
    assert_eq!(json(&format!("txn producers {topic}"))[0]["start_offset"], json!(null));
    let (code, error) = fails("txn describe nobody");
    assert_eq!(code, 4, "{error}");
}

#[test]
fn a_transaction_that_no_coordinator_knows_is_found_and_aborted() {
    let topic = fresh("hanging");
    ok(&format!("topic create {topic}"));
    // Its id belongs to no transactional id, and the node does not ask.
    let producer = producer(None);
    write("forgotten", producer, &topic);
    let found = json(&format!("txn list --hanging -t {topic}"));
    assert_eq!(
        (&found[0]["producer_id"], &found[0]["start_offset"]),
        (&json!(producer.0), &json!(0))
    );
    assert_eq!(found[0]["transactional_id"], json!(null));
    let (code, error) = fails(&format!("txn abort {topic}:0 --start-offset 7"));
    assert_eq!((code, error.contains("no open transaction that began at 7")), (4, true), "{error}");
    ok(&format!("txn abort {topic}:0 --start-offset 0"));
    assert_eq!(json(&format!("txn list --hanging -t {topic}")), json!([]));
    ok(&format!("topic produce {topic} free"));
    let read = ok(&format!("topic consume {topic} --read-committed -o json"));
    assert!(read.contains("free") && !read.contains("held"), "{read}");
}
