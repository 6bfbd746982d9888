//! Some transactional ids, clients that behave and a world that does not: answers and markers get
//! lost or come late, clients die, appends fail, the coordinator crashes and loses what was not
//! committed. One seed, one history.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::{
    AddPartitions, CommandContext, Machine, MarkerOutcome, MarkerResults, Markers, Output, Ticket,
    TopicPartition, TransactionConfig, TransactionFilter, TransactionShard, TxnAction, TxnCommand,
    TxnResponse,
};
use ottla_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest};
use ottla_protocol::{ByteString, ErrorCode};
use ottla_testkit::Rng;

use super::data::{Attempt, Data};
use crate::node::{Entry, Node};

const IDS: usize = 3;
const PARTITIONS: u64 = 4;
const SEEDS: u64 = 100;
const STEPS: usize = 400;
/// Steps after which a client that hears nothing asks again.
const PATIENCE: u32 = 6;

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Has no producer id, or wants another epoch.
    Out,
    Ready,
    /// In a transaction, with the partitions that are in it and those that it wrote to.
    Open(Vec<TopicPartition>),
    /// Wants this end.
    Ending(bool),
}

#[derive(Debug)]
struct Client {
    id: ByteString,
    producer: (i64, i16),
    /// Whether it says its producer id and epoch when it asks for the next (KIP-360).
    knows_itself: bool,
    phase: Phase,
    attempt: Attempt,
    waits: Option<(Ticket, u32)>,
}

/// A record that waits for the coordinator's word.
struct Write {
    client: usize,
    place: TopicPartition,
    producer: (i64, i16),
    attempt: Attempt,
}

struct World {
    seed: u64,
    rng: Rng,
    node: Node<TransactionShard>,
    clients: Vec<Client>,
    /// Version of EndTxn and AddPartitionsToTxn.
    kip_890: bool,
    writes: BTreeMap<Ticket, Write>,
    data: Data,
    /// Markers on their way, and news of them.
    markers: Vec<(Markers, TopicPartition)>,
    news: Vec<MarkerResults>,
    /// News that come a second time, long after.
    old_news: Vec<MarkerResults>,
    /// The attempts whose client asked for a commit.
    asked: BTreeSet<Attempt>,
    /// What attempts were told.
    told: BTreeMap<Attempt, bool>,
    /// The latest producer id and epoch that somebody was told, by transactional id.
    latest: BTreeMap<ByteString, (i64, i16)>,
    attempts: Attempt,
    spare: i64,
    faults: bool,
}

