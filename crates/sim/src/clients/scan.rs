//! Reads partitions with read_committed, one at a time and without a session.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{FetchRequest, ListOffsetsRequest};

use super::reading::{Item, READ_COMMITTED, take};
use super::{Cx, Late, Link};
use crate::model::Place;

const FETCH: i16 = 17;
const LIST: i16 = 7;
const LATEST: i64 = -1;

/// A reader of one partition at a time.
#[derive(Default)]
pub(super) struct Scan {
    link: Link,
    asked: Option<Asked>,
}

enum Asked {
    List(Place, i8),
    Fetch(Place, i64),
}

/// What a reader learnt.
pub(super) enum Found {
    /// Nothing; ask again.
    Nothing,
    /// The end of a partition for an isolation level.
    End(Place, i8, i64),
    /// Entries of a partition, and where to go on.
    Items(Place, Vec<Item>, i64),
}

impl Scan {
    pub(super) fn is_busy(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether the connection that something came on is this reader's.
    pub(super) fn owns(&self, cx: &Cx<'_>) -> bool {
        self.link.is(cx.connection)
    }

    /// Asks for the end of a partition.
    pub(super) fn list(&mut self, cx: &mut Cx<'_>, place: Place, isolation: i8) {
        let partition = ListOffsetsPartition {
            partition_index: place.1,
            timestamp: LATEST,
            ..Default::default()
        };
        let name = cx.model.topics[&place.0].name.as_str().into();
        let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation,
            topics: vec![topic],
            ..Default::default()
        };
        self.link.send(cx, LIST, &request);
        self.asked = Some(Asked::List(place, isolation));
    }

    /// Reads a partition from an offset on.
    pub(super) fn fetch(&mut self, cx: &mut Cx<'_>, place: Place, next: i64) {
        let bytes_max = *cx.rng.pick(&[1, 3_000, 1 << 20]);
        let partition = FetchPartition {
            partition: place.1,
            fetch_offset: next,
            partition_max_bytes: bytes_max,
            ..FetchPartition::default()
        };
        let partitions = vec![partition];
        let topic = FetchTopic { topic_id: place.0, partitions, ..FetchTopic::default() };
        let request = FetchRequest {
            max_wait_ms: *cx.rng.pick(&[0, 50]),
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            isolation_level: READ_COMMITTED,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        self.link.send(cx, FETCH, &request);
        self.asked = Some(Asked::Fetch(place, next));
    }

    /// An answer arrived.
    pub(super) fn answer(&mut self, cx: &mut Cx<'_>, frame: Bytes) -> Found {
        match self.asked.take() {
            Some(Asked::List(place, isolation)) => listed(cx, frame, (place, isolation)),
            Some(Asked::Fetch(place, next)) => fetched(cx, frame, (place, next)),
            None => {
                cx.model.violate("an answer that nobody asked for".to_owned());
                Found::Nothing
            }
        }
    }

    /// Breaks the connection.
    pub(super) fn cut(&mut self, cx: &mut Cx<'_>) {
        if self.link.cut(cx, Late::Lost) {
            self.asked = None;
        }
    }

    /// The connection was closed.
    pub(super) fn closed(&mut self) {
        self.link.lost();
        self.asked = None;
    }
}

fn listed(cx: &mut Cx<'_>, frame: Bytes, (place, isolation): (Place, i8)) -> Found {
    let Some(answer) = cx.decode::<ListOffsetsRequest>(frame, LIST) else { return Found::Nothing };
    match answer.topics.first().and_then(|topic| topic.partitions.first()) {
        Some(found) if found.error_code == 0 => Found::End(place, isolation, found.offset),
        found => refused(cx, "ListOffsets", found.map_or(-1, |found| found.error_code)),
    }
}

fn fetched(cx: &mut Cx<'_>, frame: Bytes, (place, next): (Place, i64)) -> Found {
    let Some(answer) = cx.decode::<FetchRequest>(frame, FETCH) else { return Found::Nothing };
    let data = answer.responses.first().and_then(|topic| topic.partitions.first());
    let code = data.map_or(answer.error_code, |data| data.error_code);
    let Some(data) = data.filter(|_| code == 0) else { return refused(cx, "Fetch", code) };
    let Some(items) = take(cx, place, data, (next, READ_COMMITTED)) else { return Found::Nothing };
    let next = items.last().map_or(next, |last| last.offset + 1);
    Found::Items(place, items, next)
}

/// Nothing is ever deleted from the partitions read here.
fn refused(cx: &mut Cx<'_>, what: &str, code: i16) -> Found {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower)
            if cx.model.disk_fault => {}
        _ => cx.unexpected(what, code),
    }
    Found::Nothing
}
