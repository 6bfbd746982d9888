//! One group, clients that behave and a world that does not: answers get lost, clients die, appends
//! fail, the coordinator crashes and loses what was not committed. One seed, one history.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::{Command, GroupConfig, Response, Ticket};
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use ottla_protocol::{ByteString, ErrorCode};
use ottla_testkit::Rng;

use crate::node::GroupNode as Node;

const PARTITIONS: i32 = 12;
const CLIENTS: usize = 6;
const SEEDS: u64 = 150;
const STEPS: usize = 500;

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Wants to join.
    Out,
    /// Has an id or not, waits for the answer of a JoinGroup.
    Joining,
    /// Wants to sync; `Some` are the members it has to assign.
    Joined(Option<Vec<ByteString>>),
    Syncing(Option<Vec<ByteString>>),
    /// Owns partitions.
    Member(BTreeSet<i32>),
    /// Not coming back.
    Dead,
}

#[derive(Debug)]
struct Client {
    instance: Option<ByteString>,
    version: i16,
    id: ByteString,
    generation: i32,
    protocol: ByteString,
    phase: Phase,
    /// The request whose answer it waits for, and how often it has looked for it.
    waits: Option<(Ticket, u32)>,
}

/// What the checks remember.
#[derive(Debug, Default)]
struct History {
    /// Per coordinator life and generation: protocol and leader that every joiner is told.
    joins: BTreeMap<(usize, i32), (ByteString, ByteString)>,
    /// Per generation and partition: the one member (by instance, or id) that has it.
    owners: BTreeMap<(i32, i32), ByteString>,
    /// Per partition: the latest offset whose commit was acknowledged.
    acknowledged: BTreeMap<i32, i64>,
}

struct World {
    seed: u64,
    rng: Rng,
    node: Node,
    clients: Vec<Client>,
    commits: BTreeMap<Ticket, (i32, i64)>,
    history: History,
    life: usize,
    next_offset: i64,
    turn: usize,
    faults: bool,
}

