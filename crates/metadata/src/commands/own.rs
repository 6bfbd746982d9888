//! What the controller does of its own accord.

use ottla_protocol::messages as m;

use super::{Env, shutdown};
use crate::bootstrap;
use crate::command::{Command, Response};
use crate::record::VersionedRecord;

/// Commands that nobody sent.
pub(crate) fn own_command(
    command: Command,
    env: &mut Env<'_, '_>,
) -> (Vec<VersionedRecord>, Response) {
    let records = match command {
        Command::Activate => activate(env),
        Command::NoOp => vec![VersionedRecord::v0(m::NoOpRecord::default())],
        Command::FenceStale => fence_stale(env),
        _ => Vec::new(),
    };
    (records, Response::Done)
}

/// A log without features outside of a transaction: nobody activated to the end before.
fn activate(env: &Env<'_, '_>) -> Vec<VersionedRecord> {
    let mut records = Vec::new();
    if env.in_transaction {
        records.push(bootstrap::abort_record("the controller changed"));
    }
    if env.shown.features().next().is_none() {
        records.extend(bootstrap::activation_records(&env.config.bootstrap));
    }
    records
}

fn fence_stale(env: &mut Env<'_, '_>) -> Vec<VersionedRecord> {
    let stale = env.beats.stale(env.image, env.ctx.now.monotonic, env.config.session_timeout);
    // One at a time: the next is decided by an image in which this one is fenced.
    let Some(broker) = stale.first().and_then(|id| env.image.broker(*id)) else {
        return Vec::new();
    };
    let mut records = shutdown::partitions_without(env, broker.id, shutdown::Kind::Clean);
    records.push(shutdown::fence_record(broker));
    records
}
