//! Topics and partitions.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Never changes and is never used again.
    pub id: Uuid,
    /// Unique while the topic exists.
    pub name: Arc<str>,
    /// By index.
    pub partitions: OrdMap<PartitionIndex, Arc<PartitionImage>>,
}

/// How a leader was elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaderRecovery {
    /// From the ISR or ELR: nothing was lost.
    #[default]
    Recovered,
    /// Uncleanly: the leader has yet to make sense of its log.
    Recovering,
}

/// The state of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// The assigned brokers; the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    /// The directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// In-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas that a reassignment takes away when it is done.
    pub removing: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Not in the ISR, yet with everything below the high watermark (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Who left ISR and ELR last.
    pub last_known_elr: Vec<BrokerId>,
    /// [`BrokerId::NONE`] if there is no leader.
    pub leader: BrokerId,
    /// Whether the leader was elected cleanly.
    pub leader_recovery: LeaderRecovery,
    /// Counts leaderships.
    pub leader_epoch: LeaderEpoch,
    /// Counts all changes of this state.
    pub partition_epoch: i32,
}

impl TopicImage {
    /// One partition.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionImage> {
        self.partitions.get(&index).map(Arc::as_ref)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// All partitions in the order of their indexes.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionIndex, &PartitionImage)> {
        self.partitions.iter().map(|(index, partition)| (*index, partition.as_ref()))
    }
}

impl PartitionImage {
    /// The leader, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<BrokerId> {
        (self.leader != BrokerId::NONE).then_some(self.leader)
    }

    /// The broker that should lead.
    #[must_use]
    pub fn preferred_leader(&self) -> BrokerId {
        self.replicas.first().copied().unwrap_or(BrokerId::NONE)
    }

    /// The directory of the replica on `broker`, if it has one.
    #[must_use]
    pub fn directory_of(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(at).copied()
    }

    /// Whether a reassignment is under way (KIP-455).
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}
