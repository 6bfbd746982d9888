//! The loop: events in order of virtual time, and what each does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::Env;
use ottla_config::BrokerConfig;
use ottla_protocol::crc32c;
use ottla_storage::Disk;
use ottla_testkit::{Fault, MemDisk, OpKind, Rng};

use crate::clients::{Admin, Asked, Client, Committer, Consumer, Cx, Member, Producer};
use crate::env::{SimEnv, now_at};
use crate::model::{Counts, Model, Survival};
use crate::node::{self, LaneKey, Node};
use crate::plan::{FaultKind, Plan};
use crate::trace::Trace;
use crate::wire::{self, Wire, WriteError};
use crate::{Mutation, audit};

const SECOND: u64 = 1_000_000;
/// Wall clock at virtual time zero, in milliseconds.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// Clients settle for so long after the end; stalls are shorter.
const SETTLE: u64 = 8 * SECOND;
/// Longest that anything may stay unanswered. Stalls and full disks are shorter, and rebalances,
/// and what clients let the broker wait.
const ANSWER_MAX: u64 = 15 * SECOND;
/// The same once clients start nothing new.
const SETTLED_MAX: u64 = 6 * SECOND;
/// The broker goes on by itself so long after a full disk has room again: longer than a stall.
const RESUME: u64 = 5 * SECOND;
/// More events than this in one run: something turns in circles.
const EVENTS_MAX: u64 = 2_000_000;

/// How a seed is played.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A defect put in on purpose.
    pub mutation: Mutation,
    /// Print every event.
    pub trace: bool,
    /// Keep the last events for [`Failure::events`].
    pub keep: bool,
}

/// What a run was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Hash of all events in order.
    pub hash: u64,
    /// Number of events.
    pub events: u64,
    /// How much happened.
    pub counts: Counts,
}

/// Something that must hold did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Replays it.
    pub seed: u64,
    /// Virtual microseconds from the start.
    pub at: u64,
    /// What is wrong.
    pub what: String,
    /// The last events, if they were kept.
    pub events: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in &self.events {
            writeln!(f, "{event}")?;
        }
        write!(f, "seed {}, at {} ms: {}", self.seed, self.at / 1000, self.what)
    }
}

/// Plays a seed.
///
/// # Errors
/// What did not hold; a panic of the broker is that, too.
pub fn run(seed: u64, options: &Options) -> Result<Outcome, Box<Failure>> {
    let mut sim = Sim::new(seed, options);
    let played = catch_unwind(AssertUnwindSafe(|| sim.play()));
    let what = match played {
        Ok(Ok(())) => {
            let counts = sim.model.counts;
            return Ok(Outcome { hash: sim.trace.hash(), events: sim.trace.events(), counts });
        }
        Ok(Err(what)) => what,
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => format!("panic: {text}"),
            Err(panic) => format!("panic: {:?}", panic.downcast::<&str>()),
        },
    };
    let events = sim.trace.take_lines();
    Err(Box::new(Failure { seed, at: sim.now, what, events }))
}

enum Event {
    Act(usize),
    ToServer(u64, Bytes),
    Poll(u64),
    Write(u64),
    ToClient(u64, Bytes),
    ClientClosed(usize, u64),
    ServerGone(u64),
    Tick(u64),
    Lane(u64, LaneKey),
    Fault(FaultKind),
    Free,
    Resumed(u64),
    Restart,
    Start,
    Check,
    Stop,
}

struct Sim<'a> {
    options: &'a Options,
    plan: Plan,
    config: Arc<BrokerConfig>,
    rng: Rng,
    now: u64,
    wall_offset_ms: i64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    disk: MemDisk,
    node: Option<Node>,
    /// Until then the disk is full.
    full_until: u64,
    survival: Survival,
    clients: Vec<Box<dyn Client>>,
    wires: BTreeMap<u64, Wire>,
    next_connection: u64,
    model: Model,
    trace: Trace,
    answer_lost: bool,
}

