//! Reading the log: what a real Kafka wrote, what is unknown, what is damaged.

use ottla_coordinator::{
    LogRecord, Machine, TransactionConfig, TransactionShard, TxnAction, TxnCommand, TxnResponse,
};
use ottla_protocol::ids::{Offset, ProducerId};
use ottla_protocol::messages::describe_transactions_response::TransactionState;

use crate::node::{Entry, Node};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn loaded(records: &[(&str, &str)]) -> Node<TransactionShard> {
    let mut node: Node<TransactionShard> = Node::new(TransactionConfig::default());
    for (key, value) in records {
        let value = (!value.is_empty()).then(|| bytes(value).into());
        let record = LogRecord { key: bytes(key).into(), value };
        node.log.push(Entry::Record(ProducerId::NONE, record));
    }
    node.reload(false);
    node
}

fn described(node: &mut Node<TransactionShard>, id: &'static str) -> TransactionState {
    let (_, mut done) = node.handle(TxnCommand::DescribeTransactions(vec![id.into()]), 0);
    let Some((_, TxnResponse::DescribeTransactions(mut described))) = done.pop() else {
        panic!("{done:?}")
    };
    described.remove(0)
}

/// Kafka 4.4.0's record of a transaction in state PrepareCommit over three topics.
const KEY: &str = "0000000c6f6666732d72326664306464";
const PREPARED: &str = "0001000000000000000500010000ea6002040e6f746865722d723266643064640200000000000b\
                        74312d72326664306464020000000000135f5f636f6e73756d65725f6f6666736574730200\
                        00002a00000001a21a550cb5000001a21a550c52020008000000000000000502020002";
const COMPLETE: &str = "0001000000000000000500010000ea600401000001a21a550cb6000001a21a550c5202000800\
                        0000000000000502020002";

#[test]
fn a_prepared_transaction_of_a_kafka_is_finished_here() {
    let mut node = loaded(&[(KEY, PREPARED)]);
    let [TxnAction::WriteMarkers(markers)] = &*node.actions else { panic!("{:?}", node.actions) };
    let places: Vec<_> =
        markers.partitions.iter().map(|p| format!("{}-{}", p.topic, p.partition)).collect();
    assert_eq!(places, ["__consumer_offsets-42", "other-r2fd0dd-0", "t1-r2fd0dd-0"]);
    assert!(markers.commit);
    assert_eq!((markers.producer_id.0, markers.producer_epoch.0), (5, 1));
    assert_eq!((markers.transaction_version, markers.coordinator_epoch().0), (2, 3));
    let state = described(&mut node, "offs-r2fd0dd");
    assert_eq!(&*state.transaction_state, "PrepareCommit");
    assert_eq!(state.transaction_start_time_ms, 1_795_738_111_058);
    assert_eq!(state.transaction_timeout_ms, 60_000);
}

#[test]
fn a_complete_transaction_of_a_kafka_needs_nothing_more() {
    let mut node = loaded(&[(KEY, PREPARED), (KEY, COMPLETE)]);
    assert_eq!(node.actions, []);
    let state = described(&mut node, "offs-r2fd0dd");
    assert_eq!((&*state.transaction_state, state.producer_epoch), ("CompleteCommit", 1));
    assert!(state.topics.is_empty());
    let mut node = loaded(&[(KEY, PREPARED), (KEY, "")]);
    assert_eq!(described(&mut node, "offs-r2fd0dd").error_code, 105);
}

#[test]
fn unknown_types_are_skipped_and_broken_records_of_known_types_are_named() {
    let key = bytes(KEY);
    let state_6 = {
        let mut value = bytes(COMPLETE);
        value[16] = 6;
        value
    };
    let unknown_tag = {
        let mut value = bytes(COMPLETE);
        let count = value.len() - 15;
        assert_eq!(value[count], 2);
        value[count] = 3;
        value.extend([99, 1, 7]);
        value
    };
    for (what, key, value, fails) in [
        ("type 99", &[0, 99, 1][..], &[1, 2, 3][..], false),
        ("a tag of a later version", &key, &unknown_tag, false),
        ("no type", &[0], &[0, 0], true),
        ("a key cut off", &key[..9], &bytes(COMPLETE), true),
        ("a value of version 9", &key, &[0, 9], true),
        ("a value cut off", &key, &bytes(PREPARED)[..40], true),
        ("an empty value", &key, &[], true),
        ("a state that is never stored", &key, &state_6, true),
    ] {
        let record = LogRecord { key: key.to_vec().into(), value: Some(value.to_vec().into()) };
        let mut shard = TransactionShard::new(TransactionConfig::default());
        let got = shard.replay(&record, Offset(5), ProducerId::NONE).map_err(|e| e.to_string());
        assert_eq!(got.is_err(), fails, "{what}: {got:?}");
        if let Err(message) = got {
            assert!(message.contains("offset 5 of __transaction_state"), "{what}: {message}");
        }
    }
}
