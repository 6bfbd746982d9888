//! A node without threads and clocks: a broker over a disk in memory, with an environment that a
//! test moves. Also used by the fuzz targets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use ottla_broker::jobs::Job;
use ottla_broker::quotas::IpRates;
use ottla_broker::wait::Wake;
use ottla_broker::{
    Broker, Connection, ConnectionInfo, Env, Listener, ListenerKind, Part, Response, StartBroker,
    StartError,
};
use ottla_config::BrokerConfig;
use ottla_metadata::batch::{BATCH_BYTES_MAX, BatchPlace, encode_batches};
use ottla_metadata::bootstrap::format_records;
use ottla_protocol::Uuid;
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, Now, Offset, Timestamp};
use ottla_raft::{ControlPlace, ControlRecord, VoterSet, encode_control, snapshot_header};
use ottla_storage::OpenFiles;
use ottla_storage::dirs::{FormatParams, LogDirs, MetadataDir, OpenDirs, format_dirs};
use ottla_testkit::{MemDisk, Rng};
use parking_lot::Mutex;

pub(crate) const DIR: &str = "/data";
const CLUSTER: &str = "BkTIgbM1R8Kca0FJ7O2L0Q";
const START_MS: i64 = 1_700_000_000_000;

/// The environment: time stands still and jobs wait until the test says otherwise.
pub(crate) struct World {
    state: Mutex<WorldState>,
}

struct WorldState {
    millis: i64,
    rng: Rng,
    jobs: VecDeque<Job>,
    /// The configuration that was last put in force for connections.
    limits: Option<BrokerConfig>,
    log_levels: Option<String>,
}

