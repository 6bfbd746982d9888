//! The phases of a rebalance: gather members, start a generation, put out who does not follow.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Now;
use ottla_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

use super::group::{ClassicGroup, GroupState};
use crate::command::{Output, Response};
use crate::config::GroupConfig;
use crate::machine::Ticket;
use crate::records;
use crate::timers::{Timer, Timers};

/// How long a member that has never been answered may stay: it cannot send heartbeats while its
/// JoinGroup is parked, and its client may be gone (KIP-394).
pub(crate) const NEW_MEMBER_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// What a step on one group can use and change outside of it.
pub(crate) struct Step<'a> {
    pub(crate) config: &'a GroupConfig,
    pub(crate) now: Now,
    pub(crate) timers: &'a mut Timers<Timer>,
    pub(crate) out: &'a mut Output,
    /// Requests and member ids waiting in the whole shard when the step began.
    pub(crate) waiting: usize,
}

impl Step<'_> {
    /// Sets `timer` to go off in `millis`.
    pub(crate) fn set_timer(&mut self, timer: Timer, millis: i32) {
        self.timers.set(timer, self.now.monotonic.plus_millis(millis.into()));
    }

    /// Whether no further request can be parked.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= self.config.waiting_max
    }

    pub(crate) fn answer_join(&mut self, ticket: Ticket, response: JoinGroupResponse) {
        self.out.complete(ticket, Response::JoinGroup(response));
    }

    pub(crate) fn refuse_join(&mut self, ticket: Ticket, error: ErrorCode, member_id: &ByteString) {
        self.answer_join(ticket, join_error(error, member_id));
    }

    pub(crate) fn refuse_sync(&mut self, ticket: Ticket, error: ErrorCode) {
        let response = SyncGroupResponse { error_code: error.code(), ..Default::default() };
        self.out.complete(ticket, Response::SyncGroup(response));
    }
}

/// A JoinGroup answered with an error.
pub(crate) fn join_error(error: ErrorCode, member_id: &ByteString) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        member_id: member_id.clone(),
        protocol_name: None,
        ..Default::default()
    }
}

impl ClassicGroup {
    /// Starts a rebalance, or completes the one that gathers members if nobody is missing.
    pub(crate) fn rebalance(&mut self, step: &mut Step<'_>) {
        if self.is(GroupState::PreparingRebalance) {
            self.maybe_complete_join(step);
        } else {
            self.prepare_rebalance(step);
        }
    }

