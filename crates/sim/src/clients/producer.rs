//! A producer: batches to several partitions, several in flight, sent again as a real idempotent
//! producer does: in order, with the sequence they had.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use ottla_protocol::records::Compression;
use ottla_protocol::{ErrorCode, Records};

use super::{Client, Cx, Late, Link};
use crate::Mutation;
use crate::model::{Place, Sent};
use crate::records::{self, Identity, RecordId};

/// Most batches of one partition from the oldest that is not acknowledged on: the broker knows as
/// many again. Those between may be acknowledged already, as a batch may be timed out alone.
const IN_FLIGHT_MAX: usize = 5;
const PRODUCE: i16 = 13;
const INIT: i16 = 4;

/// A producer.
pub(crate) struct Producer {
    index: usize,
    link: Link,
    acks: i16,
    idempotent: bool,
    /// Id and epoch, and the session number that records are noted under.
    identity: Option<(i64, i16, u64)>,
    initialising: bool,
    queues: BTreeMap<Place, Queue>,
    /// What was asked, by correlation id.
    asked: BTreeMap<i32, Request>,
}

/// The batches of one partition that are not acknowledged, oldest first.
#[derive(Default)]
struct Queue {
    next_sequence: i32,
    batches: VecDeque<Batch>,
    /// A batch failed: when nothing is in flight any more, all are sent again.
    rewind: bool,
}

