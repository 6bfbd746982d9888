//! A record as a line: JSON that any bytes survive, or text for people.

use std::borrow::Cow;

use ottla_protocol::ids::{Offset, Timestamp};
use ottla_protocol::records::{Record, RecordHeader, TimestampType};
use serde_json::{Map, Value};

use crate::client::TopicPartition;
use crate::time::show_millis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The member of an object that stands for bytes which are not UTF-8.
const BASE64: &str = "base64";

/// A record read from a line of JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) partition: Option<i32>,
    /// Its offset is not used.
    pub(crate) record: Record<'static>,
    /// Whether the line has a timestamp.
    pub(crate) timed: bool,
}

/// A record as one JSON object. What is read from it is the same record.
pub(crate) fn to_json(partition: &TopicPartition, record: &Record<'_>) -> Value {
    let mut line = Map::new();
    line.insert("partition".into(), partition.partition.into());
    line.insert("offset".into(), record.offset.0.into());
    line.insert("timestamp".into(), record.timestamp.0.into());
    line.insert("key".into(), bytes_value(record.key.as_deref()));
    line.insert("value".into(), bytes_value(record.value.as_deref()));
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|header| {
            let mut pair = Map::new();
            pair.insert("key".into(), bytes_value(Some(&header.key)));
            pair.insert("value".into(), bytes_value(header.value.as_deref()));
            Value::Object(pair)
        });
        line.insert("headers".into(), headers.collect());
    }
    Value::Object(line)
}

/// Text as a string, other bytes as `{"base64": "..."}`, none as null.
fn bytes_value(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => Value::Object(Map::from_iter([(BASE64.into(), STANDARD.encode(bytes).into())])),
    }
}

/// Reads what [`to_json`] wrote. Members may be missing; `offset` and `topic` are ignored.
///
/// # Errors
/// Says which member is not what it should be.
pub(crate) fn from_json(line: &str) -> Result<Line, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(members) = value else {
        return Err("a JSON object is expected, such as {\"key\":\"k\",\"value\":\"v\"}".into());
    };
    let mut parsed = Line {
        partition: None,
        record: Record {
            offset: Offset::ZERO,
            timestamp: Timestamp::NONE,
            key: None,
            value: None,
            headers: Vec::new(),
        },
        timed: false,
    };
    for (name, value) in members {
        let wrong = |what: &str| format!("{name}: {what} is expected, not {value}");
        match name.as_str() {
            "key" => parsed.record.key = read_bytes(&name, &value)?.map(Cow::Owned),
            "value" => parsed.record.value = read_bytes(&name, &value)?.map(Cow::Owned),
            "headers" => parsed.record.headers = read_headers(&value)?,
            "partition" if value.is_null() => {}
            "partition" => {
                let index = value.as_i64().and_then(|index| i32::try_from(index).ok());
                let index = index.filter(|index| *index >= 0);
                parsed.partition = Some(index.ok_or_else(|| wrong("a partition's number"))?);
            }
            "timestamp" if value.is_null() => {}
            "timestamp" => {
                let millis = match &value {
                    Value::String(text) => crate::time::parse_time(text).ok(),
                    other => other.as_i64(),
                };
                let millis = millis.ok_or_else(|| wrong("a time in milliseconds since 1970"))?;
                parsed.record.timestamp = Timestamp(millis);
                parsed.timed = true;
            }
            "offset" | "topic" => {}
            _ => {
                return Err(format!(
                    "{name} is no member of a record: key, value, headers, timestamp, partition are"
                ));
            }
        }
    }
    Ok(parsed)
}

fn read_bytes(name: &str, value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Object(members) if members.len() == 1 => {
            let encoded = members.get(BASE64).and_then(Value::as_str);
            let decoded = encoded.and_then(|text| STANDARD.decode(text).ok());
            decoded.map(Some).ok_or_else(|| not_bytes(name, value))
        }
        _ => Err(not_bytes(name, value)),
    }
}

fn not_bytes(name: &str, value: &Value) -> String {
    format!("{name}: a string, null or {{\"{BASE64}\": \"...\"}} is expected, not {value}")
}

