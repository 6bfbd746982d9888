//! DescribeGroups, ListGroups, DeleteGroups and the removal of what has expired.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Now;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::list_groups_response::ListedGroup;

use crate::classic::{ClassicGroup, GroupState};
use crate::command::{Output, Response};
use crate::machine::{LogRecord, Ticket};
use crate::offsets::{Committed, GroupOffsets};
use crate::records;
use crate::shard::GroupShard;
use crate::timers::Timer;

/// The state of a group that does not exist.
const DEAD: &str = "Dead";
/// The type of every group here, as ListGroups says it (KIP-848).
const CLASSIC: &str = "classic";
/// After this many tombstones a sweep for expired offsets rests until the next tick, so that its
/// records fit into one batch.
const SWEEP_RECORDS_MAX: usize = 500;

impl GroupShard {
    pub(crate) fn describe(&self, id: &ByteString) -> DescribedGroup {
        let group = self.groups.get(id).filter(|_| !self.foreign.contains(id));
        group.map_or_else(|| undescribed(id, ErrorCode::GroupIdNotFound.code()), described)
    }

    pub(crate) fn list(&self, states: &[ByteString], types: &[ByteString]) -> Vec<ListedGroup> {
        let listed = |filter: &[ByteString], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        if !listed(types, CLASSIC) {
            return Vec::new();
        }
        let groups = self.groups.values().filter(|group| !self.foreign.contains(&group.id));
        groups
            .filter(|group| listed(states, group.state.name()))
            .map(|group| ListedGroup {
                group_id: group.id.clone(),
                protocol_type: group.protocol_type.clone().unwrap_or_default(),
                group_state: ByteString::from_static(group.state.name()),
                group_type: ByteString::from_static(CLASSIC),
                ..Default::default()
            })
            .collect()
    }

    pub(crate) fn delete_groups(&self, ticket: Ticket, ids: &[ByteString]) -> Output {
        let mut out = Output::default();
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            let error = match self.groups.get(id) {
                None => ErrorCode::GroupIdNotFound,
                Some(group) if !group.is(GroupState::Empty) || self.foreign.contains(id) => {
                    ErrorCode::NonEmptyGroup
                }
                Some(_) => {
                    self.delete_group(id, &mut out.records);
                    ErrorCode::None
                }
            };
            results.push(deletion(id, error.code()));
        }
        out.complete(ticket, Response::DeleteGroups(results));
        out
    }

    fn delete_group(&self, id: &ByteString, records: &mut Vec<LogRecord>) {
        for (topic, partition) in
            self.offsets.group(id).map(GroupOffsets::partitions).into_iter().flatten()
        {
            records.push(records::offset_tombstone(id, &topic, partition));
        }
        records.push(records::group_tombstone(id));
    }

    /// Deletes offsets whose retention has passed, and groups that are empty and have none left
    /// (KIP-211). Goes on at the next tick if there is much to do.
    pub(crate) fn sweep(&mut self, now: Now) -> Vec<LogRecord> {
        let mut tombstones = Vec::new();
        let from = self.sweep_from.take();
        let rest = self.groups.range::<ByteString, _>((
            from.as_ref().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
            std::ops::Bound::Unbounded,
        ));
        for (id, group) in rest {
            self.sweep_group(group, now, &mut tombstones);
            if tombstones.len() >= SWEEP_RECORDS_MAX {
                self.sweep_from = Some(id.clone());
                break;
            }
        }
        let pause = match self.sweep_from {
            Some(_) => 0,
            None => self.config.retention_check_interval_ms,
        };
        self.timers.set(Timer::Cleanup, now.monotonic.plus_millis(pause));
        tombstones
    }

    fn sweep_group(&self, group: &ClassicGroup, now: Now, records: &mut Vec<LogRecord>) {
        if self.foreign.contains(&group.id) {
            return;
        }
        let mut all_expired = true;
        if let Some(offsets) = self.offsets.group(&group.id) {
            for (topic, partitions) in &offsets.committed {
                let subscribed = group.is_subscribed_to(topic);
                for (partition, committed) in partitions {
                    if !subscribed
                        && self.is_expired(group, committed, now)
                        && !offsets.is_pending(topic, *partition)
                    {
                        records.push(records::offset_tombstone(&group.id, topic, *partition));
                    } else {
                        all_expired = false;
                    }
                }
            }
            all_expired &= !offsets.has_pending();
        }
        if all_expired && group.is(GroupState::Empty) && group.pending_joins.is_empty() {
            records.push(records::group_tombstone(&group.id));
        }
    }

    /// Of a group without members the retention counts from when it became empty; a simple group's,
    /// and that of topics nobody in a stable consumer group reads, from the commit.
    fn is_expired(&self, group: &ClassicGroup, committed: &Committed, now: Now) -> bool {
        let since = match (&group.protocol_type, group.state) {
            (None, _) => committed.commit_timestamp,
            (Some(_), GroupState::Empty) if group.state_since.0 >= 0 => group.state_since.0,
            (Some(_), GroupState::Empty) => committed.commit_timestamp,
            (Some(_), GroupState::Stable)
                if group.is_consumer_group() && group.knows_subscription() =>
            {
                committed.commit_timestamp
            }
            _ => return false,
        };
        if committed.expire_timestamp != -1 {
            now.wall.0 >= committed.expire_timestamp
        } else {
            now.wall.0.saturating_sub(since) >= self.config.offsets_retention_ms
        }
    }
}

fn described(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol.clone().filter(|_| group.is(GroupState::Stable));
    let members = group.members.iter().map(|(id, member)| {
        let mut described = DescribedGroupMember {
            member_id: id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            ..Default::default()
        };
        if let Some(protocol) = &protocol {
            described.member_metadata = member.metadata(protocol);
            described.member_assignment = member.assignment.clone();
        }
        described
    });
    DescribedGroup {
        group_id: group.id.clone(),
        group_state: ByteString::from_static(group.state.name()),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        members: members.collect(),
        protocol_data: protocol.unwrap_or_default(),
        ..Default::default()
    }
}

/// The description of a group that cannot be described.
pub(crate) fn undescribed(id: &ByteString, code: i16) -> DescribedGroup {
    let missing = code == ErrorCode::GroupIdNotFound.code();
    DescribedGroup {
        error_code: code,
        error_message: missing.then(|| format!("Group {id} not found.").into()),
        group_id: id.clone(),
        group_state: if missing { ByteString::from_static(DEAD) } else { ByteString::new() },
        ..Default::default()
    }
}

/// The outcome of a deletion.
pub(crate) fn deletion(id: &ByteString, code: i16) -> DeletableGroupResult {
    DeletableGroupResult { group_id: id.clone(), error_code: code, ..Default::default() }
}
