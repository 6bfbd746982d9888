//! A transactional producer, as Kafka's own is: finds its coordinator, is given an id and an epoch,
//! writes in transactions, ends them, and does each step again until it is answered.

mod answers;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::records::Compression;

use super::{Cx, Late, Link};
use crate::model::{Content, Instance, Place, Sent, TxnNumber};
use crate::plan::TxnClient;
use crate::records::{self, Identity, RecordId};

/// Most batches of one partition from the oldest that is not acknowledged on: the broker knows as
/// many again. Those between may be acknowledged already, as a batch may be timed out alone.
const IN_FLIGHT_MAX: usize = 5;
/// A frame of a client of KIP-890 may arrive so much later than it should.
const LATE_MAX: u64 = 3_000_000;
/// So long after another instance asked for the id, its request may still arrive.
const FENCE_LATE_MAX: u64 = 10_000_000;

/// Which protocol it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Partitions are added by themselves; the epoch stays.
    Explicit,
    /// KIP-890: Produce adds partitions, EndTxn bumps the epoch.
    Implicit,
}

/// Where a producer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It has no id yet, or not the next epoch.
    Starting,
    /// No transaction is open.
    Ready,
    /// A transaction is open, and not all of it is acknowledged.
    Writing,
    /// A transaction is open, and all of it is acknowledged.
    Open,
    /// A transaction is open and cannot be committed any more.
    Failed,
    /// Its end was asked for.
    Ending,
    /// It was put out: another instance has the id, or its transaction took too long.
    Fenced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    NoCoordinator,
    NoId,
    Ready,
    Open,
    Ending { commit: bool },
    Fenced,
}

/// A batch that is not acknowledged.
struct Batch {
    place: Place,
    ids: Vec<RecordId>,
    sequence: i32,
    bytes: Bytes,
    first_sent: u64,
    /// The broker's start in which it was made.
    incarnation: u64,
    in_flight: Option<i32>,
    tries: u32,
    /// How many batches of its partition were made after it.
    newer: usize,
}

/// Offsets that go with the transaction.
#[derive(Debug, Clone)]
pub(super) struct GroupOffsets {
    pub(super) group: &'static str,
    pub(super) topic: &'static str,
    pub(super) generation: i32,
    pub(super) member: ByteString,
    /// By partition index.
    pub(super) offsets: BTreeMap<i32, i64>,
}

/// A request that is not a Produce, on the way: one at a time.
enum Control {
    Find,
    Init,
    AddPartitions(Vec<Place>),
    AddOffsets,
    CommitOffsets,
    End { commit: bool },
}

/// A Produce on the way.
struct Asked {
    sent: u64,
    timeout_ms: i32,
    places: Vec<(Place, ByteString)>,
}

/// The open transaction.
#[derive(Default)]
struct Open {
    number: TxnNumber,
    /// When the broker may have learnt of it first.
    since: Option<u64>,
    /// Partitions that were added by themselves.
    added: BTreeSet<Place>,
    offsets: Option<GroupOffsets>,
    offsets_added: bool,
    offsets_committed: bool,
    failed: bool,
    /// The broker acknowledged something of it: the transaction before is complete.
    accepted: bool,
    /// How often its end was asked for.
    ends: u32,
}

/// A transactional producer.
pub(super) struct Session {
    link: Link,
    id: ByteString,
    style: Style,
    timeout_ms: i32,
    produce_version: i16,
    instance: Instance,
    /// The number that its records are noted under.
    session: u64,
    phase: Phase,
    producer: (i64, i16),
    /// When the id was asked for.
    since: u64,
    /// How many requests for it may arrive yet, and put out whoever has an answer to another one.
    inits: u32,
    /// Before the next transaction another epoch is needed: it is not known what became of batches.
    bump: bool,
    sequences: BTreeMap<Place, i32>,
    batches: VecDeque<Batch>,
    /// Batches in flight of transactions that were given up.
    strays: Vec<Batch>,
    /// A batch failed: when nothing of its partition is in flight any more, all are sent again.
    rewind: BTreeSet<Place>,
    open: Open,
    control: Option<Control>,
    asked: BTreeMap<i32, Asked>,
    /// Nothing is sent before this time.
    pause_until: u64,
    outcome: Option<bool>,
    /// The defect of [`Mutation::CommitInPart`] was done.
    split: bool,
}

