//! The control records of the metadata log.

use crate::voters::{ReplicaKey, VoterSet};
use ottla_protocol::ids::BrokerId;

/// A control record that the leader writes (on-disk types 2, 5 and 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlRecord {
    /// The first record of an epoch (LeaderChangeMessage).
    LeaderChange {
        /// The new leader.
        leader: BrokerId,
        /// Everybody who could vote.
        voters: Vec<ReplicaKey>,
        /// Who voted for the leader.
        granting: Vec<ReplicaKey>,
    },
    /// The finalized kraft.version (KRaftVersionRecord).
    KRaftVersion(i16),
    /// The voter set from here on (VotersRecord).
    Voters(VoterSet),
}
