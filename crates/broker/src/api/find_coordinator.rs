//! FindCoordinator (KIP-98, 699, 932): which broker coordinates a group or a transactional id.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;
use crate::groups::OFFSETS_TOPIC;
use crate::transactions::TRANSACTIONS_TOPIC;

/// The FindCoordinator API.
pub(super) struct FindCoordinator;

/// Key types.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

const TYPES: &str = "coordinator types are 0 (group) and 1 (transaction)";

/// The first version that asks for several keys (KIP-699).
const BATCHED: i16 = 4;

impl Handler for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=6;
    const RULE: Rule = Rule::Group(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: FindCoordinatorRequest,
    ) -> Reply<FindCoordinatorResponse> {
        let keys =
            if ctx.version() >= BATCHED { request.coordinator_keys } else { vec![request.key] };
        let found: Vec<_> = keys.into_iter().map(|key| find(ctx, request.key_type, key)).collect();
        if ctx.version() >= BATCHED {
            let response = FindCoordinatorResponse { coordinators: found, ..Default::default() };
            return Reply::Now(response);
        }
        let Some(first) = found.into_iter().next() else {
            return Reply::Now(FindCoordinatorResponse::default());
        };
        Reply::Now(FindCoordinatorResponse {
            error_code: first.error_code,
            error_message: Some(sentence(&first)),
            node_id: first.node_id,
            host: first.host,
            port: first.port,
            ..FindCoordinatorResponse::default()
        })
    }
}

fn find(ctx: &Context<'_>, key_type: i8, key: ByteString) -> Coordinator {
    match key_type {
        GROUP => coordinator(ctx, key, OFFSETS_TOPIC),
        TRANSACTION => coordinator(ctx, key, TRANSACTIONS_TOPIC),
        // Kafka says no sentence about the keys of share groups.
        SHARE => refused(key, ErrorCode::InvalidRequest, ""),
        _ => refused(key, ErrorCode::InvalidRequest, TYPES),
    }
}

/// Versions before batches always have a sentence, "NONE" for success.
fn sentence(found: &Coordinator) -> ByteString {
    match &found.error_message {
        Some(message) if !message.is_empty() => message.clone(),
        _ if found.error_code == ErrorCode::None.code() => ByteString::from_static("NONE"),
        _ if found.error_code == ErrorCode::CoordinatorNotAvailable.code() => {
            ByteString::from_static("the topic of the coordinator is being created; ask again")
        }
        _ => ByteString::from_static(TYPES),
    }
}

/// The coordinator that stores `key` in a topic, which is created for the first one who asks.
fn coordinator(ctx: &Context<'_>, key: ByteString, topic: &'static str) -> Coordinator {
    if ctx.image.topic(topic).is_some() {
        return this_node(ctx, key);
    }
    ctx.broker.create_automatically(ctx, vec![topic.into()]);
    refused(key, ErrorCode::CoordinatorNotAvailable, "")
}

fn this_node(ctx: &Context<'_>, key: ByteString) -> Coordinator {
    let endpoint = ctx.connection.listener.endpoint_for(ctx.connection.local.ip());
    Coordinator {
        key,
        node_id: ctx.broker.node_id().0,
        host: endpoint.host.into(),
        port: i32::from(endpoint.port),
        error_message: Some(ByteString::new()),
        ..Coordinator::default()
    }
}

fn refused(key: ByteString, error: ErrorCode, message: &'static str) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(ByteString::from_static(message)),
        ..Coordinator::default()
    }
}
