//! Damaged vectors never panic, and what still decodes has one stable encoding.
#![allow(
    clippy::indexing_slicing,
    reason = "a test's helper: every index is drawn below the length"
)]

#[allow(dead_code, reason = "shared by several test binaries")]
mod support;

use bytes::Bytes;
use support::Numbers;

/// Replaces, inserts, removes or repeats a few bytes, preferring those that matter as lengths.
fn damage(numbers: &mut Numbers, bytes: &Bytes) -> Bytes {
    const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len() + 1);
        let edge = EDGES[numbers.below(EDGES.len())];
        match numbers.below(5) {
            0 | 1 if at < bytes.len() => bytes[at] = edge,
            2 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, edge),
        }
    }
    bytes.into()
}

#[test]
fn damaged_vectors_are_errors_or_encode_stably() {
    let mut numbers = Numbers::seeded(0x0771a);
    let (mut decoded, mut refused) = (0, 0);
    for vector in support::vectors() {
        let codec = support::codec_of(&vector.message);
        for _ in 0..40 {
            let bytes = damage(&mut numbers, &vector.bytes);
            let Ok(first) = (codec.round_trip)(bytes.clone(), vector.version) else {
                refused += 1;
                continue;
            };
            decoded += 1;
            let context = format!("{} damaged to {bytes:x}", vector.label);
            let first = first.unwrap_or_else(|error| panic!("{context}: {error}"));
            let second = (codec.round_trip)(first.clone(), vector.version)
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(second, Ok(first), "{context}");
        }
    }
    // The damage is neither always fatal nor always harmless.
    assert!(decoded > 10_000 && refused > 10_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn noise_never_panics() {
    let mut numbers = Numbers::seeded(0x0771b);
    for codec in support::codecs() {
        for version in codec.versions.clone() {
            for length in [0, 1, 7, 40, 300] {
                // Small numbers are plausible lengths, so that decoding gets far.
                let bytes: Bytes = (0..length).map(|_| numbers.below(4) as u8).collect();
                let _ = (codec.decode)(bytes, version);
            }
        }
    }
}
