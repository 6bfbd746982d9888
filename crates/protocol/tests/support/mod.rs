//! The golden vectors, and every message by its name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is the report"
)]

use std::fmt::Debug;
use std::io::Read;
use std::ops::RangeInclusive;

use bytes::Bytes;
use flate2::read::GzDecoder;
use ottla_protocol::codec::{self, DecodeError, EncodeError, Message};
use ottla_protocol::messages::*;

include!(concat!(env!("OUT_DIR"), "/every_message.rs"));

/// One line of `testdata/vectors.jsonl.gz`: bytes that Kafka's own classes wrote.
#[derive(Debug)]
pub(crate) struct Vector {
    /// Name, version, kind and number, for failures.
    pub(crate) label: String,
    pub(crate) message: String,
    pub(crate) version: i16,
    pub(crate) bytes: Bytes,
}

/// A message without its type.
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    pub(crate) versions: RangeInclusive<i16>,
    /// Decodes and encodes again.
    pub(crate) round_trip: fn(Bytes, i16) -> Result<Result<Bytes, EncodeError>, DecodeError>,
    /// Decodes, and forgets.
    pub(crate) decode: fn(Bytes, i16) -> Result<(), DecodeError>,
    /// Decodes, and shows the fields.
    pub(crate) show: fn(Bytes, i16) -> Result<String, DecodeError>,
}

fn round_trip<M: Message>(
    bytes: Bytes,
    version: i16,
) -> Result<Result<Bytes, EncodeError>, DecodeError> {
    let message: M = codec::decode_exact(bytes, version)?;
    Ok(codec::encode_to_bytes(&message, version))
}

fn decode<M: Message + Debug>(bytes: Bytes, version: i16) -> Result<(), DecodeError> {
    codec::decode_exact::<M>(bytes, version).map(drop)
}

fn show<M: Message + Debug>(bytes: Bytes, version: i16) -> Result<String, DecodeError> {
    codec::decode_exact::<M>(bytes, version).map(|message| format!("{message:?}"))
}

macro_rules! codecs {
    ($($name:ident),*) => {
        &[$(Codec { name: <$name>::NAME, versions: <$name>::VERSIONS, round_trip: round_trip::<$name>, decode: decode::<$name>, show: show::<$name> },)*]
    };
}

const CODECS: &[Codec] = every_message!(codecs);

pub(crate) fn codec_of(name: &str) -> &'static Codec {
    CODECS.iter().find(|codec| codec.name == name).unwrap_or_else(|| panic!("no message {name}"))
}

/// Seeded numbers (xorshift64*), the same in every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

pub(crate) fn codecs() -> &'static [Codec] {
    CODECS
}

pub(crate) fn vectors() -> Vec<Vector> {
    let packed = include_bytes!("../../testdata/vectors.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    text.lines().enumerate().map(|(number, line)| vector(number + 1, line)).collect()
}

fn vector(number: usize, line: &str) -> Vector {
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    let version = i16::try_from(row["version"].as_i64().unwrap()).unwrap();
    let label = format!("{} v{version} {} (line {number})", text("message"), text("kind"));
    Vector { label, message: text("message"), version, bytes: unhex(&text("hex")) }
}

fn unhex(hex: &str) -> Bytes {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
