//! The broker process in the simulation: formatting, starting, and the lanes its jobs wait in.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_broker::jobs::{Job, Lane};
use ottla_broker::{Broker, StartBroker};
use ottla_config::BrokerConfig;
use ottla_metadata::batch::{BATCH_BYTES_MAX, BatchPlace, encode_batches};
use ottla_metadata::bootstrap::format_records;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Offset, Timestamp};
use ottla_raft::{
    ControlPlace, ControlRecord, Endpoint, ReplicaKey, Voter, VoterSet, encode_control,
    snapshot_header,
};
use ottla_storage::dirs::{FormatParams, LogDirs, MetadataDir, OpenDirs, format_dirs};
use ottla_storage::{Disk, OpenFiles};
use ottla_testkit::{MemDisk, Rng};

use crate::env::SimEnv;
use crate::plan::Plan;

const NODE: BrokerId = BrokerId(1);
const CLUSTER: &str = "c2ltdWxhdGlvbnNpbXVsYQ";

/// Few, so that files are closed and opened again all the time.
const OPEN_FILES_MAX: usize = 3;

/// Threads for partitions, as the server has several.
const DATA_LANES: u64 = 3;

/// Which queue a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneKey(pub(crate) Lane, pub(crate) u64);

impl LaneKey {
    pub(crate) fn of(job: &Job) -> Self {
        let number = match job {
            Job::Flush(partition) | Job::LoadShard(partition) => {
                let name = &partition.name;
                let bytes = name.topic.bytes();
                let sum = bytes.fold(0_u64, |sum, byte| sum * 31 % 65_521 + u64::from(byte));
                sum + name.index.0 as u64
            }
            _ => 0,
        };
        Self(job.lane(), number % DATA_LANES)
    }
}

/// A running broker.
pub(crate) struct Node {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) lanes: BTreeMap<LaneKey, VecDeque<Job>>,
    pub(crate) tick_at: Option<u64>,
}

/// The configuration of a plan.
pub(crate) fn config(plan: &Plan) -> Arc<BrokerConfig> {
    let overrides = plan.overrides();
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (config, _warnings) = BrokerConfig::load(None, &overrides).expect("a valid configuration");
    Arc::new(config)
}

/// Formats a disk as `kafka-storage format --standalone` does.
pub(crate) fn format(disk: &MemDisk, plan: &Plan, rng: &mut Rng) {
    let mut uuid = || {
        let bytes = rng.bytes(16);
        Uuid::from_random(bytes.try_into().expect("16 bytes"))
    };
    let dirs: Vec<_> = plan.dirs.iter().map(|dir| (PathBuf::from(dir), uuid())).collect();
    let endpoint =
        Endpoint { listener: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port: 9093 };
    let voter = Voter {
        key: ReplicaKey { id: NODE, directory_id: dirs[0].1 },
        endpoints: vec![endpoint],
        kraft_versions: (0, 1),
    };
    let snapshot = bootstrap(&VoterSet::new([voter]), plan);
    let params = FormatParams {
        cluster_id: CLUSTER,
        node_id: NODE,
        dirs: &dirs,
        metadata: Some(MetadataDir { path: &dirs[0].0, snapshot: &snapshot }),
        ignore_formatted: false,
    };
    format_dirs(disk, &params).expect("an empty disk");
}

fn bootstrap(voters: &VoterSet, plan: &Plan) -> Vec<u8> {
    let (epoch, timestamp) = (LeaderEpoch(0), Timestamp(0));
    let header = snapshot_header(timestamp, 1, voters);
    let control = |base, records: &[ControlRecord]| {
        encode_control(records, ControlPlace { base, epoch, timestamp }).expect("control records")
    };
    let mut bytes = control(Offset::ZERO, &header).to_vec();
    let level = plan.transactions.as_ref().map(|t| ("transaction.version", t.level));
    let records = format_records(level.as_slice());
    let base = Offset(header.len() as i64);
    let place = BatchPlace { base, epoch, timestamp };
    for batch in encode_batches(&records, place, BATCH_BYTES_MAX).expect("bootstrap records") {
        bytes.extend_from_slice(&batch.bytes);
    }
    let end = base.plus(records.len() as i64);
    bytes.extend_from_slice(&control(end, &[ControlRecord::SnapshotFooter]));
    bytes
}

/// Starts a broker on a formatted disk, opening its logs in a random order.
///
/// # Errors
/// What the broker says, as a sentence.
pub(crate) fn start(
    disk: &MemDisk,
    config: &Arc<BrokerConfig>,
    env: &Arc<SimEnv>,
    rng: &mut Rng,
) -> Result<Node, String> {
    let paths: Vec<_> = config.log_dirs().iter().map(PathBuf::from).collect();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let plan = OpenDirs {
        paths: &paths,
        metadata_dir: Path::new(config.metadata_log_dir()),
        node_id: NODE,
        cluster_id: None,
    };
    let mut fresh = || Uuid::from_random([7; 16]);
    let dirs = LogDirs::open(Arc::clone(&shared), &plan, &mut fresh).map_err(|e| e.to_string())?;
    let start = StartBroker {
        env: Arc::clone(env) as Arc<dyn ottla_broker::Env>,
        disk: shared,
        open_files: OpenFiles::new(OPEN_FILES_MAX),
        config: Arc::clone(config),
        dirs,
        advertised: config.advertised_listeners().to_vec(),
        advertised_controller: config.advertised_controller_listeners().to_vec(),
    };
    let (broker, mut tasks) = Broker::open(start).map_err(|error| error.to_string())?;
    while !tasks.is_empty() {
        let next = rng.below(tasks.len() as u64) as usize;
        broker.open_log(&tasks.swap_remove(next));
    }
    broker.serve().map_err(|error| error.to_string())?;
    Ok(Node { env: Arc::clone(env), broker, lanes: BTreeMap::new(), tick_at: None })
}
