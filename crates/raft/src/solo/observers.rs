//! Nodes that follow the metadata log without a vote.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, Timestamp};

use super::{Quorum, ReplicaDescription};
use crate::voters::ReplicaKey;

/// Most observers that are remembered; who fetched longest ago is forgotten first. A forgotten one is
/// served all the same.
pub const OBSERVERS_MAX: usize = 1000;

/// How long after its last fetch an observer is described.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(5);

/// Names a snapshot: everything below `end` is in it, `epoch` is that of its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotKey {
    /// Exclusive.
    pub end: Offset,
    /// Of the last contained record.
    pub epoch: LeaderEpoch,
}

/// What the leader's log says about a fetch.
#[derive(Debug, Clone, Copy)]
pub struct LogFacts {
    /// First offset of the log.
    pub log_start: Offset,
    /// The oldest snapshot, which the log starts with.
    pub earliest: Option<SnapshotKey>,
    /// The newest snapshot.
    pub latest: Option<SnapshotKey>,
    /// The largest epoch not above the one asked for, and where it ends.
    pub end_of_epoch: (LeaderEpoch, Offset),
}

/// Where a fetch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchPlace {
    /// At the offset that was asked for.
    Here,
    /// The follower's log has what this one has not: cut it to the end of this epoch first.
    Diverging(LeaderEpoch, Offset),
    /// The follower has to begin with this snapshot.
    Snapshot(SnapshotKey),
}

impl FetchPlace {
    /// Decides where a follower goes on whose log ends at `offset` with a record of `last_epoch`.
    #[must_use]
    pub fn of(offset: Offset, last_epoch: LeaderEpoch, log: &LogFacts) -> Self {
        // The bootstrap snapshot 0-0 is no part of the log; every controller has its own.
        let latest = log.latest.filter(|snapshot| snapshot.end > Offset::ZERO);
        if let Some(latest) = latest.filter(|_| offset == Offset::ZERO) {
            return Self::Snapshot(latest);
        }
        if offset == Offset::ZERO && last_epoch.0 == 0 && log.log_start == Offset::ZERO {
            return Self::Here;
        }
        if let (Some(earliest), Some(latest)) = (log.earliest, latest) {
            let too_old = offset < log.log_start
                || (offset == log.log_start && last_epoch != earliest.epoch)
                || last_epoch < earliest.epoch;
            if too_old {
                return Self::Snapshot(latest);
            }
        }
        let (epoch, end) = match log.earliest {
            // The epoch's records are all in the snapshot that the log starts with.
            Some(first) if log.end_of_epoch == (last_epoch, first.end) => (first.epoch, first.end),
            _ => log.end_of_epoch,
        };
        if epoch != last_epoch || end < offset {
            return Self::Diverging(epoch, end);
        }
        Self::Here
    }
}

#[derive(Debug, Clone, Copy)]
struct Observer {
    log_end: Offset,
    fetched: Monotonic,
    last_fetch: Timestamp,
    last_caught_up: Timestamp,
    /// The leader's log end at its last fetch.
    leader_end: Offset,
}

/// By node and directory; bounded by [`OBSERVERS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Observers(BTreeMap<ReplicaKey, Observer>);

impl Observers {
    fn fetched(&mut self, key: ReplicaKey, (offset, leader_end): (Offset, Offset), now: Now) {
        let known = self.0.get(&key).copied();
        let last_caught_up = match known {
            _ if offset >= leader_end => now.wall,
            Some(known) if offset >= known.leader_end => known.last_fetch,
            Some(known) => known.last_caught_up,
            None => Timestamp::NONE,
        };
        if known.is_none() && self.0.len() >= OBSERVERS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, observer)| observer.fetched);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.0.remove(&oldest);
            }
        }
        let observer = Observer {
            log_end: offset,
            fetched: now.monotonic,
            last_fetch: now.wall,
            last_caught_up,
            leader_end,
        };
        self.0.insert(key, observer);
    }

    pub(super) fn describe(&self, now: Now) -> Vec<ReplicaDescription> {
        let recent =
            self.0.iter().filter(|(_, o)| now.monotonic.since(o.fetched) < FORGOTTEN_AFTER);
        let describe = |(key, observer): (&ReplicaKey, &Observer)| ReplicaDescription {
            key: *key,
            log_end: observer.log_end,
            last_fetch: observer.last_fetch,
            last_caught_up: observer.last_caught_up,
            endpoints: Vec::new(),
        };
        recent.map(describe).collect()
    }
}

impl Quorum {
    /// Another node fetched from `offset`: it holds everything below. It counts for nothing, because it
    /// has no vote, and is told by DescribeQuorum. This node and consumers (id -1) are no observers.
    pub fn observe(&mut self, key: ReplicaKey, offset: Offset, now: Now) {
        if key.id.0 >= 0 && key.id != self.config.replica.id {
            self.observers.fetched(key, (offset, self.log_end), now);
        }
    }

    /// Whether an observer fetched lately and holds everything that is committed.
    #[must_use]
    pub fn is_caught_up(&self, key: ReplicaKey, now: Now) -> bool {
        let known = self.observers.0.get(&key);
        let recent = known.filter(|o| now.monotonic.since(o.fetched) < FORGOTTEN_AFTER);
        recent.is_some_and(|o| self.high_watermark.is_some_and(|end| o.log_end >= end))
    }
}
