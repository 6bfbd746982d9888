//! Waiting, model-checked: every interleaving of a request's task and those who wake it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::sync::Arc;

use loom::thread;

#[path = "../src/wait.rs"]
#[allow(dead_code, unreachable_pub, reason = "compiled here for its own sake")]
mod wait;

/// The model checker's versions of what the file under test uses.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};

    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        #[allow(dead_code, reason = "the file under test decides")]
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

use sync::{AtomicBool, Mutex, Ordering};
use wait::{Promise, WaitList, Waiter, Wake, Wakes};

/// A connection's task: whether it was asked to poll.
struct Task(AtomicBool);

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(false)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Task {
    fn wake(&self) {
        let _ = self.0.swap(true, Ordering::AcqRel);
    }
}

/// Something that happens, such as an append.
struct Source(Mutex<(u32, WaitList)>);

impl Source {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((0, WaitList::default()))))
    }

    fn happen(&self) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.0.lock();
            state.0 += 1;
            state.1.take_into(&mut wakes);
        }
        wakes.deliver();
    }

    fn register_and_look(&self, waiter: &Arc<Waiter>) -> u32 {
        let mut state = self.0.lock();
        state.1.register(waiter);
        state.0
    }
}

/// A parked request that waits until `want` events happened, as `Connection` handles it.
struct Request {
    task: Arc<Task>,
    waiter: Arc<Waiter>,
    sources: Vec<Arc<Source>>,
    want: u32,
}

impl Request {
    fn new(task: &Arc<Task>, sources: &[&Arc<Source>], want: u32) -> Self {
        let sources = sources.iter().map(|source| Arc::clone(source)).collect();
        Self { task: task.clone(), waiter: Waiter::new(task.clone()), sources, want }
    }

    fn poll(&mut self) -> bool {
        if self.waiter.has_fired() {
            self.waiter.spend();
            self.waiter = Waiter::new(self.task.clone());
        }
        let seen = self.sources.iter().map(|source| source.register_and_look(&self.waiter));
        seen.sum::<u32>() >= self.want
    }
}

#[test]
fn a_request_is_polled_after_every_event_it_has_not_seen() {
    loom::model(|| {
        let (task, source) = (Task::new(), Source::new());
        let mut request = Request::new(&task, &[&source], 2);
        let others = thread::spawn(move || {
            source.happen();
            source.happen();
        });
        let mut done = request.poll();
        if !done && task.take() {
            done = request.poll();
        }
        others.join().unwrap();
        while !done {
            assert!(task.take(), "an event was missed and nobody says so");
            done = request.poll();
        }
    });
}

#[test]
fn a_request_that_waits_at_two_sources_hears_of_both() {
    loom::model(|| {
        let (task, one, two) = (Task::new(), Source::new(), Source::new());
        let mut request = Request::new(&task, &[&one, &two], 2);
        let first = thread::spawn(move || one.happen());
        let second = thread::spawn(move || two.happen());
        let mut done = request.poll();
        first.join().unwrap();
        second.join().unwrap();
        while !done {
            assert!(task.take(), "an event was missed and nobody says so");
            done = request.poll();
        }
    });
}

#[test]
fn a_dropped_request_takes_no_wake_from_the_next_one() {
    loom::model(|| {
        let (task, source) = (Task::new(), Source::new());
        let mut dropped = Request::new(&task, &[&source], 1);
        dropped.poll();
        let mut request = Request::new(&task, &[&source], 1);
        let other = thread::spawn(move || source.happen());
        dropped.waiter.spend();
        let done = request.poll();
        other.join().unwrap();
        assert!(done || (task.take() && request.poll()));
    });
}

#[test]
fn a_promise_is_taken_once_by_the_one_who_waits() {
    loom::model(|| {
        let (task, promise) = (Task::new(), Promise::new());
        let keeper = promise.clone();
        let keeper = thread::spawn(move || keeper.keep(7));
        let waiter = Waiter::new(task.clone());
        let mut taken = promise.take(&waiter);
        keeper.join().unwrap();
        if taken.is_none() {
            assert!(task.take() && waiter.has_fired(), "nobody says that the promise was kept");
            taken = promise.take(&waiter);
        }
        assert_eq!((taken, promise.peek()), (Some(7), None));
    });
}
