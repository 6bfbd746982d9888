//! The machine under the broker: its faults, and how the broker ends and starts.

use std::sync::Arc;

use ottla_storage::Disk;
use ottla_testkit::{Fault, MemDisk, OpKind};

use super::{Event, SECOND, Sim};
use crate::env::{SimEnv, now_at};
use crate::model::Survival;
use crate::node::{self, Node};
use crate::plan::FaultKind;
use crate::wire::Wire;
use crate::{Mutation, audit};

/// The broker goes on by itself so long after a full disk has room again: longer than a stall.
const RESUME: u64 = 5 * SECOND;

impl Sim<'_> {
    pub(super) fn use_disk(&mut self, disk: MemDisk) {
        match self.options.mutation {
            Mutation::IgnoreSyncs(glob) => disk.ignore_file_syncs(glob),
            Mutation::IgnoreDirSyncs(glob) => disk.ignore_dir_syncs(glob),
            _ => {}
        }
        self.disk = disk;
    }

    pub(super) fn fault(&mut self, fault: FaultKind) {
        self.trace.note(self.now, format_args!("fault {fault:?}"));
        let up = self.node.is_some();
        match fault {
            FaultKind::PowerLoss if up => self.crash(Survival::Synced),
            FaultKind::Kill if up => self.crash(Survival::All),
            FaultKind::Stop if up => self.stop(),
            FaultKind::PowerLoss | FaultKind::Kill | FaultKind::Stop => {}
            FaultKind::PowerLossAfter(count) => self.disk.crash_after_ops(count),
            FaultKind::Full(room, time) => self.fill(room, time),
            FaultKind::SyncError if !up => {}
            FaultKind::SyncError => {
                let dir = self.rng.pick(&self.plan.dirs).clone();
                let glob = format!("{dir}/*");
                self.disk.fail(Fault::on(OpKind::Sync).path(&glob).times(1));
                self.model.disk_fault = true;
                self.model.sync_failed = true;
                let at = self.now + self.rng.between(SECOND / 10, 2 * SECOND);
                self.at(at, Event::Restart);
            }
            FaultKind::ClockJump(millis) => {
                self.wall_offset_ms += millis;
                self.model.transactions.clock_jumped = Some(self.now);
            }
            FaultKind::Stall(time) => self.stall(time),
        }
    }

    fn fill(&mut self, room: u64, time: u64) {
        let space = self.disk.space(std::path::Path::new("/")).ok();
        let used = space.map_or(0, |space| space.total - space.available);
        self.disk.set_capacity(Some(used + room));
        self.model.disk_fault = true;
        self.full_until = self.full_until.max(self.now + time);
        self.at(self.now + time, Event::Free);
    }

    pub(super) fn free(&mut self) {
        self.trace.note(self.now, format_args!("the disk has room again"));
        self.disk.set_capacity(None);
        let incarnation = self.model.incarnation;
        self.at(self.now + RESUME, Event::Resumed(incarnation));
    }

    /// Every job that waits, and that comes to one lane, waits longer.
    fn stall(&mut self, time: u64) {
        let lanes = self.queue.iter().filter(|(_, event)| matches!(event, Event::Lane(..)));
        let lanes: Vec<_> = lanes.map(|(key, _)| *key).collect();
        for key in lanes {
            if let Some(event) = self.queue.remove(&key) {
                self.at(key.0.max(self.now + time), event);
            }
        }
    }

    /// A full disk alone takes nothing offline, and the broker goes on by itself.
    pub(super) fn resumed(&mut self, incarnation: u64) {
        if incarnation != self.model.incarnation || self.full_until + RESUME > self.now {
            return;
        }
        let Some(node) = self.node.as_ref().filter(|_| !self.model.sync_failed) else { return };
        let offline = node.broker.directories().iter().find_map(|d| d.offline());
        if let Some(reason) = offline {
            let reason = reason.to_owned();
            self.model.violate(format!("a full disk took a directory offline: {reason}"));
        }
        self.model.disk_fault = false;
    }

    /// The process ends without a word; `left` says what of the disk is left.
    pub(super) fn crash(&mut self, left: Survival) {
        let left = if self.model.sync_failed { Survival::Synced } else { left };
        self.trace.note(self.now, format_args!("crash, left is {left:?}"));
        self.survival = self.survival.min(left);
        self.disk.kill();
        let after = match left {
            Survival::Synced => self.disk.crash(self.rng.next_u64()),
            Survival::All | Survival::Clean => self.disk.crash_keep_all(),
        };
        self.hang_up();
        self.bury();
        self.use_disk(after);
        if left == Survival::Synced && !self.plan.synced {
            self.model.commits.forget();
        }
        let at = self.now.max(self.full_until) + self.rng.below(SECOND / 2);
        self.at(at, Event::Start);
    }

    /// Every connection ends; what is on the way is lost.
    fn hang_up(&mut self) {
        let ids: Vec<_> = self.wires.keys().copied().collect();
        for id in ids {
            let later = self.rng.below(50_000);
            let Some(wire) = self.wires.get_mut(&id) else { continue };
            let (client, heard) = (wire.client, wire.heard);
            *wire = Wire::new(client, None, self.now);
            wire.heard = heard;
            self.at(self.now + later, Event::ClientClosed(client, id));
        }
        self.queue.retain(|_, event| !matches!(event, Event::ToClient(..)));
    }

    /// Drops the broker; nothing may hold it any longer.
    fn bury(&mut self) {
        let Some(Node { broker, lanes, env, .. }) = self.node.take() else { return };
        self.model.incarnation += 1;
        // A generation is written when it is synced; one that was only joined comes again.
        self.model.generations.forget();
        drop(lanes);
        drop(env.take());
        let left = Arc::downgrade(&broker);
        drop(broker);
        if left.upgrade().is_some() {
            self.model.violate("something still holds the broker after its end".to_owned());
        }
    }

    /// A clean stop, in the order of the server: connections, jobs, logs.
    pub(super) fn stop(&mut self) {
        self.trace.note(self.now, format_args!("clean stop"));
        self.set_clock();
        self.hang_up();
        while let Some(node) = &mut self.node {
            let Some((_, job)) =
                node.lanes.iter_mut().find_map(|(key, lane)| Some((*key, lane.pop_front()?)))
            else {
                break;
            };
            node.broker.run(job);
            if self.settle() {
                return;
            }
        }
        let Some(node) = &self.node else { return };
        node.broker.shut_down();
        if self.disk.is_dead() {
            return self.crash(Survival::Synced);
        }
        let left = if self.model.disk_fault { Survival::All } else { Survival::Clean };
        let left = if self.model.sync_failed { Survival::Synced } else { left };
        self.survival = self.survival.min(left);
        self.bury();
        if self.model.sync_failed {
            // A directory that is offline has pages that never reach the disk.
            let after = self.disk.crash(self.rng.next_u64());
            self.use_disk(after);
            if !self.plan.synced {
                self.model.commits.forget();
            }
        }
        let at = self.now + self.rng.below(SECOND / 2);
        self.at(at, Event::Start);
    }

    pub(super) fn start(&mut self) {
        if self.node.is_some() {
            return;
        }
        self.trace.note(self.now, format_args!("start"));
        self.model.counts.starts += 1;
        let full = self.full_until > self.now;
        let env = SimEnv::new(now_at(self.now, self.wall_offset_ms), self.rng.fork());
        match node::start(&self.disk, &self.config, &env, &mut self.rng) {
            Ok(node) => self.node = Some(node),
            Err(_) if self.disk.is_dead() => return self.crash(Survival::Synced),
            Err(error) if full || self.model.disk_fault => {
                self.trace.note(self.now, format_args!("the start failed: {error}"));
                drop(env.take());
                let at = self.full_until.max(self.now) + 1;
                self.disk.clear_faults();
                self.model.disk_fault = full;
                return self.at(at, Event::Start);
            }
            Err(error) => return self.model.violate(format!("the broker does not start: {error}")),
        }
        if self.disk.is_dead() {
            return self.crash(Survival::Synced);
        }
        self.audit(full);
        self.settle();
    }

    fn audit(&mut self, full: bool) {
        let Some(node) = &self.node else { return };
        let offline = node.broker.directories().iter().find_map(|d| d.offline());
        if let Some(reason) = offline.map(str::to_owned) {
            if self.model.disk_fault {
                // Not all can be read; what survives is decided at the next start.
                return self.at(self.full_until.max(self.now) + 1, Event::Restart);
            }
            return self.model.violate(format!("a directory is offline at start: {reason}"));
        }
        if full && !all_open(node) {
            // Not all can be read: clients wait for the start after this one.
            return self.crash(Survival::All);
        }
        self.model.disk_fault = full;
        self.model.sync_failed = false;
        let found = audit::audit(&node.broker, &node.env, &mut self.model, self.survival);
        self.survival = Survival::Clean;
        if self.disk.is_dead() {
            return self.crash(Survival::Synced);
        }
        if let Err(what) = found {
            self.model.violate(what);
        }
    }
}

/// Whether every partition that the metadata knows is there.
fn all_open(node: &Node) -> bool {
    let image = node.broker.image();
    let all = image.topics().flat_map(|topic| topic.partitions().map(|(i, _)| (topic.id, i.0)));
    let mut all = all;
    all.all(|(topic, index)| node.broker.partitions.get(topic, index).is_some())
}
