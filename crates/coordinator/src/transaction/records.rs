//! The records of `__transaction_state`.
//!
//! Key = type (int16) and transactional id; value = version (int16) and body, or null for "forget".

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::codec::{EncodeError, LogRecord as _, decode_exact};
use ottla_protocol::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::log_record::{decode_value, encode_key, encode_value, key_type};
use ottla_protocol::messages::transaction_log_value::PartitionsSchema;
use ottla_protocol::messages::{TransactionLogKey, TransactionLogValue};

use super::state::TransactionState;
use super::transition::{Partitions, Transaction, insert};
use crate::find::CoordinatorKind;
use crate::machine::LogRecord;
use crate::records::ReplayError;

const TOPIC: &str = CoordinatorKind::Transaction.topic();
/// Has room for what KIP-890 needs.
const FLEXIBLE_VERSION: i16 = 1;
/// Written at `transaction.version` 0.
const FIRST_VERSION: i16 = 0;

/// A record as this crate understands it.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The id stands as the value says, or is forgotten.
    Transaction(ByteString, Option<Transaction>),
    /// A type that has no meaning here.
    Unknown,
}

/// The record of a transactional id.
pub(crate) fn stored(id: &ByteString, txn: &Transaction, flexible: bool) -> LogRecord {
    let tagged = |id: ProducerId| if flexible { id.0 } else { ProducerId::NONE.0 };
    let value = TransactionLogValue {
        producer_id: txn.producer_id.0,
        previous_producer_id: tagged(txn.previous_producer_id),
        next_producer_id: tagged(txn.next_producer_id),
        producer_epoch: txn.epoch.0,
        transaction_timeout_ms: txn.timeout_ms,
        transaction_status: txn.state as i8,
        transaction_partitions: txn.partitions.as_ref().map(|all| {
            let topics = all.iter().map(|(topic, indexes)| PartitionsSchema {
                topic: topic.clone(),
                partition_ids: indexes.iter().copied().collect(),
                ..Default::default()
            });
            topics.collect()
        }),
        transaction_last_update_timestamp_ms: txn.updated.0,
        transaction_start_timestamp_ms: txn.started.0,
        client_transaction_version: if flexible { txn.client_version } else { 0 },
        ..Default::default()
    };
    let version = if flexible { FLEXIBLE_VERSION } else { FIRST_VERSION };
    LogRecord { key: key(id), value: Some(written(encode_value(&value, version))) }
}

/// Forgets a transactional id.
pub(crate) fn tombstone(id: &ByteString) -> LogRecord {
    LogRecord { key: key(id), value: None }
}

/// Reads a record.
pub(crate) fn parse(record: &LogRecord, offset: Offset) -> Result<Entry, ReplayError> {
    let Ok(kind) = key_type(&record.key) else {
        let length = record.key.len();
        return Err(ReplayError::ShortKey { topic: TOPIC, offset, length });
    };
    if kind != TransactionLogKey::TYPE {
        return Ok(Entry::Unknown);
    }
    let malformed = |reason: String| ReplayError::Malformed { topic: TOPIC, offset, kind, reason };
    let key: TransactionLogKey =
        decode_exact(record.key.slice(2..), 0).map_err(|error| malformed(error.to_string()))?;
    let Some(value) = &record.value else {
        return Ok(Entry::Transaction(key.transactional_id, None));
    };
    let (value, _): (TransactionLogValue, _) =
        decode_value(value.clone()).map_err(|error| malformed(error.to_string()))?;
    let txn = read(&value).ok_or_else(|| {
        malformed(format!("{} is no state that is stored", value.transaction_status))
    })?;
    Ok(Entry::Transaction(key.transactional_id, Some(txn)))
}

/// The id of a record of our own.
pub(crate) fn id_of(record: &LogRecord) -> Option<ByteString> {
    let key: TransactionLogKey =
        decode_exact(record.key.get(2..).map(Bytes::copy_from_slice)?, 0).ok()?;
    Some(key.transactional_id)
}

fn read(value: &TransactionLogValue) -> Option<Transaction> {
    let partitions = value.transaction_partitions.as_ref().map(|topics| {
        let mut all = Partitions::new();
        for topic in topics {
            for index in &topic.partition_ids {
                insert(&mut all, &topic.topic, *index);
            }
        }
        all
    });
    Some(Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        epoch: ProducerEpoch(value.producer_epoch),
        last_epoch: ProducerEpoch::NONE,
        timeout_ms: value.transaction_timeout_ms,
        state: TransactionState::from_stored(value.transaction_status)?,
        partitions,
        updated: Timestamp(value.transaction_last_update_timestamp_ms),
        started: Timestamp(value.transaction_start_timestamp_ms),
        client_version: value.client_transaction_version,
    })
}

fn key(id: &ByteString) -> Bytes {
    written(encode_key(&TransactionLogKey { transactional_id: id.clone() }))
}

/// Every string came out of a request or a record, so it fits into a record.
fn written(encoded: Result<Bytes, EncodeError>) -> Bytes {
    assert!(encoded.is_ok(), "a record that cannot be written: {encoded:?}");
    encoded.unwrap_or_default()
}
