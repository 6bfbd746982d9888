//! A quorum whose only voter is this node.

mod observers;
mod votes;

use std::collections::VecDeque;
use std::time::Duration;

use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, Timestamp};

use crate::action::{Action, Append, Ids, Input, RaftError, ResignReason, Start, VoterSource};
use crate::control::ControlRecord;
use crate::quorum_state::QuorumState;
use crate::voters::{Endpoint, ReplicaKey, VoterSet};

pub use observers::{FetchPlace, LogFacts, OBSERVERS_MAX, SnapshotKey};
pub use votes::{EPOCH_MAX, Refusal, Vote, VoteAnswer, VoteRequest};

/// What does not change while the node runs.
#[derive(Debug, Clone)]
pub struct QuorumConfig {
    /// This node and its metadata directory.
    pub replica: ReplicaKey,
    /// Where this node listens for other nodes. An entry of a dynamic voter set that says otherwise is
    /// corrected; empty leaves it as it is.
    pub endpoints: Vec<Endpoint>,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; zero: no snapshot because of time.
    pub snapshot_interval: Duration,
    /// Most bytes that may be appended and not yet flushed; an append past it is refused.
    pub unflushed_bytes_max: u64,
}

/// The state of the quorum as this node knows it.
#[derive(Debug)]
pub struct Quorum {
    config: QuorumConfig,
    voters: VoterSource,
    state: QuorumState,
    role: Role,
    log_end: Offset,
    last_epoch: LeaderEpoch,
    /// `None` until the first commit of an epoch.
    high_watermark: Option<Offset>,
    /// Log end and size of each batch that is not known to be durable.
    unflushed: VecDeque<(Offset, u64)>,
    unflushed_bytes: u64,
    snapshot: SnapshotClock,
    last_commit: Timestamp,
    /// An epoch that is being made durable, to be led next.
    standing: Option<LeaderEpoch>,
    observers: observers::Observers,
}

/// What DescribeQuorum tells about the metadata partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Who leads; `None` if nobody does as far as known.
    pub leader: Option<ReplicaKey>,
    /// The current epoch.
    pub epoch: LeaderEpoch,
    /// [`Offset::NONE`] while unknown.
    pub high_watermark: Offset,
    /// All voters.
    pub voters: Vec<ReplicaDescription>,
    /// Everybody else who fetches.
    pub observers: Vec<ReplicaDescription>,
}

/// One replica of the metadata log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// Node and directory.
    pub key: ReplicaKey,
    /// [`Offset::NONE`] if unknown.
    pub log_end: Offset,
    /// When it last fetched; [`Timestamp::NONE`] if unknown or if it is not the leader who answers.
    pub last_fetch: Timestamp,
    /// When it was last known to have everything.
    pub last_caught_up: Timestamp,
    /// Where it listens, if it is a voter.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    New,
    Leader { epoch_start: Offset, active: bool },
    Resigned,
}

#[derive(Debug)]
struct SnapshotClock {
    bytes: u64,
    /// Since when the log holds records that no snapshot has.
    dirty_since: Option<Monotonic>,
    end: Offset,
    asked: bool,
}

impl Quorum {
    /// A node that has not started to take part. The driver's duties are in the crate's documentation.
    ///
    /// # Errors
    /// [`RaftError::NotOnlyVoter`], or an epoch in `quorum-state` that is older than the log's.
    pub fn new(config: QuorumConfig, start: Start) -> Result<Self, RaftError> {
        let voters = start.voters.voters();
        if !voters.is_only(config.replica) {
            let ids = voters.iter().map(|voter| voter.key.id).collect();
            return Err(RaftError::NotOnlyVoter { node: config.replica.id, voters: Ids(ids) });
        }
        if start.quorum_state.epoch < start.last_epoch {
            let (state, log) = (start.quorum_state.epoch, start.last_epoch);
            return Err(RaftError::EpochBehindLog { state, log });
        }
        Ok(Self {
            config,
            voters: start.voters,
            state: start.quorum_state,
            role: Role::New,
            log_end: start.log_end,
            last_epoch: start.last_epoch,
            high_watermark: None,
            unflushed: VecDeque::new(),
            unflushed_bytes: 0,
            snapshot: SnapshotClock {
                bytes: 0,
                dirty_since: None,
                end: Offset::ZERO,
                asked: false,
            },
            last_commit: Timestamp::NONE,
            standing: None,
            observers: observers::Observers::default(),
        })
    }

