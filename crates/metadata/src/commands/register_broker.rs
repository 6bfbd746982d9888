//! BrokerRegistration: a broker's process starts.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ids::{BrokerId, Offset};
use ottla_protocol::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::shutdown::{Kind, partitions_without};
use super::{Env, Run};
use crate::features::KRAFT_VERSION;
use crate::image::{BrokerRegistration, Listener, VersionRange};
use crate::placement::RESERVED_DIRECTORIES;
use crate::record::VersionedRecord;

impl Run for BrokerRegistrationRequest {
    type Response = BrokerRegistrationResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, BrokerRegistrationResponse) {
        if let Err(code) = check(self, env) {
            let response = BrokerRegistrationResponse {
                error_code: code.code(),
                broker_epoch: -1,
                ..Default::default()
            };
            return (Vec::new(), response);
        }
        let id = BrokerId(self.broker_id);
        let known = env.image.broker(id);
        let mut records = Vec::new();
        let mut broker = registration(self, env.ctx.next_offset.0);
        match known {
            Some(known) if known.incarnation == self.incarnation_id => {
                broker.epoch = known.epoch;
                broker.fenced = known.fenced;
                broker.in_controlled_shutdown = known.in_controlled_shutdown;
            }
            Some(known) => {
                let clean = self.previous_broker_epoch == known.epoch;
                let kind = if clean { Kind::Clean } else { Kind::Unclean };
                records = partitions_without(env, id, kind);
            }
            None => {}
        }
        let version = env.image.metadata_version();
        let record =
            VersionedRecord::new(broker.to_record(version), version.register_broker_record());
        records.push(record);
        env.beats.touch(id, broker.epoch, env.ctx.now.monotonic, Offset::NONE);
        (records, BrokerRegistrationResponse { broker_epoch: broker.epoch, ..Default::default() })
    }
}

fn check(request: &BrokerRegistrationRequest, env: &Env<'_, '_>) -> Result<(), ErrorCode> {
    if *request.cluster_id != *env.config.cluster_id {
        return Err(ErrorCode::InconsistentClusterId);
    }
    if request.is_migrating_zk_broker {
        return Err(ErrorCode::BrokerIdNotRegistered);
    }
    let id = BrokerId(request.broker_id);
    if let Some(known) = env.image.broker(id) {
        // This node's own broker lives in this process: an incarnation that was not heard from since
        // the controller started is of an earlier process, and its session need not run out first.
        let dead = id == env.config.node_id && !env.beats.was_heard(id);
        let live = env.beats.is_live(id, env.ctx.now.monotonic, env.config.session_timeout);
        if live && !dead && known.is_active() && known.incarnation != request.incarnation_id {
            return Err(ErrorCode::DuplicateBrokerRegistration);
        }
    }
    if request.broker_id < 0 || request.features.is_empty() {
        return Err(ErrorCode::InvalidRegistration);
    }
    if env.image.metadata_version().has_directories() {
        check_directories(id, &request.log_dirs, env)?;
    }
    check_features(request, env)
}

/// Directory ids are unique in the cluster, and those below 100 have meanings.
fn check_directories(id: BrokerId, dirs: &[Uuid], env: &Env<'_, '_>) -> Result<(), ErrorCode> {
    let distinct: BTreeSet<&Uuid> = dirs.iter().collect();
    let reserved = |dir: &Uuid| u128::from_be_bytes(dir.0) < RESERVED_DIRECTORIES;
    let mut others = env.image.brokers().filter(|broker| broker.id != id);
    let taken = others.any(|broker| broker.log_dirs.iter().any(|dir| distinct.contains(dir)));
    if dirs.is_empty() || distinct.len() != dirs.len() || dirs.iter().any(reserved) || taken {
        return Err(ErrorCode::InvalidRegistration);
    }
    Ok(())
}

/// A broker must be able to do every finalized level. A feature that it does not list is at level 0.
fn check_features(request: &BrokerRegistrationRequest, env: &Env<'_, '_>) -> Result<(), ErrorCode> {
    let can = |name: &str, level: i16| {
        let listed = request.features.iter().find(|feature| *feature.name == *name);
        listed.is_some_and(|f| (f.min_supported_version..=f.max_supported_version).contains(&level))
    };
    let kraft = Some((KRAFT_VERSION, env.config.kraft_version)).filter(|(_, level)| *level > 0);
    let version = env.image.metadata_version();
    let required = env.image.features().chain(kraft);
    let mut required = required.chain([(crate::features::METADATA_VERSION, version.0)]);
    if required.all(|(name, level)| can(name, level)) {
        Ok(())
    } else {
        Err(ErrorCode::UnsupportedVersion)
    }
}

fn registration(request: &BrokerRegistrationRequest, epoch: i64) -> BrokerRegistration {
    let listeners = request.listeners.iter().map(|listener| Listener {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features: BTreeMap<String, VersionRange> = request
        .features
        .iter()
        .map(|f| {
            (
                f.name.to_string(),
                VersionRange { min: f.min_supported_version, max: f.max_supported_version },
            )
        })
        .collect();
    BrokerRegistration {
        id: BrokerId(request.broker_id),
        epoch,
        incarnation: request.incarnation_id,
        listeners: listeners.collect(),
        features,
        rack: request.rack.as_ref().map(ToString::to_string),
        fenced: true,
        in_controlled_shutdown: false,
        is_migrating_zk_broker: false,
        log_dirs: request.log_dirs.clone(),
        cordoned_dirs: None,
    }
}
