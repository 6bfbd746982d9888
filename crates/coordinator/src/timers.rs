//! Deadlines as data: what has to happen in a shard when time passes.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use ottla_protocol::ids::Monotonic;

/// What happens at a deadline. There is at most one deadline per value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A member of a group (or an id handed out that nobody joined with) has been silent too long.
    Session {
        /// The group.
        group: ByteString,
        /// The member id.
        member: ByteString,
    },
    /// The join phase of a group ends, or its initial delay may end.
    Join(ByteString),
    /// Members that joined and did not sync are put out of the group.
    Sync(ByteString),
    /// Look for expired offsets.
    Cleanup,
}

/// The deadlines of one shard, by what happens at them.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queue: BTreeSet<(Monotonic, T)>,
    deadlines: BTreeMap<T, Monotonic>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), deadlines: BTreeMap::new() }
    }
}

impl<T: Clone + Ord> Timers<T> {
    /// Sets or moves the deadline of `timer`.
    pub(crate) fn set(&mut self, timer: T, at: Monotonic) {
        if let Some(old) = self.deadlines.insert(timer.clone(), at) {
            self.queue.remove(&(old, timer.clone()));
        }
        self.queue.insert((at, timer));
    }

    /// Forgets `timer`.
    pub(crate) fn cancel(&mut self, timer: T) {
        if let Some(old) = self.deadlines.remove(&timer) {
            self.queue.remove(&(old, timer));
        }
    }

    /// Whether `timer` has a deadline.
    pub(crate) fn is_set(&self, timer: &T) -> bool {
        self.deadlines.contains_key(timer)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer if its deadline is at or before `now`.
    pub(crate) fn pop_due(&mut self, now: Monotonic) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_at_its_latest_deadline() {
        let mut timers = Timers::default();
        timers.set(Timer::Cleanup, Monotonic(5));
        timers.set(Timer::Join("g".into()), Monotonic(7));
        timers.set(Timer::Cleanup, Monotonic(9));
        timers.set(Timer::Sync("g".into()), Monotonic(1));
        timers.cancel(Timer::Sync("g".into()));
        assert_eq!(timers.next(), Some(Monotonic(7)));
        assert_eq!(timers.pop_due(Monotonic(6)), None);
        assert_eq!(timers.pop_due(Monotonic(7)), Some(Timer::Join("g".into())));
        assert_eq!(timers.pop_due(Monotonic(20)), Some(Timer::Cleanup));
        assert_eq!(timers.pop_due(Monotonic(20)), None);
    }
}
