//! Starting the metadata quorum: snapshot, log, election.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::{BrokerConfig, keys};
use ottla_metadata::batch::decode_batch;
use ottla_metadata::{Controller, ControllerConfig, Image, Provenance, VersionedRecord};
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Now, Offset};
use ottla_protocol::records::batches;
use ottla_raft::{
    Action, ControlPlace, Endpoint, Input, Quorum, QuorumConfig, QuorumState, ReplicaKey, Start,
    VoterSet, VoterSource, decode_control, encode_control,
};
use ottla_storage::{Disk, Log, LogConfig, LogDisk, OpenFiles, OpenLog};
use parking_lot::Mutex;

use super::{MetadataQuorum, QuorumError, State, files};
use crate::partition::Directory;

/// Most metadata that may be written and not yet synced.
const UNFLUSHED_BYTES_MAX: u64 = 64 << 20;

/// Most bytes of the log read at once.
const READ_BYTES: u32 = 1 << 20;

/// What opening needs.
pub struct OpenQuorum {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The log directory that holds `__cluster_metadata-0`.
    pub directory: Arc<Directory>,
    /// This node.
    pub node_id: BrokerId,
    /// Where this node's controller is reached; empty if that is not known.
    pub endpoints: Vec<Endpoint>,
    /// Voters of `controller.quorum.voters`, if it is set.
    pub static_voters: Option<VoterSet>,
    /// From `meta.properties`.
    pub cluster_id: String,
}

impl MetadataQuorum {
    /// Recovers the metadata partition and elects this node, its only voter. On return everything in
    /// the log is committed and the controller may write.
    ///
    /// # Errors
    /// See [`QuorumError`].
    pub fn open(
        open: OpenQuorum,
        config: &Arc<BrokerConfig>,
        now: Now,
    ) -> Result<Self, QuorumError> {
        let dir = open.directory.path.join("__cluster_metadata-0");
        let replica = ReplicaKey { id: open.node_id, directory_id: open.directory.id };
        let disk = open.disk;
        disk.create_dir_all(&dir).map_err(|error| QuorumError::io("create", &dir, error))?;
        let History { image, mut voters, bootstrap } =
            History::read(&*disk, &dir, open.static_voters)?;
        let start = image.provenance().offset.plus(1);
        let options = OpenLog {
            recovery_point: Offset::ZERO,
            log_start_offset: Offset::ZERO,
            clean: false,
            now,
        };
        let files = LogDisk { disk: Arc::clone(&disk), open_files: OpenFiles::new(usize::MAX) };
        let (mut log, report) = Log::open(files, dir.clone(), log_config(config), options)?;
        if report.must_sync {
            log.sync(now)?;
        }
        if log.log_end_offset() < start {
            log.truncate_fully_and_start_at(start, ottla_protocol::ids::Timestamp::NONE)?;
        }
        let mut settings = ControllerConfig::new(
            Arc::clone(config),
            &open.cluster_id,
            voters.kraft_version(),
            bootstrap,
        );
        // NoOp records tell other voters and brokers that the log moves; a quorum of one has nobody
        // to tell, and need not sync its disk twice a second.
        settings.idle_interval = Duration::ZERO;
        let mut controller = Controller::new(settings, image);
        replay(&log, start, &mut controller, &mut voters)?;
        let last_epoch = controller.speculative().provenance().epoch.max(LeaderEpoch(0));
        let raft = Quorum::new(
            quorum_config(config, replica, open.endpoints),
            Start {
                quorum_state: read_quorum_state(&*disk, &dir)?,
                log_end: log.log_end_offset(),
                last_epoch,
                voters,
            },
        )?;
        let state = State {
            raft,
            controller,
            log,
            pending: std::collections::VecDeque::new(),
            flushing: false,
            snapshots: files::list(&*disk, &dir)?,
            followers: crate::wait::WaitList::default(),
        };
        let quorum = Self {
            disk,
            dir,
            directory: open.directory,
            state: Mutex::new(state),
            publishing: Mutex::new(()),
        };
        quorum.elect(now)?;
        Ok(quorum)
    }

    /// The committed image.
    #[must_use]
    pub fn image(&self) -> ottla_metadata::Image {
        self.state.lock().controller.image().clone()
    }

    /// Steps through the election, on this thread: nothing can be answered before it is over.
    fn elect(&self, now: Now) -> Result<(), QuorumError> {
        let mut state = self.state.lock();
        let mut actions = std::collections::VecDeque::from(state.raft.step(Input::Start, now)?);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::PersistQuorumState(quorum_state) => {
                    let voters = state.raft.voters();
                    let text = quorum_state.to_text(voters.kraft_version(), voters.voters());
                    write_quorum_state(&*self.disk, &self.dir, &text)?;
                }
                Action::AppendControl { base, epoch, records } => {
                    let place = ControlPlace { base, epoch, timestamp: now.wall };
                    let batch = encode_control(&records, place).map_err(QuorumError::encode)?;
                    state.log.append_own(&batch, None, epoch, now)?;
                    let last = base.plus(i64::try_from(records.len()).unwrap_or(0) - 1);
                    let at = Provenance { offset: last, epoch, timestamp: now.wall };
                    state.controller.replay(at, &[]).map_err(QuorumError::replay)?;
                }
                Action::Flush { .. } => {
                    let work = state.log.flush_work()?;
                    work.run().map_err(|error| QuorumError::io("sync", &self.dir, error))?;
                    state.log.flushed(work.covers, now);
                    let end = work.covers.end_offset;
                    actions.extend(state.raft.step(Input::Flushed { end }, now)?);
                }
                Action::HighWatermark(high_watermark) => {
                    let _image = state.controller.commit(high_watermark);
                }
                Action::Activate { .. } => state.controller.activate(now),
                Action::AppendData { .. }
                | Action::BecameLeader { .. }
                | Action::TakeSnapshot { .. }
                | Action::LogStart { .. }
                | Action::Resigned { .. } => {}
            }
        }
        Ok(())
    }
}

