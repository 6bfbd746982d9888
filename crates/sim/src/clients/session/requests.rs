//! What a transactional producer sends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_protocol::Records;
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ProduceRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::records::Compression;

use super::{Asked, Batch, Control, FENCE_LATE_MAX, IN_FLIGHT_MAX, Phase, Session, Style};
use crate::Mutation;
use crate::clients::Cx;
use crate::model::Place;
use crate::records;

pub(super) const FIND: i16 = 4;
pub(super) const INIT: i16 = 5;
pub(super) const ADD_PARTITIONS: i16 = 3;
pub(super) const ADD_OFFSETS: i16 = 3;
/// The longest that a broker allows by default.
const TIMEOUT_MAX_MS: i32 = 900_000;
/// Coordinator type of a transactional id.
const TRANSACTION: i8 = 1;

impl Session {
    pub(super) const fn end_version(&self) -> i16 {
        match self.style {
            Style::Explicit => 4,
            Style::Implicit => 5,
        }
    }

    pub(super) const fn offsets_version(&self) -> i16 {
        match self.style {
            Style::Explicit => 4,
            Style::Implicit => 5,
        }
    }

    /// Sends what is to be sent, the first time or again.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>) {
        if cx.now < self.pause_until {
            return;
        }
        if self.control.is_none() {
            self.control = self.next_control(cx);
        }
        if self.phase == Phase::Open {
            self.produce(cx);
        }
    }

    fn next_control(&mut self, cx: &mut Cx<'_>) -> Option<Control> {
        match self.phase {
            Phase::NoCoordinator => Some(self.find(cx)),
            Phase::NoId => Some(self.initialise(cx)),
            Phase::Ready if self.bump => Some(self.initialise(cx)),
            Phase::Open if self.splits(cx) => {
                self.split = true;
                Some(self.send_end(cx, true))
            }
            Phase::Open => self.add(cx),
            Phase::Ending { commit } => Some(self.send_end(cx, commit)),
            Phase::Ready | Phase::Fenced => None,
        }
    }

    /// The defect: what was written so far is committed by itself.
    fn splits(&self, cx: &Cx<'_>) -> bool {
        let written = self.open.since.is_some() && self.batches.is_empty();
        *cx.mutation == Mutation::CommitInPart && written && !self.split
    }

    fn find(&mut self, cx: &mut Cx<'_>) -> Control {
        let coordinator_keys = vec![self.id.clone()];
        let request = FindCoordinatorRequest {
            key_type: TRANSACTION,
            coordinator_keys,
            ..Default::default()
        };
        self.link.send(cx, FIND, &request);
        Control::Find
    }

    fn initialise(&mut self, cx: &mut Cx<'_>) -> Control {
        let (producer_id, producer_epoch) = self.producer;
        let endless = *cx.mutation == Mutation::NoTimeout;
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: if endless { TIMEOUT_MAX_MS } else { self.timeout_ms },
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        if cx.now > self.since + FENCE_LATE_MAX {
            self.inits = 0;
        }
        self.inits += 1;
        self.since = cx.now;
        cx.model.transactions.initialising(&self.id, self.instance, cx.now);
        self.link.send(cx, INIT, &request);
        Control::Init
    }

    /// What the open transaction needs besides records.
    fn add(&mut self, cx: &mut Cx<'_>) -> Option<Control> {
        let explicit = self.style == Style::Explicit;
        if explicit && self.batches.iter().any(|b| !self.open.added.contains(&b.place)) {
            return Some(self.add_partitions(cx));
        }
        let offsets = self.open.offsets.as_ref().filter(|_| !self.open.offsets_committed)?;
        let (producer_id, producer_epoch) = self.producer;
        if explicit && !self.open.offsets_added {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.id.clone(),
                producer_id,
                producer_epoch,
                group_id: offsets.group.into(),
                ..Default::default()
            };
            self.link.send(cx, ADD_OFFSETS, &request);
            self.touch(cx);
            return Some(Control::AddOffsets);
        }
        let position = |(index, offset): (&i32, &i64)| TxnOffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            ..Default::default()
        };
        let partitions = offsets.offsets.iter().map(position).collect();
        let name = offsets.topic.into();
        let topic = TxnOffsetCommitRequestTopic { name, partitions, ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: offsets.group.into(),
            producer_id,
            producer_epoch,
            generation_id_or_member_epoch: offsets.generation,
            member_id: offsets.member.clone(),
            topics: vec![topic],
            ..Default::default()
        };
        self.link.send(cx, self.offsets_version(), &request);
        self.touch(cx);
        Some(Control::CommitOffsets)
    }

    fn add_partitions(&mut self, cx: &mut Cx<'_>) -> Control {
        let added = &self.open.added;
        let wanted = self.batches.iter().map(|b| b.place).filter(|place| !added.contains(place));
        let wanted: BTreeSet<Place> = wanted.collect();
        let mut topics = BTreeMap::new();
        for (topic, index) in &wanted {
            topics.entry(*topic).or_insert_with(Vec::new).push(*index);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| AddPartitionsToTxnTopic {
            name: cx.model.topics[&topic].name.as_str().into(),
            partitions,
            ..Default::default()
        });
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: self.producer.0,
            v3_and_below_producer_epoch: self.producer.1,
            v3_and_below_topics: topics.collect(),
            ..Default::default()
        };
        self.link.send(cx, ADD_PARTITIONS, &request);
        self.touch(cx);
        Control::AddPartitions(wanted.into_iter().collect())
    }

    fn send_end(&mut self, cx: &mut Cx<'_>, commit: bool) -> Control {
        let (producer_id, producer_epoch) = self.producer;
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id,
            producer_epoch,
            committed: commit,
            ..Default::default()
        };
        if commit && self.phase != Phase::Open {
            cx.model.transactions.commit_asked(self.open.number);
        }
        self.open.ends += 1;
        self.link.send(cx, self.end_version(), &request);
        Control::End { commit }
    }

    /// Sends every batch that waits, in order; those of different partitions share requests.
    fn produce(&mut self, cx: &mut Cx<'_>) {
        let in_flight = |batches: &VecDeque<Batch>, place: Place| {
            batches.iter().filter(|b| b.in_flight.is_some() && b.place == place).count()
        };
        let batches = &self.batches;
        self.rewind.retain(|&place| in_flight(batches, place) > 0);
        loop {
            let mut chosen = BTreeSet::new();
            for (at, batch) in self.batches.iter().enumerate() {
                let place = batch.place;
                let oldest = self.batches.iter().find(|other| other.place == place);
                let ready = batch.in_flight.is_none()
                    && !self.rewind.contains(&place)
                    && oldest.is_some_and(|oldest| oldest.newer - batch.newer < IN_FLIGHT_MAX);
                let added = self.style == Style::Implicit || self.open.added.contains(&place);
                let first = !chosen.iter().any(|&other: &usize| self.batches[other].place == place);
                if ready && added && first {
                    chosen.insert(at);
                }
            }
            if chosen.is_empty() {
                return;
            }
            if cx.rng.chance(1, 3) {
                // A request for each instead of one for all.
                chosen = chosen.into_iter().take(1).collect();
            }
            self.send_batches(cx, &chosen);
        }
    }

    fn send_batches(&mut self, cx: &mut Cx<'_>, chosen: &BTreeSet<usize>) {
        let (mut places, mut topic_data) = (Vec::new(), Vec::new());
        for &at in chosen {
            self.tried(cx, at);
            let batch = &self.batches[at];
            let name = cx.model.topics[&batch.place.0].name.as_str().into();
            let data = PartitionProduceData {
                index: batch.place.1,
                records: Some(Records::Bytes(batch.bytes.clone())),
                ..Default::default()
            };
            places.push((batch.place, Clone::clone(&name)));
            let mut topic = TopicProduceData { partition_data: vec![data], ..Default::default() };
            match self.produce_version {
                13.. => topic.topic_id = batch.place.0,
                _ => topic.name = name,
            }
            topic_data.push(topic);
        }
        let timeout_ms = *cx.rng.pick(&[300, 1500, 30_000]);
        let transactional_id = Some(self.id.clone());
        let request = ProduceRequest {
            transactional_id,
            acks: -1,
            timeout_ms,
            topic_data,
            ..Default::default()
        };
        let correlation = self.link.send(cx, self.produce_version, &request);
        for &at in chosen {
            self.batches[at].in_flight = Some(correlation);
        }
        self.touch(cx);
        self.asked.insert(correlation, Asked { sent: cx.now, timeout_ms, places });
    }

    fn tried(&mut self, cx: &mut Cx<'_>, at: usize) {
        let batch = &mut self.batches[at];
        batch.tries += 1;
        cx.model.counts.retries += u64::from(batch.tries > 1);
        if batch.tries > 1 && *cx.mutation == Mutation::NewSequenceOnRetry {
            let next = self.sequences.entry(batch.place).or_default();
            let (sequence, ids) = (*next, batch.ids.clone());
            *next += ids.len() as i32;
            let identity = self.identity(sequence);
            let batch = &mut self.batches[at];
            batch.sequence = sequence;
            batch.bytes = records::batch(&ids, cx.wall, Some(identity), Compression::None);
        }
    }
}
