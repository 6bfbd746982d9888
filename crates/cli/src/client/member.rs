//! A member of a classic consumer group: joins, takes or makes the assignment, stays, leaves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::codec::{Message, Request, decode_prefix, encode_to_bytes};
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_protocol::{ByteString, ErrorCode};

use super::offsets::by_topic;
use super::{Cluster, Connection, Coordinator, RETRY_PAUSE, TopicPartition, is_passing_code};
use crate::failure::{Failure, Outcome, check};

/// Kafka's defaults: `session.timeout.ms`, `heartbeat.interval.ms`, `max.poll.interval.ms`.
const SESSION: Duration = Duration::from_secs(45);
const HEARTBEAT: Duration = Duration::from_secs(3);
const REBALANCE: Duration = Duration::from_secs(300);
const PROTOCOL_TYPE: &str = "consumer";
/// The only assignor offered: every client has it.
const ASSIGNOR: &str = "range";
/// The last versions without fields that this member would have to handle.
const JOIN_MAX: i16 = 5;
const SYNC_MAX: i16 = 3;
/// The version of the subscription and assignment written here.
const BLOB_VERSION: i16 = 0;

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    group: ByteString,
    topics: Vec<String>,
    id: ByteString,
    generation: i32,
    /// What this member reads.
    pub(crate) assignment: Vec<TopicPartition>,
    /// Its own connection: a join waits for the other members.
    connection: Option<Connection>,
    heartbeat: Instant,
}

impl Member {
    /// Joins the group, and waits until it is assigned.
    pub(crate) async fn join(
        cluster: &mut Cluster,
        group: &str,
        topics: Vec<String>,
    ) -> Outcome<Self> {
        let mut member = Self {
            group: group.into(),
            topics,
            id: ByteString::new(),
            generation: -1,
            assignment: Vec::new(),
            connection: None,
            heartbeat: Instant::now(),
        };
        member.rejoin(cluster).await?;
        Ok(member)
    }

    /// Generation and member id, for commits.
    pub(crate) fn identity(&self) -> (i32, ByteString) {
        (self.generation, self.id.clone())
    }

    /// Joins (again); afterwards `assignment` is new.
    pub(crate) async fn rejoin(&mut self, cluster: &mut Cluster) -> Outcome {
        let deadline = cluster.deadline();
        loop {
            match self.try_join(cluster).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) if super::is_passing(&failure) && Instant::now() < deadline => {
                    self.connection = None;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// One round; false if another is needed.
    async fn try_join(&mut self, cluster: &mut Cluster) -> Outcome<bool> {
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.iter().map(|topic| topic.as_str().into()).collect(),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: SESSION.as_millis() as i32,
            rebalance_timeout_ms: REBALANCE.as_millis() as i32,
            member_id: self.id.clone(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: ASSIGNOR.into(),
                metadata: blob(&subscription)?,
                ..Default::default()
            }],
            ..Default::default()
        };
        let joined = self.call(cluster, &request, JOIN_MAX).await?;
        if self.again(joined.error_code, &joined.member_id) {
            return Ok(false);
        }
        check(format_args!("joining group {}", self.group), joined.error_code, None)?;
        self.id = joined.member_id.clone();
        self.generation = joined.generation_id;
        let assignments = if joined.leader == joined.member_id {
            self.assign(cluster, &joined).await?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            assignments,
            ..Default::default()
        };
        let synced = self.call(cluster, &request, SYNC_MAX).await?;
        if self.again(synced.error_code, &ByteString::new()) {
            return Ok(false);
        }
        check(format_args!("joining group {}", self.group), synced.error_code, None)?;
        self.assignment = read_assignment(&synced.assignment)?;
        self.heartbeat = Instant::now();
        Ok(true)
    }

