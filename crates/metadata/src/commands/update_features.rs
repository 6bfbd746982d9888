//! UpdateFeatures: finalized feature levels.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::update_features_response::UpdatableFeatureResult;
use ottla_protocol::messages::{FeatureLevelRecord, UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::{Env, Run};
use crate::command::ApiError;
use crate::features::{self, ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use crate::image::ConfigResource;
use crate::image::convert::text;
use crate::record::VersionedRecord;

/// Upgrade types of the request (KIP-778).
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

impl Run for UpdateFeaturesRequest {
    type Response = UpdateFeaturesResponse;

    /// All or nothing: the first refusal is the answer. Versions before 2 also have a result for
    /// each feature, which is encoded only there.
    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, UpdateFeaturesResponse) {
        let mut names = BTreeSet::new();
        let mut records = Vec::new();
        let mut refused = None;
        for update in &self.feature_updates {
            if !names.insert(&*update.feature) {
                let message =
                    format!("the request names the feature {:?} more than once", &*update.feature);
                refused = Some(ApiError::new(ErrorCode::InvalidRequest, message));
                break;
            }
            match apply(env, update) {
                Ok(mut applied) => records.append(&mut applied),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if self.validate_only || refused.is_some() {
            records.clear();
        }
        let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
            feature: update.feature.clone(),
            error_code: refused.as_ref().map_or(0, |error| error.code.code()),
            error_message: refused.as_ref().and_then(ApiError::text),
            ..Default::default()
        };
        let response = UpdateFeaturesResponse {
            error_code: refused.as_ref().map_or(0, |error| error.code.code()),
            error_message: refused.as_ref().and_then(ApiError::text),
            results: self.feature_updates.iter().map(result).collect(),
            ..Default::default()
        };
        (records, response)
    }
}

fn apply(env: &Env<'_, '_>, update: &FeatureUpdateKey) -> Result<Vec<VersionedRecord>, ApiError> {
    let invalid = |message: String| Err(ApiError::new(ErrorCode::InvalidUpdateVersion, message));
    let (name, level) = (&*update.feature, update.max_version_level);
    let upgrade_type = match (update.upgrade_type, update.allow_downgrade) {
        (0 | UPGRADE, true) => SAFE_DOWNGRADE, // Version 0 of the request has only the flag.
        (kind, _) => kind,
    };
    if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&upgrade_type) {
        let message = format!("upgrade type {upgrade_type} is not defined");
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let Some(feature) = features::find(name) else {
        return invalid(format!("the feature {name:?} is not known"));
    };
    let lowest = if name == METADATA_VERSION { feature.min } else { 0 };
    if level < lowest || level > feature.max {
        return invalid(format!(
            "{name} can be set to levels {lowest} to {}, not {level}",
            feature.max
        ));
    }
    let current = match name {
        KRAFT_VERSION => env.config.kraft_version,
        METADATA_VERSION => env.image.metadata_version().0,
        _ => env.image.feature(name),
    };
    if level == current {
        return Ok(Vec::new());
    }
    if name == KRAFT_VERSION {
        return invalid(format!("kraft.version is {current} and cannot be changed to {level} yet"));
    }
    if level < current && upgrade_type == UPGRADE {
        return invalid(format!(
            "{name} is {current}; {level} would be a downgrade, which was not asked for"
        ));
    }
    if level > current && upgrade_type != UPGRADE {
        return invalid(format!(
            "{name} is {current}; {level} would be an upgrade, a downgrade was asked for"
        ));
    }
    if level < current && name == METADATA_VERSION {
        return invalid(format!(
            "metadata.version {current} cannot be lowered to {level}: records would be lost"
        ));
    }
    all_nodes_can(env, name, level)?;
    let record =
        FeatureLevelRecord { name: text(name), feature_level: level, ..Default::default() };
    let mut records = vec![VersionedRecord::v0(record)];
    if name == ELR_VERSION && level > 0 {
        records.append(&mut enable_elr(env)?);
    }
    Ok(records)
}

/// Every registered node must be able to do a level; a feature that is not listed is at 0 there.
fn all_nodes_can(env: &Env<'_, '_>, name: &str, level: i16) -> Result<(), ApiError> {
    let brokers = env.image.brokers().map(|broker| ("broker", broker.id, &broker.features));
    let controllers = env.image.controllers().map(|node| ("controller", node.id, &node.features));
    for (role, id, supported) in brokers.chain(controllers) {
        let (min, max) = supported.get(name).map_or((0, 0), |range| (range.min, range.max));
        if !(min..=max).contains(&level) && level > 0 {
            let message = format!("{role} {id} supports {name} from {min} to {max}, not {level}");
            return Err(ApiError::new(ErrorCode::InvalidUpdateVersion, message));
        }
    }
    Ok(())
}

/// With ELR the election rules read min.insync.replicas from the log: the cluster's value is written
/// and those of single brokers are removed (KIP-966).
fn enable_elr(env: &Env<'_, '_>) -> Result<Vec<VersionedRecord>, ApiError> {
    const KEY: &str = "min.insync.replicas";
    let version: MetadataVersion = env.image.metadata_version();
    if !version.has_elr() {
        let message =
            format!("{ELR_VERSION} needs metadata.version 23 (4.0-IV1), it is {}", version.0);
        return Err(ApiError::new(ErrorCode::InvalidUpdateVersion, message));
    }
    let mut records = Vec::new();
    let cluster = ConfigResource::default_broker();
    if env.image.config_value(&cluster, KEY).is_none() {
        let value = env.config.min_insync_replicas.to_string();
        records.push(cluster.to_record(KEY, Some(&value)));
    }
    let of_one_broker = |resource: &&ConfigResource| {
        resource.kind == ConfigResource::BROKER && !resource.name.is_empty()
    };
    let with_value =
        env.image.configs().filter(|(_, map)| map.contains_key(KEY)).map(|(resource, _)| resource);
    records.extend(with_value.filter(of_one_broker).map(|resource| resource.to_record(KEY, None)));
    Ok(records)
}
