//! A consumer of the simplest kind: commits positions of a group without members, and reads them
//! back. Its numbers ascend, so that one that goes back is seen.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::{FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest};

use super::{Client, Cx, Late, Link};

const FIND: i16 = 4;
const COMMIT: i16 = 9;
const FETCH: i16 = 9;

/// The topic that positions are committed for; it is never deleted.
pub(crate) const STABLE: &str = "stable";

/// A committer.
pub(crate) struct Committer {
    group: String,
    link: Link,
    coordinator_known: bool,
    asked: Option<Pending>,
}

enum Pending {
    Find,
    Commit(i64),
    Fetch(i64),
}

impl Committer {
    pub(crate) fn new(index: usize) -> Self {
        let group = format!("simple-{index}");
        Self { group, link: Link::default(), coordinator_known: false, asked: None }
    }

    fn key(&self) -> (String, i32) {
        (self.group.clone(), 0)
    }

    fn find(&mut self, cx: &mut Cx<'_>) {
        let coordinator_keys = vec![self.group.as_str().into()];
        let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
        self.link.send(cx, FIND, &request);
        self.asked = Some(Pending::Find);
    }

    fn commit(&mut self, cx: &mut Cx<'_>) {
        let value = cx.model.commits.ask(&self.key());
        let partition = OffsetCommitRequestPartition {
            committed_offset: value,
            committed_metadata: Some("".into()),
            ..Default::default()
        };
        let partitions = vec![partition];
        let topic =
            OffsetCommitRequestTopic { name: STABLE.into(), partitions, ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: self.group.as_str().into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.link.send(cx, COMMIT, &request);
        self.asked = Some(Pending::Commit(value));
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) {
        let floor = cx.model.commits.floor(&self.key());
        let topic = OffsetFetchRequestTopics {
            name: STABLE.into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: self.group.as_str().into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        self.link.send(cx, FETCH, &request);
        self.asked = Some(Pending::Fetch(floor));
    }

    fn committed(&mut self, cx: &mut Cx<'_>, frame: Bytes, value: i64) {
        let Some(response) = cx.decode::<OffsetCommitRequest>(frame, COMMIT) else { return };
        let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions);
        let Some(code) = codes.next().map(|partition| partition.error_code) else {
            return cx.model.violate("OffsetCommit was answered without a partition".to_owned());
        };
        if code == 0 {
            cx.model.counts.commits += 1;
            cx.model.commits.acknowledged(&self.key(), value);
        } else {
            refused(cx, "OffsetCommit", code);
        }
    }

    fn fetched(&mut self, cx: &mut Cx<'_>, frame: Bytes, floor: i64) {
        let Some(response) = cx.decode::<OffsetFetchRequest>(frame, FETCH) else { return };
        let Some(group) = response.groups.first() else { return };
        let partition = group.topics.first().and_then(|topic| topic.partitions.first());
        let code = match (group.error_code, partition) {
            (0, Some(partition)) => partition.error_code,
            (code, _) => code,
        };
        if code != 0 {
            return refused(cx, "OffsetFetch", code);
        }
        let value = partition.map_or(-1, |partition| partition.committed_offset);
        if let Err(what) = cx.model.commits.found(&self.key(), floor, value) {
            cx.model.violate(what);
        }
    }
}

/// Whether a coordinator may say this.
pub(super) fn refused(cx: &mut Cx<'_>, what: &str, code: i16) {
    match ErrorCode::from_code(code) {
        Some(
            ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator,
        ) => {}
        Some(ErrorCode::KafkaStorageError | ErrorCode::UnknownServerError)
            if cx.model.disk_fault => {}
        _ => cx.unexpected(what, code),
    }
}

impl Client for Committer {
    fn act(&mut self, cx: &mut Cx<'_>) {
        let ready = cx.model.topics.values().any(|topic| topic.name == STABLE);
        if self.asked.is_none() && ready && !cx.model.stopping {
            match cx.rng.below(4) {
                _ if !self.coordinator_known => self.find(cx),
                0 => self.fetch(cx),
                _ => self.commit(cx),
            }
        }
        if cx.rng.chance(1, 60) && self.link.cut(cx, Late::Lost) {
            self.closed(cx);
        }
        if !cx.model.stopping {
            cx.act_in(2_000, 150_000);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, _correlation: i32, frame: Bytes) {
        match self.asked.take() {
            Some(Pending::Find) => {
                let found = cx.decode::<FindCoordinatorRequest>(frame, FIND);
                let first = found.and_then(|found| found.coordinators.into_iter().next());
                match first.map(|first| first.error_code) {
                    Some(0) => self.coordinator_known = true,
                    Some(code) => refused(cx, "FindCoordinator", code),
                    None => {}
                }
            }
            Some(Pending::Commit(value)) => self.committed(cx, frame, value),
            Some(Pending::Fetch(floor)) => self.fetched(cx, frame, floor),
            None => cx.model.violate("an answer that nobody asked for".to_owned()),
        }
    }

    fn closed(&mut self, _cx: &mut Cx<'_>) {
        self.link.lost();
        self.asked = None;
    }

    fn name(&self) -> String {
        format!("committer {}", self.group)
    }
}
