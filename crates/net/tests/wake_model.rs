//! The waker of a connection, model-checked: every interleaving of its task and those who wake it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;

use loom::thread;

#[path = "../src/wake.rs"]
#[allow(dead_code, unreachable_pub, reason = "compiled here for its own sake")]
mod wake;

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

use sync::{AtomicBool, Ordering};
use wake::Waker;

/// The runtime's side: whether the task is to run.
struct Runtime(AtomicBool);

impl std::task::Wake for Runtime {
    fn wake(self: Arc<Self>) {
        let _ = self.0.swap(true, Ordering::AcqRel);
    }
}

/// One run of the connection's task: whether it polls the connection.
fn run(waker: &Waker, task: &std::task::Waker) -> bool {
    waker.register(task);
    waker.take()
}

#[test]
fn a_wake_is_never_lost_between_registration_and_look() {
    loom::model(|| {
        let waker = Waker::detached();
        let runtime = Arc::new(Runtime(AtomicBool::new(false)));
        let task = std::task::Waker::from(runtime.clone());
        let others: Vec<_> = (0..2)
            .map(|_| {
                let waker = waker.clone();
                thread::spawn(move || waker.wake())
            })
            .collect();
        let mut polled = run(&waker, &task);
        for other in others {
            other.join().unwrap();
        }
        while runtime.0.swap(false, Ordering::AcqRel) {
            polled |= run(&waker, &task);
        }
        assert!(polled, "the connection was woken and never polled");
        assert!(!waker.take(), "a wake is left and the task does not run");
    });
}

#[test]
fn a_wake_after_the_close_does_nothing() {
    loom::model(|| {
        let waker = Waker::detached();
        let runtime = Arc::new(Runtime(AtomicBool::new(false)));
        waker.register(&std::task::Waker::from(runtime.clone()));
        waker.close();
        let other = waker.clone();
        let other = thread::spawn(move || other.wake());
        other.join().unwrap();
        assert!(!runtime.0.load(Ordering::Acquire));
    });
}
