//! The API table: one row per API, one file per row.
//!
//! The router, the ApiVersions answer, metrics, the request log and `docs/reference/apis.md` derive
//! from [`TABLE`]. To add an API: write `api/<name>.rs` with a type that implements [`Handler`], and
//! add its line to the table.

use std::ops::RangeInclusive;

use ottla_protocol::ApiKey;
use ottla_protocol::codec::{DecodeError, Decoder, Message, Request};
use ottla_protocol::frame;
use ottla_protocol::ids::Monotonic;

use crate::connection::{Part, Response};
use crate::context::Context;
use crate::listener::ListenerKind;

mod acls;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod add_raft_voter;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
mod api_versions;
mod assign_replicas_to_dirs;
mod begin_quorum_epoch;
mod broker_heartbeat;
mod broker_registration;
mod config_resource;
mod controller_registration;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_quorum_epoch;
mod end_txn;
mod envelope;
mod expire_delegation_token;
mod fetch;
mod fetch_metadata;
mod fetch_snapshot;
mod find_coordinator;
mod forward;
mod gather;
mod get_telemetry_subscriptions;
mod group;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod operations;
mod produce;
mod produce_txn;
mod push_telemetry;
mod raft;
pub mod reference;
mod remove_raft_voter;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod transaction;
mod txn_offset_commit;
mod unregister_broker;
mod unregister_controller;
mod update_features;
mod update_raft_voter;
mod verify;
mod vote;
mod write_txn_markers;

/// One API: its request type, the versions that work, who may call it, and what it does.
pub trait Handler: 'static {
    /// The request; its type names the API key and the response.
    type Request: Request;
    /// The versions that are accepted.
    const VERSIONS: RangeInclusive<i16>;
    /// Who may call it.
    const RULE: Rule;

    /// Answers a request, or says what it waits for. Must not block.
    fn handle(ctx: &Context<'_>, request: Self::Request) -> Reply<ResponseOf<Self>>;
}

/// The response type of a handler.
pub type ResponseOf<H> = <<H as Handler>::Request as Request>::Response;

/// What a handler says.
pub enum Reply<R> {
    /// The answer.
    Now(R),
    /// Nothing is ever answered (Produce with acks=0).
    Silent,
    /// The connection is closed without an answer, for the reason given.
    Close(String),
    /// Not yet.
    Wait(Box<dyn Wait<R>>),
}

impl<R> Reply<R> {
    /// Waits.
    pub fn wait(wait: impl Wait<R> + 'static) -> Self {
        Self::Wait(Box::new(wait))
    }
}

/// A request that waits for something.
pub trait Wait<R>: Send {
    /// Registers `ctx.waiter` with everything that may satisfy the request, then looks whether it
    /// is satisfied, and gives the answer if so. Polled once when it is parked, after each wake and
    /// at the deadline, when `expired` is true and an answer must be given.
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<R>;

    /// When to give up, or, if the request waits in steps, when to look again. Asked anew after each
    /// poll.
    fn deadline(&self) -> Monotonic;

    /// Whether no request may start behind this one for now, not even a pipelined one: its effect
    /// is not there yet.
    fn holds_others(&self) -> bool {
        false
    }

    /// How the answer goes out, once [`Wait::poll`] gave it.
    fn reply(&self, response: R) -> Reply<R> {
        Reply::Now(response)
    }
}

/// The operation that an authorizer is asked about (the ACL operations of KIP-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the ACL operations themselves")]
pub enum Operation {
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
}

/// Who may call an API. Every row has one, also while no authorizer is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Everybody: it tells nothing about the cluster's content.
    Open,
    /// The operation on the cluster.
    Cluster(Operation),
    /// The operation on each topic named in the request.
    EachTopic(Operation),
    /// The operation on the group of the request, and Read or Describe on its topics.
    Group(Operation),
    /// The operation on the transactional id of the request. Topics and groups in it have their own.
    TransactionalId(Operation),
    /// Write on the transactional id of the request, or, without one, IdempotentWrite on the cluster.
    Producer,
    /// The operation on each resource of any type named in the request.
    EachResource(Operation),
    /// What the principal may not describe is left out of the answer.
    FilterEach(Operation),
}

