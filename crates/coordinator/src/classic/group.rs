//! The state of one classic group and its members; bookkeeping without protocol decisions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Now, Timestamp};
use ottla_protocol::messages::JoinGroupRequest;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;

use crate::machine::{CommandContext, Ticket, detach, detach_bytes};

/// The protocol type of groups whose members are consumers; only their metadata is understood.
pub(crate) const CONSUMER: &str = "consumer";

/// Where a classic group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Waiting for members to (re)join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
}

impl GroupState {
    /// As Kafka prints it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member of a classic group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// `group.instance.id` of a static member (KIP-345).
    pub(crate) instance: Option<ByteString>,
    pub(crate) client_id: ByteString,
    pub(crate) client_host: ByteString,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
    /// Protocols and their metadata, the preferred one first; names are unique.
    pub(crate) protocols: Vec<(ByteString, Bytes)>,
    pub(crate) assignment: Bytes,
    /// A parked JoinGroup.
    pub(crate) join: Option<Ticket>,
    /// A parked SyncGroup.
    pub(crate) sync: Option<Ticket>,
    /// It has not been answered since it was added: it cannot send heartbeats yet.
    pub(crate) is_new: bool,
}

/// A classic group, or one that only holds offsets ("simple": no protocol type).
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: ByteString,
    pub(crate) state: GroupState,
    /// When `state` was entered.
    pub(crate) state_since: Timestamp,
    pub(crate) protocol_type: Option<ByteString>,
    pub(crate) protocol: Option<ByteString>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<ByteString>,
    pub(crate) members: BTreeMap<ByteString, Member>,
    /// Instance id to member id.
    pub(crate) static_members: BTreeMap<ByteString, ByteString>,
    /// Member ids handed out with MEMBER_ID_REQUIRED and not yet used (KIP-394).
    pub(crate) pending_joins: BTreeSet<ByteString>,
    /// Members of this generation that have not sent SyncGroup.
    pub(crate) pending_syncs: BTreeSet<ByteString>,
    /// Someone joined during the current slice of the initial delay.
    pub(crate) new_member_added: bool,
    /// During the first rebalance of an empty group: the slice of the initial delay that runs, and
    /// what may remain after it, in milliseconds.
    pub(crate) initial_delay: Option<(i32, i32)>,
    /// How many members support each protocol.
    supported: BTreeMap<ByteString, usize>,
    awaiting_joins: usize,
    awaiting_syncs: usize,
    /// The topics of a consumer group whose metadata could be read.
    subscribed: Option<BTreeSet<ByteString>>,
}

impl Member {
    /// A member as it asks to join.
    pub(crate) fn joining(request: &JoinGroupRequest, ctx: &CommandContext) -> Self {
        Self {
            instance: request.group_instance_id.as_ref().map(detach),
            client_id: detach(&ctx.client_id),
            client_host: detach(&ctx.client_host),
            session_ms: request.session_timeout_ms,
            rebalance_ms: rebalance_timeout(request),
            protocols: own_protocols(&request.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
        }
    }

    /// Whether the request says nothing new about protocols.
    pub(crate) fn matches(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self
                .protocols
                .iter()
                .zip(protocols)
                .all(|((name, metadata), p)| *name == p.name && *metadata == p.metadata)
    }

    /// What it said about `protocol`; empty if nothing.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| *name == *protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// Version 0 has no rebalance timeout: the session timeout serves.
pub(crate) fn rebalance_timeout(request: &JoinGroupRequest) -> i32 {
    match request.rebalance_timeout_ms {
        -1 => request.session_timeout_ms,
        millis => millis,
    }
}

/// Copies that do not pin the frame; of a name given twice the first counts.
pub(crate) fn own_protocols(protocols: &[JoinGroupRequestProtocol]) -> Vec<(ByteString, Bytes)> {
    let mut seen = BTreeSet::new();
    protocols
        .iter()
        .filter(|p| seen.insert(&p.name))
        .map(|p| (detach(&p.name), detach_bytes(&p.metadata)))
        .collect()
}

impl ClassicGroup {
    /// An empty group.
    pub(crate) fn new(id: ByteString, now: Timestamp) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_since: now,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            new_member_added: false,
            initial_delay: None,
            supported: BTreeMap::new(),
            awaiting_joins: 0,
            awaiting_syncs: 0,
            subscribed: None,
        }
    }

    pub(crate) fn is(&self, state: GroupState) -> bool {
        self.state == state
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(crate) fn transition(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_since = now.wall;
    }

    /// Whether a JoinGroup of this type and these protocols can be part of the group.
    pub(crate) fn supports(&self, request: &JoinGroupRequest) -> bool {
        if self.is(GroupState::Empty) {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request
                .protocols
                .iter()
                .any(|p| self.supported.get(&*p.name).copied().unwrap_or(0) == self.members.len())
    }

    /// Checks that a request comes from a current member (KIP-345).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID if its instance id now belongs to another member.
    pub(crate) fn check_member(
        &self,
        member_id: &str,
        instance: Option<&ByteString>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Adds a member; the first one leads and fixes the protocol type.
    pub(crate) fn add(&mut self, id: ByteString, member: Member, protocol_type: &ByteString) {
        if self.members.is_empty() {
            self.protocol_type = Some(detach(protocol_type));
        }
        self.leader.get_or_insert_with(|| id.clone());
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.pending_joins.remove(&id);
        self.insert(id, member);
    }

    /// Removes a member or a pending id. The next member leads if the leader went.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Member> {
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        let member = self.take(id)?;
        if let Some(instance) = &member.instance
            && self.static_members.get(instance).is_some_and(|current| **current == *id)
        {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives the member `old_id` the id `new_id`; it stays leader if it was.
    pub(crate) fn rename(&mut self, old_id: &str, new_id: ByteString) {
        let Some(member) = self.take(old_id) else { return };
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), new_id.clone());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.clone());
        }
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        self.insert(new_id, member);
    }

