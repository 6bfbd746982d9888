//! A consumer: fetches all partitions through a session, and checks every byte it is given.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{FetchRequest, ListOffsetsRequest};

use super::reading::{READ_COMMITTED, READ_UNCOMMITTED, take};
use super::{Client, Cx, Late, Link};
use crate::Mutation;
use crate::model::Place;

const FETCH: i16 = 17;
const LIST: i16 = 7;
const EARLIEST: i64 = -2;

/// A consumer.
pub(crate) struct Consumer {
    index: usize,
    link: Link,
    positions: BTreeMap<Place, Position>,
    /// Id and next epoch of the fetch session.
    session: Option<(i32, i32)>,
    /// What the broker believes this session wants.
    told: BTreeMap<Place, i64>,
    asked: Option<Pending>,
    incarnation: u64,
}

#[derive(Default)]
struct Position {
    next: i64,
    high_watermark: i64,
    log_start: i64,
    /// Of answers to Fetch with read_committed.
    last_stable: i64,
    /// The position is to be looked up again.
    lost: bool,
    /// Below it everything had to be there when the latest Fetch was sent.
    sure: i64,
}

enum Pending {
    Fetch(Fetch),
    List(Place),
}

/// A Fetch on the way.
#[derive(Clone, Copy)]
struct Fetch {
    sent: u64,
    max_wait_ms: i32,
    full: bool,
    isolation: i8,
}

impl Consumer {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            link: Link::default(),
            positions: BTreeMap::new(),
            session: None,
            told: BTreeMap::new(),
            asked: None,
            incarnation: 0,
        }
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) {
        let places = cx.model.readable();
        self.positions.retain(|place, _| places.contains(place));
        for place in &places {
            self.positions.entry(*place).or_default();
        }
        if self.positions.is_empty() {
            return;
        }
        if cx.rng.chance(1, 15) {
            self.session = None;
        }
        let (session_id, session_epoch) = self.session.unwrap_or((0, 0));
        let full = session_epoch == 0;
        if full {
            self.told.clear();
        }
        let committed = cx.rng.chance(1, if cx.model.transactional() { 2 } else { 4 });
        let isolation = if committed { READ_COMMITTED } else { READ_UNCOMMITTED };
        let mut request = FetchRequest {
            max_wait_ms: *cx.rng.pick(&[0, 20, 300]),
            min_bytes: *cx.rng.pick(&[0, 1, 1, 5000]),
            max_bytes: *cx.rng.pick(&[1, 5000, 1 << 20]),
            isolation_level: isolation,
            session_id,
            session_epoch,
            ..FetchRequest::default()
        };
        for (place, position) in &mut self.positions {
            position.sure = cx.model.durable_end(*place);
        }
        let bytes_max = *cx.rng.pick(&[1, 700, 20_000, 1 << 20]);
        for (place, position) in &self.positions {
            if self.told.get(place) == Some(&position.next) {
                continue;
            }
            self.told.insert(*place, position.next);
            let partition = FetchPartition {
                partition: place.1,
                fetch_offset: position.next,
                partition_max_bytes: bytes_max,
                ..FetchPartition::default()
            };
            let partitions = vec![partition];
            request.topics.push(FetchTopic { topic_id: place.0, partitions, ..Default::default() });
        }
        let gone: Vec<_> =
            self.told.keys().copied().filter(|p| !self.positions.contains_key(p)).collect();
        for place in gone {
            self.told.remove(&place);
            let (topic_id, partitions) = (place.0, vec![place.1]);
            let forgotten = ForgottenTopic { topic_id, partitions, ..Default::default() };
            request.forgotten_topics_data.push(forgotten);
        }
        self.link.send(cx, FETCH, &request);
        let max_wait_ms = request.max_wait_ms;
        self.asked = Some(Pending::Fetch(Fetch { sent: cx.now, max_wait_ms, full, isolation }));
    }

    fn list(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(topic) = cx.model.topics.get(&place.0) else { return };
        let partition = ListOffsetsPartition {
            partition_index: place.1,
            timestamp: EARLIEST,
            ..Default::default()
        };
        let name = topic.name.as_str().into();
        let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.link.send(cx, LIST, &request);
        self.asked = Some(Pending::List(place));
    }

    fn partition(
        &mut self,
        cx: &mut Cx<'_>,
        (place, isolation): (Place, i8),
        data: &PartitionData,
    ) {
        let Some(position) = self.positions.get_mut(&place) else { return };
        if data.error_code != 0 {
            // The session tells an error again only if the partition is named again.
            self.told.remove(&place);
            return failed(cx, place, position, data.error_code);
        }
        let (high_watermark, log_start) = (data.high_watermark, data.log_start_offset);
        if high_watermark < position.high_watermark {
            let before = position.high_watermark;
            cx.model.violate(format!(
                "{place:?}: high watermark {high_watermark} after {before} for one consumer"
            ));
        }
        if log_start < position.log_start || log_start > high_watermark {
            let before = position.log_start;
            cx.model.violate(format!(
                "{place:?}: log start {log_start} after {before}, high watermark {high_watermark}"
            ));
        }
        position.high_watermark = high_watermark;
        position.log_start = log_start;
        if isolation == READ_COMMITTED {
            let mut last_stable = data.last_stable_offset;
            if *cx.mutation == Mutation::LastStableGoesBack && position.last_stable > 10 {
                last_stable -= 5;
            }
            if last_stable < position.last_stable {
                let before = position.last_stable;
                cx.model.violate(format!(
                    "{place:?}: last stable offset {last_stable} after {before} for one consumer"
                ));
            }
            position.last_stable = last_stable;
        }
        if let Some(items) = take(cx, place, data, (position.next, isolation))
            && let Some(last) = items.last()
        {
            position.next = last.offset + 1;
        }
    }

    fn fetched(&mut self, cx: &mut Cx<'_>, frame: Bytes, asked: Fetch) {
        let (waited, wait) = (cx.now - asked.sent, asked.max_wait_ms);
        let most = wait as u64 * 1000 + cx.round_trip_max;
        if waited > most {
            cx.model.violate(format!("Fetch with {wait} ms was answered after {waited} us"));
        }
        let Some(response) = cx.decode::<FetchRequest>(frame, FETCH) else { return };
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            Some(
                ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError,
            ) => {
                self.session = None;
                return;
            }
            _ => return cx.unexpected("Fetch", response.error_code),
        }
        self.session = match (response.session_id, self.session) {
            (0, _) => None,
            (id, _) if asked.full => Some((id, 1)),
            (id, Some((_, epoch))) => Some((id, epoch + 1)),
            (_, None) => None,
        };
        for topic in &response.responses {
            for data in &topic.partitions {
                let place = (topic.topic_id, data.partition_index);
                self.partition(cx, (place, asked.isolation), data);
            }
        }
    }

    fn listed(&mut self, cx: &mut Cx<'_>, frame: Bytes, place: Place) {
        let Some(response) = cx.decode::<ListOffsetsRequest>(frame, LIST) else { return };
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let (Some(found), Some(position)) = (found, self.positions.get_mut(&place)) else { return };
        if found.error_code != 0 {
            return failed(cx, place, position, found.error_code);
        }
        position.next = found.offset;
        position.lost = false;
    }
}

