//! The thread that calls [`Broker::tick`] when something is due.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;

use ottla_broker::Broker;
use ottla_protocol::ids::Monotonic;
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::lanes::die;

/// When to call next, shared with those who ask for an earlier call.
pub(crate) struct Timer {
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    next: Monotonic,
    is_stopped: bool,
    thread: Option<thread::JoinHandle<()>>,
}

impl Timer {
    pub(crate) fn new(clock: Clock) -> Self {
        let state = State { next: Monotonic::NEVER, is_stopped: false, thread: None };
        Self { clock, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Asks for a call at `at` or earlier.
    pub(crate) fn schedule(&self, at: Monotonic) {
        let mut state = self.state.lock();
        if at < state.next {
            state.next = at;
            self.changed.notify_one();
        }
    }

    /// Starts the thread.
    pub(crate) fn start(self: &Arc<Self>, broker: &Arc<Broker>) -> std::io::Result<()> {
        let (timer, broker) = (Arc::clone(self), Arc::downgrade(broker));
        let builder = thread::Builder::new().name("ottla-timer".to_owned()).stack_size(1 << 20);
        let thread = builder.spawn(move || timer.run(&broker))?;
        self.state.lock().thread = Some(thread);
        Ok(())
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut state = self.state.lock();
            state.is_stopped = true;
            state.thread.take()
        };
        self.changed.notify_all();
        if let Some(thread) = thread {
            // It cannot have panicked: that ends the process.
            let _ = thread.join();
        }
    }

    fn run(&self, broker: &Weak<Broker>) {
        while self.wait() {
            let Some(broker) = broker.upgrade() else { return };
            match catch_unwind(AssertUnwindSafe(|| broker.tick())) {
                Ok(next) => self.schedule(next),
                Err(_) => die("a defect in this program ended the timers"),
            }
        }
    }

    /// Waits until a call is due; false when stopped.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.is_stopped {
                return false;
            }
            if state.next <= self.clock.now().monotonic {
                state.next = Monotonic::NEVER;
                return true;
            }
            match self.clock.instant(state.next) {
                Some(instant) => {
                    self.changed.wait_until(&mut state, instant);
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}
