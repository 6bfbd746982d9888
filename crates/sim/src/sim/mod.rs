//! The loop: events in order of virtual time, and what each does.

mod machine;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::Env;
use ottla_config::BrokerConfig;
use ottla_protocol::crc32c;
use ottla_testkit::{MemDisk, Rng};

use crate::Mutation;
use crate::clients::{
    Admin, Asked, Client, Committer, Consumer, Cx, Examiner, Late, Member, Producer, Scribe,
    Teller, Worker,
};
use crate::env::now_at;
use crate::model::{Counts, Model, Survival};
use crate::node::{self, LaneKey, Node};
use crate::plan::{FaultKind, Plan};
use crate::trace::Trace;
use crate::wire::{self, Wire, WriteError};

const SECOND: u64 = 1_000_000;
/// Wall clock at virtual time zero, in milliseconds.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// Clients settle for so long after the end; stalls are shorter.
const SETTLE: u64 = 8 * SECOND;
/// The same where transactions have to time out first, after a full disk.
const SETTLE_TRANSACTIONS: u64 = 16 * SECOND;
/// Longest that anything may stay unanswered. Stalls and full disks are shorter, and rebalances,
/// and what clients let the broker wait.
const ANSWER_MAX: u64 = 15 * SECOND;
/// The same once clients start nothing new.
const SETTLED_MAX: u64 = 6 * SECOND;
/// For what comes on no connection.
const NO_CONNECTION: u64 = u64::MAX - 1;
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

fn clients(plan: &Plan, rng: &mut Rng) -> Vec<Box<dyn Client>> {
    let transactional = plan.transactions.is_some();
    let mut clients: Vec<Box<dyn Client>> = vec![Box::new(Admin::new(plan.synced, transactional))];
    for index in 0..plan.producers {
        clients.push(Box::new(Producer::new(index, rng)));
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
    let Some(transactions) = &plan.transactions else { return clients };
    for who in &transactions.scribes {
        clients.push(Box::new(Scribe::new(who.clone())));
    }
    for (index, who) in transactions.tellers.iter().enumerate() {
        clients.push(Box::new(Teller::new(index, who.clone())));
    }
    for (index, who) in transactions.workers.iter().enumerate() {
        clients.push(Box::new(Worker::new(index, who.clone())));
    }
    clients.push(Box::new(Examiner::new()));
    clients
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
        let plan = Plan::new(&mut rng, !seed.is_multiple_of(2));
        let config = node::config(&plan);
        let paths: Vec<&str> = plan.dirs.iter().map(String::as_str).collect();
        let disk = MemDisk::with_dirs(&paths);
        node::format(&disk, &plan, &mut rng);
        let clients = clients(&plan, &mut rng);
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
        let finish = self.finish_at();
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
        self.now = self.finish_at();
        self.check(SETTLED_MAX);
        if let Some(what) = self.model.awaited.take() {
            return Err(format!("still waiting at the end: {what}"));
        }
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

    fn finish_at(&self) -> u64 {
        let transactional = self.plan.transactions.is_some();
        self.plan.end + if transactional { SETTLE_TRANSACTIONS } else { SETTLE }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Act(client) => {
                self.with_client(client, NO_CONNECTION, |client, cx| client.act(cx));
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
            Event::Free => self.free(),
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

    /// `connection` is the one that what happens came on, if it came on one.
    fn with_client(
        &mut self,
        index: usize,
        connection: u64,
        call: impl FnOnce(&mut dyn Client, &mut Cx<'_>),
    ) {
        let asked = {
            let now = now_at(self.now, self.wall_offset_ms);
            let mut cx = Cx {
                now: self.now,
                wall: now.wall.0,
                rng: &mut self.rng,
                model: &mut self.model,
                mutation: &self.options.mutation,
                next_connection: &mut self.next_connection,
                connection,
                asked: Vec::new(),
                round_trip_max: 4 * self.plan.latency_max + 2 * self.plan.delay_max + 1000,
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
                let way = self.way();
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
            Asked::Cut { connection, late } => self.cut(connection, late),
            Asked::ActAt(at) => self.at(at, Event::Act(client)),
        }
    }

    /// The client hears nothing of a connection any more; what is on the way there arrives late.
    fn cut(&mut self, connection: u64, late: Late) {
        self.trace.note(self.now, format_args!("connection {connection} is cut, {late:?}"));
        let later = self.rng.below(200_000);
        let (Some(wire), Late::By(late)) = (self.wires.get_mut(&connection), late) else {
            return drop(self.wires.remove(&connection));
        };
        wire.heard = false;
        wire.outstanding.clear();
        if late > 0 {
            let on_the_way = self.queue.iter().filter_map(|(key, event)| match event {
                Event::ToServer(id, _) if *id == connection => Some(*key),
                _ => None,
            });
            for key in on_the_way.collect::<Vec<_>>() {
                if let Some(event) = self.queue.remove(&key) {
                    self.at(key.0 + late, event);
                }
            }
        }
        self.at(self.now + later + late, Event::ServerGone(connection));
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
        self.with_client(client, id, |client, cx| client.answer(cx, correlation, frame));
    }

    fn client_closed(&mut self, client: usize, id: u64) {
        if self.wires.remove(&id).is_none_or(|wire| !wire.heard) {
            return;
        }
        self.trace.note(self.now, format_args!("connection {id} is closed"));
        self.with_client(client, id, |client, cx| client.closed(cx));
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

    /// How long a frame travels.
    fn way(&mut self) -> u64 {
        let late = self.plan.delay_max > 0 && self.rng.chance(1, 200);
        self.rng.below(self.plan.latency_max + 1)
            + if late { self.rng.below(self.plan.delay_max) } else { 0 }
    }

    fn write(&mut self, id: u64) {
        let way = self.way();
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
}
