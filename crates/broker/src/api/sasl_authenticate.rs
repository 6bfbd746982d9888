//! SaslAuthenticate (KIP-152) on a listener without SASL, where it is out of place.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The SaslAuthenticate API.
pub(super) struct SaslAuthenticate;

impl Handler for SaslAuthenticate {
    type Request = SaslAuthenticateRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Open;

    fn handle(_: &Context<'_>, _: SaslAuthenticateRequest) -> Reply<SaslAuthenticateResponse> {
        let message = "this listener does not use SASL; the connection needs no authentication";
        Reply::Now(SaslAuthenticateResponse {
            error_code: ErrorCode::IllegalSaslState.code(),
            error_message: Some(message.into()),
            ..SaslAuthenticateResponse::default()
        })
    }
}
