//! GetTelemetrySubscriptions (KIP-714). Answered, not advertised: nobody here takes client metrics, so
//! a client that asks all the same is told that none are wanted.

use ottla_config::keys;
use ottla_protocol::Uuid;
use ottla_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The GetTelemetrySubscriptions API.
pub(super) struct GetTelemetrySubscriptions;

/// How long a client waits before it asks again, in milliseconds: the default of `interval.ms`.
const PUSH_INTERVAL_MS: i32 = 300_000;

/// Codec ids, best first: zstd, lz4, gzip, snappy.
const CODECS: [i8; 4] = [4, 3, 1, 2];

impl Handler for GetTelemetrySubscriptions {
    type Request = GetTelemetrySubscriptionsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Open;

    fn handle(
        ctx: &Context<'_>,
        request: GetTelemetrySubscriptionsRequest,
    ) -> Reply<GetTelemetrySubscriptionsResponse> {
        let mut id = request.client_instance_id;
        if id.is_zero() {
            let (high, low) = (ctx.broker.env().random(), ctx.broker.env().random());
            id = Uuid::from_random(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        }
        Reply::Now(GetTelemetrySubscriptionsResponse {
            client_instance_id: id,
            accepted_compression_types: CODECS.to_vec(),
            push_interval_ms: PUSH_INTERVAL_MS,
            telemetry_max_bytes: ctx.broker.config().get(keys::TELEMETRY_MAX_BYTES),
            delta_temporality: true,
            ..GetTelemetrySubscriptionsResponse::default()
        })
    }
}
