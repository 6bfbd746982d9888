//! What the group APIs share: asking shards, and waiting for their answers.

use std::sync::Arc;

use ottla_coordinator::{Command, Response, partition_for};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Monotonic;

use super::{Reply, Wait};
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
    let slots = promises.into_iter().map(|promise| (promise, None)).collect();
    let mut gather = Gather { slots, finish: Some(Box::new(finish)) };
    match gather.poll(ctx, false) {
        Some(response) => Reply::Now(response),
        None => Reply::wait(gather),
    }
}

type Finish<R> = Box<dyn FnOnce(Vec<Response>) -> R + Send>;

struct Gather<R> {
    slots: Vec<(Arc<Promise<Response>>, Option<Response>)>,
    finish: Option<Finish<R>>,
}

impl<R: Send> Wait<R> for Gather<R> {
    fn poll(&mut self, ctx: &Context<'_>, _expired: bool) -> Option<R> {
        for (promise, response) in &mut self.slots {
            if response.is_none() {
                *response = promise.take(ctx.waiter);
            }
        }
        if self.slots.iter().any(|(_, response)| response.is_none()) {
            return None;
        }
        let version = ctx.version();
        let responses = self.slots.drain(..).filter_map(|(_, response)| response);
        let responses = responses.map(|response| response.for_version(version)).collect();
        self.finish.take().map(|finish| finish(responses))
    }

    fn deadline(&self) -> Monotonic {
        // The coordinator gives every command an answer in its own time.
        Monotonic::NEVER
    }
}
