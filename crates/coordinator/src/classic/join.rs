//! JoinGroup: who may enter, under which member id, and whether that starts a rebalance.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::JoinGroupRequest;

use super::group::{ClassicGroup, GroupState, Member, own_protocols, rebalance_timeout};
use super::rebalance::{NEW_MEMBER_TIMEOUT_MS, Step};
use crate::command::{GroupUndo, Undo};
use crate::machine::{CommandContext, Ticket};
use crate::records;

/// From this version on a new dynamic member is first given an id to come back with (KIP-394).
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on a returning static leader learns the members and does not assign (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// The longest part of a client or instance id that goes into a member id, so that the id still
/// fits a string of 32,767 bytes.
const MEMBER_ID_PREFIX_MAX: usize = 32_000;

/// A JoinGroup on its way through the checks.
#[derive(Clone, Copy)]
pub(crate) struct Join<'a> {
    pub(crate) ticket: Ticket,
    pub(crate) request: &'a JoinGroupRequest,
    pub(crate) ctx: &'a CommandContext,
}

impl ClassicGroup {
    /// Handles a JoinGroup whose group id and session timeout are valid.
    pub(crate) fn join(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let Join { ticket, request, .. } = join;
        if step.is_full() {
            step.refuse_join(ticket, ErrorCode::CoordinatorNotAvailable, &request.member_id);
        } else if !self.has_room_for(&request.member_id, step.config.group_size_max) {
            step.refuse_join(ticket, ErrorCode::GroupMaxSizeReached, &ByteString::new());
            self.evict(step, &request.member_id);
            self.maybe_complete_join(step);
        } else if !self.supports(request) {
            step.refuse_join(ticket, ErrorCode::InconsistentGroupProtocol, &request.member_id);
        } else if request.member_id.is_empty() {
            self.join_new(step, join);
        } else {
            self.join_known(step, join);
        }
    }

