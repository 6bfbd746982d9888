//! What goes into and comes out of a step.

use std::fmt;

use ottla_protocol::ids::{BrokerId, LeaderEpoch, Offset};

use crate::control::ControlRecord;
use crate::quorum_state::QuorumState;
use crate::voters::VoterSet;

/// The node's durable state when it starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// From the file `quorum-state`; the default if there is none.
    pub quorum_state: QuorumState,
    /// One past the last record, snapshot included. All below is durable.
    pub log_end: Offset,
    /// The leader epoch of the last record or snapshot; 0 for an empty log.
    pub last_epoch: LeaderEpoch,
    /// Who votes, and where that is written.
    pub voters: VoterSource,
}

/// Where the voter set comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoterSource {
    /// `controller.quorum.voters`: kraft.version 0, no voter records.
    Static(VoterSet),
    /// The bootstrap snapshot 0-0 that `storage format` wrote: kraft.version 1; the first leader
    /// copies it into the log.
    Bootstrap(VoterSet),
    /// A VotersRecord of the log or of a later snapshot: kraft.version 1.
    Log(VoterSet),
}

impl VoterSource {
    /// The voters.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        let (Self::Static(voters) | Self::Bootstrap(voters) | Self::Log(voters)) = self;
        voters
    }

    /// The kraft.version in force: 0 for static voters, else 1.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        i16::from(!matches!(self, Self::Static(_)))
    }
}

/// Records that the controller wants written as a whole, in one batch or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append {
    /// How many; at least one.
    pub records: u32,
    /// Their encoded size, for deciding when a snapshot is due and for the bound on unflushed bytes.
    pub bytes: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Take part: the first input.
    Start,
    /// The controller wants records written.
    Append(Append),
    /// An fsync finished that covers every offset below `end`.
    Flushed {
        /// The log end when the fsync was submitted.
        end: Offset,
    },
    /// A write to the log or an fsync failed. The node must not lead with it.
    LogFailed,
    /// A snapshot of everything below `end` is durable.
    SnapshotTaken {
        /// The snapshot's end offset, exclusive.
        end: Offset,
        /// The epoch of its last contained record.
        epoch: LeaderEpoch,
    },
    /// The snapshot that [`Action::TakeSnapshot`] asked for could not be written.
    SnapshotFailed,
    /// Another node knows a larger epoch. The only voter stays the leader, in an epoch that is larger
    /// still.
    EpochSeen {
        /// The epoch of the other node.
        epoch: LeaderEpoch,
    },
    /// The quorum state that [`Input::EpochSeen`] asked to be persisted is durable, and the batch of
    /// [`crate::Quorum::next_epoch_start`] is written.
    Persisted,
    /// Time passed.
    Tick,
    /// Stop leading in good order.
    Shutdown,
}

/// Something for the driver to do, in order; see the crate's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write `quorum-state`; durable before anything that follows.
    PersistQuorumState(QuorumState),
    /// Write one control batch.
    AppendControl {
        /// The offset of its first record.
        base: Offset,
        /// Its partition leader epoch.
        epoch: LeaderEpoch,
        /// Its records.
        records: Vec<ControlRecord>,
    },
    /// Write the batches of the [`Input::Append`] that was stepped.
    AppendData {
        /// The offset of its first record.
        base: Offset,
        /// Its partition leader epoch.
        epoch: LeaderEpoch,
    },
    /// Submit an fsync of everything below `through`.
    Flush {
        /// The log end.
        through: Offset,
    },
    /// Everything below is committed.
    HighWatermark(Offset),
    /// This node won the election; its log still has uncommitted records of earlier epochs.
    BecameLeader {
        /// The new epoch.
        epoch: LeaderEpoch,
    },
    /// The start of the epoch is committed: the controller may write.
    Activate {
        /// The epoch in which it writes.
        epoch: LeaderEpoch,
    },
    /// Write a snapshot of the committed image.
    TakeSnapshot {
        /// Everything below is to be contained: the high watermark.
        end: Offset,
    },
    /// A snapshot covers everything below; older segments and snapshots may go.
    LogStart {
        /// The new start of the log.
        start: Offset,
    },
    /// This node leads no longer.
    Resigned {
        /// The epoch that it led.
        epoch: LeaderEpoch,
        /// Why.
        reason: ResignReason,
    },
}

/// Why a leader stopped leading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResignReason {
    /// [`Input::Shutdown`].
    Shutdown,
    /// [`Input::LogFailed`]; the directory stays offline until a restart has recovered it.
    LogFailed,
}

/// An input that is refused; the state is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaftError {
    /// The node is not the active leader.
    #[error("node {node} is not the leader of epoch {epoch}")]
    NotLeader {
        /// This node.
        node: BrokerId,
        /// The epoch it knows.
        epoch: LeaderEpoch,
    },
    /// Too much is written and not yet durable: the disk does not keep up. Try again later.
    #[error(
        "{unflushed} bytes of metadata wait to be flushed, {limit} may; the disk does not keep up"
    )]
    Backlog {
        /// Bytes appended since the last flush.
        unflushed: u64,
        /// The bound.
        limit: u64,
    },
    /// An append without records.
    #[error("an append needs at least one record")]
    EmptyAppend,
    /// A flush or snapshot past the log end: the driver and this state disagree.
    #[error("offset {got} was reported, the log ends at {log_end}")]
    PastLogEnd {
        /// The offset of the input.
        got: Offset,
        /// The log end.
        log_end: Offset,
    },
    /// More voters than this release can work with.
    #[error(
        "the quorum has the voters {voters}, node {node} can only lead a quorum of itself; start it \
         with one voter"
    )]
    NotOnlyVoter {
        /// This node.
        node: BrokerId,
        /// The ids of the voters.
        voters: Ids,
    },
    /// The log is older than what quorum-state promises, or newer.
    #[error(
        "quorum-state says epoch {state}, the log has records of epoch {log}; one of the two is not this node's"
    )]
    EpochBehindLog {
        /// From the file.
        state: LeaderEpoch,
        /// Of the last record.
        log: LeaderEpoch,
    },
    /// [`Input::Start`] twice.
    #[error("the quorum was started before")]
    Started,
}

/// Node ids for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(pub Vec<BrokerId>);

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        for (i, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