/// What the error of one partition means.
fn failed(cx: &mut Cx<'_>, place: Place, position: &mut Position, code: i16) {
    let gone = !cx.model.is_usable(place);
    match ErrorCode::from_code(code) {
        Some(
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NotLeaderOrFollower,
        ) if gone => {}
        Some(ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower)
            if cx.model.disk_fault => {}
        Some(ErrorCode::OffsetOutOfRange) => {
            let retention = cx.model.topics.get(&place.0).is_none_or(|topic| topic.retention);
            position.lost = true;
            let (at, sure) = (position.next, position.sure);
            cx.model.check(place, |partition, _| {
                if partition.may_be_out_of_range(at, sure, retention) {
                    return Ok(());
                }
                Err(format!("offset {at} is out of range, but must exist"))
            });
        }
        _ => cx.unexpected("Fetch of a partition", code),
    }
}

impl Client for Consumer {
    fn act(&mut self, cx: &mut Cx<'_>) {
        if self.incarnation != cx.model.incarnation {
            self.incarnation = cx.model.incarnation;
            for (place, position) in &mut self.positions {
                (position.high_watermark, position.log_start) = (0, 0);
                if !cx.model.survives(*place) {
                    position.last_stable = 0;
                }
            }
        }
        if self.asked.is_none() && !cx.model.stopping {
            let usable = |place: &Place| cx.model.is_usable(*place);
            let mut lost = self.positions.iter().filter(|(place, p)| p.lost && usable(place));
            match lost.next().map(|(place, _)| *place) {
                Some(place) => self.list(cx, place),
                None => self.fetch(cx),
            }
        }
        if cx.rng.chance(1, 80) && self.link.cut(cx, Late::Lost) {
            self.closed(cx);
        }
        if !cx.model.stopping {
            cx.act_in(1_000, 120_000);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, _correlation: i32, frame: Bytes) {
        match self.asked.take() {
            Some(Pending::Fetch(asked)) => self.fetched(cx, frame, asked),
            Some(Pending::List(place)) => self.listed(cx, frame, place),
            None => cx.model.violate("an answer that nobody asked for".to_owned()),
        }
    }

    fn closed(&mut self, _cx: &mut Cx<'_>) {
        self.link.lost();
        self.asked = None;
        // The session may go on with another connection; its epoch is not known any more.
        self.session = None;
    }

    fn name(&self) -> String {
        format!("consumer {}", self.index)
    }
}
