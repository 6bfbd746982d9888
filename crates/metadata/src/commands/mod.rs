//! One file per command: request and state in, records and response out.

mod allocate_producer_ids;
mod alter_configs;
mod alter_partition;
mod assign_replicas;
mod broker_heartbeat;
mod client_quotas;
mod controllers;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
mod own;
mod reassignments;
mod register_broker;
mod scram;
mod shutdown;
mod unregister_broker;
mod update_features;

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::BrokerId;

use crate::command::{ApiError, CommandContext};
use crate::controller::ControllerConfig;
use crate::heartbeats::Heartbeats;
use crate::image::{BrokerRegistration, Image};
use crate::placement::is_cordoned;
use crate::record::VersionedRecord;

pub(crate) use own::own_command;

/// Most partitions that one request may add.
pub(crate) const NEW_PARTITIONS_MAX: usize = 10_000;

/// What a command sees.
pub(crate) struct Env<'a, 'c> {
    pub(crate) image: &'a Image,
    /// The state without an open transaction.
    pub(crate) shown: &'a Image,
    pub(crate) in_transaction: bool,
    pub(crate) config: &'a ControllerConfig,
    pub(crate) beats: &'a mut Heartbeats,
    pub(crate) ctx: &'a mut CommandContext<'c>,
}

/// A request that the controller answers.
pub(crate) trait Run {
    type Response;
    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, Self::Response);
}

impl Env<'_, '_> {
    /// The broker, if it is registered with that epoch.
    fn broker(&self, id: i32, epoch: i64) -> Result<&BrokerRegistration, ErrorCode> {
        let found = self.image.broker(BrokerId(id)).filter(|broker| broker.epoch == epoch);
        found.ok_or(ErrorCode::StaleBrokerEpoch)
    }

    /// Counts partitions that are created or deleted towards the sender's quota.
    fn mutate(&mut self, partitions: usize) -> Result<(), ApiError> {
        match &mut self.ctx.mutations {
            Some(quota) => Ok(quota.record(partitions)?),
            None => Ok(()),
        }
    }

    /// How long the sender is to pause after what was counted.
    fn throttle_time_ms(&self) -> i32 {
        self.ctx.mutations.as_ref().map_or(0, |quota| quota.pause_ms())
    }
}

/// How often each name is in a request; a name given twice is refused as a whole.
fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

/// Items in order, each name once: for answers that name a duplicate only once.
fn first_of_each<T>(items: &[T], name: impl Fn(&T) -> &str) -> Vec<&T> {
    let mut seen = std::collections::BTreeSet::new();
    items.iter().filter(|item| seen.insert(name(item).to_owned())).collect()
}

/// Checks the replicas that a client chose for one partition.
fn check_assignment(
    image: &Image,
    partition: usize,
    replicas: &[i32],
    factor: Option<usize>,
) -> Result<Vec<BrokerId>, ApiError> {
    let invalid =
        |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return invalid(format!("the assignment of partition {partition} names no replica"));
    }
    if let Some(factor) = factor.filter(|factor| *factor != replicas.len()) {
        let len = replicas.len();
        return invalid(format!(
            "the assignment of partition {partition} has {len} replicas, the other partitions have {factor}"
        ));
    }
    let mut seen = Vec::with_capacity(replicas.len().min(64));
    for raw in replicas {
        let id = BrokerId(*raw);
        if image.broker(id).is_none() {
            return invalid(format!(
                "the assignment of partition {partition} names broker {id}, which is not registered"
            ));
        }
        if seen.contains(&id) {
            return invalid(format!(
                "the assignment of partition {partition} names broker {id} twice"
            ));
        }
        seen.push(id);
    }
    Ok(seen)
}

/// Checks that a partition's new replicas find a log directory that takes replicas.
fn check_room(image: &Image, partition: usize, replicas: &[BrokerId]) -> Result<(), ApiError> {
    let is_closed = |id: &&BrokerId| image.broker(**id).is_some_and(is_cordoned);
    let Some(id) = replicas.iter().find(is_closed) else { return Ok(()) };
    let message = format!(
        "the assignment of partition {partition} names broker {id}, all of whose log directories are \
         cordoned"
    );
    Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message))
}

/// The replicas that start in sync: those that are active.
fn active(image: &Image, replicas: &[BrokerId]) -> Vec<BrokerId> {
    let is_active = |id: &BrokerId| image.broker(*id).is_some_and(BrokerRegistration::is_active);
    replicas.iter().copied().filter(is_active).collect()
}
