//! The metadata quorum (KRaft: KIP-595, KIP-853, KIP-996) as a pure state machine.
//!
//! [`Quorum::step`] takes one [`Input`] and the clocks, and returns [`Action`]s; no clock, file,
//! socket or thread is known here. Today it is a quorum of one voter; elections, fetching and voter
//! changes come as further inputs and actions behind the same types.
//!
//! # The driver's loop
//!
//! The driver (`broker`) owns the log `__cluster_metadata-0`, the file `quorum-state` and the state
//! that is built from the log. It does this, on one thread:
//!
//! 1. Before [`Quorum::new`]: recover the log, **fsync what was recovered**, read `quorum-state`
//!    ([`QuorumState::parse`]), and take the voters from the newest of: a `VotersRecord` in the log,
//!    the newest snapshot, the bootstrap snapshot 0-0, `controller.quorum.voters`.
//! 2. Feed inputs; carry out the returned actions **in their order**, each finished before the next,
//!    except [`Action::Flush`], which is only submitted.
//! 3. [`Action::PersistQuorumState`] is durable (temporary file, fsync, rename, fsync of the directory)
//!    before anything that follows it in the same or a later list. A vote or an epoch that is
//!    forgotten could elect two leaders of one epoch.
//! 4. [`Action::AppendControl`] and [`Action::AppendData`] are written to the log at the given offset
//!    with the given epoch as partition leader epoch. They need not be durable when the next input
//!    is stepped. A failed write is [`Input::LogFailed`].
//! 5. [`Action::Flush`] asks for an fsync that covers every offset below `through`. Its completion is
//!    [`Input::Flushed`] with the log end **at the time the fsync was submitted**. The leader counts
//!    itself only then: the high watermark never covers a record that is not durable here. `flush.*`
//!    settings do not reach this log.
//! 6. [`Action::HighWatermark`]: records below it are committed. The driver publishes the image of
//!    the controller's state at that offset, then releases the answers that waited for it.
//! 7. [`Action::Activate`]: every earlier record is committed and replayed; the controller may now
//!    write (first the activation records) and answer commands.
//! 8. [`Action::Resigned`]: discard the controller's uncommitted state, fail its waiting answers with
//!    NOT_CONTROLLER.
//! 9. A vote or fetch of another node is answered by [`Quorum::vote`] and its kin. If one brings a
//!    larger epoch: [`Input::EpochSeen`], then the quorum state that it returns is made durable
//!    (appends may go on meanwhile), then the batch of [`Quorum::next_epoch_start`] is written,
//!    [`Input::Persisted`] stepped, and only then the answer is sent.
//! 10. Call `step(Input::Tick)` no later than [`Quorum::next_deadline`].

mod action;
mod control;
mod quorum_state;
mod solo;
mod voters;

pub use action::{Action, Append, Ids, Input, RaftError, ResignReason, Start, VoterSource};
pub use control::{
    ControlError, ControlPlace, ControlRecord, decode_control, encode_control, snapshot_header,
};
pub use quorum_state::{InvalidQuorumState, QuorumState};
pub use solo::{
    Description, EPOCH_MAX, FetchPlace, LogFacts, OBSERVERS_MAX, Quorum, QuorumConfig, Refusal,
    ReplicaDescription, SnapshotKey, Vote, VoteAnswer, VoteRequest,
};
pub use voters::{Endpoint, ReplicaKey, Voter, VoterSet};
