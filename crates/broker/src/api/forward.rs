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

/// How long the commit may take where the request carries no time of its own, in milliseconds.
pub(super) const TIMEOUT_MS: i32 = 30_000;

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
    forward_then(ctx, command, timeout_ms, |result| result.unwrap_or_else(refuse))
}

/// As [`forward`], for an API that has something to add to the controller's answer.
pub(super) fn forward_then<Q, R>(
    ctx: &Context<'_>,
    command: impl Into<Command>,
    timeout_ms: i32,
    finish: impl FnOnce(Result<Q, ErrorCode>) -> R + Send + 'static,
) -> Reply<R>
where
    Q: TryFrom<Response> + Send + 'static,
    R: Send + 'static,
{
    let promise = ctx.broker.command(ctx, command.into());
    let deadline = ctx.deadline(timeout_ms);
    let mut wait = Forward { promise, deadline, finish: Some(Box::new(finish)) };
    match wait.poll(ctx, false) {
        Some(response) => Reply::Now(response),
        None => Reply::wait(wait),
    }
}

type Finish<Q, R> = Box<dyn FnOnce(Result<Q, ErrorCode>) -> R + Send>;

struct Forward<Q, R> {
    promise: Arc<Promise<CommandResult>>,
    deadline: Monotonic,
    finish: Option<Finish<Q, R>>,
}

impl<Q: TryFrom<Response>, R: Send> Wait<R> for Forward<Q, R> {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<R> {
        let result = match self.promise.take(ctx.waiter) {
            Some(Ok(response)) => Q::try_from(response).map_err(|_| ErrorCode::UnknownServerError),
            Some(Err(error)) => Err(error),
            None if expired => Err(ErrorCode::RequestTimedOut),
            None => return None,
        };
        self.finish.take().map(|finish| finish(result))
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}
