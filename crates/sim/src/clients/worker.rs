//! A worker: consumes what is committed in one topic, writes one record for each to another, and
//! commits its positions in the same transaction (KIP-447). Each worker has a transactional id of its
//! own; that two of them do not do the same work is the business of the group's generations.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};

use super::committer::refused;
use super::scan::{Found, Scan};
use super::session::{GroupOffsets, Session, Status};
use super::{Client, Cx, Late, Link};
use crate::Mutation;
use crate::model::{Content, Place, SINK, SOURCE};
use crate::plan::TxnClient;

pub(super) const FIND: i16 = 4;
const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
pub(super) const OFFSETS: i16 = 9;
const COMMIT: i16 = 9;
pub(super) const GROUP: &str = "workers";
/// Most records that are read ahead of one partition.
const BUFFER_MAX: usize = 40;

/// A worker.
pub(crate) struct Worker {
    index: usize,
    who: TxnClient,
    session: Option<Session>,
    scan: Scan,
    link: Link,
    asked: Option<Pending>,
    state: State,
    member: ByteString,
    generation: i32,
    others: Vec<ByteString>,
    /// Partitions of this member, once their positions are known.
    inputs: BTreeMap<i32, Input>,
    assigned: Vec<i32>,
    restart_at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    NoCoordinator,
    Outside,
    Joined,
    /// The positions are to be read, the first time or after an aborted transaction.
    Assigned,
    Working,
}

enum Pending {
    Find,
    Join,
    Sync,
    Offsets,
    Heartbeat,
    /// The defect: a commit outside of the transaction.
    Commit,
}

/// A partition that is worked on.
#[derive(Default)]
struct Input {
    /// Where the reader is.
    next: i64,
    /// Offsets of records that were read and not worked on.
    waiting: Vec<i64>,
    /// Where the group is once the open transaction is committed.
    position: i64,
}

impl Worker {
    pub(crate) fn new(index: usize, who: TxnClient) -> Self {
        Self {
            index,
            who,
            session: None,
            scan: Scan::default(),
            link: Link::default(),
            asked: None,
            state: State::NoCoordinator,
            member: ByteString::default(),
            generation: -1,
            others: Vec::new(),
            inputs: BTreeMap::new(),
            assigned: Vec::new(),
            restart_at: 0,
        }
    }

    // The group.

    fn ask_group(&mut self, cx: &mut Cx<'_>) {
        if self.asked.is_some() {
            return;
        }
        self.asked = match self.state {
            State::NoCoordinator => {
                let coordinator_keys = vec![GROUP.into()];
                let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
                self.link.send(cx, FIND, &request);
                Some(Pending::Find)
            }
            State::Outside => Some(self.join(cx)),
            State::Joined => Some(self.sync(cx)),
            // Before that, a transaction of an earlier instance may still move them.
            State::Assigned if self.session_is(Status::Ready) => Some(self.positions(cx)),
            State::Assigned => None,
            State::Working if cx.rng.chance(1, 4) => Some(self.heartbeat(cx)),
            State::Working => None,
        };
    }

    fn session_is(&self, status: Status) -> bool {
        self.session.as_ref().is_some_and(|session| session.status() == status)
    }

    fn join(&mut self, cx: &mut Cx<'_>) -> Pending {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 2000,
            rebalance_timeout_ms: 1500,
            member_id: self.member.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        self.link.send(cx, JOIN, &request);
        Pending::Join
    }

