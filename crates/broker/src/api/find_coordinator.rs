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
            error_message: first.error_message,
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
        SHARE => refused(key, ErrorCode::InvalidRequest, None),
        _ => {
            let message = "coordinator types are 0 (group) and 1 (transaction)";
            refused(key, ErrorCode::InvalidRequest, Some(message))
        }
    }
}

/// The coordinator that stores `key` in a topic, which is created for the first one who asks.
fn coordinator(ctx: &Context<'_>, key: ByteString, topic: &'static str) -> Coordinator {
    if ctx.image.topic(topic).is_some() {
        return this_node(ctx, key);
    }
    ctx.broker.create_automatically(ctx, vec![topic.into()]);
    refused(key, ErrorCode::CoordinatorNotAvailable, None)
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

fn refused(key: ByteString, error: ErrorCode, message: Option<&'static str>) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: message.map(ByteString::from_static),
        ..Coordinator::default()
    }
}
