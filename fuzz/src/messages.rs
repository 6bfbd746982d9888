//! Requests, and every other message: what decodes has one stable encoding, which the second codec
//! reads and writes, too.

use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_protocol::log_record::{
    ConsumerOffsetsKey, ConsumerOffsetsValue, ShareGroupStateKey, ShareGroupStateValue,
    TransactionStateKey, TransactionStateValue, key_type,
};
use ottla_protocol::{ApiKey, MetadataRecord};

use crate::input::{Input, chunk};
use crate::second_codec::{MISREAD, OTHERS};
use crate::support::{Codec, codec_of, codecs, vectors};

/// `api, version, body`.
pub fn request(data: &[u8]) {
    let mut input = Input::new(data);
    let (api, version) = (input.u8(), input.u8());
    let keys = served();
    let codec = request_codec(keys[usize::from(api) % keys.len()]);
    check(codec, pick_version(&codec.versions, version), input.rest());
}

pub(crate) fn request_seeds() -> Vec<Vec<u8>> {
    let keys = served();
    let seed = |vector: crate::support::Vector| {
        let api = keys.iter().position(|key| request_codec(*key).name == vector.message)?;
        let first = *codec_of(&vector.message).versions.start();
        Some([&[api as u8, (vector.version - first) as u8][..], &vector.bytes].concat())
    };
    vectors().into_iter().filter_map(seed).collect()
}

/// `0, message, version, body`, or the number of an envelope of [`envelopes`], a key and a value.
pub fn message(data: &[u8]) {
    let mut input = Input::new(data);
    let (envelope, index) = (input.u8(), usize::from(input.u16()));
    if envelope == 0 {
        let codec = &codecs()[index % codecs().len()];
        let version = pick_version(&codec.versions, input.u8());
        check(codec, version, input.rest());
    } else {
        let key = Bytes::copy_from_slice(input.chunk());
        envelopes(envelope, key, Bytes::copy_from_slice(input.rest()));
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in vectors().into_iter().filter(|vector| !vector.message.ends_with("Request")) {
        let codec = codec_of(&vector.message);
        let index = codecs().iter().position(|other| other.name == codec.name).unwrap_or(0);
        let version = (vector.version - codec.versions.start()) as u8;
        let head = [0, (index >> 8) as u8, index as u8, version];
        seeds.push([&head[..], &vector.bytes].concat());
        if vector.message.ends_with("Record") {
            // The record in its envelope, as each type for which it is readable.
            for number in 0..40 {
                let value = [&[1, number, vector.version as u8][..], &vector.bytes].concat();
                if MetadataRecord::decode(value.clone().into()).is_ok() {
                    seeds.push([&[1, 0, 0][..], &chunk(&[]), &value].concat());
                }
            }
        }
        if vector.message.ends_with("Key") {
            for (envelope, number) in (2..=4).flat_map(|e| (0..16).map(move |n| (e, n))) {
                let key = [&[0, number][..], &vector.bytes].concat();
                seeds.push([&[envelope, 0, 0][..], &chunk(&key)].concat());
            }
        }
    }
    seeds
}

/// The APIs that exist.
fn served() -> Vec<ApiKey> {
    ApiKey::all().filter(|key| !key.versions().is_empty()).collect()
}

pub(crate) fn request_codec(key: ApiKey) -> &'static Codec {
    codec_of(&format!("{}Request", key.name()))
}

fn pick_version(versions: &RangeInclusive<i16>, byte: u8) -> i16 {
    let count = i16::try_from(versions.clone().count()).unwrap_or(i16::MAX).max(1);
    versions.start() + i16::from(byte) % count
}

fn check(codec: &Codec, version: i16, bytes: &[u8]) {
    let Ok(first) = (codec.round_trip)(Bytes::copy_from_slice(bytes), version) else { return };
    let first = first.unwrap_or_else(|error| panic!("what decodes must encode: {error}"));
    let second = (codec.round_trip)(first.clone(), version);
    assert_eq!(second, Ok(Ok(first.clone())), "{} v{version}", codec.name);
    let other = OTHERS.iter().find(|other| other.name == codec.name);
    if let Some(other) = other
        && (other.versions.min..=other.versions.max).contains(&version)
        && !MISREAD.contains(&other.name)
    {
        let theirs = (other.round_trip)(first.clone(), version);
        if theirs.as_ref() != Some(&first) && !has_unknown_tags(codec, version, &first) {
            assert_eq!(theirs, Some(first), "{} v{version}", codec.name);
        }
    }
}

/// The other codec sorts unknown tagged fields, keeps one of each number and refuses or loses some;
/// ours keeps them as they came, as Kafka does.
fn has_unknown_tags(codec: &Codec, version: i16, bytes: &Bytes) -> bool {
    let shown = (codec.show)(bytes.clone(), version).expect("it was decoded before");
    shown.contains("UnknownTaggedField {")
}

macro_rules! coordinator {
    ($key:ident, $value:ident, $key_bytes:expr, $value_bytes:expr) => {{
        if let Ok(key) = $key::decode($key_bytes.clone()) {
            let bytes = key.encode().expect("what decodes must encode");
            assert_eq!($key::decode(bytes), Ok(key));
        }
        if let Ok(number) = key_type(&$key_bytes)
            && let Ok((value, version)) = $value::decode(number, $value_bytes)
        {
            let bytes = value.encode(version).expect("what decodes must encode");
            let again = $value::decode(number, bytes.clone())
                .map(|(value, version)| value.encode(version).expect("what decodes must encode"));
            assert_eq!(again, Ok(bytes));
        }
    }};
}

/// The records of the internal logs, as they lie there.
fn envelopes(envelope: u8, key: Bytes, value: Bytes) {
    match envelope % 4 {
        1 => {
            if let Ok((record, version)) = MetadataRecord::decode(value) {
                let bytes = record.encode(version).expect("what decodes must encode");
                let again = MetadataRecord::decode(bytes.clone()).map(|(record, version)| {
                    record.encode(version).expect("what decodes must encode")
                });
                assert_eq!(again, Ok(bytes));
            }
        }
        2 => coordinator!(ConsumerOffsetsKey, ConsumerOffsetsValue, key, value),
        3 => coordinator!(TransactionStateKey, TransactionStateValue, key, value),
        _ => coordinator!(ShareGroupStateKey, ShareGroupStateValue, key, value),
    }
}