    /// Starts to gather members. A group that was empty waits for more of them (KIP-134).
    pub(crate) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.is(GroupState::CompletingRebalance) {
            self.reset_assignments(step, ErrorCode::RebalanceInProgress);
        }
        step.timers.cancel(Timer::Sync(self.id.clone()));
        let was_empty = self.is(GroupState::Empty);
        self.transition(GroupState::PreparingRebalance, step.now);
        if was_empty {
            let delay = step.config.initial_rebalance_delay_ms.max(0);
            let remaining = self.rebalance_ms().saturating_sub(delay).max(0);
            self.initial_delay = Some((delay, remaining));
            step.set_timer(Timer::Join(self.id.clone()), delay);
        } else if self.all_joined() {
            self.complete_join(step);
        } else {
            step.set_timer(Timer::Join(self.id.clone()), self.rebalance_ms());
        }
    }

    /// Completes the join phase if nobody is missing and no initial delay runs.
    pub(crate) fn maybe_complete_join(&mut self, step: &mut Step<'_>) {
        if self.is(GroupState::PreparingRebalance)
            && self.initial_delay.is_none()
            && self.all_joined()
        {
            self.complete_join(step);
        }
    }

    /// The deadline of the join phase, or of a slice of the initial delay, has come.
    pub(crate) fn on_join_deadline(&mut self, step: &mut Step<'_>) {
        if !self.is(GroupState::PreparingRebalance) {
            return;
        }
        match self.initial_delay {
            Some((delay, remaining)) if self.new_member_added && remaining != 0 => {
                self.new_member_added = false;
                let next = step.config.initial_rebalance_delay_ms.min(remaining).max(0);
                self.initial_delay = Some((next, remaining.saturating_sub(delay).max(0)));
                step.set_timer(Timer::Join(self.id.clone()), next);
            }
            _ => self.complete_join(step),
        }
    }

    /// Members that joined and did not sync in time are put out.
    pub(crate) fn on_sync_deadline(&mut self, step: &mut Step<'_>) {
        let running = self.is(GroupState::CompletingRebalance) || self.is(GroupState::Stable);
        if !running || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.evict(step, &id);
        }
        self.prepare_rebalance(step);
    }

    /// A member, or an id handed out, has been silent for too long.
    pub(crate) fn on_session_deadline(&mut self, step: &mut Step<'_>, id: &str) {
        if self.pending_joins.remove(id) {
            self.maybe_complete_join(step);
            return;
        }
        let Some(member) = self.members.get(id) else { return };
        // Whoever waits for us is alive; but a new member's parked JoinGroup proves nothing.
        let waits = member.join.is_some() || member.sync.is_some();
        if member.is_new || !waits {
            self.evict(step, id);
            self.rebalance(step);
        }
    }

    /// Removes a member and answers what it has parked.
    pub(crate) fn evict(&mut self, step: &mut Step<'_>, id: &str) {
        if let Some(ticket) = self.unpark_join(id) {
            step.refuse_join(ticket, ErrorCode::UnknownMemberId, &ByteString::new());
        }
        if let Some(ticket) = self.unpark_sync(id) {
            step.refuse_sync(ticket, ErrorCode::UnknownMemberId);
        }
        self.remove(id);
        step.timers.cancel(self.session_timer(id));
    }

    /// Gives a member its session timeout from now on.
    pub(crate) fn renew_session(&self, step: &mut Step<'_>, id: &str) {
        if let Some((id, member)) = self.members.get_key_value(id) {
            let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
            step.set_timer(timer, member.session_ms);
        }
    }

    pub(crate) fn session_timer(&self, id: &str) -> Timer {
        Timer::Session { group: self.id.clone(), member: ByteString::from(id) }
    }

    /// Takes back all assignments; parked SyncGroups get `error`.
    pub(crate) fn reset_assignments(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let ids: Vec<ByteString> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(ticket) = self.unpark_sync(&id) {
                step.refuse_sync(ticket, error);
                self.renew_session(step, &id);
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment.clear();
            }
        }
    }

    /// What a member learns about the current generation.
    pub(crate) fn joined(&self, id: &ByteString, tell_members: bool) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.clone(),
            members: if tell_members { self.for_leader() } else { Vec::new() },
            ..Default::default()
        }
    }

    /// Ends the join phase: dynamic members that did not join are out, the rest is the next
    /// generation.
    fn complete_join(&mut self, step: &mut Step<'_>) {
        step.timers.cancel(Timer::Join(self.id.clone()));
        self.initial_delay = None;
        self.new_member_added = false;
        let late = self.members.iter().filter(|(_, m)| m.join.is_none() && m.instance.is_none());
        let late: Vec<ByteString> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.evict(step, &id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members, none of which came back: they have until their session ends.
            step.set_timer(Timer::Join(self.id.clone()), self.rebalance_ms());
            return;
        }
        self.next_generation(step.now);
        if self.is(GroupState::Empty) {
            step.out.records.push(records::group_metadata(self, |_| Default::default()));
        } else {
            self.start_generation(step);
        }
    }

    fn start_generation(&mut self, step: &mut Step<'_>) {
        let ids: Vec<ByteString> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(ticket) = self.unpark_join(&id) {
                step.answer_join(ticket, self.joined(&id, self.is_leader(&id)));
            }
            self.renew_session(step, &id);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_syncs.insert(id);
        }
        step.set_timer(Timer::Sync(self.id.clone()), self.rebalance_ms());
    }

    /// Makes sure that the leader is one who joined. Returns false if nobody did.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &ByteString| self.members.get(id).is_some_and(|m| m.join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.iter().find(|(_, m)| m.join.is_some()).map(|(id, _)| id.clone());
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }
}