    /// Whether an error only means to join once more; `given` is the id the coordinator gave.
    fn again(&mut self, code: i16, given: &ByteString) -> bool {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::MemberIdRequired) => {
                self.id = given.clone();
                true
            }
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.id = ByteString::new();
                true
            }
            Some(ErrorCode::RebalanceInProgress) => true,
            _ => false,
        }
    }

    /// The leader's work: the range assignment of every member's topics.
    async fn assign(
        &self,
        cluster: &mut Cluster,
        joined: &JoinGroupResponse,
    ) -> Outcome<Vec<SyncGroupRequestAssignment>> {
        let mut subscribers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for member in &joined.members {
            let subscription: ConsumerProtocolSubscription = read_blob(&member.metadata)?;
            for topic in &subscription.topics {
                subscribers.entry(topic.to_string()).or_default().push(&member.member_id);
            }
        }
        let mut counts = BTreeMap::new();
        for topic in cluster.all_topics().await? {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            counts.insert(name, topic.partitions.len());
        }
        let assigned = range(&subscribers, &counts);
        let of = |member: &str| {
            let own = assigned.get(member).map_or(&[][..], Vec::as_slice);
            let topics = by_topic(own.iter().map(|partition| (partition, ())));
            let topics = topics.into_iter().map(|(topic, parts)| AssignedTopic {
                topic: topic.into(),
                partitions: parts.into_iter().map(|(index, ())| index).collect(),
            });
            blob(&ConsumerProtocolAssignment {
                assigned_partitions: topics.collect(),
                ..Default::default()
            })
        };
        let members = joined.members.iter().map(|member| {
            Ok(SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: of(&member.member_id)?,
                ..Default::default()
            })
        });
        members.collect()
    }

    /// Says that the member lives, when it is time to. Returns whether it must join again.
    pub(crate) async fn beat(&mut self, cluster: &mut Cluster) -> Outcome<bool> {
        if self.heartbeat.elapsed() < HEARTBEAT {
            return Ok(false);
        }
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        let code = match self.call(cluster, &request, 3).await {
            Ok(answer) => answer.error_code,
            Err(Failure::Unreachable(_)) => {
                self.connection = None;
                return Ok(true);
            }
            Err(failure) => return Err(failure),
        };
        self.heartbeat = Instant::now();
        if is_passing_code(code) {
            self.connection = None;
            return Ok(true);
        }
        if self.again(code, &ByteString::new()) {
            return Ok(true);
        }
        check(format_args!("staying in group {}", self.group), code, None).map(|()| false)
    }

    /// Leaves, so that the others need not wait for the session to end.
    pub(crate) async fn leave(mut self, cluster: &mut Cluster) -> Outcome {
        // The old one may still wait for an answer that nobody wants any more.
        self.connection = None;
        let request = LeaveGroupRequest {
            group_id: self.group.clone(),
            members: vec![MemberIdentity { member_id: self.id.clone(), ..Default::default() }],
            ..Default::default()
        };
        self.call(cluster, &request, 4).await.map(|_| ())
    }

    async fn call<R: Request>(
        &mut self,
        cluster: &mut Cluster,
        request: &R,
        max: i16,
    ) -> Outcome<R::Response> {
        if self.connection.is_none() {
            let id = cluster.coordinator(Coordinator::Group, &self.group).await?;
            let address = match cluster.nodes.get(&id) {
                Some(address) => address.clone(),
                None => return Err(cluster.no_broker(id)),
            };
            self.connection = Some(Connection::open(&address, REBALANCE).await?);
        }
        let Some(connection) = &mut self.connection else {
            return Err(Failure::Unreachable("no connection to the group's coordinator".into()));
        };
        let answer = connection.call(request, max).await;
        if answer.is_err() {
            self.connection = None;
            cluster.forget_coordinator(Coordinator::Group, &self.group);
        }
        answer
    }
}

/// A consumer protocol blob: version, then the message.
fn blob<M: Message>(message: &M) -> Outcome<Bytes> {
    let body = encode_to_bytes(message, BLOB_VERSION)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(BLOB_VERSION);
    bytes.put_slice(&body);
    Ok(bytes.freeze())
}

/// Reads a blob of any version: later ones only append fields.
pub(crate) fn read_blob<M: Message>(bytes: &Bytes) -> Outcome<M> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Failed(format!("a member's {} cannot be read: {why}", M::NAME))
    };
    let Some((version, _)) = bytes.split_first_chunk() else {
        return Err(wrong(&"it is empty"));
    };
    let version = i16::from_be_bytes(*version).clamp(*M::VERSIONS.start(), *M::VERSIONS.end());
    decode_prefix(bytes.slice(2..), version).map_err(|error| wrong(&error))
}

/// The partitions of an assignment blob; none of an empty one.
pub(crate) fn read_assignment(bytes: &Bytes) -> Outcome<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = read_blob(bytes)?;
    let parts = assignment.assigned_partitions.iter().flat_map(|topic| {
        topic.partitions.iter().map(|&index| TopicPartition::new(&*topic.topic, index))
    });
    Ok(parts.collect())
}

/// Each topic's partitions in equal ranges, the first members one more where it does not divide.
fn range<'a>(
    subscribers: &BTreeMap<String, Vec<&'a str>>,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<&'a str, Vec<TopicPartition>> {
    let mut assigned: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
    for (topic, members) in subscribers {
        let mut members = members.clone();
        members.sort_unstable();
        let count = counts.get(topic).copied().unwrap_or(0);
        let (each, more) = (count / members.len().max(1), count % members.len().max(1));
        let mut next = 0;
        for (place, member) in members.into_iter().enumerate() {
            let end = next + each + usize::from(place < more);
            let indexes = (next..end).filter_map(|index| i32::try_from(index).ok());
            let own = assigned.entry(member).or_default();
            own.extend(indexes.map(|index| TopicPartition::new(topic, index)));
            next = end;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_partition_once_and_are_even() {
        let subscribers =
            BTreeMap::from([("t".to_owned(), vec!["b", "a", "c"]), ("u".to_owned(), vec!["a"])]);
        let counts = BTreeMap::from([("t".to_owned(), 7), ("u".to_owned(), 2)]);
        let assigned = range(&subscribers, &counts);
        let texts = |member| {
            let parts: &Vec<TopicPartition> = &assigned[member];
            parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(texts("a"), "t-0 t-1 t-2 u-0 u-1");
        assert_eq!(texts("b"), "t-3 t-4");
        assert_eq!(texts("c"), "t-5 t-6");
    }

    #[test]
    fn a_blob_of_a_later_version_is_read() {
        let mut bytes =
            blob(&ConsumerProtocolSubscription { topics: vec!["t".into()], ..Default::default() })
                .unwrap()
                .to_vec();
        let again: ConsumerProtocolSubscription = read_blob(&bytes.clone().into()).unwrap();
        assert_eq!(again.topics, ["t"]);
        assert!(read_blob::<ConsumerProtocolSubscription>(&Bytes::new()).is_err());
        bytes.truncate(5);
        assert!(read_blob::<ConsumerProtocolSubscription>(&bytes.into()).is_err());
        assert_eq!(read_assignment(&Bytes::new()).unwrap(), []);
    }
}
