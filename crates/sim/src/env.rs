//! The broker's environment on a virtual clock: what it asks for is collected here and becomes
//! events of the simulation.

use ottla_broker::Env;
use ottla_broker::jobs::Job;
use ottla_broker::wait::Wake;
use ottla_protocol::ids::{Monotonic, Now, Timestamp};
use ottla_testkit::Rng;
use parking_lot::Mutex;
use std::sync::Arc;

/// One broker process's view of the world. Nothing in it runs by itself.
pub struct SimEnv {
    inbox: Mutex<Inbox>,
}

struct Inbox {
    now: Now,
    rng: Rng,
    asked: Asked,
}

/// What the broker asked for since the last look.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) jobs: Vec<Job>,
    /// Times at which `Broker::tick` is wanted.
    pub(crate) ticks: Vec<u64>,
    /// Connections that want to be polled.
    pub(crate) woken: Vec<u64>,
}

impl SimEnv {
    /// An environment at a time, with randomness of its own.
    #[must_use]
    pub fn new(now: Now, rng: Rng) -> Arc<Self> {
        Arc::new(Self { inbox: Mutex::new(Inbox { now, rng, asked: Asked::default() }) })
    }

    /// Sets both clocks.
    pub fn set_now(&self, now: Now) {
        self.inbox.lock().now = now;
    }

    pub(crate) fn take(&self) -> Asked {
        std::mem::take(&mut self.inbox.lock().asked)
    }
}

impl Env for SimEnv {
    fn now(&self) -> Now {
        self.inbox.lock().now
    }

    fn random(&self) -> u64 {
        self.inbox.lock().rng.next_u64()
    }

    fn submit(&self, job: Job) {
        self.inbox.lock().asked.jobs.push(job);
    }

    fn schedule(&self, at: Monotonic) {
        if at != Monotonic::NEVER {
            self.inbox.lock().asked.ticks.push(at.0);
        }
    }
}

/// Wakes one connection.
pub(crate) struct ConnectionWake {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) connection: u64,
}

impl Wake for ConnectionWake {
    fn wake(&self) {
        self.env.inbox.lock().asked.woken.push(self.connection);
    }
}

/// Both clocks at a point of virtual time.
#[must_use]
pub(crate) fn now_at(micros: u64, wall_offset_ms: i64) -> Now {
    let millis = i64::try_from(micros / 1000).unwrap_or(i64::MAX);
    Now { monotonic: Monotonic(micros), wall: Timestamp(wall_offset_ms.saturating_add(millis)) }
}
