//! RenewDelegationToken (KIP-48). Tokens are for authenticated connections, and there are none yet.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The RenewDelegationToken API.
pub(super) struct RenewDelegationToken;

impl Handler for RenewDelegationToken {
    type Request = RenewDelegationTokenRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=2;
    const RULE: Rule = Rule::Open;

    fn handle(
        _: &Context<'_>,
        _: RenewDelegationTokenRequest,
    ) -> Reply<RenewDelegationTokenResponse> {
        Reply::Now(RenewDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
            expiry_timestamp_ms: -1,
            ..RenewDelegationTokenResponse::default()
        })
    }
}
