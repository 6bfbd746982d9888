//! Waiting for the answers of coordinators.

use std::sync::Arc;

use ottla_protocol::ids::Monotonic;

use super::{Reply, Wait};
use crate::context::Context;
use crate::wait::Promise;

/// Waits for several answers and then makes the response of them, in their order.
pub(super) fn gather<A: Send + 'static, R: Send + 'static>(
    ctx: &Context<'_>,
    promises: Vec<Arc<Promise<A>>>,
    finish: impl FnOnce(Vec<A>) -> R + Send + 'static,
) -> Reply<R> {
    let slots = promises.into_iter().map(|promise| (promise, None)).collect();
    let mut gather = Gather { slots, finish: Some(Box::new(finish)) };
    match gather.poll(ctx, false) {
        Some(response) => Reply::Now(response),
        None => Reply::wait(gather),
    }
}

type Finish<A, R> = Box<dyn FnOnce(Vec<A>) -> R + Send>;

struct Gather<A, R> {
    slots: Vec<(Arc<Promise<A>>, Option<A>)>,
    finish: Option<Finish<A, R>>,
}

impl<A: Send, R: Send> Wait<R> for Gather<A, R> {
    fn poll(&mut self, ctx: &Context<'_>, _expired: bool) -> Option<R> {
        for (promise, answer) in &mut self.slots {
            if answer.is_none() {
                *answer = promise.take(ctx.waiter);
            }
        }
        if self.slots.iter().any(|(_, answer)| answer.is_none()) {
            return None;
        }
        let answers = self.slots.drain(..).filter_map(|(_, answer)| answer).collect();
        self.finish.take().map(|finish| finish(answers))
    }

    fn deadline(&self) -> Monotonic {
        // The coordinator gives every command an answer in its own time.
        Monotonic::NEVER
    }
}
