//! Headers, API facts and the envelopes of log records.

use bytes::Bytes;
use ottla_protocol::codec::{DecodeErrorKind, Message};
use ottla_protocol::frame::{self, FrameError, RequestFrame};
use ottla_protocol::log_record::{
    self, ConsumerOffsetsKey, ConsumerOffsetsValue, MetadataRecord, RecordError,
    TransactionStateKey,
};
use ottla_protocol::messages::*;
use ottla_protocol::{ApiKey, Uuid};

#[test]
fn a_request_goes_through_its_frame_in_every_version() {
    let client = "client".into();
    for version in MetadataRequest::VERSIONS {
        let body = MetadataRequest::default();
        let sent = frame::encode_request(version, 42, Some(&client), &body).unwrap().bytes;
        let size = i32::from_be_bytes(sent[..4].try_into().unwrap());
        assert_eq!(size as usize, sent.len() - 4);
        let received = RequestFrame::parse(sent.slice(4..)).unwrap();
        assert_eq!((received.key, received.version), (ApiKey::Metadata, version));
        assert_eq!(received.header.correlation_id, 42);
        assert_eq!(received.header.client_id, Some(client.clone()));
        assert_eq!(received.decode::<MetadataRequest>().unwrap(), body);
    }
}

#[test]
fn a_response_goes_through_its_frame_in_every_version() {
    for version in ApiVersionsResponse::VERSIONS {
        let body = ApiVersionsResponse { error_code: 35, ..Default::default() };
        let sent = frame::encode_response(ApiKey::ApiVersions, version, 7, &body).unwrap().bytes;
        // Header version 0: the error code follows the correlation id at once.
        assert_eq!(sent[4..10], [0, 0, 0, 7, 0, 35], "v{version}");
        let (id, received) =
            frame::decode_response::<ApiVersionsRequest>(sent.slice(4..), version).unwrap();
        assert_eq!((id, received), (7, body));
    }
}

#[test]
fn headers_are_flexible_with_their_request_except_the_answer_of_api_versions() {
    for (key, version, request, response) in [
        (ApiKey::Produce, 8, 1, 0),
        (ApiKey::Produce, 9, 2, 1),
        (ApiKey::ApiVersions, 2, 1, 0),
        (ApiKey::ApiVersions, 3, 2, 0),
        (ApiKey::ApiVersions, 99, 2, 0),
        (ApiKey::SaslHandshake, 1, 1, 0),
        (ApiKey::OffsetDelete, 0, 1, 0),
        (ApiKey::UnregisterController, 0, 2, 1),
    ] {
        assert_eq!(key.request_header_version(version), request, "{key} v{version}");
        assert_eq!(key.response_header_version(version), response, "{key} v{version}");
    }
}

#[test]
fn an_unknown_api_and_a_short_header_are_told_apart() {
    let unknown = Bytes::from_static(&[0, 95, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(RequestFrame::parse(unknown).unwrap_err(), FrameError::UnknownApiKey(95));
    let negative = Bytes::from_static(&[0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(RequestFrame::parse(negative).unwrap_err(), FrameError::UnknownApiKey(-1));
    let error = RequestFrame::parse(Bytes::from_static(&[0, 3, 0, 1, 0, 0])).unwrap_err();
    let FrameError::Header(error) = error else { panic!("{error}") };
    assert_eq!((error.message, error.field, error.position), ("RequestHeader", "CorrelationId", 4));
}

#[test]
fn api_keys_know_their_facts() {
    let all: Vec<_> = ApiKey::all().collect();
    assert_eq!(all.len(), 95);
    for key in all {
        assert_eq!(ApiKey::from_key(key.key()), Some(key));
    }
    assert_eq!(ApiKey::from_key(95), None);
    assert_eq!(ApiKey::from_key(-1), None);
    assert_eq!(ApiKey::Fetch.versions(), 4..=18);
    assert_eq!(ApiKey::InitProducerId.versions(), 0..=6);
    assert_eq!(ApiKey::InitProducerId.stable_versions(), 0..=5);
    assert!(ApiKey::StopReplica.versions().is_empty());
    assert_eq!(ApiKey::AddOffsetsToTxn.to_string(), "AddOffsetsToTxn");
    for (key, broker, controller) in
        [(ApiKey::Produce, true, false), (ApiKey::Fetch, true, true), (ApiKey::Vote, false, true)]
    {
        assert_eq!((key.on_broker(), key.on_controller()), (broker, controller), "{key}");
    }
}

#[test]
fn metadata_records_carry_frame_type_and_version() {
    let topic = TopicRecord { name: "t".into(), topic_id: Uuid::ONE, ..Default::default() };
    let bytes = MetadataRecord::from(topic.clone()).encode(0).unwrap();
    assert_eq!(bytes[..5], [1, 2, 0, 2, b't']);
    assert_eq!(MetadataRecord::decode(bytes.clone()), Ok((MetadataRecord::Topic(topic), 0)));

    let decode = |bytes: &[u8]| MetadataRecord::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
    assert_eq!(decode(&[2, 2, 0]), RecordError::UnknownFrame(2));
    assert_eq!(decode(&[1, 13, 0]), RecordError::UnknownType { record_type: 13 });
    assert_eq!(decode(&[1, 0x80, 0x80, 4, 0]), RecordError::UnknownType { record_type: 65536 });
    let kind = |error| match error {
        RecordError::Malformed(error) => error.kind,
        other => panic!("{other}"),
    };
    assert_eq!(
        kind(decode(&[1, 2, 5])),
        DecodeErrorKind::UnsupportedVersion { version: 5, min: 0, max: 0 }
    );
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(kind(decode(&longer)), DecodeErrorKind::TrailingBytes { left: 1 });
}

#[test]
fn coordinator_keys_carry_their_type_and_values_their_version() {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
    let bytes = log_record::encode_key(&key).unwrap();
    assert_eq!(bytes[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
    assert_eq!(log_record::key_type(&bytes), Ok(1));
    let decoded = ConsumerOffsetsKey::decode(bytes.clone()).unwrap();
    assert_eq!(decoded.encode().unwrap(), bytes);
    assert_eq!(decoded, ConsumerOffsetsKey::OffsetCommit(key));

    let value = OffsetCommitValue { offset: 10, metadata: "m".into(), ..Default::default() };
    let bytes = log_record::encode_value(&value, 3).unwrap();
    assert_eq!(bytes[..2], [0, 3]);
    assert_eq!(log_record::decode_value(bytes.clone()), Ok((value.clone(), 3)));
    assert_eq!(
        ConsumerOffsetsValue::decode(1, bytes),
        Ok((ConsumerOffsetsValue::OffsetCommit(value), 3))
    );

    let unknown = Bytes::from_static(&[0, 99, 0]);
    assert_eq!(log_record::key_type(&unknown), Ok(99));
    let error = ConsumerOffsetsKey::decode(unknown).unwrap_err();
    assert_eq!(error, RecordError::UnknownType { record_type: 99 });

    let key = TransactionLogKey { transactional_id: "x".into() };
    let bytes = log_record::encode_key(&key).unwrap();
    assert_eq!(TransactionStateKey::decode(bytes), Ok(TransactionStateKey::TransactionLog(key)));
}
