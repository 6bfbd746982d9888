//! A small Kafka client on one thread: bootstrap, versions, metadata, routing, retries.
//!
//! Every call has a deadline (`--timeout-ms`). What a broker refuses for a moment (a leader that
//! moved, a coordinator that loads) is asked again until then, with a pause in between.

mod aborted;
mod connection;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod member;
mod murmur2;
pub(crate) mod offsets;
pub(crate) mod produce;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_protocol::codec::Request;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;
use ottla_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse,
};
use ottla_protocol::{ErrorCode, Uuid};

pub(crate) use connection::{Address, CLIENT_ID, Connection};

use crate::failure::{Failure, Outcome, Refusal, check};

/// Pause before something is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// FindCoordinator with one key and without batches; every broker still serves it.
const FIND_COORDINATOR_MAX: i16 = 3;

/// Who coordinates what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coordinator {
    /// A group.
    Group = 0,
    /// A transactional id.
    Transaction = 1,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where to begin and how long to wait.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Addresses to begin with; the first that answers is used.
    pub(crate) brokers: Vec<Address>,
    /// For one command's request, retries included.
    pub(crate) timeout: Duration,
}

impl Target {
    /// From a list as `--brokers` and Kafka's `--bootstrap-server` take it.
    pub(crate) fn parse(list: &str, timeout: Duration) -> Result<Self, String> {
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        let brokers: Vec<Address> = parts.map(str::parse).collect::<Result<_, _>>()?;
        if brokers.is_empty() {
            return Err("no broker is named: HOST:PORT is expected".to_owned());
        }
        Ok(Self { brokers, timeout })
    }

    fn list(&self) -> String {
        let list: Vec<_> = self.brokers.iter().map(ToString::to_string).collect();
        list.join(",")
    }
}

/// A cluster, reached through one of its brokers.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) target: Target,
    /// The broker that answered first.
    home: Address,
    /// Brokers by id, as the latest metadata has them.
    pub(crate) nodes: BTreeMap<i32, Address>,
    pub(crate) controller: i32,
    open: BTreeMap<Address, Connection>,
    coordinators: BTreeMap<(Coordinator, String), i32>,
}

impl Cluster {
    /// Connects to the first bootstrap broker that answers and learns the others.
    pub(crate) async fn connect(target: Target) -> Outcome<Self> {
        let mut problems = Vec::new();
        for address in &target.brokers {
            match Connection::open(address, target.timeout).await {
                Ok(connection) => {
                    let mut cluster = Self {
                        home: address.clone(),
                        nodes: BTreeMap::new(),
                        controller: -1,
                        open: BTreeMap::from([(address.clone(), connection)]),
                        coordinators: BTreeMap::new(),
                        target: target.clone(),
                    };
                    cluster.metadata(Some(&[])).await?;
                    return Ok(cluster);
                }
                Err(failure) => problems.push(failure.to_string()),
            }
        }
        let list = target.list();
        Err(Failure::Unreachable(format!(
            "cannot reach {list}: {}. Is the broker running, and is this its address? \
             `ottla doctor -b {list}` looks into it",
            problems.join("; ")
        )))
    }

