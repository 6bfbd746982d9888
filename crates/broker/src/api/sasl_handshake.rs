//! SaslHandshake (KIP-43) on a listener without SASL, where it is out of place.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The SaslHandshake API.
pub(super) struct SaslHandshake;

impl Handler for SaslHandshake {
    type Request = SaslHandshakeRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Open;

    fn handle(_: &Context<'_>, _: SaslHandshakeRequest) -> Reply<SaslHandshakeResponse> {
        Reply::Now(SaslHandshakeResponse {
            error_code: ErrorCode::IllegalSaslState.code(),
            ..SaslHandshakeResponse::default()
        })
    }
}
