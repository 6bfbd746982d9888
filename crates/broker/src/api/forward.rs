//! What the APIs that change metadata share: handing a command to the controller, and waiting for its
//! commit.

use std::sync::Arc;

use ottla_metadata::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Monotonic;

use super::{Reply, Wait};
use crate::context::Context;
use crate::quorum::CommandResult;
use crate::wait::Promise;

/// Hands a request to the controller and waits for the answer, for `timeout_ms` at the longest.
/// `refuse` makes the response that says one error everywhere: NOT_CONTROLLER, KAFKA_STORAGE_ERROR,
/// or REQUEST_TIMED_OUT, after which the change may still happen.
pub(super) fn forward<R>(
    ctx: &Context<'_>,
    command: impl Into<Command>,
    timeout_ms: i32,
    refuse: impl FnOnce(ErrorCode) -> R + Send + 'static,
) -> Reply<R>
where
    R: TryFrom<Response> + Send + 'static,
{
    let promise = ctx.broker.command(ctx, command.into());
    let deadline = ctx.deadline(timeout_ms);
    let mut wait = Forward { promise, deadline, refuse: Some(Box::new(refuse)) };
    match wait.poll(ctx, false) {
        Some(response) => Reply::Now(response),
        None => Reply::wait(wait),
    }
}

type Refuse<R> = Box<dyn FnOnce(ErrorCode) -> R + Send>;

struct Forward<R> {
    promise: Arc<Promise<CommandResult>>,
    deadline: Monotonic,
    refuse: Option<Refuse<R>>,
}

impl<R: TryFrom<Response> + Send> Wait<R> for Forward<R> {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<R> {
        let error = match self.promise.take(ctx.waiter) {
            Some(Ok(response)) => match R::try_from(response) {
                Ok(response) => return Some(response),
                Err(_) => ErrorCode::UnknownServerError,
            },
            Some(Err(error)) => error,
            None if expired => ErrorCode::RequestTimedOut,
            None => return None,
        };
        self.refuse.take().map(|refuse| refuse(error))
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}
