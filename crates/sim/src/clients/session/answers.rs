//! What a transactional producer makes of answers.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ProduceRequest, TxnOffsetCommitRequest,
};

use super::requests::{ADD_OFFSETS, ADD_PARTITIONS, FIND, INIT};
use super::{Asked, Batch, Control, Phase, Session, Style};
use crate::clients::Cx;
use crate::model::Place;

/// The largest epoch but one: the next transaction is under another producer id.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// What an error means for a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    /// The same again.
    Retry,
    /// The transaction can only be aborted.
    Abort,
    /// This instance was put out.
    Fenced,
}

impl Session {
    /// An answer arrived on this producer's connection.
    pub(crate) fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes) {
        if let Some(asked) = self.asked.remove(&correlation) {
            return self.produced(cx, (correlation, &asked), frame);
        }
        match self.control.take() {
            Some(Control::Find) => self.found(cx, frame),
            Some(Control::Init) => self.initialised(cx, frame),
            Some(Control::AddPartitions(places)) => self.added(cx, &places, frame),
            Some(Control::AddOffsets) => {
                let answer = cx.decode::<AddOffsetsToTxnRequest>(frame, ADD_OFFSETS);
                let Some(code) = answer.map(|answer| answer.error_code) else { return };
                let verdict = self.verdict(cx, "AddOffsetsToTxn", code);
                self.open.offsets_added |= verdict == Verdict::Done;
                self.conclude(cx, verdict);
            }
            Some(Control::CommitOffsets) => self.offsets_committed(cx, frame),
            Some(Control::End { commit }) => self.end_answered(cx, commit, frame),
            None => cx.model.violate("an answer that nobody asked for".to_owned()),
        }
    }

    /// What an error code of any request inside a transaction means.
    fn verdict(&self, cx: &mut Cx<'_>, what: &str, code: i16) -> Verdict {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Verdict::Done,
            Some(
                ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::ConcurrentTransactions
                | ErrorCode::NotEnoughReplicas,
            ) => Verdict::Retry,
            Some(
                ErrorCode::KafkaStorageError
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::UnknownServerError,
            ) if cx.model.disk_fault => Verdict::Retry,
            Some(ErrorCode::TransactionAbortable) => Verdict::Abort,
            Some(
                ErrorCode::InvalidProducerEpoch
                | ErrorCode::ProducerFenced
                | ErrorCode::InvalidProducerIdMapping
                | ErrorCode::InvalidTxnState,
            ) => {
                if !self.may_be_fenced(cx) {
                    cx.unexpected(what, code);
                }
                Verdict::Fenced
            }
            _ => {
                cx.unexpected(what, code);
                Verdict::Fenced
            }
        }
    }

    fn conclude(&mut self, cx: &mut Cx<'_>, verdict: Verdict) {
        match verdict {
            Verdict::Done => {}
            Verdict::Retry => self.pause_until = cx.now + cx.rng.below(40_000),
            Verdict::Abort => self.open.failed = true,
            // What is left of the transaction is aborted by the coordinator, or was. A producer
            // that does not know asks for its abort, and is told.
            Verdict::Fenced if self.phase == Phase::Open && cx.rng.chance(1, 2) => {
                self.open.failed = true;
            }
            Verdict::Fenced => self.fenced(cx),
        }
    }

    fn fenced(&mut self, cx: &mut Cx<'_>) {
        cx.model.counts.fenced += 1;
        if matches!(self.phase, Phase::Open | Phase::Ending { .. }) {
            cx.model.transactions.close(self.open.number);
        }
        self.phase = Phase::Fenced;
    }

    fn found(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let found = cx.decode::<FindCoordinatorRequest>(frame, FIND);
        let first = found.and_then(|found| found.coordinators.into_iter().next());
        let Some(code) = first.map(|first| first.error_code) else { return };
        let verdict = self.verdict(cx, "FindCoordinator", code);
        if verdict == Verdict::Done {
            self.phase = Phase::NoId;
        }
        self.conclude(cx, verdict);
    }

    fn initialised(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let Some(answer) = cx.decode::<InitProducerIdRequest>(frame, INIT) else { return };
        let first = self.producer.0 < 0;
        let verdict = self.verdict(cx, "InitProducerId", answer.error_code);
        if verdict == Verdict::Done {
            self.given(cx, (answer.producer_id, answer.producer_epoch));
            self.phase = Phase::Ready;
            self.bump = false;
            return;
        }
        if verdict == Verdict::Fenced && first {
            cx.unexpected("the first InitProducerId", answer.error_code);
        }
        self.conclude(cx, verdict);
    }

    fn given(&mut self, cx: &mut Cx<'_>, producer: (i64, i16)) {
        self.producer = producer;
        self.sequences.clear();
        if let Err(what) = cx.model.transactions.given(producer, self.instance) {
            cx.model.violate(what);
        }
    }

    fn added(&mut self, cx: &mut Cx<'_>, places: &[Place], frame: Bytes) {
        let answer = cx.decode::<AddPartitionsToTxnRequest>(frame, ADD_PARTITIONS);
        let Some(answer) = answer else { return };
        let topics = &answer.results_by_topic_v3_and_below;
        let codes: Vec<_> = topics
            .iter()
            .flat_map(|topic| &topic.results_by_partition)
            .map(|partition| partition.partition_error_code)
            .collect();
        if codes.len() != places.len() {
            let (got, want) = (codes.len(), places.len());
            cx.model.violate(format!("AddPartitionsToTxn of {want} was answered for {got}"));
        }
        let code = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
        let verdict = self.verdict(cx, "AddPartitionsToTxn", code);
        if verdict == Verdict::Done {
            self.open.added.extend(places);
        }
        self.conclude(cx, verdict);
    }

    fn offsets_committed(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let version = self.offsets_version();
        let Some(answer) = cx.decode::<TxnOffsetCommitRequest>(frame, version) else { return };
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
        let code = codes.clone().find(|code| *code != 0).unwrap_or(0);
        if codes.count() == 0 {
            cx.model.violate("TxnOffsetCommit was answered without a partition".to_owned());
        }
        let verdict = match ErrorCode::from_code(code) {
            Some(
                ErrorCode::IllegalGeneration
                | ErrorCode::UnknownMemberId
                | ErrorCode::RebalanceInProgress,
            ) => Verdict::Abort,
            _ => self.verdict(cx, "TxnOffsetCommit", code),
        };
        self.open.offsets_committed |= verdict == Verdict::Done;
        self.open.accepted |= verdict == Verdict::Done;
        self.conclude(cx, verdict);
    }

    fn end_answered(&mut self, cx: &mut Cx<'_>, commit: bool, frame: Bytes) {
        let version = self.end_version();
        let Some(answer) = cx.decode::<EndTxnRequest>(frame, version) else { return };
        let number = self.open.number;
        let nothing = !commit && self.style == Style::Explicit && self.open.added.is_empty();
        if nothing && ErrorCode::from_code(answer.error_code) == Some(ErrorCode::InvalidTxnState) {
            // The request that would have begun it got lost.
            return self.ended(cx, false);
        }
        let verdict = self.verdict(cx, "EndTxn", answer.error_code);
        match verdict {
            Verdict::Done => {}
            Verdict::Fenced => {
                let first = self.open.ends == 1;
                if commit
                    && first
                    && let Err(what) = cx.model.transactions.refused(number)
                {
                    cx.model.violate(what);
                }
                return self.fenced(cx);
            }
            Verdict::Retry | Verdict::Abort => return self.conclude(cx, verdict),
        }
        if self.phase == Phase::Open {
            // The defect of `splits`: the transaction goes on in another.
            self.open.added.clear();
        } else {
            self.conclude_end(cx, commit);
        }
        if self.style == Style::Implicit {
            self.check_bump(cx, (answer.producer_id, answer.producer_epoch));
        }
    }

    fn conclude_end(&mut self, cx: &mut Cx<'_>, commit: bool) {
        if commit {
            cx.model.counts.transactions += 1;
            cx.model.counts.processed += u64::from(self.open.offsets.is_some());
            if let Err(what) = cx.model.transactions.committed(self.open.number) {
                cx.model.violate(what);
            }
        } else {
            cx.model.counts.aborted += 1;
        }
        self.ended(cx, commit);
    }

    /// Every end bumps the epoch by one, until they are used up.
    fn check_bump(&mut self, cx: &mut Cx<'_>, (id, epoch): (i64, i16)) {
        let (old_id, old_epoch) = self.producer;
        let next = if old_epoch >= LAST_EPOCH {
            id != old_id && epoch == 0
        } else {
            (id, epoch) == (old_id, old_epoch + 1)
        };
        if !next {
            cx.model.violate(format!(
                "EndTxn of producer {old_id} epoch {old_epoch} gave producer {id} epoch {epoch}"
            ));
        }
        self.given(cx, (id, epoch));
    }

    fn produced(&mut self, cx: &mut Cx<'_>, (correlation, asked): (i32, &Asked), frame: Bytes) {
        let version = self.produce_version;
        let Some(answer) = cx.decode::<ProduceRequest>(frame, version) else { return };
        let answers: Vec<_> = answer
            .responses
            .iter()
            .flat_map(|topic| topic.partition_responses.iter().map(move |data| (topic, data)))
            .collect();
        let same = answers.len() == asked.places.len()
            && answers.iter().zip(&asked.places).all(|((topic, data), (place, name))| {
                let topic =
                    if version >= 13 { topic.topic_id == place.0 } else { topic.name == *name };
                topic && data.index == place.1
            });
        if !same {
            let places = &asked.places;
            return cx.model.violate(format!("Produce of {places:?} was answered for others"));
        }
        for ((_, data), (place, _)) in answers.iter().zip(&asked.places) {
            self.batch_answered(cx, (correlation, asked, *place), data);
        }
    }

    fn batch_answered(
        &mut self,
        cx: &mut Cx<'_>,
        (correlation, asked, place): (i32, &Asked, Place),
        answer: &PartitionProduceResponse,
    ) {
        let this = |batch: &Batch| batch.place == place && batch.in_flight == Some(correlation);
        if let Some(at) = self.strays.iter().position(this) {
            let batch = self.strays.swap_remove(at);
            if answer.error_code == 0 {
                acknowledge(cx, &batch, answer.base_offset);
            }
            return;
        }
        let Some(at) = self.batches.iter().position(this) else { return };
        let oldest = self.batches.iter().position(|batch| batch.place == place) == Some(at);
        let verdict = match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::RequestTimedOut) => {
                let waited = cx.now.saturating_sub(asked.sent);
                if waited < asked.timeout_ms as u64 * 1000 {
                    cx.model.violate(format!("Produce timed out after {waited} us"));
                }
                Verdict::Retry
            }
            // A batch before it failed or was timed out.
            Some(ErrorCode::OutOfOrderSequenceNumber) if !oldest => Verdict::Retry,
            // After a start only the last batch of each producer may be known, as in Kafka.
            Some(ErrorCode::OutOfOrderSequenceNumber)
                if self.batches[at].incarnation != cx.model.incarnation
                    || cx.model.disk_fault
                    || self.may_be_fenced(cx) =>
            {
                Verdict::Abort
            }
            _ => self.verdict(cx, "Produce", answer.error_code),
        };
        if verdict == Verdict::Done {
            self.open.accepted = true;
            if let Some(batch) = self.batches.remove(at) {
                acknowledge(cx, &batch, answer.base_offset);
            }
            return;
        }
        self.batches[at].in_flight = None;
        self.rewind.insert(place);
        self.conclude(cx, verdict);
    }
}

fn acknowledge(cx: &mut Cx<'_>, batch: &Batch, base: i64) {
    cx.model.counts.acknowledged += batch.ids.len() as u64;
    cx.model.check(batch.place, |partition, _| {
        partition.acknowledged(base, &batch.ids, batch.first_sent)
    });
}
