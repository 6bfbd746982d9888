//! One partition of `__consumer_offsets` and the groups it stores.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, ProducerId, Timestamp};
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::{
    GroupMetadataValue, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};

use crate::classic::{ClassicGroup, GroupState, Join, Member, Step, join_error, left};
use crate::command::{Command, GroupUndo, Output, Response, Undo};
use crate::config::GroupConfig;
use crate::machine::{
    CommandContext, LogRecord, Machine, Ticket, coordinator_error, detach, detach_bytes,
};
use crate::offsets::{Committed, Offsets, PartitionOf};
use crate::records::{self, Entry, ReplayError};
use crate::timers::{Timer, Timers};

/// From this version on SyncGroup must say protocol type and name (KIP-559).
const SYNC_PROTOCOL_FROM: i16 = 5;
/// Before this version LeaveGroup has one member (KIP-345).
const LEAVE_BATCH_FROM: i16 = 3;

/// The groups of one partition of `__consumer_offsets`, as their coordinator.
///
/// See [`Machine`].
#[derive(Debug)]
pub struct GroupShard {
    pub(crate) config: GroupConfig,
    pub(crate) groups: BTreeMap<ByteString, ClassicGroup>,
    /// Groups of other kinds in the log: left alone.
    pub(crate) foreign: BTreeSet<ByteString>,
    pub(crate) offsets: Offsets,
    pub(crate) timers: Timers<Timer>,
    /// The group after which the sweep for expired offsets goes on.
    pub(crate) sweep_from: Option<ByteString>,
    waiting: usize,
    live: bool,
}

impl Machine for GroupShard {
    type Config = GroupConfig;
    type Command = Command;
    type Response = Response;
    type Action = Infallible;
    type Undo = GroupUndo;

