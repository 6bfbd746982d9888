//! What callers of the codec rely on, beyond the bytes that the vectors prove.
#![allow(clippy::indexing_slicing, reason = "a wrong place is a failure")]

use bytes::Bytes;
use ottla_protocol::codec::{
    self, DecodeErrorKind, EncodeErrorKind, Encoded, Splice, UnknownTaggedField,
    UnknownTaggedFields,
};
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::*;
use ottla_protocol::{ByteString, Records, Uuid};

fn produce() -> ProduceRequest {
    let partition = PartitionProduceData {
        index: 7,
        records: Some(Bytes::from_static(b"batch").into()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: "orders".into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 1500, topic_data: vec![topic], ..Default::default() }
}

#[test]
fn strings_and_records_are_slices_of_the_frame() {
    let frame = codec::encode_to_bytes(&produce(), 9).unwrap();
    let decoded: ProduceRequest = codec::decode_exact(frame.clone(), 9).unwrap();
    assert_eq!(decoded, produce());
    let within = |part: &[u8]| frame.as_ptr_range().contains(&part.as_ptr());
    let topic = &decoded.topic_data[0];
    assert!(within(topic.name.as_bytes()));
    assert!(within(topic.partition_data[0].records.as_ref().and_then(Records::as_bytes).unwrap()));
}

#[test]
fn errors_name_message_field_and_position() {
    let frame = codec::encode_to_bytes(&produce(), 9).unwrap();
    // Null id 1, acks 2, timeout 4, count 1: the topic's name is at 8, its length first.
    let error = codec::decode_exact::<ProduceRequest>(frame.slice(..11), 9).unwrap_err();
    assert_eq!(
        (error.message, error.field, error.position),
        ("ProduceRequest", "TopicProduceData.Name", 9)
    );
    assert_eq!(error.kind, DecodeErrorKind::Truncated { needed: 6, left: 2 });
    assert_eq!(
        error.to_string(),
        "ProduceRequest, field TopicProduceData.Name, byte 9: 6 bytes are needed, 2 are left"
    );
    // A topic takes three bytes at least: refused before the first is read.
    let error = codec::decode_exact::<ProduceRequest>(frame.slice(..10), 9).unwrap_err();
    assert_eq!((error.field, error.position), ("TopicData", 8));
    assert_eq!(error.kind, DecodeErrorKind::ArrayTooLong { count: 1, element: 3, left: 2 });
}

#[test]
fn a_version_that_does_not_exist_is_an_error_both_ways() {
    for version in [-1, 2, 14] {
        let error = codec::decode_prefix::<ProduceRequest>(Bytes::new(), version).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::UnsupportedVersion { version, min: 3, max: 13 });
        let error = codec::encode(&produce(), version).unwrap_err();
        assert_eq!(error.kind, EncodeErrorKind::UnsupportedVersion { min: 3, max: 13 });
    }
    assert!(codec::encode(&LeaderAndIsrRequest::default(), 0).is_err(), "a removed API");
}

#[test]
fn set_fields_that_a_version_lacks_are_dropped_if_ignorable_and_errors_if_not() {
    // Ignorable: ClusterId of Metadata from v2, TopicId from v10.
    let response = MetadataResponse { cluster_id: Some("c".into()), ..Default::default() };
    let bytes = codec::encode_to_bytes(&response, 1).unwrap();
    assert_eq!(
        codec::decode_exact::<MetadataResponse>(bytes, 1).unwrap(),
        MetadataResponse::default()
    );

    // Not ignorable: a plain field, one whose default is true, and a nested struct.
    let request = InitProducerIdRequest { producer_id: 5, ..Default::default() };
    let error = codec::encode(&request, 2).unwrap_err();
    assert_eq!(
        (error.message, error.field, error.version),
        ("InitProducerIdRequest", "ProducerId", 2)
    );
    assert_eq!(error.kind, EncodeErrorKind::NotInVersion);
    assert!(codec::encode(&InitProducerIdRequest::default(), 2).is_ok());
    let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    assert_eq!(codec::encode(&request, 3).unwrap_err().field, "AllowAutoTopicCreation");

    // Not ignorable and tagged.
    let value = TransactionLogValue { next_producer_id: 9, ..Default::default() };
    assert_eq!(codec::encode(&value, 0).unwrap_err().field, "NextProducerId");
}