/// Which client quota an API is under, besides that on time in handlers (KIP-13, 124, 599).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// None besides.
    Request,
    /// `producer_byte_rate`, by the size of the request.
    Produce,
    /// `consumer_byte_rate`, by the size of the response, unless a replica fetches.
    Fetch,
    /// `controller_mutation_rate`, by the partitions created and deleted.
    Mutation {
        /// From this version on what exceeds the quota is refused; before it is let pass, and the
        /// connection pauses.
        strict_from: i16,
    },
    /// None at all: nodes of the cluster ask.
    Exempt,
}

/// A row of the table. Everything that differs between APIs and is not their handler is here.
pub struct Row {
    /// The API key.
    pub key: ApiKey,
    /// The versions that are accepted.
    pub versions: RangeInclusive<i16>,
    /// The lowest version that ApiVersions shows, where it is lower than what is accepted.
    pub advertised_min: i16,
    /// Whether ApiVersions lists it. One that is not listed answers a client that asks all the same.
    pub advertised: bool,
    /// Who may call it.
    pub rule: Rule,
    /// Whether it may start behind parked requests that are pipelined too.
    pub pipelined: bool,
    /// The client quotas it is under.
    pub throttle: Throttle,
    /// Whether a broker may hand a client's request on to the controller (in an Envelope).
    pub forwarded: bool,
    /// Decodes, handles and encodes one request.
    pub(crate) run: fn(&Context<'_>, Decoder) -> Result<ErasedReply, DecodeError>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Row {
    /// Kafka's name of the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.name()
    }

    const fn of<H: Handler>() -> Self {
        Self {
            key: <H::Request as Request>::KEY,
            versions: H::VERSIONS,
            advertised_min: *H::VERSIONS.start(),
            advertised: true,
            rule: H::RULE,
            pipelined: false,
            throttle: Throttle::Request,
            forwarded: false,
            run: run::<H>,
        }
    }

    const fn throttled(mut self, throttle: Throttle) -> Self {
        self.throttle = throttle;
        self
    }

    /// What it creates or deletes counts as partitions; versions from this on are refused.
    const fn mutates(self, strict_from: i16) -> Self {
        self.throttled(Throttle::Mutation { strict_from })
    }

    /// Whether listeners of this kind serve it: the schema of the request says so.
    #[must_use]
    pub fn is_served_on(&self, kind: ListenerKind) -> bool {
        match kind {
            ListenerKind::Broker => self.key.on_broker(),
            ListenerKind::Controller => self.key.on_controller(),
        }
    }

    /// Nodes of the cluster ask.
    const fn of_cluster(self) -> Self {
        self.throttled(Throttle::Exempt)
    }

    const fn forwarded(mut self) -> Self {
        self.forwarded = true;
        self
    }

    const fn pipelined(mut self) -> Self {
        self.pipelined = true;
        self
    }

    const fn hidden(mut self) -> Self {
        self.advertised = false;
        self
    }

    const fn advertised_from(mut self, version: i16) -> Self {
        self.advertised_min = version;
        self
    }
}

