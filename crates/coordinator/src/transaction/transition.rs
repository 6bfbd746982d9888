//! A transactional id and what may become of it. Nothing here changes anything: each transition
//! gives the id as it will be once its record is in the log.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{ProducerEpoch, ProducerId, Timestamp};

use super::command::TopicPartition;
use super::state::TransactionState;

/// A client gets no epoch above this one: the largest is left for fencing it.
const LAST_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);
/// What a client of KIP-890 says of itself in the log.
pub(crate) const KIP_890: i16 = 2;
/// The timeout of a transaction that has none (KIP-939).
const NO_TIMEOUT_MS: i32 = i32::MAX;

/// The partitions of a transaction.
pub(crate) type Partitions = BTreeMap<ByteString, BTreeSet<i32>>;

/// A transactional id, as its record says it, and the last epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) producer_id: ProducerId,
    /// The producer id before the step that made this.
    pub(crate) previous_producer_id: ProducerId,
    /// In a Prepare state: the producer id when it is complete, because this one's epochs are used up.
    pub(crate) next_producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    /// The epoch before the latest bump, if the producer that bumped it said it (KIP-360). It is not
    /// in the log.
    pub(crate) last_epoch: ProducerEpoch,
    pub(crate) timeout_ms: i32,
    pub(crate) state: TransactionState,
    /// `None` and empty differ in the log alone.
    pub(crate) partitions: Option<Partitions>,
    pub(crate) updated: Timestamp,
    pub(crate) started: Timestamp,
    /// 2 if the client is one of KIP-890, else 0.
    pub(crate) client_version: i16,
}

/// Why a transition does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Error(ErrorCode),
    /// It takes a fresh producer id, and there is none.
    NeedProducerId,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self::Error(error)
    }
}

/// Where an InitProducerId leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Initialised {
    /// The producer may begin.
    Ready(Transaction),
    /// Its open transaction is aborted first; the client asks again.
    Aborting(Transaction),
}

/// Where an EndTxn leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// To a Prepare state.
    Prepared(Transaction),
    /// Nowhere: this is the repetition of a request that is complete.
    Already,
}

/// An EndTxn, or the coordinator's own abort.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) commit: bool,
    pub(crate) spare: Option<ProducerId>,
    pub(crate) now: Timestamp,
}

/// An InitProducerId.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Init {
    /// What the producer has, if it says so (KIP-360).
    pub(crate) expected: Option<(ProducerId, ProducerEpoch)>,
    pub(crate) timeout_ms: i32,
    pub(crate) spare: Option<ProducerId>,
    /// Whether an abort by the coordinator is one of KIP-890.
    pub(crate) bumps_epoch: bool,
    pub(crate) now: Timestamp,
}

/// An AddPartitionsToTxn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Add<'a> {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) partitions: &'a [TopicPartition],
    pub(crate) client_version: i16,
    pub(crate) now: Timestamp,
}

impl Transaction {
    /// A transactional id that nobody has used yet.
    pub(crate) fn new(producer_id: ProducerId, timeout_ms: i32, now: Timestamp) -> Self {
        Self {
            producer_id,
            previous_producer_id: producer_id,
            next_producer_id: ProducerId::NONE,
            epoch: ProducerEpoch(0),
            last_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: None,
            updated: now,
            started: Timestamp::NONE,
            client_version: 0,
        }
    }

