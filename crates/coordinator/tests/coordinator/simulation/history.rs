//! What happened, as far as it matters for what may happen: the checks of every step.

use std::collections::BTreeMap;

use ottla_coordinator::{Command, Response, Ticket};
use ottla_protocol::ByteString;

/// What a request asked for that its answer is judged by.
#[derive(Debug)]
enum Asked {
    Join { checked: bool },
    Sync { generation: i32, who: ByteString },
    Commit { partition: i32, commit: Commit },
    Other,
}

/// A commit on its way.
#[derive(Debug, Clone, Copy)]
struct Commit {
    /// The coordinator got it as its so-manieth. The last one it got counts, whatever its offset.
    order: u64,
    generation: i32,
    /// The newest generation that a member had been told it has partitions in.
    newest: i32,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub(super) struct History {
    seed: u64,
    /// How often the coordinator was loaded.
    pub(super) life: usize,
    asked: BTreeMap<Ticket, Asked>,
    /// Per life and generation: the protocol that every joiner is told.
    protocols: BTreeMap<(usize, i32), ByteString>,
    /// Per generation and partition: the one member (by instance, or id) that has it.
    owners: BTreeMap<(i32, i32), ByteString>,
    /// The newest generation of an answered SyncGroup: it outlives the coordinator.
    newest: i32,
    /// Commits in the order in which the coordinator got them, by offset; offsets are unique.
    orders: BTreeMap<i64, u64>,
    /// Per partition: the last commit that was acknowledged.
    acknowledged: BTreeMap<i32, u64>,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, newest: -1, ..Self::default() }
    }

    /// The coordinator got a request.
    pub(super) fn asked(&mut self, ticket: Ticket, command: &Command, version: i16) {
        let asked = match command {
            // A loaded static member may have another protocol than the generation.
            Command::JoinGroup(r) => {
                Asked::Join { checked: version >= 9 && r.group_instance_id.is_none() }
            }
            Command::SyncGroup(r) => Asked::Sync {
                generation: r.generation_id,
                who: r.group_instance_id.clone().unwrap_or_else(|| r.member_id.clone()),
            },
            Command::OffsetCommit(r) => {
                let partition = &r.topics[0].partitions[0];
                let order = self.orders.len() as u64;
                self.orders.insert(partition.committed_offset, order);
                let generation = r.generation_id_or_member_epoch;
                let commit = Commit { order, generation, newest: self.newest };
                Asked::Commit { partition: partition.partition_index, commit }
            }
            _ => Asked::Other,
        };
        self.asked.insert(ticket, asked);
    }

    /// The coordinator crashed: what it has not answered, it never will.
    pub(super) fn crashed(&mut self) {
        self.asked.clear();
    }

    /// The coordinator answers.
    pub(super) fn answered(&mut self, ticket: Ticket, response: &Response) {
        let seed = self.seed;
        match (self.asked.remove(&ticket), response) {
            (Some(Asked::Join { checked: true }), Response::JoinGroup(r))
                if r.error_code == 0 && !r.skip_assignment =>
            {
                let told = r.protocol_name.clone().unwrap();
                let key = (self.life, r.generation_id);
                let first = self.protocols.entry(key).or_insert_with(|| told.clone());
                assert_eq!(
                    *first, told,
                    "seed {seed}: two protocols of (life, generation) {key:?}"
                );
            }
            (Some(Asked::Sync { generation, who }), Response::SyncGroup(r))
                if r.error_code == 0 =>
            {
                assert!(
                    generation >= self.newest,
                    "seed {seed}: generation {} is over, and {generation} is answered",
                    self.newest
                );
                self.newest = generation;
                for partition in r.assignment.iter().map(|p| i32::from(*p)) {
                    let key = (generation, partition);
                    let owner = self.owners.entry(key).or_insert_with(|| who.clone());
                    assert_eq!(*owner, who, "seed {seed}: two own (generation, partition) {key:?}");
                }
            }
            (Some(Asked::Commit { partition, commit }), Response::OffsetCommit(r))
                if r.topics[0].partitions[0].error_code == 0 =>
            {
                assert!(
                    commit.generation >= commit.newest,
                    "seed {seed}: a commit of generation {} is accepted after generation {} began",
                    commit.generation,
                    commit.newest
                );
                let last = self.acknowledged.entry(partition).or_default();
                *last = commit.order.max(*last);
            }
            _ => {}
        }
    }

    /// The newest generation in which a member was told what it has.
    pub(super) fn newest(&self) -> i32 {
        self.newest
    }

    /// The acknowledged commits up to now, to be compared with an answer asked for from now on.
    pub(super) fn acknowledged(&self) -> BTreeMap<i32, u64> {
        self.acknowledged.clone()
    }

    /// What an OffsetFetch found, by partition.
    pub(super) fn found(&self, acknowledged: &BTreeMap<i32, u64>, offsets: &BTreeMap<i32, i64>) {
        for (partition, acknowledged) in acknowledged {
            let found = offsets.get(partition).and_then(|offset| self.orders.get(offset));
            assert!(
                found >= Some(acknowledged),
                "seed {}: of partition {partition} commit {acknowledged} is lost, {found:?} is found",
                self.seed
            );
        }
    }
}