/// `[{"key": ..., "value": ...}, ...]`, or an object for names that occur once.
fn read_headers(value: &Value) -> Result<Vec<RecordHeader<'static>>, String> {
    let header = |key: Option<Vec<u8>>, value: Option<Vec<u8>>| {
        let key = key.ok_or("headers: a key is null or missing")?;
        Ok(RecordHeader { key: Cow::Owned(key), value: value.map(Cow::Owned) })
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| {
                header(Some(key.clone().into_bytes()), read_bytes("headers", value)?)
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                let member =
                    |name| item.get(name).map_or(Ok(None), |value| read_bytes("headers", value));
                header(member("key")?, member("value")?)
            })
            .collect(),
        other => Err(format!("headers: an array or object is expected, not {other}")),
    }
}

/// A record as a line for people: place, time, key, value, headers.
pub(crate) fn to_text(
    partition: &TopicPartition,
    record: &Record<'_>,
    kind: TimestampType,
) -> String {
    let mark = match kind {
        TimestampType::CreateTime => "",
        TimestampType::LogAppendTime => "*",
    };
    let mut line = format!(
        "{}:{}  {}{mark}  {}  {}",
        partition.partition,
        record.offset,
        show_millis(record.timestamp.0),
        show(record.key.as_deref()),
        show(record.value.as_deref())
    );
    for header in &record.headers {
        line.push_str(&format!("  {}={}", show(Some(&header.key)), show(header.value.as_deref())));
    }
    line
}

/// Text with control characters escaped, `-` for null.
fn show(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let text = String::from_utf8_lossy(bytes);
    if !text.contains(|c: char| c.is_control()) {
        return text.into_owned();
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Record<'static> {
        let owned = |bytes: &[u8]| Cow::Owned(bytes.to_vec());
        let header = |key: &[u8], value: Option<&[u8]>| RecordHeader {
            key: owned(key),
            value: value.map(owned),
        };
        Record {
            offset: Offset(7),
            timestamp: Timestamp(1_577_836_800_000),
            key: key.map(owned),
            value: value.map(owned),
            headers: vec![header(b"h", Some(b"1")), header(b"h", None), header(b"\xff", Some(b""))],
        }
    }

    #[test]
    fn any_bytes_survive_as_json() {
        let partition = TopicPartition::new("t", 3);
        type Bytes = Option<&'static [u8]>;
        let cases: [(Bytes, Bytes); 4] = [
            (None, None),
            (Some(b""), Some(b"\xff\x00\"\n")),
            (Some("ключ".as_bytes()), Some(b"{\"base64\":\"x\"}")),
            (Some(b"\x00\x01"), Some(b"\xed\xa0\x80")),
        ];
        for (key, value) in cases {
            let want = record(key, value);
            let line = from_json(&to_json(&partition, &want).to_string()).unwrap();
            assert_eq!((line.partition, line.timed), (Some(3), true));
            assert_eq!(line.record, Record { offset: Offset::ZERO, ..want });
        }
    }

    #[test]
    fn a_line_that_is_no_record_is_refused_with_the_member_that_is_wrong() {
        for (line, part) in [
            ("x", "no JSON"),
            ("[]", "a JSON object is expected"),
            ("{\"value\":1}", "value: a string, null or"),
            ("{\"value\":{\"base64\":\"*\"}}", "value: a string, null or"),
            ("{\"vlaue\":\"1\"}", "vlaue is no member"),
            ("{\"partition\":-1}", "partition: a partition's number"),
            ("{\"headers\":[{\"value\":\"1\"}]}", "a key is null or missing"),
        ] {
            let error = from_json(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn a_line_for_people_stays_a_line() {
        let partition = TopicPartition::new("t", 3);
        let record = Record { headers: Vec::new(), ..record(None, Some(b"a\tb\nc")) };
        let want = "3:7  2020-01-01T00:00:00.000Z  -  a\\tb\\nc";
        assert_eq!(to_text(&partition, &record, TimestampType::CreateTime), want);
    }
}
