//! OffsetCommit (KIP-98, 345, 848, 1241): stores a group's positions.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytestring::ByteString;
use ottla_coordinator::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::Uuid;
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The OffsetCommit API.
pub(super) struct OffsetCommit;

/// The first version by topic id.
const BY_ID: i16 = 10;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=10;
    const RULE: Rule = Rule::Group(Operation::Read);

    fn handle(ctx: &Context<'_>, mut request: OffsetCommitRequest) -> Reply<OffsetCommitResponse> {
        let mut answers = Answers { by_id: ctx.version() >= BY_ID, ..Answers::default() };
        for topic in &mut request.topics {
            if let Some(missing) = take_unknown(ctx, topic) {
                answers.add(missing);
            }
        }
        request.topics.retain(|topic| !topic.partitions.is_empty());
        if request.topics.is_empty() && !answers.topics.is_empty() {
            let topics = answers.topics;
            return Reply::Now(OffsetCommitResponse { topics, ..Default::default() });
        }
        let group_id = request.group_id.clone();
        let promise = group::submit(ctx, &group_id, Command::OffsetCommit(request));
        group::gather(ctx, vec![promise], move |responses| {
            let mut response = match responses.into_iter().next() {
                Some(Response::OffsetCommit(response)) => response,
                _ => OffsetCommitResponse::default(),
            };
            if !answers.topics.is_empty() {
                response.topics.drain(..).for_each(|topic| answers.add(topic));
                response.topics = answers.topics;
            }
            response
        })
    }
}

/// One answer per topic, those of refused partitions first.
#[derive(Default)]
struct Answers {
    by_id: bool,
    topics: Vec<OffsetCommitResponseTopic>,
    /// Where a topic is, by its id or its name.
    places: BTreeMap<(Uuid, ByteString), usize>,
}

impl Answers {
    fn add(&mut self, topic: OffsetCommitResponseTopic) {
        let key = if self.by_id {
            (topic.topic_id, ByteString::new())
        } else {
            (Uuid::ZERO, topic.name.clone())
        };
        match self.places.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(self.topics.len());
                self.topics.push(topic);
            }
            Entry::Occupied(entry) => {
                if let Some(first) = self.topics.get_mut(*entry.get()) {
                    first.partitions.extend(topic.partitions);
                }
            }
        }
    }
}

/// Takes the partitions that do not exist out of the request and answers them. A topic id is
/// resolved: the coordinator stores offsets under the topic's name. A topic that does not exist is
/// answered also if no partition of it is named.
fn take_unknown(
    ctx: &Context<'_>,
    topic: &mut OffsetCommitRequestTopic,
) -> Option<OffsetCommitResponseTopic> {
    let (found, error) = if ctx.version() >= BY_ID {
        (ctx.image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId)
    } else {
        (ctx.image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition)
    };
    let mut refused = OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        ..OffsetCommitResponseTopic::default()
    };
    let mut refuse = |partition_index, error: ErrorCode| {
        refused.partitions.push(OffsetCommitResponsePartition {
            partition_index,
            error_code: error.code(),
            ..OffsetCommitResponsePartition::default()
        });
    };
    match found {
        None => {
            topic.partitions.drain(..).for_each(|p| refuse(p.partition_index, error));
            return Some(refused);
        }
        Some(found) => {
            topic.name = ByteString::from(&*found.name);
            topic.topic_id = found.id;
            topic.partitions.retain(|p| {
                let known = found.partition(PartitionIndex(p.partition_index)).is_some();
                if !known {
                    refuse(p.partition_index, ErrorCode::UnknownTopicOrPartition);
                }
                known
            });
        }
    }
    (!refused.partitions.is_empty()).then_some(refused)
}
