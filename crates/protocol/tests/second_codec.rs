//! Against the crate `kafka-protocol`, a codec that shares no line with ours: it must read what the
//! vectors hold and write the same bytes. It is fed valid bytes only, because it reserves memory for
//! whatever length is claimed.

#[path = "support/second_codec.rs"]
mod second_codec;
#[allow(dead_code, reason = "shared by several test binaries")]
mod support;

use std::collections::BTreeSet;

use second_codec::{MISREAD, OTHERS};

#[test]
fn both_codecs_agree_on_every_version_that_both_have() {
    let mut pairs = BTreeSet::new();
    for vector in support::vectors() {
        let Some(other) = OTHERS.iter().find(|other| other.name == vector.message) else {
            continue;
        };
        let versions = other.versions.min..=other.versions.max;
        if !versions.contains(&vector.version) || MISREAD.contains(&other.name) {
            continue;
        }
        pairs.insert((other.name, vector.version));
        let ours =
            (support::codec_of(&vector.message).round_trip)(vector.bytes.clone(), vector.version);
        let theirs = (other.round_trip)(vector.bytes, vector.version);
        assert_eq!(ours.ok().and_then(Result::ok), theirs, "{}", vector.label);
        assert!(theirs.is_some(), "{}", vector.label);
    }
    let of_rpcs = |name: &str| name.ends_with("Request") || name.ends_with("Response");
    assert_eq!(pairs.iter().filter(|(name, _)| of_rpcs(name)).count(), 577);
    // Headers, control records and the consumer protocol.
    assert_eq!(pairs.iter().filter(|(name, _)| !of_rpcs(name)).count(), 17);
}
