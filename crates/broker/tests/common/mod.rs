//! A formatted broker in memory that answers one request after the other. Nothing runs by itself:
//! jobs run when an answer waits for them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::jobs::Job;
use ottla_broker::wait::Wake;
use ottla_broker::{Broker, Connection, ConnectionInfo, Env, Listener, Part, StartBroker};
use ottla_config::BrokerConfig;
use ottla_metadata::batch::{BATCH_BYTES_MAX, BatchPlace, encode_batches};
use ottla_metadata::bootstrap::format_records;
use ottla_protocol::Uuid;
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, Now, Offset, Timestamp};
use ottla_raft::{
    ControlPlace, ControlRecord, Endpoint, ReplicaKey, Voter, VoterSet, encode_control,
    snapshot_header,
};
use ottla_storage::dirs::{FormatParams, LogDirs, MetadataDir, OpenDirs, format_dirs};
use ottla_storage::{Disk, OpenFiles};
use ottla_testkit::{MemDisk, Rng};
use parking_lot::Mutex;

pub(crate) const CLUSTER: &str = "c2ltdWxhdGlvbnNpbXVsYQ";
pub(crate) const DIR: &str = "/data";
const NODE: BrokerId = BrokerId(1);
const DIRECTORY: Uuid = Uuid::from_u128(7777);

/// The environment: a clock that stands still, and jobs in a queue.
pub(crate) struct TestEnv {
    rng: Mutex<Rng>,
    jobs: Mutex<VecDeque<Job>>,
    pub(crate) log_levels: Mutex<Vec<String>>,
}

impl Env for TestEnv {
    fn now(&self) -> Now {
        Now { monotonic: Monotonic(1_000_000), wall: Timestamp(1_700_000_000_000) }
    }

    fn random(&self) -> u64 {
        self.rng.lock().next_u64()
    }

    fn submit(&self, job: Job) {
        self.jobs.lock().push_back(job);
    }

    fn schedule(&self, _: Monotonic) {}

    fn set_log_levels(&self, directives: &str) {
        self.log_levels.lock().push(directives.to_owned());
    }
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// A broker and a client's connection to it.
pub(crate) struct TestBroker {
    pub(crate) env: Arc<TestEnv>,
    broker: Arc<Broker>,
    connection: Connection,
}

impl TestBroker {
    /// A broker of default configuration on an empty disk.
    pub(crate) fn start() -> Self {
        let disk = MemDisk::with_dirs(&[DIR]);
        format(&disk);
        let settings = [("log.dirs", DIR), ("offsets.topic.num.partitions", "2")];
        let (config, _) = BrokerConfig::load(None, &settings).unwrap();
        let env = Arc::new(TestEnv {
            rng: Mutex::new(Rng::new(42)),
            jobs: Mutex::default(),
            log_levels: Mutex::default(),
        });
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let paths = [PathBuf::from(DIR)];
        let plan =
            OpenDirs { paths: &paths, metadata_dir: &paths[0], node_id: NODE, cluster_id: None };
        let dirs = LogDirs::open(Arc::clone(&disk), &plan, &mut || DIRECTORY).unwrap();
        let start = StartBroker {
            env: Arc::clone(&env) as Arc<dyn Env>,
            disk,
            open_files: OpenFiles::new(usize::MAX),
            advertised: config.advertised_listeners().to_vec(),
            advertised_controller: config.advertised_controller_listeners().to_vec(),
            config: Arc::new(config),
            dirs,
        };
        let (broker, tasks) = Broker::open(start).unwrap();
        tasks.iter().for_each(|task| broker.open_log(task));
        broker.serve().unwrap();
        let connection = connect(&broker);
        Self { env, broker, connection }
    }

    /// Sends a request and gives its answer.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let frame = encode_request(version, 5, None, request).unwrap().bytes;
        self.connection.frame(frame.slice(4..), self.env.now());
        let response = loop {
            if let Some(response) = self.connection.take_response() {
                break response;
            }
            assert_eq!(self.connection.should_close(), None);
            let job = self.env.jobs.lock().pop_front().expect("the answer waits for nothing");
            self.broker.run(job);
            self.connection.poll(self.env.now());
        };
        let mut bytes = Vec::new();
        for part in response.parts {
            match part {
                Part::Bytes(part) => bytes.extend_from_slice(&part),
                Part::Slice(slice) => bytes.extend_from_slice(&slice.read().unwrap()),
            }
        }
        let (correlation_id, response) =
            decode_response::<R>(Bytes::from(bytes).slice(4..), version).unwrap();
        assert_eq!(correlation_id, 5);
        response
    }
}

fn connect(broker: &Arc<Broker>) -> Connection {
    let listener = Listener {
        name: "PLAINTEXT".to_owned(),
        kind: ottla_broker::ListenerKind::Broker,
        advertised: None,
        port: 9092,
    };
    let info = ConnectionInfo {
        id: 1,
        peer: SocketAddr::from(([10, 0, 0, 2], 10_000)),
        local: SocketAddr::from(([10, 0, 0, 1], 9092)),
        listener: Arc::new(listener),
        principal: ottla_broker::ANONYMOUS.into(),
        software: Default::default(),
    };
    Connection::new(Arc::clone(broker), info, Arc::new(NoWake))
}

/// Formats as `kafka-storage format --standalone` does.
fn format(disk: &MemDisk) {
    let endpoint =
        Endpoint { listener: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port: 9093 };
    let voter = Voter {
        key: ReplicaKey { id: NODE, directory_id: DIRECTORY },
        endpoints: vec![endpoint],
        kraft_versions: (0, 1),
    };
    let (epoch, timestamp) = (LeaderEpoch(0), Timestamp(0));
    let header = snapshot_header(timestamp, 1, &VoterSet::new([voter]));
    let control = |base, records: &[ControlRecord]| {
        encode_control(records, ControlPlace { base, epoch, timestamp }).unwrap()
    };
    let mut snapshot = control(Offset::ZERO, &header).to_vec();
    let records = format_records(&[]);
    let base = Offset(header.len() as i64);
    let place = BatchPlace { base, epoch, timestamp };
    for batch in encode_batches(&records, place, BATCH_BYTES_MAX).unwrap() {
        snapshot.extend_from_slice(&batch.bytes);
    }
    let end = base.plus(records.len() as i64);
    snapshot.extend_from_slice(&control(end, &[ControlRecord::SnapshotFooter]));
    let params = FormatParams {
        cluster_id: CLUSTER,
        node_id: NODE,
        dirs: &[(PathBuf::from(DIR), DIRECTORY)],
        metadata: Some(MetadataDir { path: Path::new(DIR), snapshot: &snapshot }),
        ignore_formatted: false,
    };
    format_dirs(disk, &params).unwrap();
}
