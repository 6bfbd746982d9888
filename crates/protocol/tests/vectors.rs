//! The codec against bytes made by Apache Kafka 4.4.0's own classes.

#[allow(dead_code, reason = "shared by several test binaries")]
mod support;

use ottla_protocol::codec::DecodeErrorKind;

#[test]
fn every_vector_decodes_and_encodes_to_the_same_bytes() {
    let vectors = support::vectors();
    assert_eq!(vectors.len(), 3229);
    for vector in vectors {
        let label = &vector.label;
        let codec = support::codec_of(&vector.message);
        let again = (codec.round_trip)(vector.bytes.clone(), vector.version)
            .unwrap_or_else(|error| panic!("{label}: {error}"))
            .unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(again, vector.bytes, "{label}");
    }
}

#[test]
fn every_strict_prefix_of_a_vector_is_an_error() {
    for vector in support::vectors() {
        let codec = support::codec_of(&vector.message);
        for length in 0..vector.bytes.len() {
            let error = (codec.decode)(vector.bytes.slice(..length), vector.version)
                .expect_err(&format!("{} cut to {length} bytes decodes", vector.label));
            assert_eq!(error.message, vector.message);
            assert!(error.position <= length, "{}: {error}", vector.label);
        }
    }
}

#[test]
fn bytes_after_a_message_are_an_error_only_where_none_may_follow() {
    for vector in support::vectors() {
        let mut longer = vector.bytes.to_vec();
        longer.push(0);
        let error = (support::codec_of(&vector.message).decode)(longer.into(), vector.version)
            .expect_err(&vector.label);
        assert_eq!(error.kind, DecodeErrorKind::TrailingBytes { left: 1 }, "{}", vector.label);
    }
}