#[test]
fn every_history_is_safe_and_ends_in_one_stable_generation() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.faults = false;
        world.node.lags = false;
        world.node.failures.clear();
        let done = world.node.commit();
        world.deliver(done);
        for _ in 0..STEPS {
            world.step();
        }
        world.check_progress();
        world.check_reload();
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = GroupConfig {
            initial_rebalance_delay_ms: *rng.pick(&[0, 3000]),
            group_size_max: if rng.chance(1, 4) { 5 } else { 100 },
            ..GroupConfig::default()
        };
        let mut node = Node::new(config);
        node.lags = true;
        let mut clients: Vec<Client> =
            (0..CLIENTS).map(|index| Client::new(index, &mut rng)).collect();
        // The fourth static client shares the instance of the first: one fences the other.
        if rng.chance(1, 2) {
            let first = clients[0].instance.clone();
            clients[3].instance = first;
        }
        Self {
            seed,
            rng,
            node,
            clients,
            commits: BTreeMap::new(),
            history: History::default(),
            life: 0,
            next_offset: 0,
            turn: 0,
            faults: true,
        }
    }

    fn step(&mut self) {
        let millis = self.rng.below(700);
        let done = self.node.advance(millis);
        self.deliver(done);
        if self.rng.chance(1, 3) {
            let done = self.node.commit();
            self.deliver(done);
        }
        if self.faults {
            self.fault();
        }
        // Chance would let a session end now and then: in a healthy world all get their turn.
        self.turn += 1;
        let chosen = if self.faults { self.rng.below(CLIENTS as u64) as usize } else { self.turn };
        self.act(chosen % CLIENTS);
        if self.rng.chance(1, 10) {
            self.check_offsets();
        }
    }

    fn fault(&mut self) {
        match self.rng.below(60) {
            0 => {
                self.node.failures.push(ErrorCode::NotEnoughReplicas);
            }
            1 => {
                self.life += 1;
                let done = self.node.reload(true);
                self.commits.clear();
                self.deliver(done);
            }
            2 => {
                let done = self.node.reload(false);
                self.deliver(done);
                self.life += 1;
            }
            3 => {
                // A client's process dies and starts again, knowing nothing.
                let index = self.rng.below(CLIENTS as u64) as usize;
                let fresh = Client::new(index, &mut self.rng);
                let instance = self.clients[index].instance.clone();
                self.clients[index] = Client { instance, ..fresh };
            }
            4 => {
                let index = self.rng.below(CLIENTS as u64) as usize;
                self.leave(index);
            }
            _ => {}
        }
    }

    fn act(&mut self, index: usize) {
        let hasty = self.faults && self.rng.chance(1, 8);
        let client = &mut self.clients[index];
        if let Some((_, looked)) = &mut client.waits {
            *looked += 1;
            let patience = if client.phase == Phase::Joining { 40 } else { 8 };
            if *looked < patience && !hasty {
                return;
            }
            // The answer is lost, or takes too long: the client asks again.
            client.waits = None;
            client.phase = match std::mem::replace(&mut client.phase, Phase::Out) {
                Phase::Syncing(members) => Phase::Joined(members),
                Phase::Joining => Phase::Out,
                phase => phase,
            };
        }
        match self.clients[index].phase.clone() {
            Phase::Out => self.join(index),
            Phase::Joined(members) => self.sync(index, members),
            Phase::Member(owned) => {
                let partition = owned.iter().next().copied();
                match partition.filter(|_| self.rng.chance(1, 3)) {
                    Some(partition) => self.commit(index, partition),
                    None => self.heartbeat(index),
                }
            }
            Phase::Joining | Phase::Syncing(_) | Phase::Dead => {}
        }
    }

    fn ask(&mut self, index: usize, command: Command, version: i16) {
        let (ticket, done) = self.node.handle(command, version);
        self.clients[index].waits = Some((ticket, 0));
        self.deliver(done);
    }

    fn join(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.phase = Phase::Joining;
        // A loaded member is known by its group's protocol alone, so all must support both.
        let offered =
            if index.is_multiple_of(2) { ["range", "sticky"] } else { ["sticky", "range"] };
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 15_000,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: "test".into(),
            protocols: offered
                .iter()
                .map(|name| JoinGroupRequestProtocol { name: (*name).into(), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        let version = client.version;
        self.ask(index, Command::JoinGroup(request), version);
    }

    fn sync(&mut self, index: usize, members: Option<Vec<ByteString>>) {
        let client = &mut self.clients[index];
        let mut assignments: BTreeMap<ByteString, Vec<u8>> = BTreeMap::new();
        if let Some(members) = members.as_ref().filter(|members| !members.is_empty()) {
            for partition in 0..PARTITIONS {
                let member = &members[partition as usize % members.len()];
                assignments.entry(member.clone()).or_default().push(partition as u8);
            }
        }
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: client.generation,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: Some("test".into()),
            protocol_name: Some(client.protocol.clone()),
            assignments: assignments
                .into_iter()
                .map(|(member_id, assignment)| SyncGroupRequestAssignment {
                    member_id,
                    assignment: assignment.into(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        client.phase = Phase::Syncing(members);
        self.ask(index, Command::SyncGroup(request), 5);
    }

    fn heartbeat(&mut self, index: usize) {
        let client = &self.clients[index];
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: client.generation,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            ..Default::default()
        };
        self.ask(index, Command::Heartbeat(request), 4);
    }

    fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let member = MemberIdentity {
            member_id: std::mem::take(&mut client.id),
            group_instance_id: client.instance.clone(),
            ..Default::default()
        };
        client.phase = Phase::Out;
        client.waits = None;
        let request =
            LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..Default::default() };
        let (_, done) = self.node.handle(Command::LeaveGroup(request), 5);
        self.deliver(done);
    }

    fn commit(&mut self, index: usize, partition: i32) {
        let client = &self.clients[index];
        self.next_offset += 1;
        let offset = self.next_offset;
        let topic = OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: client.generation,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            topics: vec![topic],
            ..Default::default()
        };
        let (ticket, done) = self.node.handle(Command::OffsetCommit(request), 9);
        self.commits.insert(ticket, (partition, offset));
        self.clients[index].waits = Some((ticket, 0));
        self.deliver(done);
    }

    fn deliver(&mut self, done: Vec<(Ticket, Response)>) {
        for (ticket, response) in done {
            if let Some((partition, offset)) = self.commits.remove(&ticket)
                && let Response::OffsetCommit(answer) = &response
                && answer.topics[0].partitions[0].error_code == 0
            {
                let latest = self.history.acknowledged.entry(partition).or_default();
                *latest = offset.max(*latest);
            }
            let waiting = |c: &Client| c.waits.is_some_and(|(waits, _)| waits == ticket);
            let Some(index) = self.clients.iter().position(waiting) else { continue };
            if self.faults && self.rng.chance(1, 15) {
                continue; // Lost: the client will run out of patience.
            }
            self.clients[index].waits = None;
            self.receive(index, response);
        }
    }

    fn receive(&mut self, index: usize, response: Response) {
        let (seed, life) = (self.seed, self.life);
        let client = &mut self.clients[index];
        match response {
            Response::JoinGroup(r) if r.error_code == 0 => {
                let protocol = r.protocol_name.clone().unwrap();
                let told = (protocol.clone(), r.leader.clone());
                if !r.skip_assignment && client.version >= 9 && client.instance.is_none() {
                    let first = self.history.joins.entry((life, r.generation_id)).or_insert(told);
                    assert_eq!(first.0, protocol, "seed {seed}: protocols of {}", r.generation_id);
                }
                let leads = r.leader == r.member_id && !r.skip_assignment;
                let members = r.members.into_iter().map(|m| m.member_id).collect();
                client.id = r.member_id;
                client.generation = r.generation_id;
                client.protocol = protocol;
                client.phase = Phase::Joined(leads.then_some(members));
            }
            Response::JoinGroup(r) => {
                if r.error_code == ErrorCode::MemberIdRequired.code() {
                    client.id = r.member_id;
                }
                client.failed(r.error_code);
            }
            Response::SyncGroup(r) if r.error_code == 0 => {
                let owned: BTreeSet<i32> = r.assignment.iter().map(|p| i32::from(*p)).collect();
                let me = client.instance.clone().unwrap_or_else(|| client.id.clone());
                for partition in &owned {
                    let key = (client.generation, *partition);
                    let owner = self.history.owners.entry(key).or_insert_with(|| me.clone());
                    assert_eq!(*owner, me, "seed {seed}: (generation, partition) {key:?}");
                }
                client.phase = Phase::Member(owned);
            }
            Response::SyncGroup(r) => client.failed(r.error_code),
            Response::Heartbeat(r) => {
                if r.error_code != 0 {
                    client.failed(r.error_code);
                }
            }
            Response::OffsetCommit(r) => {
                let code = r.topics[0].partitions[0].error_code;
                if code != 0 && code != ErrorCode::RebalanceInProgress.code() {
                    client.failed(code);
                }
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }

    fn check_offsets(&mut self) {
        let group =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
        let before = self.history.acknowledged.clone();
        let (ticket, mut done) =
            self.node.handle(Command::OffsetFetch { group, require_stable: true }, 9);
        done.extend(self.node.commit());
        let position = done.iter().position(|(t, _)| *t == ticket).unwrap();
        let (_, response) = done.remove(position);
        self.deliver(done);
        let Response::OffsetFetch(answer) = response else { panic!("{response:?}") };
        let stored: BTreeMap<i32, i64> = answer
            .topics
            .iter()
            .flat_map(|t| &t.partitions)
            .map(|p| (p.partition_index, p.committed_offset))
            .collect();
        for (partition, offset) in before {
            let found = stored.get(&partition).copied().unwrap_or(-1);
            assert!(found >= offset, "seed {}: {partition}: {offset} lost, {found}", self.seed);
        }
    }

    /// The log carries all that a client can see of a stable group.
    fn check_reload(&mut self) {
        let before = self.seen();
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
                _ if self.node.config.group_size_max < CLIENTS => {}
                _ => panic!("seed {seed}: {client:?} does not get in: {:#?}", self.node.shard),
            }
        }
        assert_eq!(generations.len(), 1, "seed {seed}: {generations:?}");
        assert_eq!(all.len(), PARTITIONS as usize, "seed {seed}: {all:?}");
    }
}

impl Client {
    fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            instance: index.is_multiple_of(3).then(|| format!("instance-{index}").into()),
            version: *rng.pick(&[9, 9, 9, 3, 5]),
            id: ByteString::new(),
            generation: -1,
            protocol: ByteString::new(),
            phase: Phase::Out,
            waits: None,
        }
    }

    fn failed(&mut self, code: i16) {
        match ErrorCode::from_code(code).unwrap() {
            ErrorCode::UnknownMemberId | ErrorCode::GroupMaxSizeReached => {
                self.id = ByteString::new();
                self.phase = Phase::Out;
            }
            ErrorCode::FencedInstanceId => self.phase = Phase::Dead,
            ErrorCode::MemberIdRequired
            | ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration => self.phase = Phase::Out,
            // The same again, later.
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                self.phase = match std::mem::replace(&mut self.phase, Phase::Out) {
                    Phase::Joining => Phase::Out,
                    Phase::Syncing(members) => Phase::Joined(members),
                    phase => phase,
                };
            }
            other => panic!("a well-behaved client got {other}: {self:?}"),
        }
    }
}
