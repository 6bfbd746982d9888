//! Keys and values of the internal logs as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ottla_protocol::MetadataRecord;
use ottla_protocol::codec::{Element, Inspect, Inspector, Message, decode_prefix};
use ottla_protocol::log_record::{
    ConsumerOffsetsKey, ConsumerOffsetsValue, RecordError, ShareGroupStateKey,
    ShareGroupStateValue, TransactionStateKey, TransactionStateValue, key_type,
};
use ottla_protocol::messages::{
    EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use ottla_protocol::records::ControlType;
use serde_json::{Map, Value, json};

use super::Decode;

/// Key and value of a record; what cannot be decoded says why.
pub(super) fn record(decode: Decode, key: Option<Bytes>, value: Option<Bytes>) -> (Value, Value) {
    macro_rules! coordinator {
        ($key_type:ident, $value_type:ident) => {{
            let Some(key) = key else { return (Value::Null, plain(value.as_deref())) };
            let number = key_type(&key).unwrap_or(-1);
            let shown_key = match $key_type::decode(key.clone()) {
                Ok(key) => named(key.name(), &key),
                Err(error) => unreadable(&error, &key),
            };
            let shown_value = match value {
                None => Value::Null,
                Some(value) => match $value_type::decode(number, value.clone()) {
                    Ok((decoded, version)) => versioned((decoded.name(), version), &decoded),
                    Err(error) => unreadable(&error, &value),
                },
            };
            (shown_key, shown_value)
        }};
    }
    match decode {
        Decode::Plain => (plain(key.as_deref()), plain(value.as_deref())),
        Decode::Offsets => coordinator!(ConsumerOffsetsKey, ConsumerOffsetsValue),
        Decode::Transactions => coordinator!(TransactionStateKey, TransactionStateValue),
        Decode::ShareState => coordinator!(ShareGroupStateKey, ShareGroupStateValue),
        Decode::Metadata => {
            let shown = value.map(|value| match MetadataRecord::decode(value.clone()) {
                Ok((record, version)) => versioned((record.name(), version), &record),
                Err(error) => unreadable(&error, &value),
            });
            (plain(key.as_deref()), shown.unwrap_or_default())
        }
    }
}

/// Key and value of a control record.
pub(super) fn control(key: Option<Bytes>, value: Option<Bytes>) -> (Value, Value) {
    let Some(kind) = key.as_deref().and_then(ControlType::from_key) else {
        return (plain(key.as_deref()), plain(value.as_deref()));
    };
    let name = format!("{kind:?}");
    let Some(value) = value else { return (name.into(), Value::Null) };
    let shown = match kind {
        ControlType::Abort | ControlType::Commit => {
            // Version, then the body in that version.
            body::<EndTxnMarker>(value.get(2..).map(|_| value.slice(2..)).unwrap_or_default(), 0)
        }
        ControlType::LeaderChange => versioned_body::<LeaderChangeMessage>(value),
        ControlType::SnapshotHeader => versioned_body::<SnapshotHeaderRecord>(value),
        ControlType::SnapshotFooter => versioned_body::<SnapshotFooterRecord>(value),
        ControlType::KRaftVersion => versioned_body::<KRaftVersionRecord>(value),
        ControlType::KRaftVoters => versioned_body::<VotersRecord>(value),
    };
    (name.into(), shown)
}

/// A body whose first field is its version.
fn versioned_body<M: Message + Inspect>(value: Bytes) -> Value {
    let version = value.first_chunk().map_or(0, |bytes| i16::from_be_bytes(*bytes));
    body::<M>(value, version)
}

fn body<M: Message + Inspect + Element>(value: Bytes, version: i16) -> Value {
    let version = version.clamp(*M::VERSIONS.start(), *M::VERSIONS.end());
    match decode_prefix::<M>(value.clone(), version) {
        Ok(message) => show(&message),
        Err(error) => unreadable(&RecordError::from(error), &value),
    }
}

fn named(name: &str, record: &dyn Inspect) -> Value {
    json!({"type": name, "data": show(record)})
}

fn versioned((name, version): (&str, i16), record: &dyn Inspect) -> Value {
    json!({"type": name, "version": version, "data": show(record)})
}

fn unreadable(error: &RecordError, bytes: &Bytes) -> Value {
    json!({"unreadable": error.to_string(), "base64": STANDARD.encode(bytes)})
}

/// Text, or base64, or null.
pub(super) fn plain(bytes: Option<&[u8]>) -> Value {
    match bytes.map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => text.into(),
        Some(Err(_)) => json!({"base64": STANDARD.encode(bytes.unwrap_or_default())}),
    }
}

