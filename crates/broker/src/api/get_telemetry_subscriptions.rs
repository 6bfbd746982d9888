//! GetTelemetrySubscriptions (KIP-714): which metrics a client is to push, and how often.

use ottla_config::keys;
use ottla_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Handler, Reply, Rule};
use crate::context::Context;

/// The GetTelemetrySubscriptions API.
pub(super) struct GetTelemetrySubscriptions;

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
        if id.is_zero() || id == Uuid::ONE {
            let (high, low) = (ctx.broker.env().random(), ctx.broker.env().random());
            id = Uuid::from_random(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        }
        let telemetry = &ctx.broker.telemetry;
        let subscription = telemetry.subscribe(id, &ctx.client_facts(), ctx.now.monotonic);
        Reply::Now(match subscription {
            Ok(subscription) => GetTelemetrySubscriptionsResponse {
                client_instance_id: id,
                subscription_id: subscription.id,
                accepted_compression_types: CODECS.to_vec(),
                push_interval_ms: subscription.interval_ms,
                telemetry_max_bytes: ctx.broker.config().get(keys::TELEMETRY_MAX_BYTES),
                delta_temporality: true,
                requested_metrics: subscription.metrics.iter().map(|m| m.as_str().into()).collect(),
                ..GetTelemetrySubscriptionsResponse::default()
            },
            Err(error) => refused(error),
        })
    }
}

fn refused(error: ErrorCode) -> GetTelemetrySubscriptionsResponse {
    GetTelemetrySubscriptionsResponse { error_code: error.code(), ..Default::default() }
}
