//! Groups: who there is, what they have committed, and changes to that.

use std::collections::BTreeMap;

use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use ottla_protocol::{ByteString, ErrorCode};

use super::member::read_assignment;
use super::offsets::by_topic;
use super::{Cluster, Coordinator, TopicPartition};
use crate::failure::{Outcome, check};

/// The last versions for one group, and that name topics instead of ids.
const OFFSET_FETCH_MAX: i16 = 7;
const OFFSET_COMMIT_MAX: i16 = 7;

/// What a group is.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: String,
    /// As the coordinator names it: Empty, Stable, PreparingRebalance, Dead, ...
    pub(crate) state: String,
    /// classic or consumer.
    pub(crate) kind: &'static str,
    pub(crate) assignor: String,
    pub(crate) coordinator: i32,
    /// Group epoch and assignment epoch, of a group of the consumer protocol.
    pub(crate) epochs: Option<(i32, i32)>,
    pub(crate) members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct GroupMember {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) partitions: Vec<TopicPartition>,
    /// Where it is heading, in a group of the consumer protocol; the epoch, too.
    pub(crate) target: Option<Vec<TopicPartition>>,
    pub(crate) epoch: Option<i32>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: Option<i32>,
    pub(crate) metadata: String,
}

/// Who commits: an administrator, or a member in its generation.
pub(crate) type Committer = (i32, ByteString);

/// An administrator; only an empty group takes his offsets.
pub(crate) const ADMINISTRATOR: fn() -> Committer = || (-1, ByteString::new());

impl Cluster {
    /// The groups of every broker.
    pub(crate) async fn list_groups(&mut self) -> Outcome<Vec<ListedGroup>> {
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        let mut groups = Vec::new();
        for id in ids {
            let deadline = self.deadline();
            let answer = super::until(deadline, async || {
                let answer = self.broker(id, &ListGroupsRequest::default(), i16::MAX).await?;
                check(format_args!("ListGroups at broker {id}"), answer.error_code, None)?;
                Ok(answer)
            });
            groups.extend(answer.await?.groups);
        }
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        groups.dedup_by(|a, b| a.group_id == b.group_id);
        Ok(groups)
    }

    /// A group with its members; `None` if there is none of this name.
    pub(crate) async fn describe_group_or_none(&mut self, id: &str) -> Outcome<Option<Group>> {
        match self.describe_group(id).await {
            Err(failure) if failure.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
            other => other.map(Some),
        }
    }

    /// A group with its members; one that nobody knows has the state Dead.
    pub(crate) async fn describe_group(&mut self, id: &str) -> Outcome<Group> {
        if self.serves::<ConsumerGroupDescribeRequest>().await
            && let Some(group) = self.describe_consumer_group(id).await?
        {
            return Ok(group);
        }
        let request =
            DescribeGroupsRequest { groups: vec![id.into()], ..DescribeGroupsRequest::default() };
        let place = (Coordinator::Group, id);
        let code = |groups: &ottla_protocol::messages::DescribeGroupsResponse| {
            groups.groups.first().map_or(0, |group| group.error_code)
        };
        let answer = self.coordinated(place, &request, i16::MAX, code).await?;
        let coordinator = self.coordinator(Coordinator::Group, id).await?;
        let mut group = Group {
            id: id.to_owned(),
            state: "Dead".to_owned(),
            kind: "classic",
            assignor: String::new(),
            coordinator,
            epochs: None,
            members: Vec::new(),
        };
        if let Some(found) = answer.groups.first() {
            check(format_args!("group {id}"), found.error_code, found.error_message.as_deref())?;
            group.state = found.group_state.to_string();
            group.assignor = found.protocol_data.to_string();
            for member in &found.members {
                let partitions = match &*found.protocol_type {
                    "consumer" => read_assignment(&member.member_assignment)?,
                    _ => Vec::new(),
                };
                group.members.push(GroupMember {
                    id: member.member_id.to_string(),
                    instance: member.group_instance_id.as_ref().map(ToString::to_string),
                    client_id: member.client_id.to_string(),
                    host: member.client_host.to_string(),
                    partitions,
                    target: None,
                    epoch: None,
                });
            }
        }
        Ok(group)
    }