impl Session {
    /// A new instance of the producer with a transactional id.
    pub(super) fn new(cx: &mut Cx<'_>, who: &TxnClient) -> Self {
        let TxnClient { id, style, timeout_ms } = who;
        let (style, timeout_ms) = (*style, *timeout_ms);
        let produce_version = match style {
            Style::Explicit => *cx.rng.pick(&[7, 9, 11]),
            Style::Implicit => *cx.rng.pick(&[12, 13]),
        };
        Self {
            link: Link::default(),
            id: ByteString::from(id.as_str()),
            style,
            timeout_ms,
            produce_version,
            instance: cx.model.transactions.new_instance(),
            session: cx.model.new_session(),
            phase: Phase::NoCoordinator,
            producer: (-1, -1),
            since: 0,
            inits: 0,
            bump: false,
            sequences: BTreeMap::new(),
            batches: VecDeque::new(),
            strays: Vec::new(),
            rewind: BTreeSet::new(),
            open: Open::default(),
            control: None,
            asked: BTreeMap::new(),
            pause_until: 0,
            outcome: None,
            split: false,
        }
    }

    pub(super) fn status(&self) -> Status {
        let acknowledged =
            self.batches.is_empty() && (self.open.offsets.is_none() || self.open.offsets_committed);
        match self.phase {
            Phase::NoCoordinator | Phase::NoId => Status::Starting,
            Phase::Ready if self.bump => Status::Starting,
            Phase::Ready => Status::Ready,
            Phase::Open if self.open.failed => Status::Failed,
            Phase::Open if acknowledged => Status::Open,
            Phase::Open => Status::Writing,
            Phase::Ending { .. } => Status::Ending,
            Phase::Fenced => Status::Fenced,
        }
    }

    /// Whether the connection that something came on is this producer's.
    pub(super) fn owns(&self, cx: &Cx<'_>) -> bool {
        self.link.is(cx.connection)
    }

    /// What became of the transaction that ended last, once.
    pub(super) fn take_outcome(&mut self) -> Option<bool> {
        self.outcome.take()
    }

    pub(super) fn begin(&mut self, cx: &mut Cx<'_>) {
        let number = cx.model.transactions.begin(&self.id);
        self.open = Open { number, ..Open::default() };
        self.phase = Phase::Open;
    }

    /// Whether a partition takes another batch now.
    pub(super) fn has_room(&self, place: Place) -> bool {
        let waiting = self.batches.iter().filter(|batch| batch.place == place).count();
        waiting < IN_FLIGHT_MAX && !self.rewind.contains(&place)
    }

    /// Writes one batch; records that do not fit into it are left out.
    pub(super) fn write(&mut self, cx: &mut Cx<'_>, place: Place, contents: &[Content]) {
        let mut ids = Vec::new();
        for &content in contents {
            if !records::has_room(&ids) {
                break;
            }
            let sent = Sent {
                place,
                session: Some(self.session),
                transaction: Some(self.open.number),
                content,
            };
            let id = cx.model.new_record(sent);
            cx.model.transactions.add(self.open.number, id);
            ids.push(id);
        }
        let next = self.sequences.entry(place).or_default();
        let sequence = *next;
        *next += ids.len() as i32;
        let compression = match cx.rng.below(6) {
            0 => *cx.rng.pick(&Compression::ALL),
            _ => Compression::None,
        };
        let bytes = records::batch(&ids, cx.wall, Some(self.identity(sequence)), compression);
        for batch in self.batches.iter_mut().filter(|batch| batch.place == place) {
            batch.newer += 1;
        }
        self.batches.push_back(Batch {
            place,
            ids,
            sequence,
            bytes,
            first_sent: cx.now,
            incarnation: cx.model.incarnation,
            in_flight: None,
            tries: 0,
            newer: 0,
        });
    }