    fn new(config: GroupConfig) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            foreign: BTreeSet::new(),
            offsets: Offsets::default(),
            timers: Timers::default(),
            sweep_from: None,
            waiting: 0,
            live: false,
        }
    }

    fn set_config(&mut self, config: GroupConfig) {
        self.config = config;
    }

    fn handle(&mut self, ticket: Ticket, command: Command, ctx: &CommandContext) -> Output {
        let mut out = Output::default();
        match command {
            Command::JoinGroup(request) => self.join(ticket, &request, ctx, &mut out),
            Command::SyncGroup(request) => self.sync(ticket, &request, ctx, &mut out),
            Command::Heartbeat(request) => {
                let error_code = self.heartbeat(&request, ctx.now, &mut out).code();
                let response = HeartbeatResponse { error_code, ..Default::default() };
                out.complete(ticket, Response::Heartbeat(response));
            }
            Command::LeaveGroup(request) => {
                let response = self.leave(&request, ctx, &mut out);
                out.complete(ticket, Response::LeaveGroup(response));
            }
            Command::OffsetCommit(request) => return self.offset_commit(ticket, &request, ctx),
            Command::TxnOffsetCommit(request) => {
                return self.txn_offset_commit(ticket, &request, ctx);
            }
            Command::OffsetFetch { group, require_stable } => {
                let response = self.offset_fetch(&group, require_stable);
                out.complete(ticket, Response::OffsetFetch(response));
            }
            Command::OffsetDelete(request) => return self.offset_delete(ticket, &request),
            Command::DescribeGroups(ids) => {
                let groups = ids.iter().map(|id| self.describe(id)).collect();
                out.complete(ticket, Response::DescribeGroups(groups));
            }
            Command::ListGroups { states, types } => {
                let groups = self.list(&states, &types);
                let response = ListGroupsResponse { groups, ..Default::default() };
                out.complete(ticket, Response::ListGroups(response));
            }
            Command::DeleteGroups(ids) => return self.delete_groups(ticket, &ids),
        }
        out
    }

    fn tick(&mut self, now: Now) -> Output {
        let mut out = Output::default();
        while out.records.is_empty()
            && let Some(timer) = self.timers.pop_due(now.monotonic)
        {
            match timer {
                Timer::Session { group, member } => {
                    self.with_group(&group, now, &mut out, |g, step| {
                        g.on_session_deadline(step, &member);
                    });
                }
                Timer::Join(group) => {
                    self.with_group(&group, now, &mut out, ClassicGroup::on_join_deadline);
                }
                Timer::Sync(group) => {
                    self.with_group(&group, now, &mut out, ClassicGroup::on_sync_deadline);
                }
                Timer::Cleanup => {
                    out.records = self.sweep(now);
                    break;
                }
            }
        }
        out
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    fn replay(
        &mut self,
        record: &LogRecord,
        offset: Offset,
        producer: ProducerId,
    ) -> Result<(), ReplayError> {
        match records::parse(record, offset)? {
            Entry::Offset { group, topic, partition, value } => {
                let key = PartitionOf { group, topic, partition };
                match value {
                    Some(value) => {
                        let id = self.ensure_group(&key.group);
                        let topic = detach(&key.topic);
                        let key = PartitionOf { group: id, topic, partition };
                        self.offsets.put(key, Committed::from_value(&value, offset), producer);
                    }
                    None => self.offsets.delete(&key),
                }
            }
            Entry::Group { group, value: Some(value) } => self.replay_group(&group, &value),
            Entry::Group { group, value: None } => self.forget(&group),
            Entry::Foreign { group, exists: true } => {
                self.foreign.insert(detach(&group));
            }
            Entry::Foreign { group, exists: false } => {
                self.foreign.remove(&group);
            }
            Entry::Unknown => {}
        }
        Ok(())
    }

    fn replay_end_marker(&mut self, producer: ProducerId, commit: bool) {
        for group in self.offsets.end_transaction(producer, commit) {
            self.ensure_group(&group);
        }
    }

    fn loaded(&mut self, _epoch: LeaderEpoch, now: Now) -> Output {
        self.live = true;
        let mut out = Output::default();
        let ids: Vec<ByteString> = self.groups.keys().cloned().collect();
        let size_max = self.config.group_size_max;
        for id in ids {
            self.with_group(&id, now, &mut out, |group, step| {
                for member in group.members.keys() {
                    group.renew_session(step, member);
                }
                if group.members.len() > size_max {
                    group.prepare_rebalance(step);
                }
            });
        }
        let pause = self.config.retention_check_interval_ms;
        self.timers.set(Timer::Cleanup, now.monotonic.plus_millis(pause));
        out
    }

    fn append_failed(&mut self, output: Output, error: ErrorCode, now: Now) -> Output {
        let mut out = Output { completions: output.completions, ..Output::default() };
        out.completions.iter_mut().for_each(|(_, response)| response.fail(error));
        let code = coordinator_error(error);
        match output.undo.map(|GroupUndo(undo)| undo) {
            None => {}
            Some(Undo::NewGroup(id)) => {
                self.with_group(&id, now, &mut out, |group, step| abandon(group, step, code));
                self.forget(&id);
            }
            Some(Undo::Assignment(id)) => {
                self.with_group(&id, now, &mut out, |group, step| {
                    group.reset_assignments(step, code);
                    group.rebalance(step);
                });
            }
            Some(Undo::StaticMember { group, old_id, new_id, old }) => {
                self.with_group(&group, now, &mut out, |group, step| {
                    group.restore_static(step, (&old_id, &new_id), *old);
                });
            }
        }
        out
    }

    fn unload(&mut self, now: Now) -> Output {
        let mut out = Output::default();
        let ids: Vec<ByteString> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_group(&id, now, &mut out, |group, step| {
                abandon(group, step, ErrorCode::NotCoordinator);
            });
        }
        *self = Self::new(self.config.clone());
        out
    }

    fn refuse(command: &Command, error: ErrorCode) -> Response {
        command.refuse(error)
    }

    fn fail(response: &mut Response, error: ErrorCode) {
        response.fail(error);
    }
}

