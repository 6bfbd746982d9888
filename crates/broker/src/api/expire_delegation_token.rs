//! ExpireDelegationToken (KIP-48). Tokens are for authenticated connections, and there are none yet.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The ExpireDelegationToken API.
pub(super) struct ExpireDelegationToken;

impl Handler for ExpireDelegationToken {
    type Request = ExpireDelegationTokenRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=2;
    const RULE: Rule = Rule::Open;

    fn handle(
        _: &Context<'_>,
        _: ExpireDelegationTokenRequest,
    ) -> Reply<ExpireDelegationTokenResponse> {
        Reply::Now(ExpireDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
            expiry_timestamp_ms: -1,
            ..ExpireDelegationTokenResponse::default()
        })
    }
}
