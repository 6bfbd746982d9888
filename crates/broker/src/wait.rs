//! Waiting as data: a parked request registers a [`Waiter`] where the event it waits for happens,
//! and whoever makes the event happen collects the waiters under the lock and wakes them after its
//! release. A wake only says "look again"; the waiter's own task reads the state anew.

use std::sync::Arc;

use crate::sync::{AtomicBool, Mutex, Ordering};

/// How a connection is told that one of its parked requests should be polled. Implemented by the
/// runtime (a task's wake-up) and by the simulation (a queue). Must not block.
pub trait Wake: Send + Sync + 'static {
    /// Asks for [`crate::Connection::poll`] soon. Called without any of the broker's locks.
    fn wake(&self);
}

/// One registration of one parked request. A new one is made for every poll, so that old entries in
/// wait lists are recognised as spent.
pub struct Waiter {
    fired: AtomicBool,
    spent: AtomicBool,
    wake: Arc<dyn Wake>,
}

impl Waiter {
    /// A waiter that wakes through `wake`.
    #[must_use]
    pub fn new(wake: Arc<dyn Wake>) -> Arc<Self> {
        Arc::new(Self { fired: AtomicBool::new(false), spent: AtomicBool::new(false), wake })
    }

    /// Whether the event happened since this waiter was made.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// Marks the registration as no longer of interest; lists drop it when they grow.
    pub fn spend(&self) {
        self.spent.store(true, Ordering::Release);
    }

    fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    /// Marks the event as happened and wakes the connection, once.
    pub fn fire(&self) {
        if !self.is_spent() && !self.fired.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }
}

/// The waiters of one event source, kept under that source's lock.
///
/// Bounded: every live waiter belongs to one parked request of one connection (both bounded), and
/// spent ones are dropped whenever the list has doubled since the last clean-up.
#[derive(Default)]
pub struct WaitList {
    waiters: Vec<Arc<Waiter>>,
    clean_at: usize,
}

impl WaitList {
    /// Fewest entries at which a clean-up is worth its scan.
    const CLEAN_MIN: usize = 8;

    /// Adds a waiter; it is dropped from the list when taken or spent.
    pub fn register(&mut self, waiter: &Arc<Waiter>) {
        if self.waiters.len() >= self.clean_at.max(Self::CLEAN_MIN) {
            self.waiters.retain(|waiter| !waiter.is_spent());
            self.clean_at = self.waiters.len() * 2;
        }
        self.waiters.push(Arc::clone(waiter));
    }

    /// Takes every waiter into `wakes`, to be delivered after the lock's release.
    pub fn take_into(&mut self, wakes: &mut Wakes) {
        wakes.0.append(&mut self.waiters);
    }

    /// Number of registrations, spent ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

/// Wakes collected under a lock. Deliver them after it was released.
#[derive(Default)]
#[must_use = "wakes must be delivered after the lock is released"]
pub struct Wakes(Vec<Arc<Waiter>>);

impl Wakes {
    /// Fires every collected waiter.
    pub fn deliver(self) {
        for waiter in self.0 {
            waiter.fire();
        }
    }
}

/// An answer that one party will give and that goes to the first request that takes it.
pub struct Promise<T> {
    state: Mutex<PromiseState<T>>,
}

struct PromiseState<T> {
    value: Option<T>,
    waiting: WaitList,
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Self { state: Mutex::new(PromiseState { value: None, waiting: WaitList::default() }) }
    }
}

impl<T> Promise<T> {
    /// A promise without an answer, to be shared between the two parties.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A promise that is kept already.
    #[must_use]
    pub fn kept(value: T) -> Arc<Self> {
        let state = PromiseState { value: Some(value), waiting: WaitList::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Gives the answer and wakes who waits. Call it without holding a lock of the broker.
    pub fn keep(&self, value: T) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            state.value = Some(value);
            state.waiting.take_into(&mut wakes);
        }
        wakes.deliver();
    }

    /// The answer, if it was given, without waiting for it.
    pub fn peek(&self) -> Option<T> {
        self.state.lock().value.take()
    }

    /// Takes the answer, once; without one, registers `waiter`.
    pub fn take(&self, waiter: &Arc<Waiter>) -> Option<T> {
        let mut state = self.state.lock();
        let value = state.value.take();
        if value.is_none() {
            state.waiting.register(waiter);
        }
        value
    }
}