impl<'a> Sim<'a> {
    fn new(seed: u64, options: &'a Options) -> Self {
        let mut rng = Rng::new(seed ^ 0x6f74_746c_6173_696d);
        let plan = Plan::new(&mut rng);
        let config = node::config(&plan);
        let paths: Vec<&str> = plan.dirs.iter().map(String::as_str).collect();
        let disk = MemDisk::with_dirs(&paths);
        node::format(&disk, &plan, &mut rng);
        let mut clients: Vec<Box<dyn Client>> = vec![Box::new(Admin::new(plan.synced))];
        for index in 0..plan.producers {
            clients.push(Box::new(Producer::new(index, &mut rng)));
        }
        for index in 0..plan.consumers {
            clients.push(Box::new(Consumer::new(index)));
        }
        for index in 0..plan.committers {
            clients.push(Box::new(Committer::new(index)));
        }
        for index in 0..plan.members {
            clients.push(Box::new(Member::new(index)));
        }
        Self {
            options,
            plan,
            config,
            rng,
            now: 0,
            wall_offset_ms: EPOCH_MS,
            queue: BTreeMap::new(),
            next_event: 0,
            disk,
            node: None,
            full_until: 0,
            survival: Survival::Clean,
            clients,
            wires: BTreeMap::new(),
            next_connection: 0,
            model: Model::default(),
            trace: Trace::new(options.trace, options.keep),
            answer_lost: false,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        self.trace.note(0, format_args!("{:?}", self.plan));
        self.use_disk(self.disk.clone());
        self.at(0, Event::Start);
        self.at(SECOND, Event::Check);
        for client in 0..self.clients.len() {
            self.at(1000, Event::Act(client));
        }
        for (at, fault) in self.plan.faults.clone() {
            self.at(at, Event::Fault(fault));
        }
        self.at(self.plan.end, Event::Stop);
        let finish = self.plan.end + SETTLE;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > finish {
                break;
            }
            self.now = self.now.max(at);
            self.step(event);
            if let Some(what) = self.model.violation() {
                return Err(what.to_owned());
            }
            if self.trace.events() > EVENTS_MAX {
                return Err(format!("more than {EVENTS_MAX} events"));
            }
        }
        self.finish()
    }

    /// A clean stop, a start, then a power loss with nothing going on, and another start: everything
    /// that was acknowledged must be there after both.
    fn finish(&mut self) -> Result<(), String> {
        self.now = self.plan.end + SETTLE;
        self.check(SETTLED_MAX);
        self.disk.clear_faults();
        self.disk.set_capacity(None);
        self.full_until = 0;
        for round in 0..3 {
            if self.node.is_none() {
                self.start();
            }
            match round {
                0 => self.stop(),
                1 => self.crash(Survival::Synced),
                _ => {}
            }
            if let Some(what) = self.model.violation() {
                return Err(what.to_owned());
            }
        }
        self.crash(Survival::All);
        Ok(())
    }

