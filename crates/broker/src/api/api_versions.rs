//! ApiVersions (KIP-35, 511, 584, 1242): the APIs, their versions and the features.

use ottla_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::{ApiKey, ErrorCode};

use super::{Handler, Reply, Row, Rule, TABLE};
use crate::context::Context;

/// The ApiVersions API.
pub(super) struct ApiVersions;

impl Handler for ApiVersions {
    type Request = ApiVersionsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::Open;

    fn handle(ctx: &Context<'_>, request: ApiVersionsRequest) -> Reply<ApiVersionsResponse> {
        if let Err(error) = check(ctx, &request) {
            return Reply::Now(ApiVersionsResponse {
                error_code: error.code(),
                ..Default::default()
            });
        }
        if ctx.version() >= 3 {
            let (name, version) = (&request.client_software_name, &request.client_software_version);
            ctx.connection.software.set(name, version);
        }
        Reply::Now(answer(ctx))
    }
}

/// The answer to a version that is not supported, in the layout of version 0: only ApiVersions
/// itself, so that the client can ask again.
pub(crate) fn unsupported(row: &Row) -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![api(row)],
        ..ApiVersionsResponse::default()
    }
}

fn check(ctx: &Context<'_>, request: &ApiVersionsRequest) -> Result<(), ErrorCode> {
    if ctx.version() >= 3 {
        let valid = |text: &str| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = text.as_bytes();
            bytes.iter().all(|&byte| inner(byte)) && edge(bytes.first()) && edge(bytes.last())
        };
        if !valid(&request.client_software_name) || !valid(&request.client_software_version) {
            return Err(ErrorCode::InvalidRequest);
        }
    }
    // KIP-1242: a client that came for another cluster or node must look the cluster up again.
    match &request.cluster_id {
        None if request.node_id == -1 => Ok(()),
        Some(cluster) if request.node_id != -1 => {
            let here =
                **cluster == *ctx.broker.cluster_id() && request.node_id == ctx.broker.node_id().0;
            if here { Ok(()) } else { Err(ErrorCode::RebootstrapRequired) }
        }
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn api(row: &Row) -> ApiVersion {
    ApiVersion {
        api_key: row.key.key(),
        min_version: row.advertised_min,
        max_version: *row.versions.end(),
        ..ApiVersion::default()
    }
}

const fn is_telemetry(key: ApiKey) -> bool {
    matches!(key, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry)
}

fn answer(ctx: &Context<'_>) -> ApiVersionsResponse {
    let supported = ottla_metadata::features::FEATURES.iter();
    // Before version 4, clients refuse features whose lowest level is 0 (KAFKA-17011).
    let shown = supported.filter(|feature| ctx.version() >= 4 || feature.min > 0);
    let supported_features = shown.map(|feature| SupportedFeatureKey {
        name: feature.name.into(),
        min_version: feature.min,
        max_version: feature.max,
        ..SupportedFeatureKey::default()
    });
    let finalized = ctx.broker.finalized_features(&ctx.image);
    let finalized_features = finalized.into_iter().map(|(name, level)| FinalizedFeatureKey {
        name: name.into(),
        max_version_level: level,
        min_version_level: level,
        ..FinalizedFeatureKey::default()
    });
    let kind = ctx.connection.listener.kind;
    let telemetry = ctx.broker.telemetry.is_wanted();
    let here = TABLE.iter().filter(|row| {
        row.advertised && row.is_served_on(kind) && (telemetry || !is_telemetry(row.key))
    });
    ApiVersionsResponse {
        api_keys: here.map(api).collect(),
        supported_features: supported_features.collect(),
        finalized_features_epoch: ctx.image.provenance().offset.0,
        finalized_features: finalized_features.collect(),
        ..ApiVersionsResponse::default()
    }
}
