//! Work that is due at a time: a queue of deadlines that [`crate::Broker::tick`] empties.

use std::collections::BTreeMap;

use ottla_protocol::ids::Monotonic;
use parking_lot::Mutex;

/// Deadlines with what is due then. Bounded by what is put in: one entry per periodic task, and one
/// per file that waits for its delayed removal.
pub(crate) struct Timers<T> {
    entries: Mutex<Entries<T>>,
}

struct Entries<T> {
    by_deadline: BTreeMap<(Monotonic, u64), T>,
    next_id: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { entries: Mutex::new(Entries { by_deadline: BTreeMap::new(), next_id: 0 }) }
    }
}

impl<T> Timers<T> {
    /// Adds an entry. Entries with one deadline come out in the order they were added.
    pub(crate) fn add(&self, at: Monotonic, value: T) {
        let mut entries = self.entries.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.by_deadline.insert((at, id), value);
    }

    /// Takes everything that is due at `now`, oldest first.
    pub(crate) fn due(&self, now: Monotonic) -> Vec<T> {
        let mut entries = self.entries.lock();
        let later = match now.0.checked_add(1) {
            Some(next) => entries.by_deadline.split_off(&(Monotonic(next), 0)),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut entries.by_deadline, later).into_values().collect()
    }

    /// The earliest deadline, [`Monotonic::NEVER`] if there is none.
    pub(crate) fn next(&self) -> Monotonic {
        self.entries.lock().by_deadline.keys().next().map_or(Monotonic::NEVER, |&(at, _)| at)
    }

    /// Takes everything, due or not (at shutdown).
    pub(crate) fn drain(&self) -> Vec<T> {
        std::mem::take(&mut self.entries.lock().by_deadline).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_in_order_and_the_rest_stays() {
        let timers = Timers::default();
        for (at, name) in [(5, "b"), (9, "d"), (5, "c"), (1, "a")] {
            timers.add(Monotonic(at), name);
        }
        assert_eq!(timers.next(), Monotonic(1));
        assert_eq!(timers.due(Monotonic(5)), ["a", "b", "c"]);
        assert_eq!(timers.due(Monotonic(8)), [""; 0]);
        assert_eq!(timers.next(), Monotonic(9));
        assert_eq!(timers.due(Monotonic::NEVER), ["d"]);
        assert_eq!(timers.next(), Monotonic::NEVER);
    }
}