    /// The leader gives every member each partition whose number is its own, modulo the members.
    fn sync(&mut self, cx: &mut Cx<'_>) -> Pending {
        let count = self.others.len() as u8;
        let assign = |(part, member): (u8, &ByteString)| SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: Bytes::copy_from_slice(&[part, count]),
            ..Default::default()
        };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: (0..).zip(&self.others).map(assign).collect(),
            ..Default::default()
        };
        self.link.send(cx, SYNC, &request);
        Pending::Sync
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>) -> Pending {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            ..Default::default()
        };
        self.link.send(cx, HEARTBEAT, &request);
        Pending::Heartbeat
    }

    fn positions(&mut self, cx: &mut Cx<'_>) -> Pending {
        self.link.send(cx, OFFSETS, &positions_of(self.assigned.clone()));
        Pending::Offsets
    }

    fn failed(&mut self, cx: &mut Cx<'_>, what: &str, code: i16) {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.member = ByteString::default();
                self.state = State::Outside;
            }
            Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress) => {
                self.state = State::Outside;
            }
            _ => refused(cx, what, code),
        }
    }

    fn joined(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let Some(answer) = cx.decode::<JoinGroupRequest>(frame, JOIN) else { return };
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::MemberIdRequired) => {
                self.member = ByteString::from(answer.member_id.to_string());
                return;
            }
            _ => return self.failed(cx, "JoinGroup", answer.error_code),
        }
        self.member = ByteString::from(answer.member_id.to_string());
        self.generation = answer.generation_id;
        let members = answer.members.iter();
        self.others = members.map(|m| ByteString::from(m.member_id.to_string())).collect();
        self.state = State::Joined;
        let who = (&*answer.leader, &*answer.member_id);
        if let Err(what) = cx.model.generations.joined(GROUP, self.generation, who) {
            cx.model.violate(what);
        }
    }

    fn synced(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let Some(answer) = cx.decode::<SyncGroupRequest>(frame, SYNC) else { return };
        if answer.error_code != 0 {
            return self.failed(cx, "SyncGroup", answer.error_code);
        }
        let who = (&*self.member, &*answer.assignment);
        if let Err(what) = cx.model.generations.assigned(GROUP, self.generation, who) {
            cx.model.violate(what);
        }
        let (part, of) = match *answer.assignment {
            [part, of] if of > 0 => (i32::from(part), i32::from(of)),
            _ => (0, i32::MAX),
        };
        let all = cx.model.places_of(SOURCE);
        self.assigned = all.iter().map(|(_, i)| *i).filter(|i| i % of == part).collect();
        self.inputs.clear();
        self.state = State::Assigned;
    }

    fn positions_read(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        match positions_in(cx, frame) {
            Ok(Some(found)) => {
                self.inputs.clear();
                for (index, position) in found {
                    let input = Input { next: position, waiting: Vec::new(), position };
                    self.inputs.insert(index, input);
                }
                self.state = State::Working;
            }
            Ok(None) => {}
            Err(code) => self.failed(cx, "OffsetFetch", code),
        }
    }

    // The work.

    fn read(&mut self, cx: &mut Cx<'_>) {
        if self.scan.is_busy() || self.state != State::Working {
            return;
        }
        let hungry = self.inputs.iter().filter(|(_, input)| input.waiting.len() < BUFFER_MAX);
        let hungry: Vec<(i32, i64)> = hungry.map(|(index, input)| (*index, input.next)).collect();
        let topic = cx.model.places_of(SOURCE).first().map(|(topic, _)| *topic);
        if let Some(topic) = topic.filter(|_| !hungry.is_empty()) {
            let (index, next) = *cx.rng.pick(&hungry);
            self.scan.fetch(cx, (topic, index), next);
        }
    }

    fn found(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let Found::Items(place, items, next) = self.scan.answer(cx, frame) else { return };
        // The partition may be another member's now, or be read again from another position.
        let Some(input) = self.inputs.get_mut(&place.1) else { return };
        if items.first().is_none_or(|first| first.offset != input.next) {
            return;
        }
        let records = items.iter().filter(|item| item.record().is_some());
        input.waiting.extend(records.map(|item| item.offset));
        input.next = next;
    }

    /// Begins a transaction with what was read of some partitions.
    fn work(&mut self, cx: &mut Cx<'_>) {
        let sink: Vec<Place> = cx.model.places_of(SINK);
        let ready = self.inputs.iter_mut().filter(|(_, input)| input.next > input.position);
        let chosen: Vec<_> = ready.filter(|_| cx.rng.chance(3, 4)).collect();
        let Some(session) = self.session.as_mut() else { return };
        if chosen.is_empty() || sink.is_empty() {
            return;
        }
        session.begin(cx);
        let mut offsets = BTreeMap::new();
        for (&partition, input) in chosen {
            let count = (cx.rng.between(1, 6) as usize).min(input.waiting.len());
            let done: Vec<i64> = input.waiting.drain(..count).collect();
            for &offset in &done {
                let place = *cx.rng.pick(&sink);
                session.write(cx, place, &[Content::Output { partition, offset }]);
            }
            // When nothing waits, what was skipped last, markers and aborted records, is done, too.
            input.position = match (input.waiting.first(), done.last()) {
                (Some(_), Some(last)) => last + 1,
                _ => input.next,
            };
            offsets.insert(partition, input.position);
        }
        session.send_offsets(GroupOffsets {
            group: GROUP,
            topic: SOURCE,
            generation: self.generation,
            member: self.member.clone(),
            offsets,
        });
    }

    /// The defect: the positions are committed by themselves, before the transaction ends.
    fn commit_outside(&mut self, cx: &mut Cx<'_>) {
        let position = |(index, input): (&i32, &Input)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: input.position,
            ..Default::default()
        };
        let partitions = self.inputs.iter().map(position).collect();
        let topic =
            OffsetCommitRequestTopic { name: SOURCE.into(), partitions, ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member.clone(),
            topics: vec![topic],
            ..Default::default()
        };
        self.link.send(cx, COMMIT, &request);
        self.asked = Some(Pending::Commit);
    }

    /// The transaction did not come about, or it is not known: go on from where the group is.
    fn start_over(&mut self) {
        self.inputs.clear();
        if self.state == State::Working {
            self.state = State::Assigned;
        }
    }

    fn restart(&mut self, cx: &mut Cx<'_>, pause: u64) {
        if let Some(mut session) = self.session.take() {
            session.abandon(cx);
        }
        self.start_over();
        self.restart_at = cx.now + cx.rng.below(pause);
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        let outside = *cx.mutation == Mutation::OffsetsOutside && self.asked.is_none();
        let Some(session) = &mut self.session else { return };
        if session.take_outcome() == Some(false) {
            self.start_over();
        }
        let Some(session) = &mut self.session else { return };
        match session.status() {
            Status::Ready if cx.model.stopping || self.state != State::Working => {}
            Status::Ready => self.work(cx),
            Status::Open => match cx.rng.below(12) {
                0 => self.restart(cx, 800_000),
                1 => session.end(cx, false),
                2 if outside => self.commit_outside(cx),
                _ => session.end(cx, true),
            },
            Status::Failed => session.end(cx, false),
            Status::Fenced => self.restart(cx, 500_000),
            Status::Starting | Status::Writing | Status::Ending => {}
        }
    }
}