impl GroupShard {
    /// How many groups there are, by the name of their state, for metrics.
    #[must_use]
    pub fn groups_by_state(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for group in self.groups.values() {
            *counts.entry(group.state.name()).or_default() += 1;
        }
        counts
    }

    /// Runs `f` on a group, if there is one.
    pub(crate) fn with_group<R>(
        &mut self,
        id: &str,
        now: Now,
        out: &mut Output,
        f: impl FnOnce(&mut ClassicGroup, &mut Step<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let before = group.waiting();
        let (config, timers) = (&self.config, &mut self.timers);
        let mut step = Step { config, now, timers, out, waiting: self.waiting };
        let result = f(group, &mut step);
        self.waiting = self.waiting + group.waiting() - before;
        Some(result)
    }

    fn join(
        &mut self,
        ticket: Ticket,
        request: &JoinGroupRequest,
        ctx: &CommandContext,
        out: &mut Output,
    ) {
        let created = match self.admit(request, ctx.now) {
            Ok(created) => created,
            Err(error) => {
                let response = join_error(error, &request.member_id);
                return out.complete(ticket, Response::JoinGroup(response));
            }
        };
        let new_group = self.with_group(&request.group_id, ctx.now, out, |group, step| {
            group.join(step, Join { ticket, request, ctx });
            (created && step.out.records.is_empty())
                .then(|| (group.id.clone(), records::new_group(group)))
        });
        if let Some((id, record)) = new_group.flatten() {
            out.records.push(record);
            out.undo = Some(GroupUndo(Undo::NewGroup(id)));
        }
    }

    /// Checks what needs no group; makes one for a first member. Returns whether it was made.
    fn admit(&mut self, request: &JoinGroupRequest, now: Now) -> Result<bool, ErrorCode> {
        let id = &request.group_id;
        let timeouts = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        if id.is_empty() {
            Err(ErrorCode::InvalidGroupId)
        } else if !timeouts.contains(&request.session_timeout_ms) {
            Err(ErrorCode::InvalidSessionTimeout)
        } else if self.foreign.contains(id) {
            Err(ErrorCode::InconsistentGroupProtocol)
        } else if self.groups.contains_key(id) {
            Ok(false)
        } else if !request.member_id.is_empty() {
            Err(ErrorCode::UnknownMemberId)
        } else if self.groups.len() >= self.config.groups_max {
            Err(ErrorCode::CoordinatorNotAvailable)
        } else {
            let id = detach(id);
            self.groups.insert(id.clone(), ClassicGroup::new(id, now.wall));
            Ok(true)
        }
    }

    fn sync(
        &mut self,
        ticket: Ticket,
        request: &SyncGroupRequest,
        ctx: &CommandContext,
        out: &mut Output,
    ) {
        let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
        let error = if ctx.api_version >= SYNC_PROTOCOL_FROM && unnamed {
            ErrorCode::InconsistentGroupProtocol
        } else if request.group_id.is_empty() {
            ErrorCode::InvalidGroupId
        } else {
            let found = self.with_group(&request.group_id, ctx.now, out, |group, step| {
                group.sync(step, ticket, request);
            });
            if found.is_some() {
                return;
            }
            ErrorCode::UnknownMemberId
        };
        let response = SyncGroupResponse { error_code: error.code(), ..Default::default() };
        out.complete(ticket, Response::SyncGroup(response));
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now, out: &mut Output) -> ErrorCode {
        if request.group_id.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        self.with_group(&request.group_id, now, out, |group, step| group.heartbeat(step, request))
            .unwrap_or(ErrorCode::UnknownMemberId)
    }

    fn leave(
        &mut self,
        request: &LeaveGroupRequest,
        ctx: &CommandContext,
        out: &mut Output,
    ) -> LeaveGroupResponse {
        if request.group_id.is_empty() {
            let error_code = ErrorCode::InvalidGroupId.code();
            return LeaveGroupResponse { error_code, ..Default::default() };
        }
        let single = (ctx.api_version < LEAVE_BATCH_FROM)
            .then(|| MemberIdentity { member_id: request.member_id.clone(), ..Default::default() });
        let who = single.as_ref().map_or(&*request.members, std::slice::from_ref);
        let members = self
            .with_group(&request.group_id, ctx.now, out, |group, step| group.leave(step, who))
            .unwrap_or_else(|| who.iter().map(|m| left(m, ErrorCode::UnknownMemberId)).collect());
        LeaveGroupResponse { members, ..Default::default() }
    }

    /// A group that has offsets exists: a "simple" one if there is nothing else.
    fn ensure_group(&mut self, id: &ByteString) -> ByteString {
        if let Some((own, _)) = self.groups.get_key_value(id) {
            return own.clone();
        }
        let own = detach(id);
        self.groups.insert(own.clone(), ClassicGroup::new(own.clone(), Timestamp::NONE));
        own
    }

    fn replay_group(&mut self, id: &ByteString, value: &GroupMetadataValue) {
        match self.groups.get_mut(id) {
            // Our own record: the group is ahead of it, except for waiting to have it stored.
            Some(group) if self.live => group.apply_assignment(value.generation),
            _ => {
                let group = restore(detach(id), value);
                self.groups.insert(group.id.clone(), group);
            }
        }
    }

    /// Removes a group that has been deleted. Its offsets have records of their own.
    fn forget(&mut self, id: &ByteString) {
        let Some(group) = self.groups.remove(id) else { return };
        self.waiting -= group.waiting();
        self.timers.cancel(Timer::Join(group.id.clone()));
        self.timers.cancel(Timer::Sync(group.id.clone()));
        for member in group.members.keys().chain(&group.pending_joins) {
            self.timers.cancel(group.session_timer(member));
        }
        if self.offsets.group(id).is_some() {
            self.ensure_group(id);
        }
    }
}

/// Answers all that is parked in a group with `error`.
fn abandon(group: &mut ClassicGroup, step: &mut Step<'_>, error: ErrorCode) {
    let ids: Vec<ByteString> = group.members.keys().cloned().collect();
    for id in ids {
        if let Some(ticket) = group.unpark_join(&id) {
            step.refuse_join(ticket, error, &id);
        }
        if let Some(ticket) = group.unpark_sync(&id) {
            step.refuse_sync(ticket, error);
        }
    }
}

/// A group as its record says: stable, or empty without members.
fn restore(id: ByteString, value: &GroupMetadataValue) -> ClassicGroup {
    let mut group = ClassicGroup::new(id, Timestamp(value.current_state_timestamp));
    let protocol = value.protocol.as_ref().map(detach);
    for stored in &value.members {
        let timeouts = (stored.session_timeout, stored.rebalance_timeout);
        let member = Member {
            instance: stored.group_instance_id.as_ref().map(detach),
            client_id: detach(&stored.client_id),
            client_host: detach(&stored.client_host),
            session_ms: timeouts.0,
            rebalance_ms: if timeouts.1 == -1 { timeouts.0 } else { timeouts.1 },
            protocols: protocol
                .iter()
                .map(|name| (name.clone(), detach_bytes(&stored.subscription)))
                .collect(),
            assignment: detach_bytes(&stored.assignment),
            join: None,
            sync: None,
            is_new: false,
        };
        group.add(detach(&stored.member_id), member, &value.protocol_type);
    }
    group.generation = value.generation;
    group.protocol_type = Some(detach(&value.protocol_type)).filter(|kind| !kind.is_empty());
    group.protocol = protocol;
    group.leader = value.leader.as_ref().map(detach);
    group.state = if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
    group.compute_subscribed();
    group
}
