//! From directories to a broker that answers.
//!
//! [`Broker::open`] recovers the metadata log, leads the quorum and registers. It returns the logs
//! that are to be opened as tasks: the caller runs them, on as many threads as it likes, and then
//! calls [`Broker::serve`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ottla_config::{BrokerConfig, TopicConfig, keys};
use ottla_metadata::{Command, Image, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, Now, Offset, PartitionIndex};
use ottla_protocol::messages::broker_registration_request::{Feature, Listener};
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, ControllerRegistrationRequest,
};
use ottla_raft::Endpoint;
use ottla_storage::checkpoint;
use ottla_storage::dirs::{DirsError, LogDirs};
use ottla_storage::{Disk, OpenFiles};
use parking_lot::Mutex;

use crate::broker::{Broker, Identity};
use crate::cleaner::Cleaner;
use crate::dynamic_config;
use crate::env::Env;
use crate::flusher::Flusher;
use crate::groups::Groups;
use crate::jobs::{Due, FLUSH_CHECK_MS, Job};
use crate::loggers::Loggers;
use crate::metrics::Metrics;
use crate::moves::Moves;
use crate::partition::Directory;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::publish::Postponed;
use crate::quorum::{CommandResult, MetadataQuorum, OpenQuorum, QuorumError};
use crate::quotas::Quotas;
use crate::sessions::FetchSessions;
use crate::telemetry::Telemetry;
use crate::timers::Timers;
use crate::transactions::{Transactions, UncommittedMarkers};
use crate::wait::Promise;

/// What a broker starts from.
pub struct StartBroker {
    /// The world around.
    pub env: Arc<dyn Env>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Bounds the files that logs hold open.
    pub open_files: Arc<OpenFiles>,
    /// The static configuration.
    pub config: Arc<BrokerConfig>,
    /// The directories, identified and locked.
    pub dirs: LogDirs,
    /// `advertised.listeners` with the host names and ports that the configuration leaves open.
    pub advertised: Vec<ottla_config::Listener>,
    /// The same for the listeners of the controller; empty if they are not bound.
    pub advertised_controller: Vec<ottla_config::Listener>,
}

/// Why a broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// The metadata log.
    #[error("the metadata log cannot be used: {0}")]
    Quorum(#[from] QuorumError),
    /// There is no directory for the metadata log.
    #[error("metadata.log.dir {0} is not usable")]
    NoMetadataDirectory(PathBuf),
    /// The controller refuses the registration.
    #[error("the controller refuses this broker: {0}")]
    Refused(ErrorCode),
}

/// A log that is to be opened at start.
#[derive(Clone)]
pub struct OpenTask {
    pub(crate) topic_id: Uuid,
    pub(crate) index: PartitionIndex,
    /// The topic's, shared by all its logs.
    config: Arc<TopicConfig>,
}

impl std::fmt::Debug for OpenTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "partition {} of topic {}", self.index, self.topic_id)
    }
}

/// What the last run left in a directory.
#[derive(Default)]
pub(crate) struct Leftovers {
    /// `.kafka_cleanshutdown` was there.
    pub(crate) clean: bool,
    recovery_points: Mutex<checkpoint::Offsets>,
    log_starts: Mutex<checkpoint::Offsets>,
}

impl Leftovers {
    /// What the checkpoints say of a log: recovery point and log start offset.
    pub(crate) fn offsets(&self, topic: &str, index: PartitionIndex) -> (Offset, Offset) {
        let key = (topic.to_owned(), index);
        let find = |offsets: &Mutex<checkpoint::Offsets>| {
            offsets.lock().get(&key).copied().unwrap_or(Offset::ZERO)
        };
        (find(&self.recovery_points), find(&self.log_starts))
    }

    /// Forgets them, once the log is open or gone: they do not hold for a later one of that name.
    pub(crate) fn forget(&self, topic: &str, index: PartitionIndex) {
        let key = (topic.to_owned(), index);
        for offsets in [&self.recovery_points, &self.log_starts] {
            offsets.lock().remove(&key);
        }
    }
}