#[test]
fn null_is_an_error_in_versions_that_do_not_allow_it() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(codec::encode(&request, 0).unwrap_err().kind, EncodeErrorKind::Null);
    assert_eq!(codec::encode_to_bytes(&request, 1).unwrap()[..], [0xff; 4]);
    let error =
        codec::decode_exact::<MetadataRequest>(Bytes::from_static(&[0xff; 4]), 0).unwrap_err();
    assert_eq!((error.field, error.kind), ("Topics", DecodeErrorKind::Null));
}

#[test]
fn strings_are_limited_to_what_int16_can_say_in_every_version() {
    let of_length = |length: usize| FindCoordinatorRequest {
        key: "k".repeat(length).into(),
        ..Default::default()
    };
    for version in [0, 3] {
        assert!(codec::encode(&of_length(32_767), version).is_ok());
        let error = codec::encode(&of_length(32_768), version).unwrap_err();
        assert_eq!((error.field, error.kind), ("Key", EncodeErrorKind::StringTooLong(32_768)));
    }
    let mut compact = vec![0x81, 0x80, 0x02];
    compact.resize(40_000, b'k');
    let error = codec::decode_exact::<FindCoordinatorRequest>(compact.into(), 3).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::StringTooLong { length: 32_768 });
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_as_kafka_does() {
    let decoded: FindCoordinatorRequest =
        codec::decode_exact(Bytes::from_static(&[0, 3, b'a', 0xff, b'b']), 0).unwrap();
    assert_eq!(decoded.key, "a\u{fffd}b");
}

#[test]
fn bytes_after_a_body_are_ignored_only_by_decode_prefix() {
    let bytes = Bytes::from_static(&[0, 1, b'a', 9]);
    assert!(codec::decode_prefix::<FindCoordinatorRequest>(bytes.clone(), 0).is_ok());
    let error = codec::decode_exact::<FindCoordinatorRequest>(bytes, 0).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TrailingBytes { left: 1 });
}

#[test]
fn external_records_count_in_every_length_and_leave_splices() {
    let external = |token, len| PartitionData {
        high_watermark: 5,
        records: Some(Records::External { token, len }),
        ..Default::default()
    };
    let inline = |len: u32| PartitionData {
        high_watermark: 5,
        records: Some(Bytes::from(vec![b'r'; len as usize]).into()),
        ..Default::default()
    };
    let response = |partitions| FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: Uuid::ONE,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in [12, 16, 18] {
        let strip = |mut response: FetchResponse| {
            if version < 13 {
                response.responses[0].topic_id = Uuid::ZERO;
            }
            response
        };
        let spliced = codec::encode(
            &strip(response(vec![external(8, 300), inline(3), external(9, 70_000)])),
            version,
        );
        let spliced = spliced.unwrap();
        let plain = strip(response(vec![inline(300), inline(3), inline(70_000)]));
        let plain = codec::encode_to_bytes(&plain, version).unwrap();
        assert_eq!(spliced.total_len(), plain.len());
        assert_eq!(joined(&spliced), plain, "v{version}");
    }
    let error = codec::encode_to_bytes(&response(vec![external(1, 2)]), 16).unwrap_err();
    assert_eq!(error.kind, EncodeErrorKind::ExternalRecords(1));
}

/// The bytes with `r` for every external byte.
fn joined(encoded: &Encoded) -> Vec<u8> {
    let mut out = Vec::new();
    let mut from = 0;
    for &Splice { position, len, .. } in &encoded.splices {
        out.extend_from_slice(&encoded.bytes[from..position]);
        out.resize(out.len() + len as usize, b'r');
        from = position;
    }
    out.extend_from_slice(&encoded.bytes[from..]);
    out
}

