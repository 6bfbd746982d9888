//! DescribeDelegationToken (KIP-48). Tokens are for authenticated connections, and there are none yet.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The DescribeDelegationToken API.
pub(super) struct DescribeDelegationToken;

impl Handler for DescribeDelegationToken {
    type Request = DescribeDelegationTokenRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;
    const RULE: Rule = Rule::Open;

    fn handle(
        _: &Context<'_>,
        _: DescribeDelegationTokenRequest,
    ) -> Reply<DescribeDelegationTokenResponse> {
        Reply::Now(DescribeDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
            ..DescribeDelegationTokenResponse::default()
        })
    }
}
