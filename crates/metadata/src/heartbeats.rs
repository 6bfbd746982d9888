//! When brokers were last heard from. Not in the log: a new controller starts counting anew.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ids::{BrokerId, Monotonic, Offset};

use crate::image::Image;

#[derive(Debug, Clone, Copy)]
struct Beat {
    epoch: i64,
    at: Monotonic,
    offset: Offset,
    /// Since this controller became active.
    heard: bool,
    /// While shutting down: everything the other brokers must have seen first.
    leaves_at: Option<Offset>,
}

/// One entry per registered broker, so bounded by the registrations.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats(BTreeMap<BrokerId, Beat>);

impl Heartbeats {
    /// Counts from now for every registered broker.
    pub(crate) fn restart(&mut self, image: &Image, now: Monotonic) {
        self.0.clear();
        for broker in image.brokers() {
            self.touch(broker.id, broker.epoch, now, Offset::NONE);
            if let Some(beat) = self.0.get_mut(&broker.id) {
                beat.heard = false;
            }
        }
    }

    pub(crate) fn touch(&mut self, id: BrokerId, epoch: i64, at: Monotonic, offset: Offset) {
        let known = self.0.get(&id).filter(|beat| beat.epoch == epoch);
        let leaves_at = known.and_then(|beat| beat.leaves_at);
        self.0.insert(id, Beat { epoch, at, offset, heard: true, leaves_at });
    }

    pub(crate) fn forget(&mut self, id: BrokerId) {
        self.0.remove(&id);
    }

    /// Remembers the first offset that all others must know before `id` may go.
    pub(crate) fn leaves(&mut self, id: BrokerId, offset: Offset) {
        if let Some(beat) = self.0.get_mut(&id) {
            beat.leaves_at.get_or_insert(offset);
        }
    }

    /// Whether all active brokers but `id` know what happened when it began to shut down.
    pub(crate) fn may_leave(&self, id: BrokerId, image: &Image) -> bool {
        let Some(leaves_at) = self.0.get(&id).and_then(|beat| beat.leaves_at) else { return true };
        let mut others = image.brokers().filter(|broker| broker.id != id && broker.is_active());
        others.all(|broker| self.0.get(&broker.id).is_some_and(|beat| beat.offset >= leaves_at))
    }

    /// Whether the broker was heard from within `timeout`.
    pub(crate) fn is_live(&self, id: BrokerId, now: Monotonic, timeout: Duration) -> bool {
        self.0.get(&id).is_some_and(|beat| now.since(beat.at) < timeout)
    }

    /// Whether the broker was heard from since this controller became active.
    pub(crate) fn was_heard(&self, id: BrokerId) -> bool {
        self.0.get(&id).is_some_and(|beat| beat.heard)
    }

    /// Unfenced brokers that were not heard from within `timeout`.
    pub(crate) fn stale(&self, image: &Image, now: Monotonic, timeout: Duration) -> Vec<BrokerId> {
        let stale = |id: BrokerId| !self.is_live(id, now, timeout);
        image.brokers().filter(|b| !b.fenced && stale(b.id)).map(|b| b.id).collect()
    }

    /// When the next broker becomes stale unless it is heard from.
    pub(crate) fn next_stale(&self, image: &Image, timeout: Duration) -> Monotonic {
        let unfenced = image.brokers().filter(|broker| !broker.fenced);
        let due =
            unfenced.filter_map(|broker| self.0.get(&broker.id)).map(|beat| beat.at.plus(timeout));
        due.min().unwrap_or(Monotonic::NEVER)
    }
}