/// Every API that works, by key.
pub static TABLE: &[Row] = &[
    // Shown from version 0 although 3 is the lowest: librdkafka before 2.10 gives up otherwise.
    Row::of::<produce::Produce>().pipelined().advertised_from(0).throttled(Throttle::Produce),
    Row::of::<fetch::Fetch>().throttled(Throttle::Fetch),
    Row::of::<list_offsets::ListOffsets>(),
    // Topics that are created because they are asked for count too.
    Row::of::<metadata::Metadata>().mutates(0),
    Row::of::<offset_commit::OffsetCommit>(),
    Row::of::<offset_fetch::OffsetFetch>(),
    Row::of::<find_coordinator::FindCoordinator>(),
    Row::of::<join_group::JoinGroup>(),
    Row::of::<heartbeat::Heartbeat>(),
    Row::of::<leave_group::LeaveGroup>(),
    Row::of::<sync_group::SyncGroup>(),
    Row::of::<describe_groups::DescribeGroups>(),
    Row::of::<list_groups::ListGroups>(),
    Row::of::<sasl_handshake::SaslHandshake>(),
    Row::of::<api_versions::ApiVersions>(),
    Row::of::<create_topics::CreateTopics>().forwarded().mutates(6),
    Row::of::<delete_topics::DeleteTopics>().forwarded().mutates(5),
    Row::of::<delete_records::DeleteRecords>(),
    Row::of::<init_producer_id::InitProducerId>(),
    Row::of::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    Row::of::<add_partitions_to_txn::AddPartitionsToTxn>(),
    Row::of::<add_offsets_to_txn::AddOffsetsToTxn>(),
    Row::of::<end_txn::EndTxn>(),
    Row::of::<write_txn_markers::WriteTxnMarkers>().of_cluster(),
    Row::of::<txn_offset_commit::TxnOffsetCommit>(),
    Row::of::<describe_acls::DescribeAcls>(),
    Row::of::<create_acls::CreateAcls>().forwarded(),
    Row::of::<delete_acls::DeleteAcls>().forwarded(),
    Row::of::<describe_configs::DescribeConfigs>(),
    Row::of::<alter_configs::AlterConfigs>().forwarded(),
    Row::of::<alter_replica_log_dirs::AlterReplicaLogDirs>(),
    Row::of::<describe_log_dirs::DescribeLogDirs>(),
    Row::of::<sasl_authenticate::SaslAuthenticate>(),
    Row::of::<create_partitions::CreatePartitions>().forwarded().mutates(3),
    Row::of::<create_delegation_token::CreateDelegationToken>().forwarded(),
    Row::of::<renew_delegation_token::RenewDelegationToken>().forwarded(),
    Row::of::<expire_delegation_token::ExpireDelegationToken>().forwarded(),
    Row::of::<describe_delegation_token::DescribeDelegationToken>(),
    Row::of::<delete_groups::DeleteGroups>(),
    Row::of::<elect_leaders::ElectLeaders>().forwarded(),
    Row::of::<incremental_alter_configs::IncrementalAlterConfigs>().forwarded(),
    Row::of::<alter_partition_reassignments::AlterPartitionReassignments>().forwarded(),
    Row::of::<list_partition_reassignments::ListPartitionReassignments>().forwarded(),
    Row::of::<offset_delete::OffsetDelete>(),
    Row::of::<describe_client_quotas::DescribeClientQuotas>(),
    Row::of::<alter_client_quotas::AlterClientQuotas>().forwarded(),
    Row::of::<describe_user_scram_credentials::DescribeUserScramCredentials>(),
    Row::of::<alter_user_scram_credentials::AlterUserScramCredentials>().forwarded(),
    Row::of::<vote::Vote>().of_cluster(),
    Row::of::<begin_quorum_epoch::BeginQuorumEpoch>().of_cluster(),
    Row::of::<end_quorum_epoch::EndQuorumEpoch>().of_cluster(),
    Row::of::<describe_quorum::DescribeQuorum>().forwarded(),
    Row::of::<alter_partition::AlterPartition>().of_cluster(),
    Row::of::<update_features::UpdateFeatures>().forwarded(),
    Row::of::<envelope::Envelope>().of_cluster(),
    Row::of::<fetch_snapshot::FetchSnapshot>().of_cluster(),
    Row::of::<describe_cluster::DescribeCluster>(),
    Row::of::<describe_producers::DescribeProducers>(),
    Row::of::<broker_registration::BrokerRegistration>().of_cluster(),
    Row::of::<broker_heartbeat::BrokerHeartbeat>().of_cluster(),
    Row::of::<unregister_broker::UnregisterBroker>().forwarded(),
    Row::of::<describe_transactions::DescribeTransactions>(),
    Row::of::<list_transactions::ListTransactions>(),
    Row::of::<allocate_producer_ids::AllocateProducerIds>().of_cluster().forwarded(),
    Row::of::<controller_registration::ControllerRegistration>().of_cluster(),
    Row::of::<get_telemetry_subscriptions::GetTelemetrySubscriptions>(),
    Row::of::<push_telemetry::PushTelemetry>(),
    Row::of::<assign_replicas_to_dirs::AssignReplicasToDirs>().of_cluster(),
    Row::of::<list_config_resources::ListConfigResources>(),
    Row::of::<describe_topic_partitions::DescribeTopicPartitions>(),
    Row::of::<add_raft_voter::AddRaftVoter>().forwarded().hidden(),
    Row::of::<remove_raft_voter::RemoveRaftVoter>().forwarded(),
    Row::of::<update_raft_voter::UpdateRaftVoter>().of_cluster(),
    Row::of::<unregister_controller::UnregisterController>().forwarded(),
];

