//! PushTelemetry (KIP-714): a client's metrics.

use ottla_config::keys;
use ottla_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

use super::{Handler, Reply, Rule};
use crate::context::Context;
use crate::telemetry::Push;

/// The PushTelemetry API.
pub(super) struct PushTelemetry;

impl Handler for PushTelemetry {
    type Request = PushTelemetryRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Open;

    fn handle(ctx: &Context<'_>, request: PushTelemetryRequest) -> Reply<PushTelemetryResponse> {
        let push = Push {
            client: request.client_instance_id,
            subscription_id: request.subscription_id,
            terminating: request.terminating,
            compression: request.compression_type,
            metrics: request.metrics,
        };
        let bytes_max = ctx.broker.config().get(keys::TELEMETRY_MAX_BYTES);
        let bounds = (usize::try_from(bytes_max).unwrap_or(0), ctx.now.monotonic);
        let pushed = ctx.broker.telemetry.push(&push, &ctx.client_facts(), bounds);
        let error_code = pushed.err().map_or(0, |error| error.code());
        Reply::Now(PushTelemetryResponse { error_code, ..PushTelemetryResponse::default() })
    }
}
