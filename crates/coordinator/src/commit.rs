//! OffsetCommit, TxnOffsetCommit, OffsetFetch and OffsetDelete: decisions over groups and offsets.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{Now, Offset, ProducerEpoch, ProducerId};
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetDeleteRequest, OffsetDeleteResponse, TxnOffsetCommitRequest,
};

use crate::classic::{ClassicGroup, GroupState};
use crate::command::{Output, Response};
use crate::machine::{CommandContext, LogRecord, Ticket};
use crate::offsets::{Committed, GroupOffsets, commit_response, txn_commit_response};
use crate::records;
use crate::shard::GroupShard;

/// From this version on a commit to a group that does not exist says so (KIP-848).
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;

/// Who commits, in OffsetCommit and TxnOffsetCommit alike.
struct Committer<'a> {
    group: &'a ByteString,
    member_id: &'a ByteString,
    instance: Option<&'a ByteString>,
    generation: i32,
    transactional: bool,
}

/// What is committed for one partition.
struct Position<'a> {
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a ByteString>,
    topic_id: Uuid,
}

impl GroupShard {
    pub(crate) fn offset_commit(
        &mut self,
        ticket: Ticket,
        request: &OffsetCommitRequest,
        ctx: &CommandContext,
    ) -> Output {
        let mut out = Output::default();
        let who = Committer {
            group: &request.group_id,
            member_id: &request.member_id,
            instance: request.group_instance_id.as_ref(),
            generation: request.generation_id_or_member_epoch,
            transactional: false,
        };
        if let Err(error) = self.check_commit(&who, ctx.api_version) {
            let response = commit_response(request, error.code());
            out.complete(ticket, Response::OffsetCommit(response));
            return out;
        }
        self.renew_committer(&who, ctx.now);
        let mut response = commit_response(request, 0);
        let expire = expire_timestamp(request.retention_time_ms, ctx.now);
        for (topic, answers) in request.topics.iter().zip(&mut response.topics) {
            for (partition, answer) in topic.partitions.iter().zip(&mut answers.partitions) {
                let position = Position {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.as_ref(),
                    topic_id: topic.topic_id,
                };
                let key = (&request.group_id, &topic.name, partition.partition_index);
                match self.commit_record(key, &position, (ctx.now, expire)) {
                    Ok(record) => out.records.push(record),
                    Err(error) => answer.error_code = error.code(),
                }
            }
        }
        out.complete(ticket, Response::OffsetCommit(response));
        out
    }

