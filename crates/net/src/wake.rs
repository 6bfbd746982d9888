//! Waking a connection's task from any thread.

use std::fmt;
use std::sync::Arc;
use std::task;

use crate::sync::{AtomicBool, Mutex, Ordering};

/// Wakes the task of one connection, which then calls `Connection::poll`. Clones wake the same
/// task. Wakes before the next poll count as one, and a wake of a closed connection does nothing.
#[derive(Clone, Default)]
pub struct Waker(Arc<State>);

#[derive(Default)]
struct State {
    woken: AtomicBool,
    task: Mutex<Option<task::Waker>>,
}

impl Waker {
    /// A waker without a connection, for tests of the protocol side: see [`Waker::take`].
    #[must_use]
    pub fn detached() -> Self {
        Self::default()
    }

    /// Asks for a poll soon. Callable from any thread, also within the connection's own calls;
    /// never blocks for long, never runs the connection itself.
    pub fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            self.wake_task();
        }
    }

    /// Whether there was a wake since the last call.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.woken.load(Ordering::Relaxed) && self.0.woken.swap(false, Ordering::AcqRel)
    }

    /// Runs the task without asking for a poll of the connection.
    pub(crate) fn wake_task(&self) {
        let task = self.0.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Names the task to wake. Call before [`Waker::take`], or a wake in between is lost.
    pub(crate) fn register(&self, waker: &task::Waker) {
        let mut task = self.0.task.lock();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Forgets the task, so that clones kept elsewhere do not keep its memory.
    pub(crate) fn close(&self) {
        *self.0.task.lock() = None;
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").field("woken", &self.0.woken).finish_non_exhaustive()
    }
}