impl Broker {
    /// Recovers metadata, leads the quorum and registers this broker.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(start: StartBroker) -> Result<(Arc<Self>, Vec<OpenTask>), StartError> {
        let StartBroker { env, disk, open_files, config, dirs, advertised, advertised_controller } =
            start;
        let now = env.now();
        let previous_epoch = dirs.previous_broker_epoch();
        let directories: Vec<_> = dirs.dirs().iter().map(directory).collect();
        let open = OpenQuorum {
            disk: Arc::clone(&disk),
            directory: metadata_directory(&config, &directories)?,
            node_id: BrokerId(config.node_id()),
            endpoints: advertised_controller.iter().map(endpoint).collect(),
            static_voters: crate::quorum::static_voters(&config),
            cluster_id: dirs.cluster_id().to_owned(),
        };
        let quorum = MetadataQuorum::open(open, &config, now)?;
        let mut leftovers = Vec::new();
        for (dir, directory) in dirs.dirs().iter().zip(&directories) {
            leftovers.push(if dir.is_online() {
                read_leftovers(&*disk, &dirs, directory)?
            } else {
                Leftovers::default()
            });
        }
        let sessions = config.get(keys::MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS);
        let image = quorum.image();
        let mut broker = Self {
            identity: Identity {
                node_id: BrokerId(config.node_id()),
                cluster_id: dirs.cluster_id().to_owned(),
            },
            config: ArcSwap::new(Arc::clone(&config)),
            static_config: Arc::clone(&config),
            image: ArcSwap::from_pointee(image),
            directories,
            leftovers,
            open_files,
            recovered: Mutex::default(),
            dirs: Mutex::new(Some(dirs)),
            epoch: -1,
            opened: AtomicBool::new(false),
            postponed: Postponed::default(),
            env,
            disk,
            quorum,
            partitions: Partitions::default(),
            groups: Groups::default(),
            quotas: Quotas::new(&config),
            transactions: Transactions::default(),
            markers: UncommittedMarkers::default(),
            telemetry: Telemetry::default(),
            sessions: FetchSessions::new(usize::try_from(sessions).unwrap_or(0)),
            producer_ids: ProducerIds::default(),
            metrics: Metrics::default(),
            loggers: Loggers::default(),
            cleaner: Cleaner::default(),
            flusher: Flusher::default(),
            moves: Moves::default(),
            timers: Timers::default(),
        };
        broker.command_now(Command::Activate)?;
        let controller = broker.register_controller(&advertised_controller);
        broker.epoch = broker.register(&advertised, previous_epoch.unwrap_or(-1))?;
        broker.check_controller(controller.peek())?;
        broker.quotas.replace(&broker.image());
        broker.telemetry.replace(&broker.image());
        broker.reconfigure(&broker.image());
        broker.remove_leftover_directories();
        let tasks = broker.tasks();
        Ok((Arc::new(broker), tasks))
    }

    /// Opens one log. Errors take its directory offline and are logged; the broker goes on with the
    /// others.
    pub fn open_log(&self, task: &OpenTask) {
        let image = self.image();
        let Some(topic) = image.topic_by_id(task.topic_id) else { return };
        let Some(partition) = topic.partition(task.index) else { return };
        self.open_partition(topic, &task.config, task.index, partition);
    }

    /// Every log is open: loads groups, starts the periodic work, and tells the controller that
    /// this broker is ready.
    ///
    /// # Errors
    /// The controller refuses.
    pub fn serve(self: &Arc<Self>) -> Result<(), StartError> {
        self.sync_recovered();
        self.opened.store(true, Ordering::Release);
        self.resume_moves();
        // Unfenced, this broker is given its leaderships; coordinators read partitions it leads.
        self.heartbeat_now(false)?;
        let image = self.image();
        self.assign_directories(&image, image.topics());
        self.take_over_shards();
        let now = self.env().now();
        let config = self.config();
        let initial = config.get(keys::LOG_INITIAL_TASK_DELAY_MS);
        for (due, after_ms) in [
            (Due::Retention, initial),
            (
                Due::ExpireProducers,
                i64::from(config.get(keys::PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS)),
            ),
            (Due::HighWatermarks, initial),
            (Due::RecoveryPoints, initial),
            (Due::FlushAged, FLUSH_CHECK_MS),
            (Due::Job(Job::Clean), config.get(keys::LOG_CLEANER_BACKOFF_MS)),
            (Due::Heartbeat, i64::from(config.get(keys::BROKER_HEARTBEAT_INTERVAL_MS))),
        ] {
            self.timers.add(now.monotonic.plus_millis(after_ms), due);
        }
        for (directory, left) in self.directories.iter().zip(&self.leftovers) {
            if !left.clean {
                // What was recovered is synced: a start after the next crash need not read it again.
                directory.changed.everything();
                self.env().submit(Job::CheckpointRecoveryPoints);
            }
        }
        self.env().schedule(self.timers.next());
        Ok(())
    }

    /// Runs a command to its commit on this thread: nothing else happens yet.
    fn command_now(&self, command: Command) -> Result<Response, StartError> {
        let promise = self.own_command(self.env().now(), command);
        self.quorum.run_flush(self);
        match promise.peek() {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(StartError::Refused(error)),
            None => Err(StartError::Refused(ErrorCode::RequestTimedOut)),
        }
    }

    fn register(
        &self,
        advertised: &[ottla_config::Listener],
        previous_epoch: i64,
    ) -> Result<i64, StartError> {
        let config = self.config();
        let listeners = advertised.iter().map(|listener| Listener {
            name: listener.name.as_str().into(),
            host: listener.server.host.as_str().into(),
            port: listener.server.port,
            security_protocol: listener.protocol.id(),
            ..Listener::default()
        });
        let features = ottla_metadata::features::FEATURES.iter().map(|feature| Feature {
            name: feature.name.into(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
            ..Feature::default()
        });
        let mut log_dirs: Vec<_> = self.directories.iter().map(|directory| directory.id).collect();
        log_dirs.sort_unstable();
        let request = BrokerRegistrationRequest {
            broker_id: self.node_id().0,
            cluster_id: self.cluster_id().into(),
            incarnation_id: self.random_uuid(),
            listeners: listeners.collect(),
            features: features.collect(),
            rack: config.get(keys::BROKER_RACK).map(Into::into),
            log_dirs,
            previous_broker_epoch: previous_epoch,
            ..BrokerRegistrationRequest::default()
        };
        match self.command_now(Command::BrokerRegistration(request))? {
            Response::BrokerRegistration(response) if response.error_code == 0 => {
                Ok(response.broker_epoch)
            }
            Response::BrokerRegistration(response) => Err(refused(response.error_code)),
            _ => Err(StartError::Refused(ErrorCode::UnknownServerError)),
        }
    }

    /// Tells the cluster where its controller listens. Its records are synced with those of the
    /// broker's registration, which follows.
    fn register_controller(
        &self,
        advertised: &[ottla_config::Listener],
    ) -> Arc<Promise<CommandResult>> {
        use ottla_protocol::messages::controller_registration_request as request;
        let now = self.env().now();
        if !self.image().metadata_version().has_controller_registration() {
            return Promise::kept(Ok(Response::Done));
        }
        let listeners = advertised.iter().map(|listener| request::Listener {
            name: listener.name.as_str().into(),
            host: listener.server.host.as_str().into(),
            port: listener.server.port,
            security_protocol: listener.protocol.id(),
            ..request::Listener::default()
        });
        let features = ottla_metadata::features::FEATURES.iter().map(|feature| request::Feature {
            name: feature.name.into(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
            ..request::Feature::default()
        });
        let request = ControllerRegistrationRequest {
            controller_id: self.node_id().0,
            incarnation_id: self.random_uuid(),
            listeners: listeners.collect(),
            features: features.collect(),
            ..ControllerRegistrationRequest::default()
        };
        self.own_command(now, Command::ControllerRegistration(request))
    }

    fn check_controller(&self, registered: Option<CommandResult>) -> Result<(), StartError> {
        match registered {
            Some(Ok(Response::ControllerRegistration(response))) if response.error_code != 0 => {
                Err(refused(response.error_code))
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(StartError::Refused(error)),
            None => Err(StartError::Refused(ErrorCode::RequestTimedOut)),
        }
    }

    pub(crate) fn random_uuid(&self) -> Uuid {
        let random = (u128::from(self.env().random()) << 64) | u128::from(self.env().random());
        Uuid::from_random(random.to_be_bytes())
    }

    fn heartbeat_request(&self, want_fence: bool) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest {
            broker_id: self.node_id().0,
            broker_epoch: self.epoch,
            current_metadata_offset: self.image().provenance().offset.0,
            want_fence,
            cordoned_log_dirs: self.cordoned_to_tell(&self.image()),
            ..BrokerHeartbeatRequest::default()
        }
    }

    fn heartbeat_now(&self, want_fence: bool) -> Result<(), StartError> {
        match self.command_now(Command::BrokerHeartbeat(self.heartbeat_request(want_fence)))? {
            Response::BrokerHeartbeat(response) if response.error_code == 0 => Ok(()),
            Response::BrokerHeartbeat(response) => Err(refused(response.error_code)),
            _ => Err(StartError::Refused(ErrorCode::UnknownServerError)),
        }
    }

    /// Tells the controller that this broker lives.
    pub(crate) fn heartbeat(&self, now: Now) {
        let command = Command::BrokerHeartbeat(self.heartbeat_request(false));
        drop(self.own_command(now, command));
    }

    /// Leaves the cluster: gives up every leadership and is fenced (KIP-631). Whoever opens the
    /// directories next does not believe that this broker still leads.
    pub(crate) fn leave(&self) {
        if self.epoch < 0 || !self.config().get(keys::CONTROLLED_SHUTDOWN_ENABLE) {
            return;
        }
        // The first gives up the leaderships; the second is allowed to go, for this controller knows
        // already that nobody else has to hear of it.
        for _ in 0..2 {
            let mut request = self.heartbeat_request(false);
            request.want_shut_down = true;
            match self.command_now(Command::BrokerHeartbeat(request)) {
                Ok(Response::BrokerHeartbeat(answer)) if answer.should_shut_down => return,
                Ok(Response::BrokerHeartbeat(answer)) if answer.error_code == 0 => {}
                Ok(other) => return tracing::warn!("the controller does not let go: {other:?}"),
                Err(error) => {
                    return tracing::warn!("leaderships are kept over the stop: {error}");
                }
            }
        }
    }

    fn tasks(&self) -> Vec<OpenTask> {
        let image = self.image();
        let mine = image.topics().flat_map(|topic| {
            let here = topic.partitions().filter(|(_, p)| p.replicas.contains(&self.node_id()));
            let config = Arc::new(crate::topics::config(&image, &self.config(), &topic.name));
            here.map(move |(index, _)| {
                let config = Arc::clone(&config);
                OpenTask { topic_id: topic.id, index, config }
            })
        });
        mine.collect()
    }
}

fn refused(code: i16) -> StartError {
    StartError::Refused(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError))
}

