//! The broker: what every request reaches, and nothing that runs by itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use bytestring::ByteString;
use ottla_config::{BrokerConfig, keys};
use ottla_metadata::{Command, CommandContext, Image, MutationQuota, Random};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, Monotonic, Now, Offset, ProducerId};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::{AllocateProducerIdsRequest, CreateTopicsRequest};
use ottla_storage::dirs::LogDirs;
use ottla_storage::{Disk, OpenFiles};
use parking_lot::Mutex;

use crate::cleaner::Cleaner;
use crate::connection::ANONYMOUS;
use crate::context::Context;
use crate::env::Env;
use crate::flusher::Flusher;
use crate::groups::{Groups, OFFSETS_TOPIC};
use crate::jobs::{Due, Job};
use crate::loggers::Loggers;
use crate::metrics::Metrics;
use crate::moves::Moves;
use crate::partition::{Directory, Partition};
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::publish::Postponed;
use crate::quorum::{CommandResult, MetadataQuorum};
use crate::quotas::Quotas;
use crate::sessions::FetchSessions;
use crate::startup::Leftovers;
use crate::telemetry::Telemetry;
use crate::timers::Timers;
use crate::transactions::{TRANSACTIONS_TOPIC, Transactions, UncommittedMarkers};
use crate::wait::Promise;

/// Who this node is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `node.id`.
    pub node_id: BrokerId,
    /// From `meta.properties`.
    pub cluster_id: String,
}

/// A broker with its controller. `Sync`: every connection's task calls it directly.
pub struct Broker {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) identity: Identity,
    pub(crate) config: ArcSwap<BrokerConfig>,
    /// Without dynamic settings.
    pub(crate) static_config: Arc<BrokerConfig>,
    pub(crate) image: ArcSwap<Image>,
    pub(crate) directories: Vec<Arc<Directory>>,
    /// The files that logs hold open.
    pub(crate) open_files: Arc<OpenFiles>,
    /// What the last run left, by directory.
    pub(crate) leftovers: Vec<Leftovers>,
    /// Logs that are to be synced before they are served, while the node starts.
    pub(crate) recovered: Mutex<Vec<Arc<Partition>>>,
    /// Until they are closed.
    pub(crate) dirs: Mutex<Option<LogDirs>>,
    pub(crate) epoch: i64,
    /// The logs that are there at start are open: from now on, publishing opens those of new
    /// partitions.
    pub(crate) opened: AtomicBool,
    /// Those that a full disk refused to open.
    pub(crate) postponed: Postponed,
    /// The metadata quorum of this node.
    pub quorum: MetadataQuorum,
    /// The partitions that live here.
    pub partitions: Partitions,
    /// The group coordinator.
    pub groups: Groups,
    /// Client quotas, and what clients have used of them.
    pub quotas: Quotas,
    /// The transaction coordinator.
    pub transactions: Transactions,
    pub(crate) markers: UncommittedMarkers,
    /// Metrics that clients push.
    pub telemetry: Telemetry,
    /// Incremental fetch sessions.
    pub sessions: FetchSessions,
    pub(crate) producer_ids: ProducerIds,
    /// What it did so far.
    pub metrics: Metrics,
    pub(crate) loggers: Loggers,
    pub(crate) cleaner: Cleaner,
    pub(crate) flusher: Flusher,
    pub(crate) moves: Moves,
    pub(crate) timers: Timers<Due>,
}

