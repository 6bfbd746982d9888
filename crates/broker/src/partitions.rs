//! The partitions that live on this broker, by topic id and index.

use std::sync::Arc;

use ottla_metadata::TopicImage;
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::{ErrorCode, Uuid};
use parking_lot::RwLock;

use crate::partition::Partition;

type ByIndex = Vec<Option<Arc<Partition>>>;

/// The registry. Read by every request, written when metadata changes.
#[derive(Default)]
pub struct Partitions {
    by_topic: RwLock<hashbrown::HashMap<Uuid, ByIndex, crate::Hasher>>,
}

impl Partitions {
    /// The partition of a topic that the metadata image knows.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION when the topic has no such partition; NOT_LEADER_OR_FOLLOWER when it
    /// has, but not on this broker.
    pub fn find(&self, topic: &TopicImage, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        if topic.partition(PartitionIndex(index)).is_none() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        self.get(topic.id, index).ok_or(ErrorCode::NotLeaderOrFollower)
    }

    /// The partition, if it lives here.
    #[must_use]
    pub fn get(&self, topic_id: Uuid, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.by_topic.read().get(&topic_id)?.get(index)?.clone()
    }

    /// Adds a partition.
    pub fn insert(&self, partition: Arc<Partition>) {
        let Ok(index) = usize::try_from(partition.name.index.0) else { return };
        let mut by_topic = self.by_topic.write();
        let partitions = by_topic.entry(partition.name.topic_id).or_default();
        if partitions.len() <= index {
            partitions.resize(index + 1, None);
        }
        if let Some(slot) = partitions.get_mut(index) {
            *slot = Some(partition);
        }
    }

    /// Takes every partition of a topic out.
    pub fn remove_topic(&self, topic_id: Uuid) -> Vec<Arc<Partition>> {
        let removed = self.by_topic.write().remove(&topic_id);
        removed.into_iter().flatten().flatten().collect()
    }

    /// How many partitions live in a directory.
    #[must_use]
    pub fn count_in(&self, directory: Uuid) -> usize {
        let by_topic = self.by_topic.read();
        by_topic.values().flatten().flatten().filter(|p| p.directory().id == directory).count()
    }

    /// All partitions at this moment, in no particular order of topics.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let mut all: Vec<_> = self.by_topic.read().values().flatten().flatten().cloned().collect();
        all.sort_by_key(|partition| (partition.name.topic_id, partition.name.index));
        all
    }
}