impl World {
    fn new() -> Arc<Self> {
        // Every start is an incarnation of its own.
        static STARTS: AtomicU64 = AtomicU64::new(7);
        let state = WorldState {
            millis: 0,
            rng: Rng::new(STARTS.fetch_add(1, Ordering::Relaxed)),
            jobs: VecDeque::new(),
            limits: None,
            log_levels: None,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(crate) fn advance(&self, millis: i64) {
        let mut state = self.state.lock();
        state.millis = state.millis.saturating_add(millis);
    }

    /// The configuration that connections are limited by.
    pub(crate) fn limits(&self) -> Option<BrokerConfig> {
        self.state.lock().limits.clone()
    }

    /// What the process log was told last.
    pub(crate) fn log_levels(&self) -> Option<String> {
        self.state.lock().log_levels.clone()
    }

    /// The job that was submitted first.
    pub(crate) fn next_job(&self) -> Option<Job> {
        self.state.lock().jobs.pop_front()
    }
}

impl Env for World {
    fn now(&self) -> Now {
        let millis = self.state.lock().millis;
        let micros = u64::try_from(millis).unwrap() * 1000;
        Now { monotonic: Monotonic(micros), wall: Timestamp(START_MS + millis) }
    }

    fn random(&self) -> u64 {
        self.state.lock().rng.next_u64()
    }

    fn submit(&self, job: Job) {
        self.state.lock().jobs.push_back(job);
    }

    fn schedule(&self, _at: Monotonic) {}

    fn limit_connections(&self, config: &BrokerConfig, _rates: &IpRates) {
        self.state.lock().limits = Some(config.clone());
    }

    fn set_log_levels(&self, directives: &str) {
        self.state.lock().log_levels = Some(directives.to_owned());
    }
}

/// A broker and its environment.
pub(crate) struct Node {
    pub(crate) broker: Arc<Broker>,
    pub(crate) world: Arc<World>,
}

/// A disk with one formatted directory.
pub(crate) fn formatted() -> MemDisk {
    formatted_with(&[DIR])
}

/// A disk with several formatted directories, [`DIR`] first.
pub(crate) fn formatted_with(dirs: &[&str]) -> MemDisk {
    let disk = MemDisk::with_dirs(dirs);
    let id = |(number, dir): (usize, &&str)| {
        (PathBuf::from(dir), Uuid::from_random([3 + number as u8; 16]))
    };
    let dirs: Vec<_> = dirs.iter().enumerate().map(id).collect();
    let snapshot = bootstrap_snapshot();
    let params = FormatParams {
        cluster_id: CLUSTER,
        node_id: BrokerId(1),
        dirs: &dirs,
        metadata: Some(MetadataDir { path: Path::new(DIR), snapshot: &snapshot }),
        ignore_formatted: false,
    };
    format_dirs(&disk, &params).unwrap();
    disk
}

fn bootstrap_snapshot() -> Vec<u8> {
    let (epoch, timestamp) = (LeaderEpoch(0), Timestamp(START_MS));
    let control = |base, records: &[ControlRecord]| {
        encode_control(records, ControlPlace { base, epoch, timestamp }).unwrap()
    };
    let mut bytes = control(Offset::ZERO, &snapshot_header(timestamp, 0, &VoterSet::default()));
    let records = format_records(&[]);
    let place = BatchPlace { base: Offset(1), epoch, timestamp };
    for batch in encode_batches(&records, place, BATCH_BYTES_MAX).unwrap() {
        bytes.extend_from_slice(&batch.bytes);
    }
    let end = Offset(1 + records.len() as i64);
    bytes.extend_from_slice(&control(end, &[ControlRecord::SnapshotFooter]));
    bytes
}

impl Node {
    /// Starts a broker on `disk`, serves, and runs what that submits.
    ///
    /// # Errors
    /// What is wrong with the disk's content.
    pub(crate) fn start(disk: &MemDisk) -> Result<Self, StartError> {
        Self::start_with(disk, &[])
    }

    /// As [`Node::start`], with settings of the test's own.
    ///
    /// # Errors
    /// What is wrong with the disk's content.
    pub(crate) fn start_with(
        disk: &MemDisk,
        settings: &[(&str, &str)],
    ) -> Result<Self, StartError> {
        let node = Self::open(disk, settings)?;
        node.run_jobs();
        Ok(node)
    }

    /// Starts a broker on `disk` that serves while all its jobs still wait.
    ///
    /// # Errors
    /// What is wrong with the disk's content.
    pub(crate) fn open(disk: &MemDisk, settings: &[(&str, &str)]) -> Result<Self, StartError> {
        Self::open_within(disk, settings, usize::MAX)
    }

    /// As [`Node::open`]; its logs hold at most `files_max` files open.
    ///
    /// # Errors
    /// What is wrong with the disk's content.
    pub(crate) fn open_within(
        disk: &MemDisk,
        settings: &[(&str, &str)],
        files_max: usize,
    ) -> Result<Self, StartError> {
        let world = World::new();
        let mut all = vec![
            ("log.dirs", DIR),
            ("controller.quorum.bootstrap.servers", ""),
            ("controller.quorum.voters", "1@localhost:9093"),
            ("offsets.topic.num.partitions", "1"),
            ("transaction.state.log.num.partitions", "1"),
            ("num.partitions", "2"),
        ];
        all.extend_from_slice(settings);
        let settings = all;
        let (config, _) = BrokerConfig::load(None, &settings).unwrap();
        let disk: Arc<MemDisk> = Arc::new(disk.clone());
        let paths: Vec<PathBuf> = config.log_dirs().iter().map(PathBuf::from).collect();
        let plan = OpenDirs {
            paths: &paths,
            metadata_dir: Path::new(DIR),
            node_id: BrokerId(1),
            cluster_id: None,
        };
        let dirs = LogDirs::open(disk.clone(), &plan, &mut || Uuid::from_random([5; 16]))?;
        let env = world.clone();
        let advertised = config.advertised_listeners().to_vec();
        let advertised_controller = config.advertised_controller_listeners().to_vec();
        let start = StartBroker {
            env,
            disk,
            open_files: OpenFiles::new(files_max),
            config: Arc::new(config),
            dirs,
            advertised,
            advertised_controller,
        };
        let (broker, tasks) = Broker::open(start)?;
        for task in tasks {
            broker.open_log(&task);
        }
        broker.serve()?;
        Ok(Self { broker, world })
    }

    /// Runs what was submitted, and what that submits.
    pub(crate) fn run_jobs(&self) {
        while let Some(job) = self.world.next_job() {
            self.broker.run(job);
        }
    }

    /// A new connection of a client.
    pub(crate) fn connect(&self) -> Client {
        self.connect_to("PLAINTEXT", ListenerKind::Broker, 9092)
    }

    /// A new connection of another node or a tool to the controller's listener.
    pub(crate) fn connect_controller(&self) -> Client {
        self.connect_to("CONTROLLER", ListenerKind::Controller, 9093)
    }

    fn connect_to(&self, name: &str, kind: ListenerKind, port: u16) -> Client {
        let listener = Listener { name: name.to_owned(), kind, advertised: None, port };
        let info = ConnectionInfo {
            id: 1,
            peer: ([127, 0, 0, 1], 20_000).into(),
            local: ([127, 0, 0, 1], port).into(),
            listener: Arc::new(listener),
            principal: ottla_broker::ANONYMOUS.into(),
            software: Default::default(),
        };
        let flag = Arc::new(Flag::default());
        let connection = Connection::new(self.broker.clone(), info, flag.clone());
        Client { connection, flag }
    }

    /// Lets `millis` pass, and does what is due.
    pub(crate) fn pass(&self, millis: i64) {
        self.world.advance(millis);
        let _ = self.broker.tick();
        self.run_jobs();
    }
}

/// Whether the connection was woken since the last look.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection, as the network layer drives it.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) flag: Arc<Flag>,
}

impl Client {
    /// Sends a request without its size; polls until there is nothing more to do now.
    pub(crate) fn send(&mut self, node: &Node, frame: Bytes) {
        self.connection.frame(frame, node.world.now());
        self.settle(node);
    }

    /// Runs jobs and polls until neither leads to more.
    pub(crate) fn settle(&mut self, node: &Node) {
        node.run_jobs();
        self.connection.poll(node.world.now());
        while self.flag.take() {
            node.run_jobs();
            self.connection.poll(node.world.now());
        }
    }

    /// Sends a request and gives its answer, which must not wait for time.
    pub(crate) fn call<R: Request>(
        &mut self,
        node: &Node,
        version: i16,
        request: &R,
    ) -> R::Response {
        self.ask(node, version, request);
        self.answer::<R>(version).expect("the answer waits for something")
    }

    /// Sends a request.
    pub(crate) fn ask<R: Request>(&mut self, node: &Node, version: i16, request: &R) {
        let frame = encode_request(version, 5, None, request).unwrap().bytes;
        self.send(node, frame.slice(4..));
    }

    /// The answer to the request that was sent first, if it is there.
    pub(crate) fn answer<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let frame = self.response()?;
        let (correlation_id, response) = decode_response::<R>(frame.slice(4..), version).unwrap();
        assert_eq!(correlation_id, 5);
        Some(response)
    }

    /// The next response, its size included.
    pub(crate) fn response(&mut self) -> Option<Bytes> {
        self.connection.take_response().map(|response| assemble(&response))
    }
}

fn assemble(response: &Response) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in &response.parts {
        match part {
            Part::Bytes(run) => bytes.extend_from_slice(run),
            Part::Slice(slice) => bytes.extend_from_slice(&slice.read().unwrap()),
        }
    }
    bytes.freeze()
}