    /// When an open transaction is aborted by the coordinator, if ever.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        (self.state == TransactionState::Ongoing && self.timeout_ms != NO_TIMEOUT_MS)
            .then(|| Timestamp(self.started.0.saturating_add(self.timeout_ms.into())))
    }

    pub(crate) fn contains(&self, wanted: &TopicPartition) -> bool {
        self.partitions.as_ref().is_some_and(|all| contains(all, wanted))
    }

    /// InitProducerId of a known id.
    pub(crate) fn init(&self, init: &Init) -> Result<Initialised, Refusal> {
        if init.expected.is_some_and(|(id, epoch)| !self.may_be_called(id, epoch)) {
            return Err(ErrorCode::ProducerFenced.into());
        }
        match self.state {
            TransactionState::Ongoing => {
                let aborting = if init.bumps_epoch {
                    self.prepare_bumped(false, init.spare, init.now)?
                } else {
                    self.prepare_fenced(init.now)
                };
                Ok(Initialised::Aborting(aborting))
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => self.ready(init).map(Initialised::Ready),
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::Dead
            | TransactionState::PrepareEpochFence => Err(ErrorCode::ConcurrentTransactions.into()),
        }
    }

    /// Whether a producer that knows itself by this id and epoch may ask for the next epoch. The id
    /// before this one counts if its epochs were used up: the answer that told the new one got lost.
    fn may_be_called(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        id == self.producer_id || (id == self.previous_producer_id && epoch >= LAST_EPOCH)
    }

    fn ready(&self, init: &Init) -> Result<Self, Refusal> {
        let expected = init.expected.map(|(_, epoch)| epoch);
        let (producer_id, epoch, last_epoch) = match expected {
            // The repetition of a request whose answer got lost. Another producer's would have
            // cleared the last epoch.
            Some(expected) if expected != self.epoch => {
                if expected != self.last_epoch || expected == ProducerEpoch::NONE {
                    return Err(ErrorCode::ProducerFenced.into());
                }
                (self.producer_id, self.epoch, self.last_epoch)
            }
            _ => {
                let last = if expected.is_some() { self.epoch } else { ProducerEpoch::NONE };
                if self.epoch >= LAST_EPOCH {
                    let spare = init.spare.ok_or(Refusal::NeedProducerId)?;
                    (spare, ProducerEpoch(0), last)
                } else {
                    (self.producer_id, next(self.epoch), last)
                }
            }
        };
        Ok(Self {
            producer_id,
            previous_producer_id: self.producer_id,
            next_producer_id: ProducerId::NONE,
            epoch,
            last_epoch,
            timeout_ms: init.timeout_ms,
            state: TransactionState::Empty,
            partitions: None,
            updated: init.now,
            started: Timestamp::NONE,
            client_version: self.client_version,
        })
    }

    /// AddPartitionsToTxn. `None`: all of them are in the transaction already.
    pub(crate) fn add(&self, add: &Add<'_>) -> Result<Option<Self>, ErrorCode> {
        self.check(add.producer_id, add.epoch)?;
        let ongoing = self.state == TransactionState::Ongoing;
        if ongoing && add.partitions.iter().all(|partition| self.contains(partition)) {
            return Ok(None);
        }
        let mut partitions = self.partitions.clone().filter(|_| ongoing).unwrap_or_default();
        for TopicPartition { topic, partition } in add.partitions {
            insert(&mut partitions, topic, *partition);
        }
        Ok(Some(Self {
            previous_producer_id: self.producer_id,
            state: TransactionState::Ongoing,
            partitions: Some(partitions),
            updated: add.now,
            started: if ongoing { self.started } else { add.now },
            client_version: add.client_version,
            ..self.clone()
        }))
    }

    /// Whether this producer may add partitions now, or ask about them.
    pub(crate) fn check(&self, id: ProducerId, epoch: ProducerEpoch) -> Result<(), ErrorCode> {
        if self.producer_id != id {
            Err(ErrorCode::InvalidProducerIdMapping)
        } else if self.epoch != epoch || epoch > LAST_EPOCH {
            Err(ErrorCode::ProducerFenced)
        } else if self.state.prepared().is_some() {
            Err(ErrorCode::ConcurrentTransactions)
        } else {
            Ok(())
        }
    }

    /// EndTxn of a client before KIP-890: the epoch stays.
    pub(crate) fn end(&self, end: &End) -> Result<Ended, Refusal> {
        if self.producer_id != end.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping.into());
        }
        if self.epoch != end.epoch {
            return Err(ErrorCode::ProducerFenced.into());
        }
        if self.state == TransactionState::Ongoing {
            return Ok(Ended::Prepared(self.prepare(end.commit, end.now)));
        }
        match self.result() {
            Some((commit, complete)) if commit == end.commit => repeated(complete),
            _ => Err(ErrorCode::InvalidTxnState.into()),
        }
    }

    /// EndTxn of a client of KIP-890: the epoch grows with each. That tells a repetition from the
    /// end of the next transaction, which may be empty if it is aborted. After a transaction of a
    /// client before KIP-890 there is nothing to repeat: who has the epoch before was put out.
    pub(crate) fn end_bumped(&self, end: &End) -> Result<Ended, Refusal> {
        let bumped = self.client_version >= KIP_890;
        let rotated = bumped
            && end.producer_id == self.previous_producer_id
            && end.producer_id != self.producer_id
            && end.epoch == LAST_EPOCH
            && self.epoch == ProducerEpoch(0);
        if end.producer_id != self.producer_id && !rotated {
            return Err(ErrorCode::InvalidProducerIdMapping.into());
        }
        let repetition =
            rotated || (bumped && end.epoch <= LAST_EPOCH && next(end.epoch) == self.epoch);
        if let Some((commit, complete)) = self.result().filter(|_| repetition) {
            let same = commit == end.commit;
            return if same { repeated(complete) } else { Err(ErrorCode::InvalidTxnState.into()) };
        }
        if end.epoch != self.epoch || self.state.prepared().is_some() || end.epoch > LAST_EPOCH {
            return Err(ErrorCode::ProducerFenced.into());
        }
        if self.state == TransactionState::Ongoing || !end.commit {
            return self.prepare_bumped(end.commit, end.spare, end.now).map(Ended::Prepared);
        }
        Err(ErrorCode::InvalidTxnState.into())
    }

    /// The coordinator's own abort of an open transaction. `spare` is used if there is one;
    /// without, the largest epoch fences the producer, and its next InitProducerId gets a fresh id.
    pub(crate) fn abort(&self, bumps_epoch: bool, now: Timestamp) -> Self {
        if !bumps_epoch {
            return self.prepare_fenced(now);
        }
        self.prepare_bumped(false, None, now).unwrap_or_else(|_| Self {
            last_epoch: self.epoch,
            client_version: KIP_890,
            ..self.prepare_fenced(now)
        })
    }

    /// All markers of a Prepare state are written.
    pub(crate) fn complete(&self, now: Timestamp) -> Self {
        let commit = self.state.prepared() == Some(true);
        let rotated = self.next_producer_id != ProducerId::NONE;
        Self {
            producer_id: if rotated { self.next_producer_id } else { self.producer_id },
            previous_producer_id: self.producer_id,
            next_producer_id: ProducerId::NONE,
            epoch: if rotated { ProducerEpoch(0) } else { self.epoch },
            state: if commit {
                TransactionState::CompleteCommit
            } else {
                TransactionState::CompleteAbort
            },
            partitions: Some(Partitions::new()),
            updated: now,
            ..self.clone()
        }
    }

    /// What was decided of the latest transaction, and whether all know it.
    fn result(&self) -> Option<(bool, bool)> {
        match self.state {
            TransactionState::PrepareCommit => Some((true, false)),
            TransactionState::PrepareAbort => Some((false, false)),
            TransactionState::CompleteCommit => Some((true, true)),
            TransactionState::CompleteAbort => Some((false, true)),
            _ => None,
        }
    }

    fn prepare(&self, commit: bool, now: Timestamp) -> Self {
        let state =
            if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        Self {
            previous_producer_id: self.producer_id,
            next_producer_id: ProducerId::NONE,
            state,
            updated: now,
            client_version: 0,
            ..self.clone()
        }
    }

    /// Aborts, and puts the producer out.
    fn prepare_fenced(&self, now: Timestamp) -> Self {
        Self {
            epoch: next(self.epoch),
            last_epoch: ProducerEpoch::NONE,
            ..self.prepare(false, now)
        }
    }

    fn prepare_bumped(
        &self,
        commit: bool,
        spare: Option<ProducerId>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let next_producer_id = if self.epoch < LAST_EPOCH {
            ProducerId::NONE
        } else {
            spare.ok_or(Refusal::NeedProducerId)?
        };
        let empty = self.state != TransactionState::Ongoing;
        Ok(Self {
            next_producer_id,
            epoch: next(self.epoch),
            last_epoch: self.epoch,
            partitions: self
                .partitions
                .clone()
                .filter(|_| !empty)
                .or_else(|| Some(Partitions::new())),
            started: if empty { now } else { self.started },
            client_version: KIP_890,
            ..self.prepare(commit, now)
        })
    }
}

/// The answer to the repetition of an EndTxn.
fn repeated(complete: bool) -> Result<Ended, Refusal> {
    if complete { Ok(Ended::Already) } else { Err(ErrorCode::ConcurrentTransactions.into()) }
}

const fn next(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}

pub(crate) fn contains(all: &Partitions, wanted: &TopicPartition) -> bool {
    all.get(&wanted.topic).is_some_and(|indexes| indexes.contains(&wanted.partition))
}

/// Adds a partition; the name of a new topic is copied out of its frame.
pub(crate) fn insert(all: &mut Partitions, topic: &ByteString, partition: i32) {
    if let Some(indexes) = all.get_mut(topic) {
        indexes.insert(partition);
    } else {
        all.insert(crate::machine::detach(topic), BTreeSet::from([partition]));
    }
}

/// Every partition by itself.
pub(crate) fn each(all: &Partitions) -> impl Iterator<Item = TopicPartition> + '_ {
    all.iter().flat_map(|(topic, indexes)| {
        indexes
            .iter()
            .map(|partition| TopicPartition { topic: topic.clone(), partition: *partition })
    })
}