    /// The deadline of something that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.target.timeout
    }

    /// The timeout for requests that carry one.
    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.target.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// A connection to an address, made if there is none.
    async fn connection(&mut self, address: &Address) -> Outcome<&mut Connection> {
        if !self.open.contains_key(address) {
            let connection = Connection::open(address, self.target.timeout).await?;
            self.open.insert(address.clone(), connection);
        }
        let lost = || Failure::Unreachable(format!("no connection to {address}"));
        self.open.get_mut(address).ok_or_else(lost)
    }

    /// The connection to a broker by its id.
    pub(crate) async fn node(&mut self, id: i32) -> Outcome<&mut Connection> {
        let address = match self.nodes.get(&id) {
            Some(address) => address.clone(),
            None => return Err(self.no_broker(id)),
        };
        self.connection(&address).await.map_err(|failure| match failure {
            Failure::Unreachable(why) => Failure::Unreachable(format!(
                "broker {id} advertises {address}, and that cannot be reached: {why}. \
                 `ottla doctor` looks into it"
            )),
            other => other,
        })
    }

    /// The failure for a broker id that the cluster does not have.
    pub(crate) fn no_broker(&self, id: i32) -> Failure {
        let known: Vec<_> = self.nodes.keys().map(ToString::to_string).collect();
        Failure::NotFound(format!("there is no broker {id}; there are {}", known.join(", ")))
    }

    /// Asks any broker.
    pub(crate) async fn any<R: Request>(&mut self, request: &R) -> Outcome<R::Response> {
        self.any_max(request, i16::MAX).await
    }

    /// Asks any broker, in no newer version than `max`.
    pub(crate) async fn any_max<R: Request>(
        &mut self,
        request: &R,
        max: i16,
    ) -> Outcome<R::Response> {
        let home = self.home.clone();
        self.at(&home, request, max).await
    }

    /// Asks the broker that forwards to the controller, or is it.
    pub(crate) async fn controller<R: Request>(
        &mut self,
        request: &R,
        max: i16,
    ) -> Outcome<R::Response> {
        let address = self.nodes.get(&self.controller).unwrap_or(&self.home).clone();
        self.at(&address, request, max).await
    }

    /// Asks the broker with this id.
    pub(crate) async fn broker<R: Request>(
        &mut self,
        id: i32,
        request: &R,
        max: i16,
    ) -> Outcome<R::Response> {
        let address = self.node(id).await?.address.clone();
        self.at(&address, request, max).await
    }

    /// Whether the broker at home serves `R`.
    pub(crate) async fn serves<R: Request>(&mut self) -> bool {
        let home = self.home.clone();
        self.connection(&home).await.is_ok_and(|connection| connection.serves::<R>())
    }

    /// The version of `R` that the broker at home speaks, as this client would.
    pub(crate) async fn connection_version<R: Request>(&mut self) -> Outcome<i16> {
        let home = self.home.clone();
        self.connection(&home).await?.version::<R>(i16::MAX)
    }

    /// Asks; a connection that an idle broker closed is made anew once.
    async fn at<R: Request>(
        &mut self,
        address: &Address,
        request: &R,
        max: i16,
    ) -> Outcome<R::Response> {
        let reused = self.open.contains_key(address);
        let first = self.connection(address).await?.call(request, max).await;
        match first {
            Err(Failure::Unreachable(_)) => {
                self.open.remove(address);
                if !reused {
                    return first;
                }
                self.connection(address).await?.call(request, max).await
            }
            answer => answer,
        }
    }

    /// Forgets the connection to a broker, after an error on it.
    pub(crate) fn forget(&mut self, id: i32) {
        if let Some(address) = self.nodes.get(&id) {
            self.open.remove(address);
        }
    }

    /// Forgets every connection, after work that was broken off.
    pub(crate) fn disconnect(&mut self) {
        self.open.clear();
    }

    /// Asks for metadata: of the named topics, or of all.
    pub(crate) async fn metadata(
        &mut self,
        topics: Option<&[String]>,
    ) -> Outcome<MetadataResponse> {
        let named = |name: &String| MetadataRequestTopic {
            name: Some(name.as_str().into()),
            ..MetadataRequestTopic::default()
        };
        self.metadata_of(topics.map(|names| names.iter().map(named).collect())).await
    }

    /// Asks for the metadata of the topic with this id.
    pub(crate) async fn metadata_by_id(&mut self, id: Uuid) -> Outcome<MetadataResponse> {
        let topic = MetadataRequestTopic { topic_id: id, name: None, ..Default::default() };
        self.metadata_of(Some(vec![topic])).await
    }

    async fn metadata_of(
        &mut self,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Outcome<MetadataResponse> {
        let request =
            MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let answer = self.any(&request).await?;
        check("Metadata", answer.error_code, None)?;
        self.controller = answer.controller_id;
        self.nodes = answer.brokers.iter().filter_map(node_address).collect();
        Ok(answer)
    }

    /// A topic's metadata, with every partition's leader known.
    pub(crate) async fn topic(&mut self, name: &str) -> Outcome<MetadataResponseTopic> {
        let mut topics = self.topics(&[name.to_owned()]).await?;
        topics.pop().ok_or_else(|| no_topic(name))
    }

    /// A topic that producers and consumers may create by naming it, where the broker allows it.
    pub(crate) async fn topic_or_create(&mut self, name: &str) -> Outcome<MetadataResponseTopic> {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        self.any(&request).await?;
        let deadline = self.deadline();
        until_there(deadline, async || self.topic(name).await).await
    }

    /// The metadata of several topics, in their order.
    pub(crate) async fn topics(&mut self, names: &[String]) -> Outcome<Vec<MetadataResponseTopic>> {
        let deadline = self.deadline();
        loop {
            let mut found = self.metadata(Some(names)).await?.topics;
            let moment = found.iter().any(|topic| {
                topic.error_code == ErrorCode::LeaderNotAvailable as i16
                    || topic.partitions.iter().any(|part| part.leader_id < 0)
            });
            if moment && Instant::now() < deadline {
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            for topic in &mut found {
                topic.partitions.sort_by_key(|part| part.partition_index);
                let name = topic.name.as_deref().unwrap_or_default();
                if topic.error_code == ErrorCode::UnknownTopicOrPartition as i16 {
                    return Err(no_topic(name));
                }
                check(format_args!("topic {name}"), topic.error_code, None)?;
            }
            let place = |topic: &MetadataResponseTopic| {
                names.iter().position(|name| topic.name.as_deref() == Some(name))
            };
            found.sort_by_key(place);
            return Ok(found);
        }
    }

    /// All topics, by name.
    pub(crate) async fn all_topics(&mut self) -> Outcome<Vec<MetadataResponseTopic>> {
        let mut topics = self.metadata(None).await?.topics;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut topics {
            topic.partitions.sort_by_key(|part| part.partition_index);
        }
        Ok(topics)
    }

    /// The id of a coordinator; asked for until there is one.
    pub(crate) async fn coordinator(&mut self, kind: Coordinator, key: &str) -> Outcome<i32> {
        if let Some(&id) = self.coordinators.get(&(kind, key.to_owned())) {
            return Ok(id);
        }
        let deadline = self.deadline();
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type: kind as i8,
            ..FindCoordinatorRequest::default()
        };
        loop {
            let answer = self.any_max(&request, FIND_COORDINATOR_MAX).await?;
            let message = answer.error_message.as_deref();
            match check(format_args!("the coordinator of {key}"), answer.error_code, message) {
                Ok(()) => return Ok(self.remember((kind, key.to_owned()), &answer)),
                Err(failure) if is_passing(&failure) && Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn remember(&mut self, key: (Coordinator, String), found: &FindCoordinatorResponse) -> i32 {
        let id = found.node_id;
        if let Ok(port) = u16::try_from(found.port) {
            let address = Address { host: found.host.to_string(), port };
            self.nodes.entry(id).or_insert(address);
        }
        self.coordinators.insert(key, id);
        id
    }

    /// Forgets who coordinates, after an error.
    pub(crate) fn forget_coordinator(&mut self, kind: Coordinator, key: &str) {
        self.coordinators.remove(&(kind, key.to_owned()));
    }

    /// Asks a coordinator until `refused` finds no passing error in the answer. `refused` returns the
    /// error code of an answer.
    pub(crate) async fn coordinated<R: Request>(
        &mut self,
        (kind, key): (Coordinator, &str),
        request: &R,
        max: i16,
        refused: impl Fn(&R::Response) -> i16,
    ) -> Outcome<R::Response> {
        let deadline = self.deadline();
        loop {
            let id = self.coordinator(kind, key).await?;
            let answer = self.broker(id, request, max).await;
            let passing = match &answer {
                Ok(answer) => is_passing_code(refused(answer)),
                Err(Failure::Unreachable(_)) => true,
                Err(_) => false,
            };
            if !passing || Instant::now() >= deadline {
                return answer;
            }
            self.forget_coordinator(kind, key);
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

fn node_address(
    broker: &ottla_protocol::messages::metadata_response::MetadataResponseBroker,
) -> Option<(i32, Address)> {
    let port = u16::try_from(broker.port).ok()?;
    Some((broker.node_id, Address { host: broker.host.to_string(), port }))
}

/// The failure for a topic that is not there.
pub(crate) fn no_topic(name: &str) -> Failure {
    Failure::NotFound(format!("there is no topic {name}; `ottla topic list` shows what there is"))
}

/// Whether asking again may help.
pub(crate) fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(Refusal { code, .. }) => is_passing_code(*code),
        Failure::Unreachable(_) => true,
        _ => false,
    }
}

/// Whether asking again may help after this error code.
pub(crate) fn is_passing_code(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        Some(
            ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::NotController
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::NotEnoughReplicasAfterAppend
                | ErrorCode::OffsetNotAvailable
                | ErrorCode::KafkaStorageError
                | ErrorCode::UnstableOffsetCommit
                | ErrorCode::ConcurrentTransactions
        )
    )
}

/// Runs `ask` as long as what it asks for is not there yet.
async fn until_there<T>(deadline: Instant, mut ask: impl AsyncFnMut() -> Outcome<T>) -> Outcome<T> {
    loop {
        match ask().await {
            Err(Failure::NotFound(_)) if Instant::now() + RETRY_PAUSE < deadline => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Runs `ask` until it succeeds, fails for good, or the deadline has passed.
pub(crate) async fn until<T>(
    deadline: Instant,
    mut ask: impl AsyncFnMut() -> Outcome<T>,
) -> Outcome<T> {
    loop {
        match ask().await {
            Err(failure) if is_passing(&failure) && Instant::now() + RETRY_PAUSE < deadline => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            done => return done,
        }
    }
}
