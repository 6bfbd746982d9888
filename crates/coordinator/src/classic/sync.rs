//! SyncGroup, Heartbeat and LeaveGroup.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{HeartbeatRequest, SyncGroupRequest, SyncGroupResponse};

use super::group::{ClassicGroup, GroupState};
use super::rebalance::Step;
use crate::command::{GroupUndo, Response, Undo};
use crate::machine::{Ticket, detach_bytes};
use crate::records;
use crate::timers::Timer;

impl ClassicGroup {
    /// Handles a SyncGroup: members wait, the leader's is stored and answers all.
    pub(crate) fn sync(&mut self, step: &mut Step<'_>, ticket: Ticket, request: &SyncGroupRequest) {
        if let Err(error) = self.check_sync(request) {
            return step.refuse_sync(ticket, error);
        }
        let id = &request.member_id;
        match self.state {
            GroupState::Empty => step.refuse_sync(ticket, ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => {
                step.refuse_sync(ticket, ErrorCode::RebalanceInProgress);
            }
            GroupState::CompletingRebalance if step.is_full() && !self.is_leader(id) => {
                step.refuse_sync(ticket, ErrorCode::CoordinatorNotAvailable);
            }
            GroupState::CompletingRebalance => {
                if let Some(old) = self.park_sync(id, ticket) {
                    step.refuse_sync(old, ErrorCode::RebalanceInProgress);
                }
                self.synced(step, id);
                if self.is_leader(id) {
                    self.assign(step, request);
                }
            }
            GroupState::Stable => {
                self.synced(step, id);
                let assignment = self.members.get(id).map(|m| m.assignment.clone());
                let response = self.assigned(assignment.unwrap_or_default());
                step.out.complete(ticket, Response::SyncGroup(response));
                self.renew_session(step, id);
            }
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differ = |theirs: &Option<ByteString>, ours: &Option<ByteString>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differ(&request.protocol_type, &self.protocol_type)
            || differ(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn synced(&mut self, step: &mut Step<'_>, id: &str) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            step.timers.cancel(Timer::Sync(self.id.clone()));
        }
    }

    fn assigned(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
            ..Default::default()
        }
    }

    /// Stores the leader's assignment and answers all who wait for it. The group becomes stable
    /// in [`ClassicGroup::apply_assignment`], when the record is in the log.
    fn assign(&mut self, step: &mut Step<'_>, request: &SyncGroupRequest) {
        let given: BTreeMap<&ByteString, &Bytes> =
            request.assignments.iter().map(|a| (&a.member_id, &a.assignment)).collect();
        let ids: Vec<ByteString> = self.members.keys().cloned().collect();
        for id in ids {
            let assignment = given.get(&id).map(|bytes| detach_bytes(bytes)).unwrap_or_default();
            if let Some(ticket) = self.unpark_sync(&id) {
                let response = self.assigned(assignment.clone());
                step.out.complete(ticket, Response::SyncGroup(response));
                self.renew_session(step, &id);
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        step.out.records.push(records::group_metadata(self, |member| member.assignment.clone()));
        step.out.undo = Some(GroupUndo(Undo::Assignment(self.id.clone())));
    }

    /// The record of `generation` with its assignments is in the log.
    pub(crate) fn apply_assignment(&mut self, generation: i32) {
        if self.is(GroupState::CompletingRebalance) && generation == self.generation {
            self.state = GroupState::Stable;
        }
    }

    /// Handles a Heartbeat.
    pub(crate) fn heartbeat(&self, step: &mut Step<'_>, request: &HeartbeatRequest) -> ErrorCode {
        if let Err(error) =
            self.check_member(&request.member_id, request.group_instance_id.as_ref())
        {
            return error;
        }
        if request.generation_id != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.renew_session(step, &request.member_id);
        match self.state {
            GroupState::Empty => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            GroupState::CompletingRebalance | GroupState::Stable => ErrorCode::None,
        }
    }

    /// Handles a LeaveGroup: each member is answered, then the rest rebalances once.
    pub(crate) fn leave(
        &mut self,
        step: &mut Step<'_>,
        members: &[MemberIdentity],
    ) -> Vec<MemberResponse> {
        let mut answers = Vec::with_capacity(members.len());
        for identity in members {
            let error = self.leave_one(step, identity).err().unwrap_or(ErrorCode::None);
            answers.push(left(identity, error));
        }
        if answers.iter().any(|a| a.error_code == 0) {
            match self.state {
                GroupState::Stable | GroupState::CompletingRebalance => {
                    self.prepare_rebalance(step);
                }
                GroupState::PreparingRebalance => self.maybe_complete_join(step),
                GroupState::Empty => {}
            }
        }
        answers
    }

    fn leave_one(&mut self, step: &mut Step<'_>, who: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance = who.group_instance_id.as_ref();
        if who.member_id.is_empty() {
            // An administrator removes a static member by its instance id (KIP-345).
            let id = instance.and_then(|i| self.static_members.get(i)).cloned();
            let id = id.ok_or(ErrorCode::UnknownMemberId)?;
            self.evict(step, &id);
        } else if self.pending_joins.contains(&who.member_id) {
            self.evict(step, &who.member_id);
        } else {
            self.check_member(&who.member_id, instance)?;
            self.evict(step, &who.member_id);
        }
        Ok(())
    }
}

/// A member's part of a LeaveGroup answer.
pub(crate) fn left(who: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: who.member_id.clone(),
        group_instance_id: who.group_instance_id.clone(),
        error_code: error.code(),
        ..Default::default()
    }
}
