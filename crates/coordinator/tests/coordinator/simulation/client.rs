//! A client of the group that does what a consumer does, whatever it is answered.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use ottla_protocol::{ByteString, ErrorCode};
use ottla_testkit::Rng;

/// Partitions of the topic.
pub(super) const PARTITIONS: i32 = 12;

/// How long a client waits for an answer before it asks again, in milliseconds.
const PATIENCE_MS: u64 = 8_000;
/// The same for a JoinGroup, which waits for other members for as long as a rebalance may take.
const JOIN_PATIENCE_MS: u64 = REBALANCE_MS as u64 + 5_000;
const REBALANCE_MS: i32 = 15_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Wants to join.
    Out,
    /// Has an id or not, waits for the answer of a JoinGroup.
    Joining,
    /// Wants to sync; `Some` are the members it has to assign.
    Joined(Option<Vec<ByteString>>),
    Syncing(Option<Vec<ByteString>>),
    /// Owns partitions.
    Member(BTreeSet<i32>),
    /// Not coming back.
    Dead,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) instance: Option<ByteString>,
    /// Of its JoinGroup requests.
    version: i16,
    id: ByteString,
    pub(super) generation: i32,
    protocol: ByteString,
    pub(super) phase: Phase,
    /// The call whose answer it waits for, and since when.
    waits: Option<(u64, u64)>,
}

impl Client {
    pub(super) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            instance: index.is_multiple_of(3).then(|| format!("instance-{index}").into()),
            version: *rng.pick(&[9, 9, 9, 3, 5]),
            id: ByteString::new(),
            generation: -1,
            protocol: ByteString::new(),
            phase: Phase::Out,
            waits: None,
        }
    }

    pub(super) fn waits_for(&self, call: u64) -> bool {
        self.waits.is_some_and(|(waits, _)| waits == call)
    }

    /// Whether it has nothing to wait for, or (at once if `hasty`) waits no longer: the answer may
    /// be lost, and it asks again.
    pub(super) fn is_free(&mut self, now: u64, hasty: bool) -> bool {
        let Some((_, since)) = self.waits else { return true };
        let patience = if self.phase == Phase::Joining { JOIN_PATIENCE_MS } else { PATIENCE_MS };
        if now - since < patience && !hasty {
            return false;
        }
        self.waits = None;
        self.again();
        true
    }

    /// Back to where the open question is asked.
    fn again(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Out) {
            Phase::Joining => Phase::Out,
            Phase::Syncing(members) => Phase::Joined(members),
            phase => phase,
        };
    }

    /// The next request, as this call at this time; `offset` is what it commits if it commits.
    pub(super) fn next(
        &mut self,
        (call, now): (u64, u64),
        rng: &mut Rng,
        offset: i64,
    ) -> Option<(Command, i16)> {
        let asked = match self.phase.clone() {
            Phase::Out => (self.join(rng), self.version),
            Phase::Joined(members) => (self.sync(members), 5),
            Phase::Member(owned) => match owned.iter().next().filter(|_| rng.chance(1, 2)) {
                Some(partition) => (self.commit(*partition, offset), 9),
                None => (self.heartbeat(), 4),
            },
            Phase::Joining | Phase::Syncing(_) | Phase::Dead => return None,
        };
        self.waits = Some((call, now));
        Some(asked)
    }

    fn join(&mut self, rng: &mut Rng) -> Command {
        self.phase = Phase::Joining;
        // A loaded member is known by its group's protocol alone, so all must support both.
        let offered = if rng.chance(1, 2) { ["range", "sticky"] } else { ["sticky", "range"] };
        let protocol =
            |name: &str| JoinGroupRequestProtocol { name: name.into(), ..Default::default() };
        Command::JoinGroup(JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "test".into(),
            protocols: offered.into_iter().map(protocol).collect(),
            ..Default::default()
        })
    }

    fn sync(&mut self, members: Option<Vec<ByteString>>) -> Command {
        let mut assignments: BTreeMap<ByteString, Vec<u8>> = BTreeMap::new();
        if let Some(members) = members.as_ref().filter(|members| !members.is_empty()) {
            for partition in 0..PARTITIONS {
                let member = &members[partition as usize % members.len()];
                assignments.entry(member.clone()).or_default().push(partition as u8);
            }
        }
        self.phase = Phase::Syncing(members);
        let assignment = |(member_id, assignment): (_, Vec<u8>)| SyncGroupRequestAssignment {
            member_id,
            assignment: assignment.into(),
            ..Default::default()
        };
        Command::SyncGroup(SyncGroupRequest {
            group_id: "g".into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some("test".into()),
            protocol_name: Some(self.protocol.clone()),
            assignments: assignments.into_iter().map(assignment).collect(),
            ..Default::default()
        })
    }

    fn heartbeat(&self) -> Command {
        Command::Heartbeat(HeartbeatRequest {
            group_id: "g".into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        })
    }

    fn commit(&self, partition_index: i32, committed_offset: i64) -> Command {
        let partition = OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        Command::OffsetCommit(OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            topics: vec![topic],
            ..Default::default()
        })
    }

    /// Leaves without waiting for an answer, and may come back later.
    pub(super) fn leave(&mut self) -> Command {
        let member = MemberIdentity {
            member_id: std::mem::take(&mut self.id),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        };
        self.phase = Phase::Out;
        self.waits = None;
        Command::LeaveGroup(LeaveGroupRequest {
            group_id: "g".into(),
            members: vec![member],
            ..Default::default()
        })
    }

    /// Takes the answer it waits for.
    pub(super) fn receive(&mut self, response: Response) {
        self.waits = None;
        match response {
            Response::JoinGroup(r) if r.error_code == 0 => {
                let leads = r.leader == r.member_id && !r.skip_assignment;
                let members = r.members.into_iter().map(|m| m.member_id).collect();
                self.id = r.member_id;
                self.generation = r.generation_id;
                self.protocol = r.protocol_name.unwrap();
                self.phase = Phase::Joined(leads.then_some(members));
            }
            Response::JoinGroup(r) => {
                if r.error_code == ErrorCode::MemberIdRequired.code() {
                    self.id = r.member_id;
                }
                self.failed(r.error_code);
            }
            Response::SyncGroup(r) if r.error_code == 0 => {
                self.phase = Phase::Member(r.assignment.iter().map(|p| i32::from(*p)).collect());
            }
            Response::SyncGroup(r) => self.failed(r.error_code),
            Response::Heartbeat(r) => {
                if r.error_code != 0 {
                    self.failed(r.error_code);
                }
            }
            Response::OffsetCommit(r) => {
                let code = r.topics[0].partitions[0].error_code;
                if code != 0 && code != ErrorCode::RebalanceInProgress.code() {
                    self.failed(code);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn failed(&mut self, code: i16) {
        match ErrorCode::from_code(code).unwrap() {
            ErrorCode::UnknownMemberId | ErrorCode::GroupMaxSizeReached => {
                self.id = ByteString::new();
                self.phase = Phase::Out;
            }
            ErrorCode::FencedInstanceId => self.phase = Phase::Dead,
            // A generation that a crash undid may come again, with another protocol.
            ErrorCode::InconsistentGroupProtocol
            | ErrorCode::MemberIdRequired
            | ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration => self.phase = Phase::Out,
            // The same again, later.
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => self.again(),
            other => panic!("a well-behaved client got {other}: {self:?}"),
        }
    }
}