impl Broker {
    /// The world around.
    #[must_use]
    pub fn env(&self) -> &dyn Env {
        &*self.env
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The configuration now in force.
    #[must_use]
    pub fn config(&self) -> arc_swap::Guard<Arc<BrokerConfig>> {
        self.config.load()
    }

    /// The committed metadata.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// `node.id`.
    #[must_use]
    pub fn node_id(&self) -> BrokerId {
        self.identity.node_id
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.identity.cluster_id
    }

    /// The log directories, in the order of the configuration.
    #[must_use]
    pub fn directories(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    /// The epoch of this broker's registration.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Hands a client's command to the controller.
    pub(crate) fn command(
        &self,
        ctx: &Context<'_>,
        command: Command,
    ) -> Arc<Promise<CommandResult>> {
        let host = ctx.connection.peer.ip().to_canonical().to_string();
        let mut mutations = ctx.mutation_quota();
        let mutations = mutations.as_mut().map(|quota| quota as &mut dyn MutationQuota);
        self.command_from(ctx.now, (&ctx.connection.principal, &host, mutations), command)
    }

    /// Hands a command of this node itself to the controller.
    pub(crate) fn own_command(&self, now: Now, command: Command) -> Arc<Promise<CommandResult>> {
        self.command_from(now, (ANONYMOUS, "", None), command)
    }

    /// Hands a command to the controller, with who sent it, from where, and the quota it is under.
    fn command_from(
        &self,
        now: Now,
        (principal, host, mutations): (&str, &str, Option<&mut dyn MutationQuota>),
        command: Command,
    ) -> Arc<Promise<CommandResult>> {
        let mut random = EnvRandom(self.env());
        let mut context = CommandContext {
            now,
            next_offset: Offset::NONE,
            random: &mut random,
            principal,
            client_host: host,
            mutations: mutations.map(|quota| quota as _),
        };
        self.quorum.submit(self, command, &mut context)
    }

    /// Asks for topics that a client named and that do not exist. Nobody waits for the answer: the
    /// client asks again.
    pub(crate) fn create_automatically(&self, ctx: &Context<'_>, names: Vec<ByteString>) {
        if names.is_empty() {
            return;
        }
        let topics = names.iter().map(|name| self.automatic_topic(name));
        let request = CreateTopicsRequest { topics: topics.collect(), ..Default::default() };
        // The promise is dropped: whether it worked shows in the next answer. A thousand clients
        // that ask for one topic lead to one: the controller knows what it has appended.
        drop(self.command(ctx, Command::CreateTopics(request)));
    }

    fn automatic_topic(&self, name: &ByteString) -> CreatableTopic {
        let mut topic = CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        let config = self.config();
        let configs = match &**name {
            OFFSETS_TOPIC => {
                topic.num_partitions = config.get(keys::OFFSETS_TOPIC_NUM_PARTITIONS);
                topic.replication_factor = config.get(keys::OFFSETS_TOPIC_REPLICATION_FACTOR);
                let segment = config.get(keys::OFFSETS_TOPIC_SEGMENT_BYTES);
                vec![
                    ("cleanup.policy", "compact".to_owned()),
                    ("compression.type", "producer".to_owned()),
                    ("segment.bytes", segment.to_string()),
                ]
            }
            TRANSACTIONS_TOPIC => {
                topic.num_partitions = config.get(keys::TRANSACTION_STATE_LOG_NUM_PARTITIONS);
                topic.replication_factor =
                    config.get(keys::TRANSACTION_STATE_LOG_REPLICATION_FACTOR);
                let min_isr = config.get(keys::TRANSACTION_STATE_LOG_MIN_ISR);
                let segment = config.get(keys::TRANSACTION_STATE_LOG_SEGMENT_BYTES);
                vec![
                    ("cleanup.policy", "compact".to_owned()),
                    ("compression.type", "uncompressed".to_owned()),
                    ("min.insync.replicas", min_isr.to_string()),
                    ("segment.bytes", segment.to_string()),
                    ("unclean.leader.election.enable", "false".to_owned()),
                ]
            }
            _ => Vec::new(),
        };
        let settings = configs.iter().map(|(name, value)| crate::topics::setting(name, value));
        topic.configs = settings.collect();
        topic
    }

    /// The next producer id, or `None` while the controller is asked for a block of them.
    pub(crate) fn next_producer_id(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<ProducerId>, ErrorCode> {
        self.producer_ids.next(ctx.waiter, || {
            let request = AllocateProducerIdsRequest {
                broker_id: self.node_id().0,
                broker_epoch: self.epoch,
                ..AllocateProducerIdsRequest::default()
            };
            self.command(ctx, Command::AllocateProducerIds(request))
        })
    }

    /// The finalized features of an image, kraft.version included.
    pub(crate) fn finalized_features(&self, image: &Image) -> Vec<(String, i16)> {
        let mut features: Vec<_> =
            image.features().map(|(name, level)| (name.to_owned(), level)).collect();
        let kraft = self.quorum.kraft_version();
        if kraft > 0 {
            features.push((ottla_metadata::features::KRAFT_VERSION.to_owned(), kraft));
        }
        features
    }

    /// Runs a job after a delay.
    pub(crate) fn delete_later(&self, job: Job, delay_ms: i64) {
        self.run_at(self.env().now().monotonic.plus_millis(delay_ms), job);
    }

    /// Runs a job at a time.
    pub(crate) fn run_at(&self, at: Monotonic, job: Job) {
        self.timers.add(at, Due::Job(job));
        self.env().schedule(at);
    }

    /// Does what is due and returns when to be called again.
    pub fn tick(&self) -> Monotonic {
        let now = self.env().now();
        for due in self.timers.due(now.monotonic) {
            self.run_due(due, now);
        }
        let coordinators = self.coordinators().map(|(_, shards)| shards.tick(self, now));
        let quorum = self.quorum.tick(self, now);
        coordinators.into_iter().fold(self.timers.next().min(quorum), Monotonic::min)
    }

    fn run_due(&self, due: Due, now: Now) {
        let config = self.config();
        let (again, interval_ms, job) = match due {
            Due::Job(job) => return self.env().submit(job),
            Due::Retention => {
                let interval = config.get(keys::LOG_RETENTION_CHECK_INTERVAL_MS);
                (Due::Retention, interval, Job::Retention)
            }
            Due::ExpireProducers => {
                let interval = config.get(keys::PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS);
                (Due::ExpireProducers, i64::from(interval), Job::ExpireProducers)
            }
            Due::HighWatermarks => {
                let interval = config.get(keys::REPLICA_HIGH_WATERMARK_CHECKPOINT_INTERVAL_MS);
                (Due::HighWatermarks, interval, Job::CheckpointHighWatermarks)
            }
            Due::RecoveryPoints => {
                let interval = config.get(keys::LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS);
                (Due::RecoveryPoints, i64::from(interval), Job::CheckpointRecoveryPoints)
            }
            Due::FlushAged => return self.look_for_unsynced(now),
            Due::Heartbeat => {
                self.heartbeat(now);
                let interval = config.get(keys::BROKER_HEARTBEAT_INTERVAL_MS);
                self.timers.add(now.monotonic.plus_millis(i64::from(interval)), Due::Heartbeat);
                return;
            }
        };
        self.timers.add(now.monotonic.plus_millis(interval_ms.max(1)), again);
        self.env().submit(job);
    }

    /// Stops: whoever waits is refused, leaderships are given up, logs are closed and marked clean.
    pub fn shut_down(&self) {
        let now = self.env().now();
        for (_, shards) in self.coordinators() {
            shards.unload_all(now);
        }
        self.leave();
        for job in self.timers.drain() {
            // Files that wait for their delayed removal go now.
            if let Due::Job(job @ (Job::Delete(_) | Job::RemoveDirectory(_))) = job {
                self.run(job);
            }
        }
        self.cleaner.stop();
        self.moves.stop(self);
        self.close_partitions(now);
        if let Err(error) = self.quorum.close(now) {
            tracing::warn!("the metadata log was not closed cleanly: {error}");
        }
        self.close_directories();
    }
}

/// The environment's randomness, for the controller.
struct EnvRandom<'a>(&'a dyn Env);

impl Random for EnvRandom<'_> {
    fn next_u64(&mut self) -> u64 {
        self.0.random()
    }
}