fn directory(dir: &ottla_storage::dirs::LogDir) -> Arc<Directory> {
    let id = dir.directory_id().unwrap_or(Uuid::LOST_DIRECTORY);
    let directory = Directory::new(id, dir.path().to_owned());
    if let ottla_storage::dirs::DirState::Offline(reason) = dir.state() {
        directory.take_offline(reason);
    }
    directory
}

fn metadata_directory(
    config: &BrokerConfig,
    directories: &[Arc<Directory>],
) -> Result<Arc<Directory>, StartError> {
    let path = PathBuf::from(config.metadata_log_dir());
    let found = directories.iter().find(|directory| directory.path == path).map(Arc::clone);
    found.ok_or(StartError::NoMetadataDirectory(path))
}

fn endpoint(listener: &ottla_config::Listener) -> Endpoint {
    Endpoint {
        listener: listener.name.clone(),
        host: listener.server.host.clone(),
        port: listener.server.port,
    }
}

fn read_leftovers(
    disk: &dyn Disk,
    dirs: &LogDirs,
    directory: &Directory,
) -> Result<Leftovers, StartError> {
    let read = |name| -> Result<checkpoint::Offsets, DirsError> {
        let found = checkpoint::read(disk, &directory.path, name)?;
        if let Some(damage) = found.damage {
            tracing::warn!("{damage}");
        }
        Ok(found.offsets)
    };
    Ok(Leftovers {
        recovery_points: Mutex::new(read(checkpoint::RECOVERY_POINT)?),
        log_starts: Mutex::new(read(checkpoint::LOG_START)?),
        clean: dirs.take_clean_shutdown(&directory.path)?.is_some(),
    })
}

impl Broker {
    /// Puts the dynamic configuration of an image in force.
    pub(crate) fn reconfigure(&self, image: &Image) {
        let config = dynamic_config::with_dynamic(&self.static_config, image);
        let level = config.get(keys::OTTLA_LOG_LEVEL);
        if level != self.config().get(keys::OTTLA_LOG_LEVEL) {
            self.env().set_log_levels(&self.loggers.change(&[], level));
        }
        self.config.store(Arc::new(config));
        self.limit_connections();
    }

    /// Tells the environment what limits connections now.
    pub(crate) fn limit_connections(&self) {
        self.env().limit_connections(&self.config(), &self.quotas.ip_rates());
    }
}
