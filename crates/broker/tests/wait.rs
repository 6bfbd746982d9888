//! Waiters and their lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_broker::wait::{WaitList, Waiter, Wake, Wakes};

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waiter_in_two_lists_wakes_once_and_a_spent_one_never() {
    let counter = Arc::new(Counter::default());
    let (waiter, spent) = (Waiter::new(counter.clone()), Waiter::new(counter.clone()));
    let (mut a, mut b) = (WaitList::default(), WaitList::default());
    for list in [&mut a, &mut b] {
        list.register(&waiter);
        list.register(&spent);
    }
    spent.spend();
    let mut wakes = Wakes::default();
    a.take_into(&mut wakes);
    b.take_into(&mut wakes);
    wakes.deliver();
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    assert!(waiter.has_fired() && a.is_empty() && b.is_empty());
}

#[test]
fn spent_waiters_do_not_pile_up() {
    let counter = Arc::new(Counter::default());
    let mut list = WaitList::default();
    for _ in 0..10_000 {
        let waiter = Waiter::new(counter.clone());
        list.register(&waiter);
        waiter.spend();
    }
    assert!(list.len() <= 16, "{} entries kept", list.len());
}
