//! UpdateFeatures (KIP-584, 778): finalized feature levels.

use ottla_protocol::messages::update_features_response::UpdatableFeatureResult;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The UpdateFeatures API.
pub(super) struct UpdateFeatures;

impl Handler for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(ctx: &Context<'_>, request: UpdateFeaturesRequest) -> Reply<UpdateFeaturesResponse> {
        let names: Vec<_> =
            request.feature_updates.iter().map(|update| update.feature.clone()).collect();
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, move |error| UpdateFeaturesResponse {
            error_code: error.code(),
            results: names
                .into_iter()
                .map(|feature| UpdatableFeatureResult {
                    feature,
                    error_code: error.code(),
                    ..UpdatableFeatureResult::default()
                })
                .collect(),
            ..UpdateFeaturesResponse::default()
        })
    }
}