    /// An existing member may always rejoin; while members gather, those that have come count, so
    /// that a group whose limit was lowered shrinks.
    fn has_room_for(&self, member_id: &str, size_max: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|m| m.join.is_some()) || self.awaiting_joins() < size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < size_max
            }
        }
    }

    fn join_new(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let Join { ticket, request, ctx } = join;
        let id = new_member_id(request.group_instance_id.as_ref(), ctx);
        if let Some(instance) = &request.group_instance_id {
            match self.static_members.get(instance).cloned() {
                Some(old_id) => self.replace_static(step, join, (&old_id, id)),
                None => self.add_and_rebalance(step, join, id),
            }
        } else if ctx.api_version >= MEMBER_ID_REQUIRED_FROM {
            self.pending_joins.insert(id.clone());
            step.set_timer(self.session_timer(&id), request.session_timeout_ms);
            step.refuse_join(ticket, ErrorCode::MemberIdRequired, &id);
        } else {
            self.add_and_rebalance(step, join, id);
        }
    }

    fn join_known(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let Join { ticket, request, .. } = join;
        let id = &request.member_id;
        let instance = request.group_instance_id.as_ref();
        if instance.is_none() && self.pending_joins.contains(id) {
            return self.add_and_rebalance(step, join, crate::machine::detach(id));
        }
        if let Err(error) = self.check_member(id, instance) {
            return step.refuse_join(ticket, error, id);
        }
        let changed = self.members.get(id).is_some_and(|m| !m.matches(&request.protocols));
        let leads = self.is_leader(id);
        match self.state {
            GroupState::PreparingRebalance => self.rejoin_and_rebalance(step, join, id),
            // The same again: perhaps the answer got lost.
            GroupState::CompletingRebalance if !changed => {
                let response = self.joined(id, leads);
                step.answer_join(ticket, response);
            }
            // A leader that rejoins wants a new assignment, perhaps because topics changed.
            GroupState::Stable if !changed && !leads => {
                let response = self.joined(id, false);
                step.answer_join(ticket, response);
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.rejoin_and_rebalance(step, join, id);
            }
            GroupState::Empty => step.refuse_join(ticket, ErrorCode::UnknownMemberId, id),
        }
    }

    fn add_and_rebalance(&mut self, step: &mut Step<'_>, join: Join<'_>, id: ByteString) {
        let Join { ticket, request, ctx } = join;
        if self.initial_delay.is_some() {
            self.new_member_added = true;
        }
        self.add(id.clone(), Member::joining(request, ctx), &request.protocol_type);
        self.park_join(&id, ticket);
        step.set_timer(self.session_timer(&id), NEW_MEMBER_TIMEOUT_MS);
        self.rebalance(step);
    }

    fn rejoin_and_rebalance(&mut self, step: &mut Step<'_>, join: Join<'_>, id: &ByteString) {
        self.update_from(join.request, id);
        self.park(step, join.ticket, id);
        self.rebalance(step);
    }

    fn update_from(&mut self, request: &JoinGroupRequest, id: &str) {
        self.update(id, |member| {
            member.protocols = own_protocols(&request.protocols);
            member.rebalance_ms = rebalance_timeout(request);
            member.session_ms = request.session_timeout_ms;
        });
    }

    /// Parks a JoinGroup. One that was parked before was retried: nobody waits for its answer.
    fn park(&mut self, step: &mut Step<'_>, ticket: Ticket, id: &ByteString) {
        if let Some(old) = self.park_join(id, ticket) {
            step.refuse_join(old, ErrorCode::RebalanceInProgress, id);
        }
    }

    /// A static member came back without its member id: it gets a new one, the old is fenced. In a
    /// stable group whose protocol stays the same nobody else notices (KIP-345).
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        join: Join<'_>,
        (old_id, new_id): (&ByteString, ByteString),
    ) {
        let Join { ticket, request, ctx } = join;
        let old_leader = self.leader.clone();
        if let Some(parked) = self.unpark_join(old_id) {
            step.refuse_join(parked, ErrorCode::FencedInstanceId, old_id);
        }
        if let Some(parked) = self.unpark_sync(old_id) {
            step.refuse_sync(parked, ErrorCode::FencedInstanceId);
        }
        let Some(old) = self.members.get(old_id).cloned() else { return };
        self.rename(old_id, new_id.clone());
        step.timers.cancel(self.session_timer(old_id));
        self.update_from(request, &new_id);
        self.renew_session(step, &new_id);
        if !self.is(GroupState::Stable) || self.protocol != self.select_protocol() {
            self.park(step, ticket, &new_id);
            return self.rebalance(step);
        }
        let skips = ctx.api_version >= SKIP_ASSIGNMENT_FROM;
        let leads = self.is_leader(&new_id);
        let mut response = self.joined(&new_id, skips && leads);
        if skips {
            response.skip_assignment = leads;
        } else {
            // An old client that saw itself as leader would assign; the group is not rebalancing.
            response.leader = old_leader.unwrap_or_default();
        }
        step.out.records.push(records::group_metadata(self, |member| member.assignment.clone()));
        step.out.undo = Some(GroupUndo(Undo::StaticMember {
            group: self.id.clone(),
            old_id: old_id.clone(),
            new_id,
            old: Box::new(old),
        }));
        step.answer_join(ticket, response);
    }

    /// Takes a static member's new id back.
    pub(crate) fn restore_static(
        &mut self,
        step: &mut Step<'_>,
        (old_id, new_id): (&str, &str),
        old: Member,
    ) {
        self.rename(new_id, ByteString::from(old_id));
        self.update(old_id, |member| *member = old);
        step.timers.cancel(self.session_timer(new_id));
        self.renew_session(step, old_id);
    }
}

/// A member id as Kafka makes them: the instance or client id and a random UUID.
fn new_member_id(instance: Option<&ByteString>, ctx: &CommandContext) -> ByteString {
    let prefix = instance.unwrap_or(&ctx.client_id);
    let prefix = prefix.get(..prefix.floor_char_boundary(MEMBER_ID_PREFIX_MAX)).unwrap_or_default();
    let bits = ctx.random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |range| hex.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    let (a, b, c, d, e) = (part(0..8), part(8..12), part(12..16), part(16..20), part(20..32));
    format!("{prefix}-{a}-{b}-{c}-{d}-{e}").into()
}