    /// Changes a member through `change`, keeping the counts right.
    pub(crate) fn update(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        if let Some((id, mut member)) = self.take_entry(id) {
            change(&mut member);
            self.insert(id, member);
        }
    }

    /// Parks a JoinGroup. Returns one that was parked before it.
    pub(crate) fn park_join(&mut self, id: &str, ticket: Ticket) -> Option<Ticket> {
        let member = self.members.get_mut(id)?;
        let old = member.join.replace(ticket);
        self.awaiting_joins += usize::from(old.is_none());
        old
    }

    /// Takes a parked JoinGroup.
    pub(crate) fn unpark_join(&mut self, id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(id)?.join.take()?;
        self.awaiting_joins -= 1;
        Some(ticket)
    }

    /// Parks a SyncGroup. Returns one that was parked before it.
    pub(crate) fn park_sync(&mut self, id: &str, ticket: Ticket) -> Option<Ticket> {
        let member = self.members.get_mut(id)?;
        let old = member.sync.replace(ticket);
        self.awaiting_syncs += usize::from(old.is_none());
        old
    }

    /// Takes a parked SyncGroup.
    pub(crate) fn unpark_sync(&mut self, id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(id)?.sync.take()?;
        self.awaiting_syncs -= 1;
        Some(ticket)
    }

    /// What counts against the bound on waiting: parked requests and unused member ids.
    pub(crate) fn waiting(&self) -> usize {
        self.awaiting_joins + self.awaiting_syncs + self.pending_joins.len()
    }

    /// Members with a parked JoinGroup.
    pub(crate) fn awaiting_joins(&self) -> usize {
        self.awaiting_joins
    }

    /// Whether the join phase has nobody to wait for.
    pub(crate) fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_joins && self.pending_joins.is_empty()
    }

    /// How long a rebalance may take: the longest timeout of a member, in milliseconds.
    pub(crate) fn rebalance_ms(&self) -> i32 {
        self.members.values().map(|m| m.rebalance_ms).max().unwrap_or(0)
    }

    /// The protocol for the next generation: each member votes for the first of its own that all
    /// support. Of equals the one the leader prefers.
    pub(crate) fn select_protocol(&self) -> Option<ByteString> {
        let all = self.members.len();
        let common = |name: &ByteString| self.supported.get(name) == Some(&all);
        let mut votes: BTreeMap<&ByteString, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let preferred = leader.into_iter().flat_map(|m| &m.protocols).map(|(name, _)| name);
        preferred.chain(votes.keys().copied()).find(|name| votes.get(name) == Some(&most)).cloned()
    }

    /// Starts the next generation: of its members, or empty.
    pub(crate) fn next_generation(&mut self, now: Now) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.protocol = None;
            self.transition(GroupState::Empty, now);
        } else {
            self.protocol = self.select_protocol();
            self.transition(GroupState::CompletingRebalance, now);
        }
        self.pending_syncs.clear();
        self.compute_subscribed();
    }

    /// The members as the leader of a generation is told.
    pub(crate) fn for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.clone().unwrap_or_default();
        self.members
            .iter()
            .map(|(id, member)| JoinGroupResponseMember {
                member_id: id.clone(),
                group_instance_id: member.instance.clone(),
                metadata: member.metadata(&protocol),
                ..Default::default()
            })
            .collect()
    }

    pub(crate) fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member consumes `topic`: its offsets are not deleted then. A consumer group whose
    /// metadata cannot be read counts as subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer_group(),
        }
    }

    /// Whether the topics of the members are known.
    pub(crate) fn knows_subscription(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Reads the members' subscriptions for the protocol of this generation.
    pub(crate) fn compute_subscribed(&mut self) {
        self.subscribed = if !self.is_consumer_group() {
            None
        } else if self.members.is_empty() {
            Some(BTreeSet::new())
        } else {
            self.protocol.as_ref().and_then(|protocol| {
                let mut topics = BTreeSet::new();
                for member in self.members.values() {
                    topics.extend(crate::records::subscribed_topics(&member.metadata(protocol))?);
                }
                Some(topics)
            })
        };
    }

    pub(crate) fn insert(&mut self, id: ByteString, member: Member) {
        for (name, _) in &member.protocols {
            *self.supported.entry(name.clone()).or_default() += 1;
        }
        self.awaiting_joins += usize::from(member.join.is_some());
        self.awaiting_syncs += usize::from(member.sync.is_some());
        self.members.insert(id, member);
    }

    fn take(&mut self, id: &str) -> Option<Member> {
        self.take_entry(id).map(|(_, member)| member)
    }

    fn take_entry(&mut self, id: &str) -> Option<(ByteString, Member)> {
        let (id, member) = self.members.remove_entry(id)?;
        for (name, _) in &member.protocols {
            if let Some(count) = self.supported.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(name);
                }
            }
        }
        self.awaiting_joins -= usize::from(member.join.is_some());
        self.awaiting_syncs -= usize::from(member.sync.is_some());
        Some((id, member))
    }
}