    /// Takes one input and returns what the driver has to do, in order.
    ///
    /// # Errors
    /// An input that is not possible now; the state is unchanged then.
    pub fn step(&mut self, input: Input, now: Now) -> Result<Vec<Action>, RaftError> {
        match input {
            Input::Start => self.start(now),
            Input::Append(append) => self.append(append, now),
            Input::Flushed { end } => self.flushed(end, now),
            Input::LogFailed => Ok(self.resign(ResignReason::LogFailed)),
            Input::SnapshotTaken { end, epoch } => self.snapshot_taken((end, epoch), now),
            Input::SnapshotFailed => Ok(self.snapshot_failed(now)),
            Input::EpochSeen { epoch } => Ok(self.stand(epoch)),
            Input::Persisted => Ok(self.lead_next(now)),
            Input::Tick => Ok(self.snapshot_if_due(now)),
            Input::Shutdown => Ok(self.resign(ResignReason::Shutdown)),
        }
    }

    /// When [`Input::Tick`] is due; [`Monotonic::NEVER`] if nothing waits for time.
    #[must_use]
    pub fn next_deadline(&self) -> Monotonic {
        match self.snapshot.dirty_since {
            Some(since) if !self.snapshot.asked && !self.config.snapshot_interval.is_zero() => {
                since.plus(self.config.snapshot_interval)
            }
            _ => Monotonic::NEVER,
        }
    }

    /// The epoch in which this node leads and may write, if so.
    #[must_use]
    pub fn active_epoch(&self) -> Option<LeaderEpoch> {
        matches!(self.role, Role::Leader { active: true, .. }).then_some(self.state.epoch)
    }

    /// One past the last record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Records below are committed; `None` if unknown.
    #[must_use]
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// Epoch, leader and vote, as last given to [`Action::PersistQuorumState`].
    #[must_use]
    pub fn quorum_state(&self) -> &QuorumState {
        &self.state
    }

    /// The voters and where they are written.
    #[must_use]
    pub fn voters(&self) -> &VoterSource {
        &self.voters
    }

    /// What DescribeQuorum answers at `now`.
    #[must_use]
    pub fn describe(&self, now: Now) -> Description {
        let leading = matches!(self.role, Role::Leader { .. });
        let describe_voter = |voter: &crate::voters::Voter| ReplicaDescription {
            key: voter.key,
            log_end: if leading { self.log_end } else { Offset::NONE },
            last_fetch: if leading { now.wall } else { Timestamp::NONE },
            last_caught_up: if leading { now.wall } else { Timestamp::NONE },
            endpoints: voter.endpoints.clone(),
        };
        Description {
            leader: leading.then_some(self.config.replica),
            epoch: self.state.epoch,
            high_watermark: self.high_watermark.unwrap_or(Offset::NONE),
            voters: self.voters.voters().iter().map(describe_voter).collect(),
            observers: if leading { self.observers.describe(now) } else { Vec::new() },
        }
    }

    /// The only voter elects itself: a new epoch each time, because what it led before may have been
    /// written in part. Vote and leadership are two writes of `quorum-state`, as the protocol has them.
    fn start(&mut self, now: Now) -> Result<Vec<Action>, RaftError> {
        if self.role != Role::New {
            return Err(RaftError::Started);
        }
        let me = self.config.replica;
        let epoch = LeaderEpoch(self.state.epoch.0.saturating_add(1));
        let candidate = QuorumState { epoch, leader: None, voted: Some(me) };
        // As Kafka writes it: knowing the leader says all that the vote said.
        self.state = QuorumState { epoch, leader: Some(me.id), voted: None };
        let base = self.log_end;
        self.role = Role::Leader { epoch_start: base, active: false };
        let (records, voters) = self.epoch_start();
        self.voters = voters;
        self.grow(records.len() as u64, 0, now);
        Ok(vec![
            Action::PersistQuorumState(candidate),
            Action::PersistQuorumState(self.state.clone()),
            Action::BecameLeader { epoch },
            Action::AppendControl { base, epoch, records },
            Action::Flush { through: self.log_end },
        ])
    }

    /// The leader's first batch, and the voters as of it. They are written when the log does not have
    /// them yet, or when this node listens elsewhere than they say.
    fn epoch_start(&self) -> (Vec<ControlRecord>, VoterSource) {
        let me = self.config.replica;
        let key = self.voters.voters().get(me.id).map_or(me, |voter| voter.key);
        let mut records = vec![ControlRecord::LeaderChange {
            leader: me.id,
            voters: vec![key],
            granting: vec![key],
        }];
        let moved = self.moved_voters();
        if matches!(self.voters, VoterSource::Bootstrap(_)) {
            records.push(ControlRecord::KRaftVersion(self.voters.kraft_version()));
        } else if moved.is_none() {
            return (records, self.voters.clone());
        }
        let voters = moved.unwrap_or_else(|| self.voters.voters().clone());
        records.push(ControlRecord::Voters(voters.clone()));
        (records, VoterSource::Log(voters))
    }

