//! One group, clients that behave and a world that does not: requests and answers get lost and come
//! late, clients die, leave and come back, appends fail, the coordinator crashes and loses what was
//! not committed. One seed, one history. Checked throughout: one owner of a partition in a
//! generation, generations only go on, no acknowledged commit is lost, none of an old generation is
//! accepted; and once the world is healthy, everybody has what is theirs.

mod client;
mod history;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ottla_coordinator::{Command, GroupConfig, Response, Ticket};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_testkit::Rng;

use self::client::{Client, PARTITIONS, Phase};
use self::history::History;
use self::network::{Message, Network};
use crate::node::GroupNode;

const CLIENTS_MAX: u64 = 8;
const SEEDS: u64 = 1000;
const STEPS: usize = 400;
/// Of these some have to catch each planted anomaly.
const PLANTED_SEEDS: u64 = 300;

/// A defect of the coordinator that the checks have to find.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Anomaly {
    /// A commit is acknowledged and not stored.
    CommitLost,
    /// A restart forgets the newer half of the log.
    LogLost,
    /// Everybody is told to have the first partition.
    TwoOwners,
    /// A commit of an old generation counts as one of the current.
    ZombieCommit,
    /// No deadline is ever noticed.
    NoDeadlines,
}

struct World {
    seed: u64,
    rng: Rng,
    node: GroupNode,
    network: Network,
    clients: Vec<Client>,
    /// The call that a request in the coordinator's hands belongs to.
    calls: BTreeMap<Ticket, u64>,
    history: History,
    millis: u64,
    next_call: u64,
    next_offset: i64,
    turn: usize,
    faults: bool,
    /// One fault of each kind in so many steps.
    trouble: u64,
    planted: Option<Anomaly>,
}

#[test]
fn every_history_is_safe_and_ends_in_one_stable_generation() {
    for seed in 0..SEEDS {
        World::new(seed, None).run();
    }
}

#[test]
fn every_planted_anomaly_is_found() {
    use Anomaly::{CommitLost, LogLost, NoDeadlines, TwoOwners, ZombieCommit};
    for (anomaly, words) in [
        (CommitLost, "is lost"),
        (LogLost, "is lost"),
        (LogLost, "is over"),
        (TwoOwners, "two own"),
        (ZombieCommit, "is accepted after"),
        (NoDeadlines, "does not get in"),
    ] {
        let found = (0..PLANTED_SEEDS).any(|seed| {
            let mut world = World::new(seed, Some(anomaly));
            let panic = catch_unwind(AssertUnwindSafe(|| world.run())).err();
            let said = panic.as_ref().and_then(|panic| panic.downcast_ref::<String>());
            said.is_some_and(|said| said.contains(words))
        });
        assert!(found, "{anomaly:?} passes: no seed says {words:?}");
    }
}