/// A record as JSON, with Kafka's names.
fn show(record: &dyn Inspect) -> Value {
    let mut builder = Builder { open: Vec::new(), names: Vec::new(), done: Value::Null };
    record.show(&mut builder);
    builder.done
}

/// Builds a JSON value from what a record shows.
struct Builder {
    open: Vec<Value>,
    /// The name of the field that comes next in each open struct.
    names: Vec<&'static str>,
    done: Value,
}

impl Builder {
    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            Some(Value::Array(items)) => items.push(value),
            Some(Value::Object(members)) => {
                let name = self.names.pop().unwrap_or_default();
                members.insert(name.to_owned(), value);
            }
            _ => self.done = value,
        }
    }

    fn close(&mut self) {
        if let Some(value) = self.open.pop() {
            self.put(value);
        }
    }
}

impl Inspector for Builder {
    fn null(&mut self) {
        self.put(Value::Null);
    }
    fn bool(&mut self, value: bool) {
        self.put(value.into());
    }
    fn integer(&mut self, value: i64) {
        self.put(value.into());
    }
    fn float(&mut self, value: f64) {
        self.put(value.into());
    }
    fn text(&mut self, value: &str) {
        self.put(value.into());
    }
    fn bytes(&mut self, value: &[u8]) {
        self.put(STANDARD.encode(value).into());
    }
    fn begin_list(&mut self) {
        self.open.push(Value::Array(Vec::new()));
    }
    fn end_list(&mut self) {
        self.close();
    }
    fn begin_struct(&mut self) {
        self.open.push(Value::Object(Map::new()));
    }
    fn field(&mut self, name: &'static str) {
        self.names.push(name);
    }
    fn end_struct(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::log_record::{encode_key, encode_value};
    use ottla_protocol::messages::{OffsetCommitKey, OffsetCommitValue};

    use super::*;

    #[test]
    fn a_committed_offset_is_shown_with_kafkas_names() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let value = OffsetCommitValue { offset: 7, ..Default::default() };
        let (key, value) = record(
            Decode::Offsets,
            Some(encode_key(&key).unwrap()),
            Some(encode_value(&value, 3).unwrap()),
        );
        assert_eq!(
            key,
            json!({"type": "OffsetCommitKey", "data": {"group": "g", "topic": "t", "partition": 3}})
        );
        assert_eq!(value.pointer("/data/offset"), Some(&json!(7)));
        assert_eq!(value.pointer("/version"), Some(&json!(3)));
    }

    #[test]
    fn what_cannot_be_read_is_kept_and_says_why() {
        let (key, value) = record(
            Decode::Offsets,
            Some(Bytes::from_static(b"\x7f\x00x")),
            Some(Bytes::from_static(b"y")),
        );
        assert_eq!(key.pointer("/base64"), Some(&json!("fwB4")));
        assert!(value.pointer("/unreadable").is_some());
        let (_, value) = record(Decode::Metadata, None, Some(Bytes::from_static(b"\x02")));
        assert!(value.pointer("/unreadable").is_some());
    }

    #[test]
    fn a_transaction_marker_is_named() {
        let marker =
            ottla_protocol::records::EndTxnMarker { committed: false, coordinator_epoch: 5 };
        let key = Bytes::copy_from_slice(&marker.control_type().key());
        let value = Bytes::copy_from_slice(&marker.value());
        let (key, value) = control(Some(key), Some(value));
        assert_eq!((key, value), (json!("Abort"), json!({"coordinatorEpoch": 5})));
    }
}