/// What the files say happened so far.
struct History {
    image: Image,
    voters: VoterSource,
    /// The records of the bootstrap snapshot, for the first activation.
    bootstrap: Vec<VersionedRecord>,
}

impl History {
    fn read(
        disk: &dyn Disk,
        dir: &std::path::Path,
        static_voters: Option<VoterSet>,
    ) -> Result<Self, QuorumError> {
        let mut voters = VoterSource::Static(static_voters.unwrap_or_default());
        let Some(newest) = files::list(disk, dir)?.into_iter().next_back() else {
            return Ok(Self { image: Image::default(), voters, bootstrap: Vec::new() });
        };
        let snapshot = files::load(disk, dir, newest)?;
        if let Some(found) = snapshot.voters {
            voters = if snapshot.id.end == Offset::ZERO {
                VoterSource::Bootstrap(found)
            } else {
                VoterSource::Log(found)
            };
        }
        if snapshot.id.end > Offset::ZERO {
            return Ok(Self { image: snapshot.image, voters, bootstrap: Vec::new() });
        }
        // The bootstrap snapshot is no part of the log: the first leader copies it there.
        let bootstrap = snapshot.records.into_iter().map(VersionedRecord::v0).collect();
        Ok(Self { image: Image::default(), voters, bootstrap })
    }
}

/// Replays the log into the controller.
fn replay(
    log: &Log,
    start: Offset,
    controller: &mut Controller,
    voters: &mut VoterSource,
) -> Result<(), QuorumError> {
    let (mut at, end) = (start.max(log.log_start_offset()), log.log_end_offset());
    while at < end {
        let damaged = |error: &dyn std::fmt::Display| QuorumError::Damaged {
            offset: at,
            reason: error.to_string(),
        };
        let slice = log.read(at, READ_BYTES, end, true).map_err(|error| match error {
            ottla_storage::ReadError::Storage(error) => QuorumError::Storage(error),
            error @ ottla_storage::ReadError::OutOfRange { .. } => damaged(&error),
        })?;
        let bytes = slice.read().map_err(|error| damaged(&error))?;
        let mut next = at;
        for batch in batches(&bytes) {
            // The read may end inside a batch; the next one starts there.
            let Ok(batch) = batch else { break };
            let header = batch.header();
            if header.last_offset() < next {
                continue;
            }
            next = header.last_offset().plus(1);
            let (provenance, records) = if header.is_control() {
                let found = decode_control(&batch).map_err(|error| damaged(&error))?;
                if let Some(found) = files::voters_of(found) {
                    *voters = VoterSource::Log(found);
                }
                let (offset, epoch) = (header.last_offset(), header.partition_leader_epoch);
                (Provenance { offset, epoch, timestamp: header.max_timestamp }, Vec::new())
            } else {
                decode_batch(&batch).map_err(|error| damaged(&error))?
            };
            controller.replay(provenance, &records).map_err(QuorumError::replay)?;
        }
        if next == at {
            return Err(damaged(&"no whole batch can be read here"));
        }
        at = next;
    }
    Ok(())
}

fn log_config(config: &BrokerConfig) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(config.get(keys::METADATA_LOG_SEGMENT_BYTES))
            .unwrap_or(1 << 30),
        segment_ms: config.get(keys::METADATA_LOG_SEGMENT_MS),
        cleanup_delete: false,
        retention_ms: -1,
        ..LogConfig::default()
    }
}

fn quorum_config(
    config: &BrokerConfig,
    replica: ReplicaKey,
    endpoints: Vec<Endpoint>,
) -> QuorumConfig {
    let bytes = config.get(keys::METADATA_LOG_MAX_RECORD_BYTES_BETWEEN_SNAPSHOTS);
    let interval = config.get(keys::METADATA_LOG_MAX_SNAPSHOT_INTERVAL_MS);
    QuorumConfig {
        replica,
        endpoints,
        snapshot_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        snapshot_interval: Duration::from_millis(u64::try_from(interval).unwrap_or(0)),
        unflushed_bytes_max: UNFLUSHED_BYTES_MAX,
    }
}

fn quorum_state_path(dir: &std::path::Path) -> PathBuf {
    dir.join("quorum-state")
}

fn read_quorum_state(disk: &dyn Disk, dir: &std::path::Path) -> Result<QuorumState, QuorumError> {
    let path = quorum_state_path(dir);
    let text = ottla_storage::dirs::files::read_text(disk, &path)?;
    match text {
        None => Ok(QuorumState::default()),
        Some(text) => QuorumState::parse(&text)
            .map_err(|error| QuorumError::QuorumState { path, reason: error.to_string() }),
    }
}

pub(super) fn write_quorum_state(
    disk: &dyn Disk,
    dir: &std::path::Path,
    text: &str,
) -> Result<(), QuorumError> {
    let path = quorum_state_path(dir);
    Ok(ottla_storage::dirs::files::replace(disk, &path, text.as_bytes())?)
}