#[test]
fn unknown_tagged_fields_keep_their_place_among_known_ones() {
    // Known tags of TransactionLogValue are 0 to 3 and of PartitionChangeRecord 0 to 8; of
    // FetchRequest 0 and 1. An unknown tag may come after an absent known one.
    let mut unknown = UnknownTaggedFields::default();
    for (tag, data) in [(2, "two"), (u32::MAX, "last")] {
        unknown.push(UnknownTaggedField { tag, data: Bytes::from_static(data.as_bytes()) });
    }
    for cluster_id in [None, Some(ByteString::from("c"))] {
        let request = FetchRequest {
            cluster_id,
            unknown_tagged_fields: unknown.clone(),
            ..Default::default()
        };
        let bytes = codec::encode_to_bytes(&request, 18).unwrap();
        let again: FetchRequest = codec::decode_exact(bytes, 18).unwrap();
        assert_eq!(again.unknown_tagged_fields, unknown);
        assert_eq!(again.cluster_id, request.cluster_id);
    }
}

#[test]
fn a_known_tag_that_the_version_lacks_is_kept_and_written_between_the_others() {
    // PartitionChangeRecord: tags 0 to 5 from v0, 6 and 7 from v2, 8 from v1.
    let v2 = PartitionChangeRecord {
        leader_recovery_state: 1,
        eligible_leader_replicas: Some(vec![1]),
        directories: Some(vec![Uuid::ONE]),
        ..Default::default()
    };
    let bytes = codec::encode_to_bytes(&v2, 2).unwrap();
    let v0: PartitionChangeRecord = codec::decode_exact(bytes.clone(), 0).unwrap();
    let tags: Vec<_> = v0.unknown_tagged_fields.as_slice().iter().map(|field| field.tag).collect();
    assert_eq!(tags, [6, 8]);
    assert_eq!(v0.eligible_leader_replicas, None);
    assert_eq!(codec::encode_to_bytes(&v0, 0).unwrap(), bytes);
    // Read as v1, 8 is known and 6 is not: 6 must still come first.
    let v1: PartitionChangeRecord = codec::decode_exact(bytes.clone(), 1).unwrap();
    assert_eq!(codec::encode_to_bytes(&v1, 1).unwrap(), bytes);
}

#[test]
fn of_a_tag_given_twice_the_last_counts() {
    // BeginTransactionRecord: two fields with tag 0, a compact string each.
    let bytes = Bytes::from_static(&[2, 0, 2, 2, b'a', 0, 2, 2, b'b']);
    let record: BeginTransactionRecord = codec::decode_exact(bytes, 0).unwrap();
    assert_eq!(record.name, Some("b".into()));
}

#[test]
fn a_tagged_field_must_fill_its_size() {
    let longer = Bytes::from_static(&[1, 0, 3, 2, b'a', 0]);
    let error = codec::decode_exact::<BeginTransactionRecord>(longer, 0).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TagSize { tag: 0, left: 1 });
    let shorter = Bytes::from_static(&[1, 0, 1, 2, b'a']);
    let error = codec::decode_exact::<BeginTransactionRecord>(shorter, 0).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Truncated { needed: 1, left: 0 });
}

#[test]
fn defaults_are_the_schemas() {
    assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
    assert!(MetadataRequest::default().allow_auto_topic_creation);
    // Nullable without `default null`: empty, so that null is written.
    assert_eq!(MetadataRequest::default().topics, Some(Vec::new()));
    assert!(ConsumerGroupMemberMetadataValue::default().classic_member_metadata.is_some());
    assert_eq!(PartitionProduceData::default().records, None);
}

#[test]
fn messages_without_unknown_tagged_fields_stay_small() {
    assert_eq!(size_of::<UnknownTaggedFields>(), size_of::<usize>());
}
