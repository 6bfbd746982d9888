//! Who votes: the voter set of the metadata quorum (KIP-853).

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

/// A node together with the directory that holds its metadata log. A node that lost its disk comes
/// back with another directory id and is not the voter it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaKey {
    /// The node.
    pub id: BrokerId,
    /// Its metadata directory; [`Uuid::ZERO`] if unknown (kraft.version 0).
    pub directory_id: Uuid,
}

/// Where a voter listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, such as `CONTROLLER`.
    pub listener: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Node and directory.
    pub key: ReplicaKey,
    /// In the voter's order; the first is used.
    pub endpoints: Vec<Endpoint>,
    /// Lowest and highest kraft.version that the node can do.
    pub kraft_versions: (i16, i16),
}

/// The voters, by node id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VoterSet(BTreeMap<BrokerId, Voter>);

impl VoterSet {
    /// A set of the given voters; of two with one id the later stays.
    #[must_use]
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self(voters.into_iter().map(|voter| (voter.key.id, voter)).collect())
    }

    /// The voters in ascending order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.0.values()
    }

    /// The voter with this node id.
    #[must_use]
    pub fn get(&self, id: BrokerId) -> Option<&Voter> {
        self.0.get(&id)
    }

    /// How many voters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody votes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `key` votes. A directory id that is unknown on either side matches every directory.
    #[must_use]
    pub fn contains(&self, key: ReplicaKey) -> bool {
        self.get(key.id).is_some_and(|voter| {
            let ours = voter.key.directory_id;
            ours.is_zero() || key.directory_id.is_zero() || ours == key.directory_id
        })
    }

    /// Whether `key` is the only voter.
    #[must_use]
    pub fn is_only(&self, key: ReplicaKey) -> bool {
        self.len() == 1 && self.contains(key)
    }
}
