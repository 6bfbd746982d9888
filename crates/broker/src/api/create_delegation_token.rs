//! CreateDelegationToken (KIP-48). Tokens are given only over authenticated connections, and there
//! are none yet.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The CreateDelegationToken API.
pub(super) struct CreateDelegationToken;

impl Handler for CreateDelegationToken {
    type Request = CreateDelegationTokenRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;
    const RULE: Rule = Rule::Open;

    fn handle(
        ctx: &Context<'_>,
        request: CreateDelegationTokenRequest,
    ) -> Reply<CreateDelegationTokenResponse> {
        let (kind, name) = ("User", "ANONYMOUS");
        // An empty owner stands for the requester (KIP-373).
        let owner = match (request.owner_principal_type, request.owner_principal_name) {
            (Some(kind), Some(name)) if !name.is_empty() => (kind, name),
            _ => (kind.into(), name.into()),
        };
        // Who asked is told from version 3 on (KIP-373).
        let requester = if ctx.version() >= 3 { (kind, name) } else { ("", "") };
        Reply::Now(CreateDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
            principal_type: owner.0,
            principal_name: owner.1,
            token_requester_principal_type: requester.0.into(),
            token_requester_principal_name: requester.1.into(),
            issue_timestamp_ms: -1,
            expiry_timestamp_ms: -1,
            max_timestamp_ms: -1,
            ..CreateDelegationTokenResponse::default()
        })
    }
}
