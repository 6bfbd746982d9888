//! A coordinator as its runtime sees it: one shard, the log partition under it, a clock.

use std::collections::BTreeSet;

use ottla_coordinator::{CommandContext, GroupShard, LogRecord, Machine, Output, Ticket};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, ProducerId, Timestamp};

/// A node of the group coordinator.
pub(crate) type GroupNode = Node<GroupShard>;

/// A shard and its log. Everything appended is committed at once, unless `lags`.
pub(crate) struct Node<M: Machine> {
    pub(crate) shard: M,
    pub(crate) config: M::Config,
    pub(crate) log: Vec<Entry>,
    pub(crate) now: Now,
    /// The leader epoch of the partition.
    pub(crate) epoch: LeaderEpoch,
    /// The next appends fail with these.
    pub(crate) failures: Vec<ErrorCode>,
    /// The high watermark moves only by [`Node::commit`]; a crash loses what is above it.
    pub(crate) lags: bool,
    /// To be carried out, once what they follow from is committed.
    pub(crate) actions: Vec<M::Action>,
    committed: usize,
    held: Vec<(Ticket, M::Response)>,
    held_actions: Vec<M::Action>,
    wall: i64,
    open: BTreeSet<Ticket>,
    tickets: u64,
    random: u128,
}

/// What the log holds.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Record(ProducerId, LogRecord),
    Marker(ProducerId, bool),
}

/// The first leader epoch of the partition.
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// The start of the wall clock.
pub(crate) const WALL: i64 = 1_700_000_000_000;

impl<M: Machine> Node<M> {
    pub(crate) fn new(config: M::Config) -> Self {
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(WALL) };
        let mut shard = M::new(config.clone());
        let out = shard.loaded(EPOCH, now);
        assert!(out.completions.is_empty() && out.records.is_empty());
        Self {
            shard,
            config,
            log: Vec::new(),
            now,
            epoch: EPOCH,
            failures: Vec::new(),
            lags: false,
            actions: Vec::new(),
            committed: 0,
            held: Vec::new(),
            held_actions: Vec::new(),
            wall: WALL,
            open: BTreeSet::new(),
            tickets: 0,
            random: 0,
        }
    }

    /// Hands a command in. The completions that follow are returned, of any command.
    pub(crate) fn handle(
        &mut self,
        command: M::Command,
        api_version: i16,
    ) -> (Ticket, Vec<(Ticket, M::Response)>) {
        self.tickets += 1;
        self.random += 1;
        let ticket = Ticket(self.tickets);
        self.open.insert(ticket);
        let ctx = CommandContext {
            now: self.now,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            principal: "User:ANONYMOUS".into(),
            api_version,
            random: self.random,
        };
        let out = self.shard.handle(ticket, command, &ctx);
        (ticket, self.settle(out))
    }

    /// The ticket of the next [`Node::handle`]; a caller that answers it itself leaves it out.
    pub(crate) fn next_ticket(&mut self) -> Ticket {
        Ticket(self.tickets + 1)
    }

    /// Lets time pass, with every deadline on its way.
    pub(crate) fn advance(&mut self, millis: u64) -> Vec<(Ticket, M::Response)> {
        let target = self.now.monotonic.plus_millis(millis as i64);
        let mut done = Vec::new();
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= target) {
            self.set_time(at.max(self.now.monotonic));
            let out = self.shard.tick(self.now);
            done.extend(self.settle(out));
        }
        self.set_time(target);
        done
    }

    /// Lets time pass and looks at no deadline.
    pub(crate) fn sleep(&mut self, millis: u64) {
        self.set_time(self.now.monotonic.plus_millis(millis as i64));
    }

    /// The log forgets the newer half of what was committed.
    pub(crate) fn lose_half(&mut self) {
        self.committed /= 2;
    }

    /// The coordinator goes and comes back from its log. Those that wait are told if it can.
    pub(crate) fn reload(&mut self, crash: bool) -> Vec<(Ticket, M::Response)> {
        let mut done = Vec::new();
        if crash {
            self.open.clear();
            self.held.clear();
            self.held_actions.clear();
            self.log.truncate(self.committed);
        } else {
            done = self.commit();
            let out = self.shard.unload(self.now);
            done.extend(self.settle(out));
            assert!(self.open.is_empty(), "{:?} are never answered", self.open);
        }
        self.actions.clear();
        self.shard = M::new(self.config.clone());
        for (offset, entry) in self.log.iter().enumerate() {
            replay(&mut self.shard, entry, offset);
        }
        let out = self.shard.loaded(self.epoch, self.now);
        done.extend(self.settle(out));
        done
    }

    /// A transaction's marker arrives.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, commit: bool) {
        self.log.push(Entry::Marker(producer, commit));
        self.shard.replay_end_marker(producer, commit);
    }

    pub(crate) fn is_open(&self, ticket: Ticket) -> bool {
        self.open.contains(&ticket)
    }

    fn settle(&mut self, mut out: Output<M>) -> Vec<(Ticket, M::Response)> {
        while !out.records.is_empty() && !self.failures.is_empty() {
            let error = self.failures.remove(0);
            out = self.shard.append_failed(out, error, self.now);
        }
        let producer = out.producer.map_or(ProducerId::NONE, |(id, _)| id);
        for record in out.records {
            let entry = Entry::Record(producer, record);
            replay(&mut self.shard, &entry, self.log.len());
            self.log.push(entry);
        }
        for (ticket, _) in &out.completions {
            assert!(self.open.remove(ticket), "{ticket:?} is completed twice or was never open");
        }
        self.held.extend(out.completions);
        self.held_actions.extend(out.actions);
        if self.lags { Vec::new() } else { self.commit() }
    }

    /// The high watermark moves to the log end; answers that waited for it are returned.
    pub(crate) fn commit(&mut self) -> Vec<(Ticket, M::Response)> {
        self.committed = self.log.len();
        self.actions.append(&mut self.held_actions);
        std::mem::take(&mut self.held)
    }

    fn set_time(&mut self, monotonic: Monotonic) {
        self.now = Now { monotonic, wall: Timestamp(self.wall + (monotonic.0 / 1000) as i64) };
    }

    /// The wall clock jumps.
    pub(crate) fn set_wall(&mut self, millis: i64) {
        self.wall = millis - (self.now.monotonic.0 / 1000) as i64;
        self.set_time(self.now.monotonic);
    }
}

fn replay<M: Machine>(shard: &mut M, entry: &Entry, offset: usize) {
    match entry {
        Entry::Record(producer, record) => {
            shard.replay(record, Offset(offset as i64), *producer).unwrap();
        }
        Entry::Marker(producer, commit) => shard.replay_end_marker(*producer, *commit),
    }
}