    fn identity(&self, sequence: i32) -> Identity {
        let (id, epoch) = self.producer;
        Identity { id, epoch, sequence, transactional: true }
    }

    /// Adds the group's offsets to the transaction.
    pub(super) fn send_offsets(&mut self, offsets: GroupOffsets) {
        self.open.offsets = Some(offsets);
    }

    /// Ends the transaction. A commit is allowed when the status is [`Status::Open`].
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, commit: bool) {
        self.phase = Phase::Ending { commit };
        let in_flight = self.batches.drain(..).filter(|batch| batch.in_flight.is_some());
        self.strays.extend(in_flight);
        self.rewind.clear();
        if !commit && self.style == Style::Explicit {
            // Batches that were not acknowledged may be in the log, or not.
            self.bump |= self.open.since.is_some();
        }
        if self.open.since.is_none() {
            // The broker never heard of it.
            self.ended(cx, false);
        }
    }

    fn ended(&mut self, cx: &mut Cx<'_>, committed: bool) {
        cx.model.transactions.close(self.open.number);
        self.outcome = Some(committed);
        self.phase = Phase::Ready;
    }

    /// The instance ends without a word; what it sent may still arrive.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>) {
        let late = self.style == Style::Implicit && cx.rng.chance(1, 2);
        let late = if late { cx.rng.below(LATE_MAX) } else { 0 };
        self.link.cut(cx, Late::By(late));
        if matches!(self.phase, Phase::Open | Phase::Ending { .. }) {
            cx.model.transactions.close(self.open.number);
        }
        if matches!(self.phase, Phase::Open | Phase::Ending { commit: false }) {
            cx.model.counts.aborted += 1;
        }
    }

    /// The connection breaks: what is on the way is lost, or its answer is, or it arrives later than
    /// what is sent next.
    pub(super) fn cut(&mut self, cx: &mut Cx<'_>) {
        let late = match (cx.rng.below(3), self.style) {
            (0, _) => Late::Lost,
            (1, Style::Implicit) => Late::By(cx.rng.below(LATE_MAX)),
            _ => Late::By(0),
        };
        if !self.link.cut(cx, late) {
            return;
        }
        if self.style == Style::Explicit {
            // Requests that arrive twice are told apart only if both arrive within the transaction.
            self.pause_until = cx.now + cx.round_trip_max;
        }
        self.reset();
    }

    /// The connection was closed.
    pub(super) fn closed(&mut self) {
        self.link.lost();
        self.reset();
    }

    fn reset(&mut self) {
        self.control = None;
        self.asked.clear();
        self.strays.clear();
        self.rewind.clear();
        for batch in &mut self.batches {
            batch.in_flight = None;
        }
    }

    /// The broker may hear of the transaction from now on.
    fn touch(&mut self, cx: &Cx<'_>) {
        self.open.since.get_or_insert(cx.now);
    }

    /// Whether the broker may put this instance out.
    fn may_be_fenced(&self, cx: &Cx<'_>) -> bool {
        let since = self.since.saturating_sub(FENCE_LATE_MAX);
        let timeout = self.timeout_ms as u64 * 1000;
        let late = self.open.since.is_some_and(|since| {
            // The broker's clock may be a millisecond ahead of the client's, after rounding.
            let jumped = cx.model.transactions.clock_jumped.is_some_and(|at| at >= since);
            jumped || cx.now + 2_000 >= since + timeout
        });
        // Kafka says PRODUCER_FENCED to an EndTxn while the markers of the transaction before are
        // being written.
        let early = self.style == Style::Implicit && !self.open.accepted && self.open.ends > 0;
        late || early
            || self.inits > 1
            || cx.model.transactions.may_be_fenced(&self.id, self.instance, since)
    }
}