struct Batch {
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

/// A Produce request on the way.
struct Request {
    sent: u64,
    timeout_ms: i32,
    places: Vec<Place>,
}

/// What becomes of a batch that was refused.
enum Verdict {
    Retry,
    /// The partition is gone.
    Drop,
    /// The broker lost this producer's state: begin anew.
    Renew,
}

impl Producer {
    pub(crate) fn new(index: usize, rng: &mut ottla_testkit::Rng) -> Self {
        let acks = *rng.pick(&[-1, -1, -1, 1, 1, 0]);
        let idempotent = acks != 0 && rng.chance(3, 4);
        Self {
            index,
            link: Link::default(),
            acks,
            idempotent,
            identity: None,
            initialising: false,
            queues: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    fn initialise(&mut self, cx: &mut Cx<'_>) {
        if !self.initialising {
            self.initialising = true;
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 1000,
                ..Default::default()
            };
            self.link.send(cx, INIT, &request);
        }
    }

    /// Makes a batch for a random partition.
    fn fill(&mut self, cx: &mut Cx<'_>) {
        let usable = cx.model.writable();
        if usable.is_empty() {
            return;
        }
        let place = *cx.rng.pick(&usable);
        let queue = self.queues.entry(place).or_default();
        if queue.rewind || queue.batches.iter().any(|batch| batch.newer + 1 >= IN_FLIGHT_MAX) {
            return;
        }
        let session = self.identity.map(|(_, _, session)| session);
        let count = if cx.rng.chance(1, 5) { cx.rng.between(2, 30) as usize } else { 1 };
        let mut ids = Vec::new();
        while ids.len() < count && records::has_room(&ids) {
            ids.push(cx.model.new_record(Sent::plain(place, session)));
        }
        let sequence = queue.next_sequence;
        queue.next_sequence += ids.len() as i32;
        let identity = self.identity.map(|(id, epoch, _)| Identity {
            id,
            epoch,
            sequence,
            transactional: false,
        });
        let compression = match cx.rng.below(6) {
            0 => *cx.rng.pick(&Compression::ALL),
            _ => Compression::None,
        };
        let bytes = records::batch(&ids, cx.wall, identity, compression);
        let first_sent = cx.now;
        queue.batches.iter_mut().for_each(|batch| batch.newer += 1);
        queue.batches.push_back(Batch {
            ids,
            sequence,
            bytes,
            first_sent,
            incarnation: cx.model.incarnation,
            in_flight: None,
            tries: 0,
            newer: 0,
        });
    }

    /// Sends every batch that waits, in order; those of different partitions share requests.
    fn pump(&mut self, cx: &mut Cx<'_>) {
        loop {
            let mut places = Vec::new();
            let mut topic_data: Vec<TopicProduceData> = Vec::new();
            for (place, queue) in &mut self.queues {
                if queue.rewind && queue.batches.iter().all(|batch| batch.in_flight.is_none()) {
                    queue.rewind = false;
                }
                let next = queue.batches.iter_mut().find(|batch| batch.in_flight.is_none());
                let Some(batch) = next.filter(|_| !queue.rewind) else { continue };
                batch.tries += 1;
                cx.model.counts.retries += u64::from(batch.tries > 1);
                if batch.tries > 1 && *cx.mutation == Mutation::NewSequenceOnRetry {
                    renumber(batch, (self.identity, &mut queue.next_sequence), cx.wall);
                }
                batch.in_flight = Some(0);
                let data = PartitionProduceData {
                    index: place.1,
                    records: Some(Records::Bytes(batch.bytes.clone())),
                    ..Default::default()
                };
                places.push(*place);
                topic_data.push(TopicProduceData {
                    topic_id: place.0,
                    partition_data: vec![data],
                    ..Default::default()
                });
            }
            if places.is_empty() {
                return;
            }
            self.request(cx, places, topic_data);
        }
    }

    fn request(&mut self, cx: &mut Cx<'_>, places: Vec<Place>, data: Vec<TopicProduceData>) {
        let timeout_ms = *cx.rng.pick(&[100, 1500, 30_000]);
        let request =
            ProduceRequest { acks: self.acks, timeout_ms, topic_data: data, ..Default::default() };
        let answered = self.acks != 0;
        let correlation = self.link.send_with(cx, PRODUCE, &request, answered);
        for place in &places {
            let Some(queue) = self.queues.get_mut(place) else { continue };
            let sent = queue.batches.iter().position(|batch| batch.in_flight == Some(0));
            let Some(sent) = sent else { continue };
            if answered {
                queue.batches[sent].in_flight = Some(correlation);
            } else {
                queue.batches.remove(sent);
            }
        }
        if answered {
            self.asked.insert(correlation, Request { sent: cx.now, timeout_ms, places });
        }
    }

    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        (correlation, request): (i32, &Request),
        (place, answer): (Place, &PartitionProduceResponse),
    ) {
        let Some(queue) = self.queues.get_mut(&place) else { return };
        let found = queue.batches.iter().position(|b| b.in_flight == Some(correlation));
        let Some(position) = found else { return };
        if answer.error_code == 0 {
            let Some(batch) = queue.batches.remove(position) else { return };
            cx.model.counts.acknowledged += batch.ids.len() as u64;
            let base = answer.base_offset;
            cx.model.check(place, |partition, _| {
                partition.acknowledged(base, &batch.ids, batch.first_sent)
            });
            return;
        }
        queue.batches[position].in_flight = None;
        queue.rewind = true;
        let oldest = position == 0;
        let old = queue.batches[position].incarnation != cx.model.incarnation;
        match self.verdict(cx, request, (place, oldest, old), answer.error_code) {
            Verdict::Retry if self.idempotent => {}
            Verdict::Retry => drop(self.queues.remove(&place)),
            Verdict::Drop if !self.idempotent => drop(self.queues.remove(&place)),
            Verdict::Drop | Verdict::Renew => {
                // A partition that is there again would not know where sequences began. What is not acknowledged may or may not be in the log: it is not sent again.
                self.identity = None;
                self.queues.clear();
            }
        }
    }