#[test]
fn every_history_keeps_transactions_whole_and_ends_them_all() {
    let (mut commits, mut aborts) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check();
        commits += world.told.values().filter(|commit| **commit).count();
        aborts += world.data.results.values().filter(|commit| !**commit).count();
    }
    assert!(commits > 1_000 && aborts > 1_000, "{commits} commits, {aborts} aborts: too quiet");
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = TransactionConfig {
            transaction_version: *rng.pick(&[1, 2, 2]),
            abort_interval_ms: 1_000,
            ..TransactionConfig::default()
        };
        let kip_890 = config.transaction_version == 2 && rng.chance(3, 4);
        let mut node = Node::new(config);
        node.lags = true;
        // Each id has a second client, which fences the first, and is fenced.
        let clients = (0..2 * IDS).map(|index| Client::new(index % IDS)).collect();
        Self {
            seed,
            rng,
            node,
            clients,
            kip_890,
            writes: BTreeMap::new(),
            data: Data::default(),
            markers: Vec::new(),
            news: Vec::new(),
            old_news: Vec::new(),
            asked: BTreeSet::new(),
            told: BTreeMap::new(),
            latest: BTreeMap::new(),
            attempts: 0,
            spare: 1,
            faults: true,
        }
    }

    fn step(&mut self) {
        let done = self.node.advance(self.rng.below(300));
        self.deliver(done);
        if !self.faults || self.rng.chance(1, 3) {
            let done = self.node.commit();
            self.deliver(done);
        }
        self.collect();
        self.carry();
        if self.faults {
            self.fault();
        }
        let second = self.faults && self.rng.chance(1, 4);
        let index = self.rng.below(IDS as u64) as usize + if second { IDS } else { 0 };
        self.act(index);
        if self.rng.chance(1, 40) {
            self.check_rebuilt();
        }
        self.check_epochs();
    }

    fn fault(&mut self) {
        match self.rng.below(50) {
            0 => self.node.failures.push(ErrorCode::NotEnoughReplicas),
            1 => {
                self.node.epoch = LeaderEpoch(self.node.epoch.0 + 1);
                let crash = self.rng.chance(1, 2);
                let done = self.node.reload(crash);
                self.deliver(done);
            }
            2 => {
                let index = self.rng.below(self.clients.len() as u64) as usize;
                let fresh = Client::new(index % IDS);
                self.clients[index] = fresh;
            }
            _ => {}
        }
    }

    /// Markers that the coordinator wants written set out.
    fn collect(&mut self) {
        for TxnAction::WriteMarkers(markers) in std::mem::take(&mut self.node.actions) {
            for place in markers.partitions.clone() {
                self.markers.push((markers.clone(), place));
            }
        }
    }

    /// Some marker arrives, or its news do.
    fn carry(&mut self) {
        for _ in 0..4 {
            if self.markers.is_empty() || (self.faults && self.rng.chance(1, 3)) {
                break;
            }
            let index = self.rng.below(self.markers.len() as u64) as usize;
            let (markers, place) = self.markers.swap_remove(index);
            let timed_out = MarkerOutcome::Failed(ErrorCode::RequestTimedOut);
            // Before KIP-890 a marker that comes late may end the next transaction.
            let outcome = match self.rng.below(if self.faults { 8 } else { 1 }) {
                1 => timed_out,
                2 => {
                    self.data.mark(&markers, &place);
                    timed_out
                }
                3 if markers.transaction_version == 2 => {
                    self.markers.push((markers.clone(), place.clone()));
                    timed_out
                }
                _ => self.data.mark(&markers, &place),
            };
            self.news.push(MarkerResults {
                id: markers.id,
                transactional_id: markers.transactional_id,
                results: vec![(place, outcome)],
            });
        }
        if self.faults && self.rng.chance(1, 4) && !self.old_news.is_empty() {
            let index = self.rng.below(self.old_news.len() as u64) as usize;
            self.news.push(self.old_news.swap_remove(index));
        }
        while let Some(news) = self.next_news() {
            self.old_news.push(news.clone());
            let (_, done) = self.node.handle(TxnCommand::MarkerResults(news), 0);
            self.deliver(done);
        }
    }

    /// News that arrive now; others come later.
    fn next_news(&mut self) -> Option<MarkerResults> {
        if self.news.is_empty() || (self.faults && self.rng.chance(1, 2)) {
            return None;
        }
        let index = self.rng.below(self.news.len() as u64) as usize;
        Some(self.news.swap_remove(index))
    }

    fn act(&mut self, index: usize) {
        if let Some((_, looked)) = &mut self.clients[index].waits {
            *looked += 1;
            if *looked < PATIENCE {
                return;
            }
            self.clients[index].waits = None;
        }
        match self.clients[index].phase.clone() {
            Phase::Out => self.init(index),
            Phase::Ready => {
                self.attempts += 1;
                self.clients[index].attempt = self.attempts;
                self.clients[index].phase = Phase::Open(Vec::new());
                self.add(index);
            }
            Phase::Open(places) if places.is_empty() || self.rng.chance(1, 4) => self.add(index),
            Phase::Open(places) if self.rng.chance(1, 2) => {
                let place = self.rng.pick(&places).clone();
                self.write(index, place);
            }
            Phase::Open(_) if self.faults && self.rng.chance(1, 10) => {
                // Asleep, perhaps for longer than its timeout.
            }
            Phase::Open(_) => {
                let commit = self.rng.chance(2, 3);
                self.clients[index].phase = Phase::Ending(commit);
                self.end(index, commit);
            }
            Phase::Ending(commit) => self.end(index, commit),
        }
    }

    fn ask(&mut self, index: usize, command: TxnCommand) {
        let version = if self.kip_890 { 5 } else { 3 };
        let (ticket, done) = self.node.handle(command, version);
        self.clients[index].waits = Some((ticket, 0));
        self.deliver(done);
    }

    fn init(&mut self, index: usize) {
        self.spare += 1;
        let client = &self.clients[index];
        let (producer_id, producer_epoch) =
            if client.knows_itself { client.producer } else { (-1, -1) };
        let request = InitProducerIdRequest {
            transactional_id: Some(client.id.clone()),
            transaction_timeout_ms: 5_000,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let spare = Some(ProducerId(self.spare));
        self.ask(index, TxnCommand::InitProducerId { request, spare });
    }

    fn partitions(&self, index: usize, places: Vec<TopicPartition>) -> AddPartitions {
        let client = &self.clients[index];
        AddPartitions {
            transactional_id: client.id.clone(),
            producer_id: ProducerId(client.producer.0),
            producer_epoch: ProducerEpoch(client.producer.1),
            partitions: places,
        }
    }

    fn add(&mut self, index: usize) {
        let count = 1 + self.rng.below(2);
        let places: Vec<_> = (0..count).map(|_| place(self.rng.below(PARTITIONS))).collect();
        let add = self.partitions(index, places);
        let batched = self.kip_890;
        self.ask(index, TxnCommand::AddPartitions { add, batched });
    }

    fn write(&mut self, index: usize, place: TopicPartition) {
        let client = &self.clients[index];
        let (producer, attempt) = (client.producer, client.attempt);
        self.data.guard(&place, producer.0, attempt);
        let verify = self.partitions(index, vec![place.clone()]);
        let (ticket, done) = self.node.handle(TxnCommand::VerifyPartitions(verify), 5);
        self.writes.insert(ticket, Write { client: index, place, producer, attempt });
        self.clients[index].waits = Some((ticket, 0));
        self.deliver(done);
    }

    fn end(&mut self, index: usize, committed: bool) {
        self.spare += 1;
        let client = &self.clients[index];
        if committed {
            self.asked.insert(client.attempt);
        }
        let request = EndTxnRequest {
            transactional_id: client.id.clone(),
            producer_id: client.producer.0,
            producer_epoch: client.producer.1,
            committed,
            ..Default::default()
        };
        let spare = Some(ProducerId(self.spare));
        self.ask(index, TxnCommand::EndTxn { request, spare });
    }

    fn deliver(&mut self, done: Vec<(Ticket, TxnResponse)>) {
        for (ticket, response) in done {
            if let Some(write) = self.writes.remove(&ticket) {
                self.append(ticket, &write, &response);
                continue;
            }
            let waiting = |c: &Client| c.waits.is_some_and(|(waits, _)| waits == ticket);
            let Some(index) = self.clients.iter().position(waiting) else { continue };
            if self.faults && self.rng.chance(1, 12) {
                continue; // Lost: the client will run out of patience.
            }
            self.clients[index].waits = None;
            self.receive(index, response);
        }
    }

    fn append(&mut self, ticket: Ticket, write: &Write, response: &TxnResponse) {
        let TxnResponse::VerifyPartitions(results) = response else { panic!("{response:?}") };
        let client = &mut self.clients[write.client];
        let waits = client.waits.is_some_and(|(waits, _)| waits == ticket);
        let ok = results[0].1 == ErrorCode::None
            && self.data.append(&write.place, write.producer, write.attempt);
        if waits {
            client.waits = None;
            // A record that is refused makes the client abort.
            if !ok && matches!(client.phase, Phase::Open(_)) {
                client.phase = Phase::Ending(false);
            }
        }
    }

    fn receive(&mut self, index: usize, response: TxnResponse) {
        let client = &mut self.clients[index];
        match response {
            TxnResponse::InitProducerId(r) if r.error_code == 0 => {
                self.became(index, (r.producer_id, r.producer_epoch));
                self.clients[index].knows_itself = self.rng.chance(1, 2);
                self.clients[index].phase = Phase::Ready;
            }
            TxnResponse::InitProducerId(r) => client.failed(r.error_code),
            TxnResponse::AddPartitions(ErrorCode::None) => {
                // It is not remembered which: the coordinator is asked before every write.
                if let Phase::Open(places) = &mut client.phase {
                    *places = (0..PARTITIONS).map(place).collect();
                }
            }
            TxnResponse::AddPartitions(error) => client.failed(error.code()),
            TxnResponse::EndTxn(r) if r.error_code == 0 => {
                let Phase::Ending(commit) = client.phase else { return };
                let before = self.told.insert(client.attempt, commit);
                assert!(before.is_none_or(|told| told == commit), "seed {}", self.seed);
                client.phase = if self.rng.chance(1, 6) { Phase::Out } else { Phase::Ready };
                self.became(index, (r.producer_id, r.producer_epoch));
            }
            TxnResponse::EndTxn(r) => client.failed(r.error_code),
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    /// Epochs never go back, nor do producer ids, which are given away in order.
    fn became(&mut self, index: usize, producer: (i64, i16)) {
        let client = &mut self.clients[index];
        client.producer = producer;
        let latest = self.latest.entry(client.id.clone()).or_insert(producer);
        // An answer may come after that to another client's request.
        *latest = producer.max(*latest);
    }

    fn check_epochs(&mut self) {
        for (id, told) in self.latest.clone() {
            let command = TxnCommand::DescribeTransactions(vec![id.clone()]);
            let ctx = context(&self.node, 0);
            let out = self.node.shard.handle(Ticket(0), command, &ctx);
            let Some((_, TxnResponse::DescribeTransactions(described))) = out.completions.first()
            else {
                panic!("{out:?}")
            };
            let now = (described[0].producer_id, described[0].producer_epoch);
            assert!(now >= told, "seed {}: {id} was told {told:?}, is at {now:?}", self.seed);
        }
    }

    /// A shard that is made from the log answers as the one that wrote it.
    fn check_rebuilt(&mut self) {
        let mut other = TransactionShard::new(self.node.config.clone());
        for (offset, entry) in self.node.log.iter().enumerate() {
            let Entry::Record(producer, record) = entry else { panic!("a marker") };
            other.replay(record, Offset(offset as i64), *producer).unwrap();
        }
        drop(other.loaded(self.node.epoch, self.node.now));
        let questions = self.questions();
        for (version, question) in questions {
            let ctx = context(&self.node, version);
            let ours = self.node.shard.handle(Ticket(0), question.clone(), &ctx);
            let theirs = other.handle(Ticket(0), question.clone(), &ctx);
            let (ours, theirs) = (shown(ours), shown(theirs));
            // The last epoch is not in the log: to say who it was does not help after a restart.
            let fenced = theirs.contains("error_code: 90") && theirs.contains("InitProducerId");
            let seed = self.seed;
            assert!(ours == theirs || fenced, "seed {seed}: {question:?}\n{ours}\n{theirs}");
        }
    }

    fn questions(&self) -> Vec<(i16, TxnCommand)> {
        let mut all = vec![(0, TxnCommand::ListTransactions(TransactionFilter::default()))];
        let spare = Some(ProducerId(1_000_000));
        for (id, (producer_id, epoch)) in &self.latest {
            for epoch in [epoch.saturating_sub(1), *epoch, epoch.saturating_add(1)] {
                for (version, commit) in [(4, true), (4, false), (5, true), (5, false)] {
                    let request = EndTxnRequest {
                        transactional_id: id.clone(),
                        producer_id: *producer_id,
                        producer_epoch: epoch,
                        committed: commit,
                        ..Default::default()
                    };
                    all.push((version, TxnCommand::EndTxn { request, spare }));
                }
                let add = AddPartitions {
                    transactional_id: id.clone(),
                    producer_id: ProducerId(*producer_id),
                    producer_epoch: ProducerEpoch(epoch),
                    partitions: vec![place(0), place(1)],
                };
                all.push((5, TxnCommand::VerifyPartitions(add.clone())));
                all.push((5, TxnCommand::AddPartitions { add, batched: true }));
                for (producer_id, producer_epoch) in [(-1, -1), (*producer_id, epoch)] {
                    let request = InitProducerIdRequest {
                        transactional_id: Some(id.clone()),
                        transaction_timeout_ms: 5_000,
                        producer_id,
                        producer_epoch,
                        ..Default::default()
                    };
                    all.push((5, TxnCommand::InitProducerId { request, spare }));
                }
            }
        }
        all
    }

    /// The world heals; open transactions end, by their client or by their timeout.
    fn settle(&mut self) {
        self.faults = false;
        self.node.lags = false;
        self.node.failures.clear();
        for _ in 0..STEPS {
            self.step();
        }
        self.clients.iter_mut().for_each(|client| client.waits = None);
        for _ in 0..30 {
            let done = self.node.advance(1_000);
            drop(done);
            self.collect();
            self.carry();
        }
    }

    fn check(&mut self) {
        let seed = self.seed;
        let open = self.data.open();
        assert!(open.is_empty(), "seed {seed}: nothing ends attempts {open:?}");
        let mut results: BTreeMap<Attempt, bool> = BTreeMap::new();
        for ((attempt, place), commit) in &self.data.results {
            let first = results.entry(*attempt).or_insert(*commit);
            assert_eq!(first, commit, "seed {seed}: attempt {attempt} differs in {place:?}");
            assert!(!commit || self.asked.contains(attempt), "seed {seed}: {attempt} did not ask");
            if let Some(told) = self.told.get(attempt) {
                assert_eq!(told, commit, "seed {seed}: attempt {attempt} was told otherwise");
            }
        }
        let states = self.node.shard.ids_by_state();
        for state in ["Ongoing", "PrepareCommit", "PrepareAbort"] {
            assert_eq!(states.get(state), None, "seed {seed}: {states:?}");
        }
    }
}

impl Client {
    fn new(id: usize) -> Self {
        Self {
            id: format!("id-{id}").into(),
            producer: (-1, -1),
            knows_itself: false,
            phase: Phase::Out,
            attempt: 0,
            waits: None,
        }
    }

    fn failed(&mut self, code: i16) {
        match ErrorCode::from_code(code).unwrap() {
            // The same again, later.
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => {}
            // Fenced, or aborted for its slowness.
            ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidTxnState => {
                self.phase = Phase::Out;
                self.knows_itself = false;
            }
            other => panic!("a well-behaved client got {other}: {self:?}"),
        }
    }
}

fn place(number: u64) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: number as i32 }
}

fn context(node: &Node<TransactionShard>, api_version: i16) -> CommandContext {
    CommandContext {
        now: node.now,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        principal: "User:ANONYMOUS".into(),
        api_version,
        random: 0,
    }
}

fn shown(out: Output<TransactionShard>) -> String {
    let ends = out.actions.iter().map(|TxnAction::WriteMarkers(m)| {
        (m.commit, m.producer_id, m.producer_epoch, m.transaction_version, m.partitions.clone())
    });
    let ends: Vec<_> = ends.collect();
    format!("{:?} {:?} {ends:?}", out.records, out.completions)
}
