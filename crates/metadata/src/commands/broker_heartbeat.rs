//! BrokerHeartbeat: unfencing, fencing, controlled shutdown, failed and cordoned directories.

use ottla_protocol::ids::{BrokerId, Offset};
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationChangeRecord,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::shutdown::{self, Kind, partitions_with, partitions_without};
use super::{Env, Run};
use crate::image::BrokerRegistration;
use crate::record::VersionedRecord;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    /// Handing over.
    Leaving,
    /// May stop; fenced.
    Gone,
}

impl Run for BrokerHeartbeatRequest {
    type Response = BrokerHeartbeatResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, BrokerHeartbeatResponse) {
        let image = env.image;
        let id = BrokerId(self.broker_id);
        let Some(broker) = image.broker(id).filter(|broker| broker.epoch == self.broker_epoch)
        else {
            let error_code = ErrorCode::StaleBrokerEpoch.code();
            let response =
                BrokerHeartbeatResponse { error_code, is_fenced: true, ..Default::default() };
            return (Vec::new(), response);
        };
        let offset = Offset(self.current_metadata_offset);
        env.beats.touch(id, broker.epoch, env.ctx.now.monotonic, offset);
        let next = next_state(self, broker, env);
        let records = records(self, broker, next, env);
        if next == State::Leaving {
            env.beats.leaves(id, env.ctx.next_offset);
        }
        let response = BrokerHeartbeatResponse {
            // The registration record is at the offset that is the epoch.
            is_caught_up: self.current_metadata_offset >= broker.epoch,
            is_fenced: matches!(next, State::Fenced | State::Gone),
            should_shut_down: next == State::Gone,
            ..Default::default()
        };
        (records, response)
    }
}

fn current_state(broker: &BrokerRegistration) -> State {
    match (broker.fenced, broker.in_controlled_shutdown) {
        (true, _) => State::Fenced,
        (false, true) => State::Leaving,
        (false, false) => State::Unfenced,
    }
}

fn next_state(
    request: &BrokerHeartbeatRequest,
    broker: &BrokerRegistration,
    env: &Env<'_, '_>,
) -> State {
    let leaves = request.want_shut_down;
    match current_state(broker) {
        State::Fenced | State::Gone if leaves => State::Gone,
        State::Fenced | State::Gone => {
            let caught_up = request.current_metadata_offset >= broker.epoch;
            if caught_up && !request.want_fence { State::Unfenced } else { State::Fenced }
        }
        State::Unfenced if leaves && !request.want_fence => {
            if shutdown::leads(env, broker.id) {
                State::Leaving
            } else {
                State::Gone
            }
        }
        State::Unfenced if leaves => State::Gone,
        State::Unfenced if request.want_fence => State::Fenced,
        State::Unfenced => State::Unfenced,
        State::Leaving => {
            let done =
                !shutdown::leads(env, broker.id) && env.beats.may_leave(broker.id, env.image);
            if done { State::Gone } else { State::Leaving }
        }
    }
}

/// In the order in which Kafka writes them: who is fenced first loses its partitions, who is
/// unfenced first is unfenced; directories come last.
fn records(
    request: &BrokerHeartbeatRequest,
    broker: &BrokerRegistration,
    next: State,
    env: &Env<'_, '_>,
) -> Vec<VersionedRecord> {
    let mut records = Vec::new();
    match (current_state(broker), next) {
        (State::Fenced, State::Unfenced) => {
            records.push(change(broker, |record| record.fenced = -1));
            records.append(&mut partitions_with(env, broker.id));
        }
        (State::Unfenced | State::Leaving, State::Fenced | State::Gone) => {
            records = partitions_without(env, broker.id, Kind::Clean);
            records.push(shutdown::fence_record(broker));
        }
        (State::Unfenced, State::Leaving) => {
            records.push(change(broker, |record| record.in_controlled_shutdown = 1));
            records.append(&mut partitions_without(env, broker.id, Kind::Clean));
        }
        _ => {}
    }
    let version = env.image.metadata_version();
    let log_dirs = online_dirs(request, broker).filter(|_| version.has_directories());
    let cordoned = request
        .cordoned_log_dirs
        .clone()
        .filter(|dirs| version.has_cordoned_dirs() && broker.cordoned_dirs.as_ref() != Some(dirs));
    if log_dirs.is_some() || cordoned.is_some() {
        records.push(change(broker, |record| {
            record.log_dirs = log_dirs.unwrap_or_default();
            record.cordoned_log_dirs = cordoned;
        }));
    }
    records
}

/// A change of the registration, in the lowest version that carries what is set.
fn change(
    broker: &BrokerRegistration,
    set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> VersionedRecord {
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        ..Default::default()
    };
    set(&mut record);
    let version = match &record {
        record if record.cordoned_log_dirs.is_some() => 3,
        record if !record.log_dirs.is_empty() => 2,
        record if record.in_controlled_shutdown != 0 => 1,
        _ => 0,
    };
    VersionedRecord::new(record, version)
}

/// The directories that are left if one more failed. All gone: the broker stops by itself.
fn online_dirs(request: &BrokerHeartbeatRequest, broker: &BrokerRegistration) -> Option<Vec<Uuid>> {
    let online = |dir: &&Uuid| !request.offline_log_dirs.contains(dir);
    let left: Vec<Uuid> = broker.log_dirs.iter().filter(online).copied().collect();
    (!left.is_empty() && left.len() < broker.log_dirs.len()).then_some(left)
}