    pub(crate) fn txn_offset_commit(
        &mut self,
        ticket: Ticket,
        request: &TxnOffsetCommitRequest,
        ctx: &CommandContext,
    ) -> Output {
        let mut out = Output::default();
        let who = Committer {
            group: &request.group_id,
            member_id: &request.member_id,
            instance: request.group_instance_id.as_ref(),
            generation: request.generation_id_or_member_epoch,
            transactional: true,
        };
        if let Err(error) = self.check_commit(&who, ctx.api_version) {
            let response = txn_commit_response(request, error.code());
            out.complete(ticket, Response::TxnOffsetCommit(response));
            return out;
        }
        let mut response = txn_commit_response(request, 0);
        for (topic, answers) in request.topics.iter().zip(&mut response.topics) {
            for (partition, answer) in topic.partitions.iter().zip(&mut answers.partitions) {
                let position = Position {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.as_ref(),
                    topic_id: topic.topic_id,
                };
                let key = (&request.group_id, &topic.name, partition.partition_index);
                match self.commit_record(key, &position, (ctx.now, -1)) {
                    Ok(record) => out.records.push(record),
                    Err(error) => answer.error_code = error.code(),
                }
            }
        }
        if !out.records.is_empty() {
            out.producer =
                Some((ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch)));
        }
        out.complete(ticket, Response::TxnOffsetCommit(response));
        out
    }

    /// Answers a fetch. The group need not exist: then nothing is committed.
    pub(crate) fn offset_fetch(
        &self,
        group: &OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let none = GroupOffsets::default();
        let offsets = self.offsets.group(&group.group_id).unwrap_or(&none);
        let one = |topic: &str, id: Uuid, partition: i32| {
            if require_stable && offsets.is_pending(topic, partition) {
                return unknown_offset(partition, ErrorCode::UnstableOffsetCommit);
            }
            match offsets.get(topic, partition) {
                Some(found) if same_topic(found.topic_id, id) => known_offset(partition, found),
                _ => unknown_offset(partition, ErrorCode::None),
            }
        };
        let topics = match &group.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| OffsetFetchResponseTopics {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|p| one(&topic.name, topic.topic_id, *p))
                        .collect(),
                    ..Default::default()
                })
                .collect(),
            None => offsets
                .committed
                .iter()
                .map(|(name, partitions)| OffsetFetchResponseTopics {
                    name: name.clone(),
                    topic_id: partitions.values().map(|c| c.topic_id).max().unwrap_or_default(),
                    partitions: partitions.keys().map(|p| one(name, Uuid::ZERO, *p)).collect(),
                    ..Default::default()
                })
                .collect(),
        };
        OffsetFetchResponseGroup { group_id: group.group_id.clone(), topics, ..Default::default() }
    }

    pub(crate) fn offset_delete(&self, ticket: Ticket, request: &OffsetDeleteRequest) -> Output {
        let mut out = Output::default();
        let mut response = OffsetDeleteResponse::default();
        match self.check_delete_offsets(&request.group_id) {
            Err(error) => response.error_code = error.code(),
            Ok(group) => {
                for topic in &request.topics {
                    let subscribed = group.is_subscribed_to(&topic.name);
                    let error = if subscribed {
                        ErrorCode::GroupSubscribedToTopic
                    } else {
                        ErrorCode::None
                    };
                    let mut answers = Vec::with_capacity(topic.partitions.len());
                    for partition in &topic.partitions {
                        let index = partition.partition_index;
                        answers.push(OffsetDeleteResponsePartition {
                            partition_index: index,
                            error_code: error.code(),
                        });
                        if !subscribed && self.has_offset(&group.id, &topic.name, index) {
                            out.records.push(records::offset_tombstone(
                                &group.id,
                                &topic.name,
                                index,
                            ));
                        }
                    }
                    response.topics.push(OffsetDeleteResponseTopic {
                        name: topic.name.clone(),
                        partitions: answers,
                    });
                }
            }
        }
        out.complete(ticket, Response::OffsetDelete(response));
        out
    }

    fn check_commit(&self, who: &Committer<'_>, api_version: i16) -> Result<(), ErrorCode> {
        // OffsetCommit, unlike the rest, has always worked for the empty group id.
        if who.transactional && who.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if self.foreign.contains(who.group) {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.groups.get(who.group) {
            Some(group) => check_committer(group, who),
            // A consumer that manages its partitions itself, or a tool: a "simple" group appears
            // when the record is replayed.
            None if who.generation < 0 && self.groups.len() < self.config.groups_max => Ok(()),
            None if who.generation < 0 => Err(ErrorCode::CoordinatorNotAvailable),
            None if !who.transactional && api_version >= GROUP_ID_NOT_FOUND_FROM => {
                Err(ErrorCode::GroupIdNotFound)
            }
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// A commit is a sign of life.
    fn renew_committer(&mut self, who: &Committer<'_>, now: Now) {
        let id = who.member_id;
        let alive = self.groups.get(who.group).is_some_and(|group| {
            (group.is(GroupState::Stable) || group.is(GroupState::PreparingRebalance))
                && group.members.contains_key(id)
        });
        if alive {
            let mut out = Output::default();
            self.with_group(who.group, now, &mut out, |group, step| group.renew_session(step, id));
        }
    }

    fn commit_record(
        &self,
        key: (&ByteString, &ByteString, i32),
        position: &Position<'_>,
        (now, expire_timestamp): (Now, i64),
    ) -> Result<LogRecord, ErrorCode> {
        let max = self.config.offset_metadata_max;
        // The length in UTF-8 bounds the one in UTF-16, which Kafka compares, from above.
        let too_large = |text: &ByteString| text.len() > max && text.encode_utf16().count() > max;
        if position.metadata.is_some_and(too_large) {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let committed = Committed {
            offset: position.offset,
            leader_epoch: position.leader_epoch,
            metadata: position.metadata.cloned().unwrap_or_default(),
            commit_timestamp: now.wall.0,
            expire_timestamp,
            topic_id: position.topic_id,
            at: Offset::NONE,
        };
        Ok(records::offset_commit(key, &committed))
    }

    fn check_delete_offsets(&self, id: &str) -> Result<&ClassicGroup, ErrorCode> {
        let group = self.groups.get(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if self.foreign.contains(id) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        if !group.is(GroupState::Empty) && !group.is_consumer_group() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        Ok(group)
    }

    fn has_offset(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.offsets.group(group).is_some_and(|offsets| {
            offsets.get(topic, partition).is_some() || offsets.is_pending(topic, partition)
        })
    }
}

fn check_committer(group: &ClassicGroup, who: &Committer<'_>) -> Result<(), ErrorCode> {
    let empty = group.is(GroupState::Empty);
    if who.generation < 0 && empty {
        return Ok(());
    }
    if who.generation >= 0 || !who.member_id.is_empty() || who.instance.is_some() {
        group.check_member(who.member_id, who.instance)?;
        if who.generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
    } else if !who.transactional && !empty {
        return Err(ErrorCode::UnknownMemberId);
    }
    if !who.transactional && group.is(GroupState::CompletingRebalance) {
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

fn expire_timestamp(retention_ms: i64, now: Now) -> i64 {
    if retention_ms == -1 { -1 } else { now.wall.0.saturating_add(retention_ms) }
}

/// An offset committed for a topic that was deleted and created again is not this topic's.
fn same_topic(ours: Uuid, theirs: Uuid) -> bool {
    ours.is_zero() || theirs.is_zero() || ours == theirs
}

fn known_offset(partition: i32, found: &Committed) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: found.offset,
        committed_leader_epoch: found.leader_epoch,
        metadata: Some(found.metadata.clone()),
        ..Default::default()
    }
}

fn unknown_offset(partition: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(ByteString::new()),
        error_code: error.code(),
        ..Default::default()
    }
}