    /// The voters with this node's endpoints as they are now, if the log says otherwise.
    fn moved_voters(&self) -> Option<VoterSet> {
        let endpoints = &self.config.endpoints;
        let known = self.voters.voters().get(self.config.replica.id)?;
        let fixed = matches!(self.voters, VoterSource::Static(_));
        if fixed || endpoints.is_empty() || known.endpoints == *endpoints {
            return None;
        }
        let mut voter = known.clone();
        voter.endpoints.clone_from(endpoints);
        Some(VoterSet::new([voter]))
    }

    fn append(&mut self, append: Append, now: Now) -> Result<Vec<Action>, RaftError> {
        let Some(epoch) = self.active_epoch() else {
            return Err(RaftError::NotLeader {
                node: self.config.replica.id,
                epoch: self.state.epoch,
            });
        };
        if append.records == 0 {
            return Err(RaftError::EmptyAppend);
        }
        // One batch is always let in, however large it is: the bound is on what piles up behind it.
        let limit = self.config.unflushed_bytes_max;
        let unflushed = self.unflushed_bytes;
        if unflushed > 0 && unflushed.saturating_add(append.bytes) > limit {
            return Err(RaftError::Backlog { unflushed, limit });
        }
        let base = self.log_end;
        self.grow(u64::from(append.records), append.bytes, now);
        Ok(vec![Action::AppendData { base, epoch }, Action::Flush { through: self.log_end }])
    }

    fn grow(&mut self, records: u64, bytes: u64, now: Now) {
        self.log_end = self.log_end.plus(i64::try_from(records).unwrap_or(i64::MAX));
        self.last_epoch = self.state.epoch;
        self.unflushed.push_back((self.log_end, bytes));
        self.unflushed_bytes = self.unflushed_bytes.saturating_add(bytes);
        self.snapshot.bytes = self.snapshot.bytes.saturating_add(bytes);
        self.snapshot.dirty_since.get_or_insert(now.monotonic);
    }

    fn flushed(&mut self, end: Offset, now: Now) -> Result<Vec<Action>, RaftError> {
        if end > self.log_end {
            return Err(RaftError::PastLogEnd { got: end, log_end: self.log_end });
        }
        let Role::Leader { epoch_start, active } = self.role else { return Ok(Vec::new()) };
        while let Some((_, bytes)) = self.unflushed.pop_front_if(|(batch_end, _)| *batch_end <= end)
        {
            self.unflushed_bytes = self.unflushed_bytes.saturating_sub(bytes);
        }
        // Raft, section 5.4.2: records of earlier epochs are committed by one of this epoch.
        if end <= epoch_start || self.high_watermark.is_some_and(|known| end <= known) {
            return Ok(Vec::new());
        }
        self.high_watermark = Some(end);
        self.last_commit = now.wall;
        let mut actions = vec![Action::HighWatermark(end)];
        if !active {
            self.role = Role::Leader { epoch_start, active: true };
            actions.push(Action::Activate { epoch: self.state.epoch });
        }
        actions.append(&mut self.snapshot_if_due(now));
        Ok(actions)
    }

    fn snapshot_if_due(&mut self, now: Now) -> Vec<Action> {
        let Some(end) = self.high_watermark else { return Vec::new() };
        let large = self.snapshot.bytes >= self.config.snapshot_bytes;
        let old = now.monotonic >= self.next_deadline();
        if self.snapshot.asked || !(large || old) || end <= self.snapshot.end {
            return Vec::new();
        }
        self.snapshot.asked = true;
        vec![Action::TakeSnapshot { end }]
    }

    fn snapshot_taken(
        &mut self,
        (end, epoch): (Offset, LeaderEpoch),
        now: Now,
    ) -> Result<Vec<Action>, RaftError> {
        if end > self.log_end || epoch > self.state.epoch {
            return Err(RaftError::PastLogEnd { got: end, log_end: self.log_end });
        }
        let dirty_since = (end < self.log_end).then_some(now.monotonic);
        self.snapshot = SnapshotClock { bytes: 0, dirty_since, end, asked: false };
        Ok(vec![Action::LogStart { start: end }])
    }

    /// Tries again when as much was written or as much time has passed as for a first snapshot.
    fn snapshot_failed(&mut self, now: Now) -> Vec<Action> {
        let end = self.snapshot.end;
        self.snapshot =
            SnapshotClock { bytes: 0, dirty_since: Some(now.monotonic), end, asked: false };
        Vec::new()
    }

    fn resign(&mut self, reason: ResignReason) -> Vec<Action> {
        let was = self.role;
        self.role = Role::Resigned;
        match was {
            Role::Leader { .. } => vec![Action::Resigned { epoch: self.state.epoch, reason }],
            Role::New | Role::Resigned => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
