//! Against the crate `kafka-protocol`, a codec that shares no line with ours: it must read what the
//! vectors hold and write the same bytes. It is fed valid bytes only, because it reserves memory for
//! whatever length is claimed.

#[allow(dead_code, reason = "shared by several test binaries")]
mod support;

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message, VersionRange};

/// The crate takes their field `Version` for the version to decode by.
const MISREAD: [&str; 2] = ["LeaderChangeMessage", "VotersRecord"];

struct Other {
    name: &'static str,
    versions: VersionRange,
    round_trip: fn(Bytes, i16) -> Option<Bytes>,
}

fn round_trip<M: Decodable + Encodable>(mut bytes: Bytes, version: i16) -> Option<Bytes> {
    let message = M::decode(&mut bytes, version).ok()?;
    let mut out = BytesMut::new();
    message.encode(&mut out, version).ok()?;
    bytes.is_empty().then(|| out.freeze())
}

macro_rules! others {
    ($($name:ident,)*) => {
        &[$(Other { name: stringify!($name), versions: <$name>::VERSIONS, round_trip: round_trip::<$name> },)*]
    };
}

#[rustfmt::skip]
const OTHERS: &[Other] = others! {
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, AddRaftVoterRequest, AddRaftVoterResponse,
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterClientQuotasRequest,
    AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    AlterPartitionRequest, AlterPartitionResponse, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse, AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse,
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ApiVersionsRequest,
    ApiVersionsResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreateAclsRequest,
    CreateAclsResponse, CreateDelegationTokenRequest, CreateDelegationTokenResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DefaultPrincipalData, DeleteAclsRequest, DeleteAclsResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse, DeleteShareGroupStateRequest,
    DeleteShareGroupStateResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeAclsRequest,
    DescribeAclsResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeQuorumRequest, DescribeQuorumResponse, DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    ElectLeadersRequest, ElectLeadersResponse, EndQuorumEpochRequest, EndQuorumEpochResponse,
    EndTxnMarker, EndTxnRequest, EndTxnResponse, EnvelopeRequest, EnvelopeResponse,
    ExpireDelegationTokenRequest, ExpireDelegationTokenResponse, FetchRequest, FetchResponse,
    FetchSnapshotRequest, FetchSnapshotResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, HeartbeatRequest,
    HeartbeatResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    InitProducerIdRequest, InitProducerIdResponse, InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse, JoinGroupRequest, JoinGroupResponse, KRaftVersionRecord,
    LeaderChangeMessage, LeaveGroupRequest, LeaveGroupResponse, ListConfigResourcesRequest,
    ListConfigResourcesResponse, ListGroupsRequest, ListGroupsResponse, ListOffsetsRequest,
    ListOffsetsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    ListTransactionsRequest, ListTransactionsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, PushTelemetryRequest,
    PushTelemetryResponse, ReadShareGroupStateRequest, ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse, RemoveRaftVoterRequest,
    RemoveRaftVoterResponse, RenewDelegationTokenRequest, RenewDelegationTokenResponse,
    RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse, ShareAcknowledgeRequest,
    ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse, ShareGroupDescribeRequest,
    ShareGroupDescribeResponse, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
    SnapshotFooterRecord, SnapshotHeaderRecord, SyncGroupRequest, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
    UpdateRaftVoterRequest, UpdateRaftVoterResponse, VoteRequest, VoteResponse, VotersRecord,
    WriteShareGroupStateRequest, WriteShareGroupStateResponse, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};

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
