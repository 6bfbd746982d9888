//! The file `quorum-state`: what a voter must never forget.

use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch};
use serde::{Deserialize, Serialize};

use crate::voters::{ReplicaKey, VoterSet};

/// Epoch, leader and vote of a node. The default is that of a node that never took part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumState {
    /// The highest epoch seen.
    pub epoch: LeaderEpoch,
    /// The leader of that epoch, if known.
    pub leader: Option<BrokerId>,
    /// Who got this node's vote in that epoch.
    pub voted: Option<ReplicaKey>,
}

/// A `quorum-state` file that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuorumState {
    /// Not the JSON object that Kafka writes.
    #[error(
        "quorum-state is not readable: {0}; restore the file, or on a node that is not the only \
         voter remove the metadata directory and let it fetch again"
    )]
    Json(String),
    /// Written by a later Kafka.
    #[error(
        "quorum-state has data_version {0}, versions 0 and 1 are known; was it written by a later release?"
    )]
    Version(i16),
    /// A directory id that is no id.
    #[error("quorum-state names the voted directory {0:?}, which is not an id")]
    Directory(String),
}

impl Default for QuorumState {
    fn default() -> Self {
        Self { epoch: LeaderEpoch(0), leader: None, voted: None }
    }
}

/// The file's layout; data_version 0 (kraft.version 0) carries more fields than 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cluster_id: Option<String>,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    voted_directory_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    applied_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    current_voters: Option<Vec<FileVoter>>,
    #[serde(rename = "data_version")]
    data_version: i16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileVoter {
    voter_id: i32,
}

impl QuorumState {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Text that is not Kafka's JSON, or a version that is not known.
    pub fn parse(text: &str) -> Result<Self, InvalidQuorumState> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| InvalidQuorumState::Json(error.to_string()))?;
        if !(0..=1).contains(&file.data_version) {
            return Err(InvalidQuorumState::Version(file.data_version));
        }
        let directory_id = match &file.voted_directory_id {
            Some(id) => id.parse().map_err(|_| InvalidQuorumState::Directory(id.clone()))?,
            None => Uuid::ZERO,
        };
        let some = |id: i32| (id >= 0).then_some(BrokerId(id));
        Ok(Self {
            epoch: LeaderEpoch(file.leader_epoch),
            leader: some(file.leader_id),
            voted: some(file.voted_id).map(|id| ReplicaKey { id, directory_id }),
        })
    }

    /// The file's text, as Kafka writes it: data_version 1 for a dynamic quorum (`kraft_version` 1),
    /// else 0 with the static voters.
    #[must_use]
    pub fn to_text(&self, kraft_version: i16, voters: &VoterSet) -> String {
        let dynamic = kraft_version > 0;
        let voted_directory = self.voted.map_or(Uuid::ZERO, |key| key.directory_id);
        let static_voters =
            || voters.iter().map(|voter| FileVoter { voter_id: voter.key.id.0 }).collect();
        let file = File {
            cluster_id: (!dynamic).then(String::new),
            leader_id: self.leader.unwrap_or(BrokerId::NONE).0,
            leader_epoch: self.epoch.0,
            voted_id: self.voted.map_or(-1, |key| key.id.0),
            voted_directory_id: dynamic.then(|| voted_directory.to_string()),
            applied_offset: (!dynamic).then_some(0),
            current_voters: (!dynamic).then(static_voters),
            data_version: i16::from(dynamic),
        };
        // A struct of numbers and strings always has a JSON form.
        serde_json::to_string(&file).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voters::Voter;

    #[test]
    fn the_file_is_kafkas() {
        let directory_id = "BkTIgbM1R8Kca0FJ7O2L0Q".parse().unwrap();
        let key = ReplicaKey { id: BrokerId(1), directory_id };
        let voters = VoterSet::new([Voter { key, endpoints: vec![], kraft_versions: (0, 1) }]);
        let state = QuorumState { epoch: LeaderEpoch(3), leader: Some(BrokerId(1)), voted: None };
        let text = state.to_text(1, &voters);
        assert_eq!(
            text,
            r#"{"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#
        );
        assert_eq!(QuorumState::parse(&text), Ok(state.clone()));
        let text = state.to_text(0, &voters);
        assert_eq!(
            text,
            r#"{"clusterId":"","leaderId":1,"leaderEpoch":3,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#
        );
        assert_eq!(QuorumState::parse(&text), Ok(state));
        let voted = QuorumState { epoch: LeaderEpoch(4), leader: None, voted: Some(key) };
        assert_eq!(QuorumState::parse(&voted.to_text(1, &voters)), Ok(voted));
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        assert!(matches!(QuorumState::parse(""), Err(InvalidQuorumState::Json(_))));
        assert!(matches!(
            QuorumState::parse(r#"{"leaderId":1}"#),
            Err(InvalidQuorumState::Json(_))
        ));
        let newer = r#"{"leaderId":1,"leaderEpoch":3,"votedId":-1,"data_version":2}"#;
        assert_eq!(QuorumState::parse(newer), Err(InvalidQuorumState::Version(2)));
        let odd = r#"{"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"x","data_version":1}"#;
        assert_eq!(QuorumState::parse(odd), Err(InvalidQuorumState::Directory("x".into())));
    }
}