/// Asks for the group's positions once no transaction can change them any more (KIP-447).
pub(super) fn positions_of(partition_indexes: Vec<i32>) -> OffsetFetchRequest {
    let topic =
        OffsetFetchRequestTopics { name: SOURCE.into(), partition_indexes, ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() }
}

/// The positions by partition index; `None` if a transaction is still to be decided.
///
/// # Errors
/// The code of an answer that has none.
pub(super) fn positions_in(
    cx: &mut Cx<'_>,
    frame: Bytes,
) -> Result<Option<BTreeMap<i32, i64>>, i16> {
    let Some(answer) = cx.decode::<OffsetFetchRequest>(frame, OFFSETS) else { return Ok(None) };
    let Some(group) = answer.groups.first() else { return Ok(None) };
    if group.error_code != 0 {
        return Err(group.error_code);
    }
    let mut found = BTreeMap::new();
    for partition in group.topics.iter().flat_map(|topic| &topic.partitions) {
        match ErrorCode::from_code(partition.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::UnstableOffsetCommit) => return Ok(None),
            _ => return Err(partition.error_code),
        }
        found.insert(partition.partition_index, partition.committed_offset.max(0));
    }
    Ok(Some(found))
}

impl Client for Worker {
    fn act(&mut self, cx: &mut Cx<'_>) {
        let idle = self.session.as_ref().is_none_or(|s| s.status() == Status::Ready);
        if cx.model.stopping && idle {
            return;
        }
        if cx.now >= self.restart_at && !cx.model.places_of(SOURCE).is_empty() {
            if self.session.is_none() {
                self.session = Some(Session::new(cx, &self.who));
            }
            self.next(cx);
            self.ask_group(cx);
            self.read(cx);
            if let Some(session) = &mut self.session {
                session.pump(cx);
                match cx.rng.below(120) {
                    0 | 1 => session.cut(cx),
                    2 => self.scan.cut(cx),
                    3 => self.restart(cx, 800_000),
                    4 if self.link.cut(cx, Late::Lost) => self.asked = None,
                    _ => {}
                }
            }
        }
        // Now and then longer than the group waits for a heartbeat.
        let pause = if cx.rng.chance(1, 150) { 3_500_000 } else { 50_000 };
        cx.act_in(500, pause);
    }

    fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes) {
        if self.scan.owns(cx) {
            return self.found(cx, frame);
        }
        if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            return session.answer(cx, correlation, frame);
        }
        if !self.link.is(cx.connection) {
            return;
        }
        match self.asked.take() {
            Some(Pending::Find) => {
                let found = cx.decode::<FindCoordinatorRequest>(frame, FIND);
                let first = found.and_then(|found| found.coordinators.into_iter().next());
                match first.map(|first| first.error_code) {
                    Some(0) => self.state = State::Outside,
                    Some(code) => refused(cx, "FindCoordinator", code),
                    None => {}
                }
            }
            Some(Pending::Join) => self.joined(cx, frame),
            Some(Pending::Sync) => self.synced(cx, frame),
            Some(Pending::Offsets) => self.positions_read(cx, frame),
            Some(Pending::Heartbeat) => {
                match cx.decode::<HeartbeatRequest>(frame, HEARTBEAT).map(|a| a.error_code) {
                    None | Some(0) => {}
                    Some(code) => self.failed(cx, "Heartbeat", code),
                }
            }
            Some(Pending::Commit) | None => {}
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        if self.scan.owns(cx) {
            self.scan.closed();
        } else if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.closed();
        } else if self.link.is(cx.connection) {
            self.link.lost();
            self.asked = None;
        }
    }

    fn name(&self) -> String {
        format!("worker {} {:?}", self.index, self.who.style)
    }
}