    /// A group of the consumer protocol (KIP-848); `None` if this is none.
    async fn describe_consumer_group(&mut self, id: &str) -> Outcome<Option<Group>> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![id.into()],
            ..ConsumerGroupDescribeRequest::default()
        };
        let code = |groups: &ottla_protocol::messages::ConsumerGroupDescribeResponse| {
            groups.groups.first().map_or(0, |group| group.error_code)
        };
        let answer = self.coordinated((Coordinator::Group, id), &request, i16::MAX, code).await?;
        let coordinator = self.coordinator(Coordinator::Group, id).await?;
        let Some(found) = answer.groups.first().filter(|group| group.error_code == 0) else {
            return Ok(None);
        };
        use ottla_protocol::messages::consumer_group_describe_response::Assignment;
        let partitions = |assignment: &Assignment| {
            let topics = assignment.topic_partitions.iter();
            let parts = topics.flat_map(|topic| {
                topic.partitions.iter().map(|&index| TopicPartition::new(&*topic.topic_name, index))
            });
            parts.collect::<Vec<_>>()
        };
        let members = found.members.iter().map(|member| GroupMember {
            id: member.member_id.to_string(),
            instance: member.instance_id.as_ref().map(ToString::to_string),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            partitions: partitions(&member.assignment),
            target: Some(partitions(&member.target_assignment)),
            epoch: Some(member.member_epoch),
        });
        Ok(Some(Group {
            id: id.to_owned(),
            state: found.group_state.to_string(),
            kind: "consumer",
            assignor: found.assignor_name.to_string(),
            coordinator,
            epochs: Some((found.group_epoch, found.assignment_epoch)),
            members: members.collect(),
        }))
    }

    /// What a group has committed.
    pub(crate) async fn committed(
        &mut self,
        group: &str,
    ) -> Outcome<BTreeMap<TopicPartition, Committed>> {
        let request = OffsetFetchRequest {
            group_id: group.into(),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        let place = (Coordinator::Group, group);
        let answer = self.coordinated(place, &request, OFFSET_FETCH_MAX, |a| a.error_code).await?;
        check(format_args!("offsets of group {group}"), answer.error_code, None)?;
        let mut found = BTreeMap::new();
        for topic in &answer.topics {
            for part in topic.partitions.iter().filter(|part| part.committed_offset >= 0) {
                let partition = TopicPartition::new(&*topic.name, part.partition_index);
                let committed = Committed {
                    offset: part.committed_offset,
                    leader_epoch: Some(part.committed_leader_epoch).filter(|epoch| *epoch >= 0),
                    metadata: part.metadata.as_deref().unwrap_or_default().to_owned(),
                };
                found.insert(partition, committed);
            }
        }
        Ok(found)
    }

    /// Commits offsets.
    pub(crate) async fn commit(
        &mut self,
        group: &str,
        (generation, member): Committer,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Outcome {
        if offsets.is_empty() {
            return Ok(());
        }
        let topics = by_topic(offsets.iter().map(|(partition, offset)| (partition, *offset)))
            .into_iter()
            .map(|(name, parts)| OffsetCommitRequestTopic {
                name: name.into(),
                partitions: parts
                    .into_iter()
                    .map(|(partition_index, committed_offset)| OffsetCommitRequestPartition {
                        partition_index,
                        committed_offset,
                        committed_metadata: Some(ByteString::new()),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: generation,
            member_id: member,
            topics: topics.collect(),
            ..Default::default()
        };
        let first = |answer: &ottla_protocol::messages::OffsetCommitResponse| {
            let mut parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
            parts.find(|part| part.error_code != 0).map_or(0, |part| part.error_code)
        };
        let place = (Coordinator::Group, group);
        let answer = self.coordinated(place, &request, OFFSET_COMMIT_MAX, first).await?;
        for topic in &answer.topics {
            for part in &topic.partitions {
                let what = format_args!(
                    "committing {}-{} for group {group}",
                    topic.name, part.partition_index
                );
                check(what, part.error_code, None)?;
            }
        }
        Ok(())
    }

    /// Deletes groups; what became of each.
    pub(crate) async fn delete_group(&mut self, group: &str) -> Outcome {
        let request =
            DeleteGroupsRequest { groups_names: vec![group.into()], ..Default::default() };
        let code = |answer: &ottla_protocol::messages::DeleteGroupsResponse| {
            answer.results.first().map_or(0, |result| result.error_code)
        };
        let place = (Coordinator::Group, group);
        let answer = self.coordinated(place, &request, i16::MAX, code).await?;
        let result = answer.results.first();
        let message = result.and_then(|result| result.error_message.as_deref());
        check(format_args!("group {group}"), code(&answer), message)
    }

    /// Deletes the committed offsets of partitions; the error code of each.
    pub(crate) async fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Outcome<BTreeMap<TopicPartition, i16>> {
        let topics = by_topic(partitions.iter().map(|partition| (partition, ()))).into_iter().map(
            |(name, parts)| OffsetDeleteRequestTopic {
                name: name.into(),
                partitions: parts
                    .into_iter()
                    .map(|(partition_index, ())| OffsetDeleteRequestPartition { partition_index })
                    .collect(),
            },
        );
        let request = OffsetDeleteRequest { group_id: group.into(), topics: topics.collect() };
        let place = (Coordinator::Group, group);
        let answer = self.coordinated(place, &request, i16::MAX, |a| a.error_code).await?;
        check(format_args!("offsets of group {group}"), answer.error_code, None)?;
        let codes = answer.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|part| {
                (TopicPartition::new(&*topic.name, part.partition_index), part.error_code)
            })
        });
        Ok(codes.collect())
    }
}