    fn at(&mut self, at: u64, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Act(client) => {
                self.with_client(client, |client, cx| client.act(cx));
            }
            Event::ToServer(id, frame) => self.received(id, frame),
            Event::Poll(id) => self.poll(id),
            Event::Write(id) => self.write(id),
            Event::ToClient(id, frame) => self.arrived(id, frame),
            Event::ClientClosed(client, id) => self.client_closed(client, id),
            Event::ServerGone(id) => drop(self.wires.remove(&id)),
            Event::Tick(incarnation) => self.tick(incarnation),
            Event::Lane(incarnation, lane) => self.lane(incarnation, lane),
            Event::Fault(fault) => self.fault(fault),
            Event::Free => {
                self.trace.note(self.now, format_args!("the disk has room again"));
                self.disk.set_capacity(None);
                let incarnation = self.model.incarnation;
                self.at(self.now + RESUME, Event::Resumed(incarnation));
            }
            Event::Resumed(incarnation) => self.resumed(incarnation),
            Event::Restart => match self.rng.below(3) {
                _ if self.node.is_none() => {}
                0 => self.crash(Survival::Synced),
                1 => self.crash(Survival::All),
                _ => self.stop(),
            },
            Event::Start => self.start(),
            Event::Check => {
                self.check(ANSWER_MAX);
                self.at(self.now + SECOND, Event::Check);
            }
            Event::Stop => {
                self.trace.note(self.now, format_args!("clients stop"));
                self.model.stopping = true;
            }
        }
    }

    // Clients.

    fn with_client(&mut self, index: usize, call: impl FnOnce(&mut dyn Client, &mut Cx<'_>)) {
        let asked = {
            let now = now_at(self.now, self.wall_offset_ms);
            let mut cx = Cx {
                now: self.now,
                wall: now.wall.0,
                rng: &mut self.rng,
                model: &mut self.model,
                mutation: &self.options.mutation,
                next_connection: &mut self.next_connection,
                asked: Vec::new(),
                round_trip_max: 4 * self.plan.latency_max + 1000,
            };
            call(&mut *self.clients[index], &mut cx);
            cx.asked
        };
        for asked in asked {
            self.asked(index, asked);
        }
    }

    fn asked(&mut self, client: usize, asked: Asked) {
        match asked {
            Asked::Open(id) => {
                let accept = |node: &Node| wire::accept(&node.broker, &node.env, id);
                let server = self.node.as_ref().map(accept);
                if server.is_none() {
                    let at = self.now + 20_000;
                    self.at(at, Event::ClientClosed(client, id));
                }
                self.wires.insert(id, Wire::new(client, server, self.now));
            }
            Asked::Send { connection, correlation, frame, answered, what } => {
                let name = self.clients[client].name();
                let crc = crc32c(&frame);
                self.trace.note(
                    self.now,
                    format_args!("{name} sends {what} {correlation} on {connection}: {crc:08x}"),
                );
                let way = self.rng.below(self.plan.latency_max + 1);
                let Some(wire) = self.wires.get_mut(&connection) else { return };
                if wire.server.is_none() {
                    return;
                }
                if answered {
                    wire.outstanding.insert(correlation, self.now);
                }
                wire.to_server_at = wire.to_server_at.max(self.now + way);
                let at = wire.to_server_at;
                self.at(at, Event::ToServer(connection, frame));
            }
            Asked::Cut { connection, linger } => {
                self.trace.note(self.now, format_args!("connection {connection} is cut"));
                let later = self.rng.below(200_000);
                match self.wires.get_mut(&connection) {
                    Some(wire) if linger => {
                        wire.heard = false;
                        wire.outstanding.clear();
                        self.at(self.now + later, Event::ServerGone(connection));
                    }
                    _ => drop(self.wires.remove(&connection)),
                }
            }
            Asked::ActAt(at) => self.at(at, Event::Act(client)),
        }
    }

    fn arrived(&mut self, id: u64, frame: Bytes) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.heard) else { return };
        let correlation = frame.get(..4).and_then(|c| c.try_into().ok()).map(i32::from_be_bytes);
        let correlation = correlation.unwrap_or(-1);
        let first = wire.outstanding.pop_first().map(|(correlation, _)| correlation);
        let client = wire.client;
        let (name, crc) = (self.clients[client].name(), crc32c(&frame));
        self.trace.note(self.now, format_args!("{name} gets {correlation} on {id}: {crc:08x}"));
        if first != Some(correlation) {
            self.model.violate(format!("answer {correlation} arrived, expected was {first:?}"));
            return;
        }
        self.with_client(client, |client, cx| client.answer(cx, correlation, frame));
    }

    fn client_closed(&mut self, client: usize, id: u64) {
        if self.wires.remove(&id).is_none_or(|wire| !wire.heard) {
            return;
        }
        self.trace.note(self.now, format_args!("connection {id} is closed"));
        self.with_client(client, |client, cx| client.closed(cx));
    }

    /// Every request is answered in bounded time.
    fn check(&mut self, bound: u64) {
        let now = self.now;
        let late = self.wires.iter().find_map(|(id, wire)| {
            let (correlation, sent) = wire.outstanding.first_key_value()?;
            (now - sent > bound).then_some((*id, wire.client, *correlation))
        });
        if let Some((id, client, correlation)) = late {
            let name = self.clients[client].name();
            self.model.violate(format!(
                "request {correlation} of {name} on connection {id} is not answered"
            ));
        }
    }

    // The broker's side of connections.

    fn received(&mut self, id: u64, frame: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.inbox.push_back(frame);
        self.pump(id);
    }

    fn poll(&mut self, id: u64) {
        self.set_clock();
        let now = now_at(self.now, self.wall_offset_ms);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(server) = &mut wire.server else { return };
        server.poll(now);
        self.pump(id);
    }

    /// Gives the broker what it reads, and takes what it answers.
    fn pump(&mut self, id: u64) {
        self.set_clock();
        let now = now_at(self.now, self.wall_offset_ms);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(server) = &mut wire.server else { return };
        let mut answered = 0;
        loop {
            while let Some(response) = server.take_response() {
                wire.outbox.push_back(response);
                answered += 1;
            }
            if !server.ready_for_frame() {
                break;
            }
            let Some(frame) = wire.inbox.pop_front() else { break };
            server.frame(frame, now);
        }
        let deadline = server.deadline().0;
        let closing = server.should_close().map(str::to_owned);
        if self.settle() {
            return;
        }
        for _ in 0..answered {
            self.write_later(id);
        }
        if deadline != u64::MAX {
            self.at(deadline, Event::Poll(id));
        }
        if let Some(reason) = closing {
            self.close(id, &reason);
        }
    }

    /// The broker closes a connection: what is answered is still written.
    fn close(&mut self, id: u64, reason: &str) {
        self.trace.note(self.now, format_args!("the broker closes {id}: {reason}"));
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.server = None;
        wire.inbox.clear();
        let (client, at) = (wire.client, wire.write_at + self.plan.latency_max + 1);
        self.at(at, Event::ClientClosed(client, id));
        if !self.model.disk_fault && !reason.contains("acks=0") {
            self.model.violate(format!("a connection was closed: {reason}"));
        }
    }

    fn write_later(&mut self, id: u64) {
        let slow = self.rng.chance(1, 20);
        let wait = if slow { self.rng.below(self.plan.latency_max + 1) } else { 0 };
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.write_at = wire.write_at.max(self.now + wait);
        let at = wire.write_at;
        self.at(at, Event::Write(id));
    }

    fn write(&mut self, id: u64) {
        let way = self.rng.below(self.plan.latency_max + 1);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(response) = wire.outbox.pop_front() else { return };
        let defect = self.model.counts.fetched > 20 && !self.answer_lost;
        let spoil = defect && self.options.mutation == Mutation::ChangeServedRecord;
        let lose = defect && self.options.mutation == Mutation::LoseAnswer;
        let slices = response.parts.len() > 1;
        self.answer_lost |= (spoil && slices) || lose;
        if lose {
            return;
        }
        match wire::flatten(response, spoil) {
            Ok(frame) => {
                wire.to_client_at = wire.to_client_at.max(self.now + way);
                let at = wire.to_client_at;
                self.at(at, Event::ToClient(id, frame));
            }
            Err(_) if self.disk.is_dead() => drop(self.settle()),
            Err(WriteError::Truncated) => {
                let client = wire.client;
                self.at(self.now, Event::ClientClosed(client, id));
            }
            Err(WriteError::Io(error)) => {
                self.model.violate(format!("what is to be sent cannot be read: {error}"));
            }
        }
    }

    // The broker.

    fn set_clock(&self) {
        if let Some(node) = &self.node {
            node.env.set_now(now_at(self.now, self.wall_offset_ms));
        }
    }

    /// Takes what the broker asked for. True if the machine died meanwhile.
    fn settle(&mut self) -> bool {
        if self.disk.is_dead() {
            if self.node.is_some() {
                self.crash(Survival::Synced);
            }
            return true;
        }
        let Some(node) = &mut self.node else { return true };
        let asked = node.env.take();
        let incarnation = self.model.incarnation;
        let mut events = Vec::new();
        for job in asked.jobs {
            let key = LaneKey::of(&job);
            let lane = node.lanes.entry(key).or_default();
            if lane.is_empty() {
                let at = self.now + self.rng.below(self.plan.job_delay_max + 1);
                events.push((at, Event::Lane(incarnation, key)));
            }
            lane.push_back(job);
        }
        if let Some(&tick) = asked.ticks.iter().min()
            && node.tick_at.is_none_or(|at| tick < at)
        {
            node.tick_at = Some(tick);
            events.push((tick, Event::Tick(incarnation)));
        }
        let mut woken = asked.woken;
        woken.sort_unstable();
        woken.dedup();
        for id in woken {
            events.push((self.now + self.rng.below(100), Event::Poll(id)));
        }
        for (at, event) in events {
            self.at(at, event);
        }
        false
    }

    fn tick(&mut self, incarnation: u64) {
        self.set_clock();
        let Some(node) = &mut self.node else { return };
        if incarnation != self.model.incarnation || node.tick_at.is_none_or(|at| at > self.now) {
            return;
        }
        node.tick_at = None;
        let next = node.broker.tick();
        self.trace.note(self.now, format_args!("tick, next at {}", next.0));
        if next.0 <= self.now {
            self.model.violate(format!("a tick at {} asks for one at {}", self.now, next.0));
        }
        node.env.schedule(next);
        self.settle();
    }

    fn lane(&mut self, incarnation: u64, key: LaneKey) {
        self.set_clock();
        let Some(node) = &mut self.node else { return };
        if incarnation != self.model.incarnation {
            return;
        }
        let Some(lane) = node.lanes.get_mut(&key) else { return };
        let Some(job) = lane.pop_front() else { return };
        let more = !lane.is_empty();
        self.trace.note(self.now, format_args!("{job:?}"));
        node.broker.run(job);
        let before = node.lanes.get(&key).is_some_and(|lane| !lane.is_empty());
        debug_assert_eq!(before, more, "jobs are queued only by settle");
        if more {
            // `settle` schedules a lane only when it was empty.
            let at = self.now + self.rng.below(self.plan.job_delay_max + 1);
            self.at(at, Event::Lane(incarnation, key));
        }
        self.settle();
    }

    // Faults.

    fn use_disk(&mut self, disk: MemDisk) {
        match self.options.mutation {
            Mutation::IgnoreSyncs(glob) => disk.ignore_file_syncs(glob),
            Mutation::IgnoreDirSyncs(glob) => disk.ignore_dir_syncs(glob),
            _ => {}
        }
        self.disk = disk;
    }

    fn fault(&mut self, fault: FaultKind) {
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
            FaultKind::ClockJump(millis) => self.wall_offset_ms += millis,
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
    fn resumed(&mut self, incarnation: u64) {
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
    fn crash(&mut self, left: Survival) {
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
    fn stop(&mut self) {
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

    fn start(&mut self) {
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
