//! What the group APIs share: asking shards, and waiting for their answers.

use std::sync::Arc;

use ottla_coordinator::{Command, Response, partition_for};
use ottla_protocol::ErrorCode;
use ottla_storage::VerificationGuard;

use super::Reply;
use crate::context::Context;
use crate::groups::OFFSETS_TOPIC;
use crate::wait::Promise;

/// The partition of `__consumer_offsets` that a group belongs to.
///
/// # Errors
/// COORDINATOR_NOT_AVAILABLE while the topic does not exist.
pub(super) fn shard_of(ctx: &Context<'_>, group_id: &str) -> Result<i32, ErrorCode> {
    let topic = ctx.image.topic(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
    Ok(partition_for(group_id, partitions))
}

/// Hands a command to the shard of its group.
pub(super) fn submit(
    ctx: &Context<'_>,
    group_id: &str,
    command: Command,
) -> Arc<Promise<Response>> {
    match shard_of(ctx, group_id) {
        Ok(index) => ctx.broker.groups.submit(ctx, index, command),
        Err(error) => Promise::kept(command.refuse(error)),
    }
}

/// As [`submit`], for a command that makes records in a client's transaction.
pub(super) fn submit_guarded(
    ctx: &Context<'_>,
    group_id: &str,
    command: Command,
    guard: Option<VerificationGuard>,
) -> Arc<Promise<Response>> {
    match shard_of(ctx, group_id) {
        Ok(index) => ctx.broker.groups.submit_guarded(ctx, index, command, guard),
        Err(error) => Promise::kept(command.refuse(error)),
    }
}

/// Hands a command to the shard of its group and waits for the answer, which `answer` turns into the
/// response (`None` only if the coordinator mixed up its answers).
pub(super) fn ask<R: Default + Send + 'static>(
    ctx: &Context<'_>,
    group_id: &str,
    command: Command,
    answer: fn(Response) -> Option<R>,
) -> Reply<R> {
    let promise = submit(ctx, group_id, command);
    gather(ctx, vec![promise], move |responses| {
        responses.into_iter().next().and_then(answer).unwrap_or_default()
    })
}

/// Waits for several answers and then makes the response of them, in their order.
pub(super) fn gather<R: Send + 'static>(
    ctx: &Context<'_>,
    promises: Vec<Arc<Promise<Response>>>,
    finish: impl FnOnce(Vec<Response>) -> R + Send + 'static,
) -> Reply<R> {
    let version = ctx.version();
    super::gather::gather(ctx, promises, move |responses| {
        finish(responses.into_iter().map(|response| response.for_version(version)).collect())
    })
}