impl World {
    fn new(seed: u64, planted: Option<Anomaly>) -> Self {
        let mut rng = Rng::new(seed);
        let config = GroupConfig {
            initial_rebalance_delay_ms: *rng.pick(&[0, 3000]),
            group_size_max: if rng.chance(1, 4) { 5 } else { 100 },
            ..GroupConfig::default()
        };
        let mut node = GroupNode::new(config);
        node.lags = true;
        let network = Network::new(&mut rng);
        let trouble = rng.pick(&[60, 150, 400]);
        let count = 2 + rng.below(CLIENTS_MAX - 1) as usize;
        let mut clients: Vec<Client> =
            (0..count).map(|index| Client::new(index, &mut rng)).collect();
        // The second static client may have the instance of the first: one fences the other.
        if count > 3 && rng.chance(1, 2) {
            let first = clients[0].instance.clone();
            clients[3].instance = first;
        }
        Self {
            seed,
            rng,
            node,
            network,
            trouble: *trouble,
            clients,
            calls: BTreeMap::new(),
            history: History::new(seed),
            millis: 0,
            next_call: 0,
            next_offset: 0,
            turn: 0,
            faults: true,
            planted,
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.faults = false;
        self.network.healthy = true;
        self.node.lags = false;
        self.node.failures.clear();
        let done = self.node.commit();
        self.answered(done);
        for _ in 0..STEPS {
            self.step();
        }
        self.check_offsets();
        self.check_progress();
        self.check_reload();
    }

    fn step(&mut self) {
        let target = self.millis + self.rng.below(700);
        while let Some((at, message)) = self.network.arrival(target) {
            self.pass_until(at);
            self.arrived(message);
        }
        self.pass_until(target);
        if self.rng.chance(1, 3) {
            let done = self.node.commit();
            self.answered(done);
        }
        if self.faults {
            self.fault();
        }
        // Chance would let a session end now and then: in a healthy world all get their turn.
        self.turn += 1;
        let count = self.clients.len();
        let chosen = if self.faults { self.rng.below(count as u64) as usize } else { self.turn };
        self.act(chosen % count);
        if self.rng.chance(1, 10) {
            self.check_offsets();
        }
    }

    /// Time passes for the coordinator. A message may arrive late, at a time that is over.
    fn pass_until(&mut self, at: u64) {
        let millis = at.saturating_sub(self.millis);
        self.millis += millis;
        if self.planted == Some(Anomaly::NoDeadlines) {
            return self.node.sleep(millis);
        }
        let done = self.node.advance(millis);
        self.answered(done);
    }

    fn fault(&mut self) {
        let index = self.rng.below(self.clients.len() as u64) as usize;
        match self.rng.below(self.trouble) {
            0 => self.node.failures.push(ErrorCode::NotEnoughReplicas),
            1 => self.crash(),
            2 => {
                let done = self.node.reload(false);
                self.answered(done);
                self.history.life += 1;
            }
            3 => {
                // A client's process dies and starts again, knowing nothing.
                let instance = self.clients[index].instance.take();
                self.clients[index] = Client::new(index, &mut self.rng);
                self.clients[index].instance = instance;
            }
            4 => {
                let command = self.clients[index].leave();
                self.send(command, 5);
            }
            _ => {}
        }
    }

    fn crash(&mut self) {
        if self.planted == Some(Anomaly::LogLost) {
            self.node.lose_half();
        }
        self.history.crashed();
        self.history.life += 1;
        self.calls.clear();
        let done = self.node.reload(true);
        self.answered(done);
    }

    fn act(&mut self, index: usize) {
        let hasty = self.faults && self.rng.chance(1, 8);
        let client = &mut self.clients[index];
        if !client.is_free(self.millis, hasty) {
            return;
        }
        self.next_offset += 1;
        let call = (self.next_call, self.millis);
        if let Some((command, version)) = client.next(call, &mut self.rng, self.next_offset) {
            self.send(command, version);
        }
    }

    fn send(&mut self, command: Command, version: i16) {
        let message = Message::Request { call: self.next_call, command, version };
        self.next_call += 1;
        self.network.send(self.millis, &mut self.rng, message);
    }

    fn arrived(&mut self, message: Message) {
        match message {
            Message::Request { call, command, version } => self.handle(call, command, version),
            Message::Response { call, response } => {
                // Who asked may have given up, or died.
                let asked = self.clients.iter_mut().find(|client| client.waits_for(call));
                if let Some(client) = asked {
                    client.receive(response);
                }
            }
        }
    }

    fn handle(&mut self, call: u64, mut command: Command, version: i16) {
        let ticket = self.node.next_ticket();
        self.calls.insert(ticket, call);
        self.history.asked(ticket, &command, version);
        if let Command::OffsetCommit(request) = &mut command {
            match self.planted {
                Some(Anomaly::CommitLost) if self.rng.chance(1, 10) => {
                    let response = command.refuse(ErrorCode::None);
                    return self.answered(vec![(ticket, response)]);
                }
                Some(Anomaly::ZombieCommit) => {
                    request.generation_id_or_member_epoch = self.history.newest();
                }
                _ => {}
            }
        }
        let (_, done) = self.node.handle(command, version);
        self.answered(done);
    }

    fn answered(&mut self, done: Vec<(Ticket, Response)>) {
        for (ticket, mut response) in done {
            if let (Some(Anomaly::TwoOwners), Response::SyncGroup(r)) =
                (self.planted, &mut response)
                && r.error_code == 0
            {
                r.assignment = [&[0], &*r.assignment].concat().into();
            }
            self.history.answered(ticket, &response);
            if let Some(call) = self.calls.remove(&ticket) {
                let message = Message::Response { call, response };
                self.network.send(self.millis, &mut self.rng, message);
            }
        }
    }

    fn check_offsets(&mut self) {
        let group =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
        let acknowledged = self.history.acknowledged();
        let (ticket, mut done) =
            self.node.handle(Command::OffsetFetch { group, require_stable: true }, 9);
        done.extend(self.node.commit());
        let position = done.iter().position(|(t, _)| *t == ticket).unwrap();
        let (_, response) = done.remove(position);
        self.answered(done);
        let Response::OffsetFetch(answer) = response else { panic!("{response:?}") };
        let stored = answer.topics.iter().flat_map(|t| &t.partitions);
        let offsets = stored.map(|p| (p.partition_index, p.committed_offset)).collect();
        self.history.found(&acknowledged, &offsets);
    }

    /// The log carries all that a client can see of a stable group. One that is too large, because
    /// static members came on top of it, shrinks when it is loaded, as in Kafka.
    fn check_reload(&mut self) {
        let before = self.seen();
        let Response::DescribeGroups(groups) = &before[0] else { panic!("{before:?}") };
        if groups[0].members.len() > self.node.config.group_size_max {
            return;
        }
        self.node.reload(false);
        assert_eq!(before, self.seen(), "seed {}", self.seed);
    }

    fn seen(&mut self) -> Vec<Response> {
        let group =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
        let commands = [
            Command::DescribeGroups(vec!["g".into()]),
            Command::ListGroups { states: Vec::new(), types: Vec::new() },
            Command::OffsetFetch { group, require_stable: true },
        ];
        commands.into_iter().map(|command| self.node.handle(command, 6).1.remove(0).1).collect()
    }

    fn check_progress(&mut self) {
        let seed = self.seed;
        let mut all = BTreeSet::new();
        let mut generations = BTreeSet::new();
        for client in self.clients.iter().filter(|c| c.phase != Phase::Dead) {
            match &client.phase {
                Phase::Member(owned) => {
                    generations.insert(client.generation);
                    for partition in owned {
                        assert!(all.insert(*partition), "seed {seed}: two own {partition}");
                    }
                }
                // Someone may stand outside a group that is full.
                _ if self.node.config.group_size_max < self.clients.len() => {}
                _ => panic!("seed {seed}: {client:?} does not get in: {:#?}", self.node.shard),
            }
        }
        assert_eq!(generations.len(), 1, "seed {seed}: {generations:?}");
        assert_eq!(all.len(), PARTITIONS as usize, "seed {seed}: {all:?}");
    }
}
