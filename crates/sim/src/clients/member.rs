//! A member of a classic group: joins, syncs, sends heartbeats, and commits while it leads.

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest,
};

use super::committer::{STABLE, refused};
use super::{Client, Cx, Late, Link};

const FIND: i16 = 4;
const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const LEAVE: i16 = 3;
const COMMIT: i16 = 9;
const GROUP: &str = "members";

/// A member.
pub(crate) struct Member {
    index: usize,
    link: Link,
    state: State,
    id: ByteString,
    generation: i32,
    /// Of the generation this member leads.
    others: Vec<ByteString>,
    leads: bool,
    asked: Option<Pending>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    NoCoordinator,
    Outside,
    Joined,
    Stable,
}

enum Pending {
    Find,
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit(i64),
}

impl Member {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            link: Link::default(),
            state: State::NoCoordinator,
            id: ByteString::default(),
            generation: -1,
            others: Vec::new(),
            leads: false,
            asked: None,
        }
    }

    fn join(&mut self, cx: &mut Cx<'_>) {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 2000,
            rebalance_timeout_ms: 1500,
            member_id: self.id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        self.link.send(cx, JOIN, &request);
        self.asked = Some(Pending::Join);
    }

    fn sync(&mut self, cx: &mut Cx<'_>) {
        let assign = |(part, member): (u8, &ByteString)| SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: Bytes::copy_from_slice(&[part]),
            ..Default::default()
        };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: (0..).zip(&self.others).map(assign).collect(),
            ..Default::default()
        };
        self.link.send(cx, SYNC, &request);
        self.asked = Some(Pending::Sync);
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>) {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        self.link.send(cx, HEARTBEAT, &request);
        self.asked = Some(Pending::Heartbeat);
    }

    fn leave(&mut self, cx: &mut Cx<'_>) {
        let member = ottla_protocol::messages::leave_group_request::MemberIdentity {
            member_id: self.id.clone(),
            ..Default::default()
        };
        let request = LeaveGroupRequest {
            group_id: GROUP.into(),
            members: vec![member],
            ..Default::default()
        };
        self.link.send(cx, LEAVE, &request);
        self.asked = Some(Pending::Leave);
    }

    fn commit(&mut self, cx: &mut Cx<'_>) {
        let value = cx.model.commits.ask(&key());
        let partition =
            OffsetCommitRequestPartition { committed_offset: value, ..Default::default() };
        let topic = OffsetCommitRequestTopic {
            name: STABLE.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![topic],
            ..Default::default()
        };
        self.link.send(cx, COMMIT, &request);
        self.asked = Some(Pending::Commit(value));
    }

    /// What an error of the coordinator means for this member.
    fn failed(&mut self, cx: &mut Cx<'_>, what: &str, code: i16) {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.id = ByteString::default();
                self.state = State::Outside;
            }
            Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress) => {
                self.state = State::Outside;
            }
            _ => refused(cx, what, code),
        }
    }

    fn joined(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let Some(response) = cx.decode::<JoinGroupRequest>(frame, JOIN) else { return };
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::MemberIdRequired) => {
                self.id = ByteString::from(response.member_id.to_string());
                return;
            }
            _ => return self.failed(cx, "JoinGroup", response.error_code),
        }
        self.id = ByteString::from(response.member_id.to_string());
        self.generation = response.generation_id;
        self.leads = response.leader == response.member_id;
        let members = response.members.iter();
        self.others = members.map(|m| ByteString::from(m.member_id.to_string())).collect();
        self.state = State::Joined;
        let who = (&*response.leader, &*response.member_id);
        if let Err(what) = cx.model.generations.joined(GROUP, self.generation, who) {
            cx.model.violate(what);
        }
    }

    fn synced(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let Some(response) = cx.decode::<SyncGroupRequest>(frame, SYNC) else { return };
        if response.error_code != 0 {
            return self.failed(cx, "SyncGroup", response.error_code);
        }
        self.state = State::Stable;
        let who = (&*self.id, &*response.assignment);
        if let Err(what) = cx.model.generations.assigned(GROUP, self.generation, who) {
            cx.model.violate(what);
        }
    }

    fn committed(&mut self, cx: &mut Cx<'_>, frame: Bytes, value: i64) {
        let Some(response) = cx.decode::<OffsetCommitRequest>(frame, COMMIT) else { return };
        let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions);
        match codes.next().map(|partition| partition.error_code) {
            Some(0) => {
                cx.model.counts.commits += 1;
                cx.model.commits.acknowledged(&key(), value);
            }
            Some(code) => self.failed(cx, "OffsetCommit", code),
            None => cx.model.violate("OffsetCommit was answered without a partition".to_owned()),
        }
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        match self.state {
            State::NoCoordinator => {
                let coordinator_keys = vec![GROUP.into()];
                let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
                self.link.send(cx, FIND, &request);
                self.asked = Some(Pending::Find);
            }
            State::Outside => self.join(cx),
            State::Joined => self.sync(cx),
            State::Stable if cx.rng.chance(1, 30) => self.leave(cx),
            State::Stable if self.leads && cx.rng.chance(1, 2) => self.commit(cx),
            State::Stable => self.heartbeat(cx),
        }
    }
}

fn key() -> (String, i32) {
    (GROUP.to_owned(), 0)
}

impl Client for Member {
    fn act(&mut self, cx: &mut Cx<'_>) {
        let ready = cx.model.topics.values().any(|topic| topic.name == STABLE);
        if self.asked.is_none() && ready && !cx.model.stopping {
            self.next(cx);
        }
        if cx.rng.chance(1, 60) && self.link.cut(cx, Late::Lost) {
            self.closed(cx);
        }
        if !cx.model.stopping {
            let pause = if cx.rng.chance(1, 40) { 3_000_000 } else { 150_000 };
            cx.act_in(5_000, pause);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, _correlation: i32, frame: Bytes) {
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
            Some(Pending::Heartbeat) => {
                let response = cx.decode::<HeartbeatRequest>(frame, HEARTBEAT);
                match response.map(|response| response.error_code) {
                    None | Some(0) => {}
                    Some(code) => self.failed(cx, "Heartbeat", code),
                }
            }
            Some(Pending::Leave) => {
                self.id = ByteString::default();
                self.state = State::Outside;
            }
            Some(Pending::Commit(value)) => self.committed(cx, frame, value),
            None => cx.model.violate("an answer that nobody asked for".to_owned()),
        }
    }

    fn closed(&mut self, _cx: &mut Cx<'_>) {
        self.link.lost();
        self.asked = None;
    }

    fn name(&self) -> String {
        format!("member {}", self.index)
    }
}
