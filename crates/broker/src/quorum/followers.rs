//! What other nodes ask of the metadata quorum: the log, snapshots, votes.

use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::Provenance;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Now, Offset};
use ottla_raft::{
    Action, ControlPlace, Endpoint, FetchPlace, Input, LogFacts, Refusal, ReplicaKey, SnapshotKey,
    Vote, VoteAnswer, VoteRequest, encode_control,
};
use ottla_storage::{LogSlice, OpenMode, ReadError};

use super::{MetadataQuorum, QuorumError, State, files};
use crate::Broker;
use crate::jobs::Job;
use crate::wait::{Promise, Waiter, Wakes};

/// The leader of the metadata log, as answers to other nodes tell it.
#[derive(Debug, Clone)]
pub struct QuorumLeader {
    /// [`BrokerId::NONE`] if nobody leads.
    pub id: BrokerId,
    /// The current epoch.
    pub epoch: LeaderEpoch,
    /// Where it is reached on the listener that was asked about.
    pub endpoint: Option<Endpoint>,
}

/// A read of the metadata log by another node.
#[derive(Debug, Clone, Copy)]
pub struct LogFetch {
    /// Who reads; a negative id is a consumer.
    pub replica: ReplicaKey,
    /// The epoch in which the reader believes.
    pub leader_epoch: LeaderEpoch,
    /// Where its log ends.
    pub offset: Offset,
    /// The epoch of its last record.
    pub last_epoch: LeaderEpoch,
    /// Most bytes wanted; the first batch comes whole.
    pub bytes_max: u32,
}

/// What a read of the metadata log found.
pub enum LogFound {
    /// Committed batches; `None` if there are none yet.
    Records(Option<LogSlice>),
    /// The reader's log has to be cut, or to begin with a snapshot.
    Elsewhere(FetchPlace),
}

/// Where the metadata log stood at a read, and what was found.
pub struct LogRead {
    /// Everything below is committed; [`Offset::NONE`] if unknown.
    pub high_watermark: Offset,
    /// First offset of the log.
    pub log_start: Offset,
    /// The rest.
    pub found: Result<LogFound, ErrorCode>,
}

impl LogRead {
    /// An answer that tells nothing.
    #[must_use]
    pub const fn refused(error: ErrorCode) -> Self {
        Self { high_watermark: Offset::NONE, log_start: Offset::ZERO, found: Err(error) }
    }
}