    fn verdict(
        &self,
        cx: &mut Cx<'_>,
        request: &Request,
        (place, oldest, old): (Place, bool, bool),
        code: i16,
    ) -> Verdict {
        let gone = !cx.model.is_usable(place);
        match ErrorCode::from_code(code) {
            Some(
                ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::NotLeaderOrFollower,
            ) if gone => Verdict::Drop,
            Some(ErrorCode::KafkaStorageError) if cx.model.disk_fault => Verdict::Retry,
            Some(ErrorCode::NotLeaderOrFollower) if cx.model.disk_fault => Verdict::Retry,
            Some(ErrorCode::RequestTimedOut) => {
                let waited = cx.now.saturating_sub(request.sent);
                if waited < request.timeout_ms as u64 * 1000 {
                    cx.model.violate(format!("Produce timed out after {waited} us"));
                }
                Verdict::Retry
            }
            // A batch before it failed or was timed out.
            Some(ErrorCode::OutOfOrderSequenceNumber) if self.idempotent && !oldest => {
                Verdict::Retry
            }
            Some(ErrorCode::OutOfOrderSequenceNumber) if self.idempotent => {
                // Records before it, or what is known of the producer, did not survive; or it is an
                // unknown producer's first batch, refused by a full disk while the second was not.
                let survives = cx.model.survives(place);
                // After a start only the last batch of each producer may be known, as in Kafka.
                if survives && !old && !cx.model.disk_fault {
                    cx.unexpected("Produce of the next sequence", code);
                }
                Verdict::Renew
            }
            _ => {
                cx.unexpected("Produce", code);
                Verdict::Drop
            }
        }
    }
}

/// The defect: a batch gets another sequence when it is sent again.
fn renumber(batch: &mut Batch, (identity, next): (Option<(i64, i16, u64)>, &mut i32), wall: i64) {
    let Some((id, epoch, _)) = identity else { return };
    batch.sequence = *next;
    *next += batch.ids.len() as i32;
    let identity = Identity { id, epoch, sequence: batch.sequence, transactional: false };
    batch.bytes = records::batch(&batch.ids, wall, Some(identity), Compression::None);
}

impl Client for Producer {
    fn act(&mut self, cx: &mut Cx<'_>) {
        if self.idempotent && self.identity.is_none() {
            self.initialise(cx);
        } else {
            if !cx.model.stopping {
                self.fill(cx);
            }
            if cx.rng.chance(4, 5) || cx.model.stopping {
                self.pump(cx);
            }
            if cx.rng.chance(1, 60) && self.link.cut(cx, Late::By(0)) {
                self.closed(cx);
            }
        }
        let busy = self.queues.values().any(|queue| !queue.batches.is_empty());
        if !cx.model.stopping || busy {
            cx.act_in(500, 90_000);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes) {
        let Some(request) = self.asked.remove(&correlation) else {
            return self.initialised(cx, frame);
        };
        let Some(response) = cx.decode::<ProduceRequest>(frame, PRODUCE) else { return };
        let answers = response.responses.iter().flat_map(|topic| {
            topic.partition_responses.iter().map(|answer| ((topic.topic_id, answer.index), answer))
        });
        let mut places = Vec::new();
        for (place, answer) in answers {
            places.push(place);
            self.answered(cx, (correlation, &request), (place, answer));
        }
        if places != request.places {
            cx.model
                .violate(format!("Produce of {:?} was answered for {places:?}", request.places));
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        self.link.lost();
        self.asked.clear();
        self.initialising = false;
        if self.idempotent {
            for batch in self.queues.values_mut().flat_map(|queue| &mut queue.batches) {
                batch.in_flight = None;
            }
        } else {
            self.queues.clear();
        }
        let _ = cx;
    }

    fn name(&self) -> String {
        let Self { index, acks, idempotent, .. } = self;
        format!("producer {index} acks={acks} idempotent={idempotent}")
    }
}

impl Producer {
    fn initialised(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        self.initialising = false;
        let Some(response) = cx.decode::<InitProducerIdRequest>(frame, INIT) else { return };
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {
                let session = cx.model.new_session();
                self.identity = Some((response.producer_id, response.producer_epoch, session));
                cx.model.producer_id(response.producer_id);
            }
            Some(ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable) => {}
            _ if cx.model.disk_fault => {}
            _ => cx.unexpected("InitProducerId", response.error_code),
        }
    }
}