/// The row of an API key, if the API is served.
#[must_use]
pub fn row(key: i16) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key.key() == key)
}

pub(crate) enum ErasedReply {
    Ready(Response),
    Silent,
    Close(String),
    Wait(Box<dyn ErasedWait>),
}

pub(crate) trait ErasedWait: Send {
    /// The answer, which has no parts if nothing is to be sent.
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Result<Option<Response>, String>;
    fn deadline(&self) -> Monotonic;
    fn holds_others(&self) -> bool;
}

struct Erased<R>(Box<dyn Wait<R>>);

impl<R: Message> ErasedWait for Erased<R> {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Result<Option<Response>, String> {
        loop {
            let Some(response) = self.0.poll(ctx, expired) else { return Ok(None) };
            match self.0.reply(response) {
                Reply::Now(mut response) => {
                    ctx.count_answer(&mut response);
                    return encode(ctx, &response).map(Some);
                }
                Reply::Silent => return Ok(Some(Response::default())),
                Reply::Close(reason) => return Err(reason),
                Reply::Wait(wait) => self.0 = wait,
            }
        }
    }

    fn deadline(&self) -> Monotonic {
        self.0.deadline()
    }

    fn holds_others(&self) -> bool {
        self.0.holds_others()
    }
}

fn run<H: Handler>(ctx: &Context<'_>, mut body: Decoder) -> Result<ErasedReply, DecodeError> {
    let request = H::Request::decode(&mut body, ctx.version())?;
    Ok(match H::handle(ctx, request) {
        Reply::Now(mut response) => {
            ctx.count_answer(&mut response);
            encode(ctx, &response).map_or_else(ErasedReply::Close, ErasedReply::Ready)
        }
        Reply::Silent => ErasedReply::Silent,
        Reply::Close(reason) => ErasedReply::Close(reason),
        Reply::Wait(wait) => ErasedReply::Wait(Box::new(Erased(wait))),
    })
}

/// The answer to a version that is not supported. Only ApiVersions gives one.
pub(crate) fn unsupported_version(ctx: &Context<'_>) -> ErasedReply {
    let response = api_versions::unsupported(ctx.request.row);
    encode(ctx, &response).map_or_else(ErasedReply::Close, ErasedReply::Ready)
}

/// Encodes a response into its frame, with the attached log slices in their places.
pub(crate) fn encode<R: Message>(ctx: &Context<'_>, response: &R) -> Result<Response, String> {
    let request = ctx.request;
    let encoded =
        frame::encode_response(request.row.key, request.version, request.correlation_id, response)
            .map_err(|error| {
                let name = request.row.name();
                tracing::error!(
                    "the answer to {name} v{} cannot be encoded: {error}",
                    request.version
                );
                format!("the answer cannot be encoded: {error}")
            })?;
    let mut slices: Vec<Option<_>> = ctx.take_slices().into_iter().map(Some).collect();
    let mut parts = Vec::with_capacity(encoded.splices.len() * 2 + 1);
    let mut bytes = encoded.bytes;
    let mut done = 0;
    for splice in encoded.splices {
        let head = bytes.split_to(splice.position - done);
        done = splice.position;
        if !head.is_empty() {
            parts.push(Part::Bytes(head));
        }
        let slice = usize::try_from(splice.token).ok().and_then(|i| slices.get_mut(i)?.take());
        parts.push(Part::Slice(slice.ok_or("a log slice of the answer is missing")?));
    }
    if !bytes.is_empty() {
        parts.push(Part::Bytes(bytes));
    }
    Ok(Response { parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_unique_and_within_the_schemas() {
        assert!(TABLE.windows(2).all(|pair| pair[0].key.key() < pair[1].key.key()));
        for row in TABLE {
            let known = row.key.versions();
            assert!(
                known.contains(row.versions.start()) && known.contains(row.versions.end()),
                "{row:?}"
            );
        }
    }
}