/// A piece of a snapshot.
pub struct SnapshotPiece {
    /// The size of the whole.
    pub size: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl MetadataQuorum {
    /// Who leads, and where it is reached on the listener called `listener`.
    #[must_use]
    pub fn leader(&self, listener: &str) -> QuorumLeader {
        let state = self.state.lock();
        let (leader, epoch) = state.raft.leader();
        let voter = leader.and_then(|id| state.raft.voters().voters().get(id));
        let endpoints = voter.map(|voter| voter.endpoints.iter()).into_iter().flatten();
        let endpoint = endpoints.into_iter().find(|endpoint| endpoint.listener == listener);
        QuorumLeader { id: leader.unwrap_or(BrokerId::NONE), epoch, endpoint: endpoint.cloned() }
    }

    /// Reads committed batches. Records that are not yet committed are not shown: an fsync stands
    /// between them and the high watermark, and a crash before it would take them back.
    ///
    /// With a `waiter`, it is registered for whatever changes the answer.
    pub fn fetch(&self, fetch: &LogFetch, now: Now, waiter: Option<&Arc<Waiter>>) -> LogRead {
        let mut state = self.state.lock();
        if let Some(waiter) = waiter {
            state.followers.register(waiter);
        }
        let found = state.find(fetch);
        if let Ok(LogFound::Records(_)) = &found {
            state.raft.observe(fetch.replica, fetch.offset, now);
        }
        LogRead {
            high_watermark: state.raft.high_watermark().unwrap_or(Offset::NONE),
            log_start: state.log.log_start_offset(),
            found,
        }
    }

    /// Reads a piece of a snapshot.
    ///
    /// # Errors
    /// A wrong epoch; SNAPSHOT_NOT_FOUND, also for the bootstrap snapshot, which is no part of the log;
    /// POSITION_OUT_OF_RANGE; KAFKA_STORAGE_ERROR.
    pub fn read_snapshot(
        &self,
        leader_epoch: LeaderEpoch,
        id: SnapshotKey,
        (position, bytes_max): (i64, u32),
    ) -> Result<SnapshotPiece, ErrorCode> {
        {
            let state = self.state.lock();
            state.raft.check_leader(leader_epoch)?;
            if id.end == Offset::ZERO || !state.snapshots.contains(&id) {
                return Err(ErrorCode::SnapshotNotFound);
            }
        }
        let path = self.dir.join(files::file_name(id));
        let failed = |error: std::io::Error| match error.kind() {
            // A newer one replaced it meanwhile.
            std::io::ErrorKind::NotFound => ErrorCode::SnapshotNotFound,
            _ => {
                tracing::warn!("{} cannot be read: {error}", path.display());
                ErrorCode::KafkaStorageError
            }
        };
        let file = self.disk.open(&path, OpenMode::Read).map_err(failed)?;
        let size = file.len().map_err(failed)?;
        let position = u64::try_from(position).ok().filter(|position| *position < size);
        let position = position.ok_or(ErrorCode::PositionOutOfRange)?;
        let len = (size - position).min(u64::from(bytes_max));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = file.read_at(&mut bytes, position).map_err(failed)?;
        bytes.truncate(read);
        Ok(SnapshotPiece { size, bytes: bytes.into() })
    }

    /// Answers a candidate; a larger epoch is adopted first, which takes a job.
    pub(crate) fn vote(&self, broker: &Broker, request: &VoteRequest) -> Arc<Promise<VoteAnswer>> {
        let decided = self.state.lock().raft.vote(request);
        match decided {
            Vote::Answer(answer) => Promise::kept(answer),
            Vote::Adopt(answer) => {
                let promise = Promise::new();
                broker.env().submit(Job::AdoptEpoch(answer, Arc::clone(&promise)));
                promise
            }
        }
    }

    /// Whether `leader` may claim an epoch of the metadata log, or give it up.
    ///
    /// # Errors
    /// See [`ottla_raft::Quorum::check_claim`].
    pub fn check_claim(
        &self,
        claim: (BrokerId, LeaderEpoch),
        meant: Option<ReplicaKey>,
    ) -> Result<(), Refusal> {
        self.state.lock().raft.check_claim(claim, meant)
    }

    /// Whether this node leads that epoch.
    ///
    /// # Errors
    /// It does not.
    pub fn check_leader(&self, epoch: LeaderEpoch) -> Result<(), Refusal> {
        self.state.lock().raft.check_leader(epoch)
    }

    /// Whether another node follows the log and has everything that is committed.
    #[must_use]
    pub fn is_caught_up(&self, key: ReplicaKey, now: Now) -> bool {
        self.state.lock().raft.is_caught_up(key, now)
    }

    /// Goes on in an epoch above the one that another node knows, then answers that node.
    pub(crate) fn run_adopt(
        &self,
        broker: &Broker,
        answer: VoteAnswer,
        promise: &Promise<VoteAnswer>,
    ) {
        let result = self.adopt(broker, answer.epoch);
        if let Err(error) = &result {
            self.append_failed(broker, error);
        }
        let refused = result.is_err().then_some(Refusal::NotLeader);
        promise.keep(VoteAnswer {
            granted: answer.granted && refused.is_none(),
            refused: answer.refused.or(refused),
            ..answer
        });
    }

    fn adopt(&self, broker: &Broker, seen: LeaderEpoch) -> Result<(), QuorumError> {
        // One at a time, and apart from flushes: both run on the metadata lane.
        let _order = self.publishing.lock();
        let now = broker.env().now();
        let (actions, voters) = {
            let mut state = self.state.lock();
            let actions = state.raft.step(Input::EpochSeen { epoch: seen }, now)?;
            (actions, state.raft.voters().clone())
        };
        for action in &actions {
            if let Action::PersistQuorumState(quorum_state) = action {
                let text = quorum_state.to_text(voters.kraft_version(), voters.voters());
                super::open::write_quorum_state(&*self.disk, &self.dir, &text)?;
            }
        }
        let mut wakes = Wakes::default();
        let flush = {
            let mut state = self.state.lock();
            let appended = state.start_next_epoch(now)?;
            state.followers.take_into(&mut wakes);
            appended && !std::mem::replace(&mut state.flushing, true)
        };
        wakes.deliver();
        if flush {
            broker.env().submit(Job::FlushMetadata);
        }
        Ok(())
    }
}

impl State {
    fn find(&self, fetch: &LogFetch) -> Result<LogFound, ErrorCode> {
        self.raft.check_leader(fetch.leader_epoch)?;
        let end_of_epoch = match self.log.end_offset_for_epoch(fetch.last_epoch) {
            // Not known: the reader is ahead, or the log is empty.
            (LeaderEpoch::NONE, _) => (self.last_epoch(), self.log.log_end_offset()),
            known => known,
        };
        let facts = LogFacts {
            log_start: self.log.log_start_offset(),
            earliest: self.snapshots.first().copied(),
            latest: self.snapshots.last().copied(),
            end_of_epoch,
        };
        let place = FetchPlace::of(fetch.offset, fetch.last_epoch, &facts);
        if place != FetchPlace::Here {
            return Ok(LogFound::Elsewhere(place));
        }
        let end = self.raft.high_watermark().unwrap_or(Offset::ZERO);
        if fetch.offset >= end {
            return Ok(LogFound::Records(None));
        }
        let slice = self.log.read(fetch.offset, fetch.bytes_max, end, true);
        let slice = slice.map_err(|error| match error {
            ReadError::Storage(error) => {
                tracing::error!("the metadata log cannot be read: {error}");
                ErrorCode::KafkaStorageError
            }
            error @ ReadError::OutOfRange { .. } => error.code(),
        })?;
        Ok(LogFound::Records((slice.len > 0).then_some(slice)))
    }

    fn last_epoch(&self) -> LeaderEpoch {
        self.controller.speculative().provenance().epoch.max(LeaderEpoch(0))
    }

    /// Writes the first batch of the next epoch, if one is stood for. Returns whether that is so.
    fn start_next_epoch(&mut self, now: Now) -> Result<bool, QuorumError> {
        let Some((base, epoch, records)) = self.raft.next_epoch_start() else { return Ok(false) };
        let place = ControlPlace { base, epoch, timestamp: now.wall };
        let batch = encode_control(&records, place).map_err(QuorumError::encode)?;
        self.log.append_own(&batch, None, epoch, now)?;
        self.raft.step(Input::Persisted, now)?;
        let last = self.raft.log_end().plus(-1);
        let at = Provenance { offset: last, epoch, timestamp: now.wall };
        self.controller.replay(at, &[]).map_err(QuorumError::replay)?;
        Ok(true)
    }
}
