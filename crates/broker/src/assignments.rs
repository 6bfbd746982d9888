//! Tells the controller in which directories the replicas of this broker are (KIP-858), and which
//! directories get no new ones (KIP-1066).

use std::collections::BTreeMap;

use ottla_config::keys;
use ottla_metadata::{Command, Image, TopicImage};
use ottla_protocol::Uuid;
use ottla_protocol::messages::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    DirectoryData, PartitionData, TopicData,
};

use crate::Broker;
use crate::partition::Directory;

impl Broker {
    /// Tells the directories of the replicas of these topics, where the metadata names others.
    pub(crate) fn assign_directories<'a>(
        &self,
        image: &Image,
        topics: impl IntoIterator<Item = &'a TopicImage>,
    ) {
        if !image.metadata_version().has_directories() {
            return;
        }
        let mut by_directory: BTreeMap<Uuid, Vec<TopicData>> = BTreeMap::new();
        for topic in topics {
            for (directory_id, partitions) in self.misplaced(topic) {
                let topic = TopicData { topic_id: topic.id, partitions, ..TopicData::default() };
                by_directory.entry(directory_id).or_default().push(topic);
            }
        }
        if by_directory.is_empty() {
            return;
        }
        let directories = by_directory.into_iter();
        let directory = |(id, topics)| DirectoryData { id, topics, ..DirectoryData::default() };
        let request = AssignReplicasToDirsRequest {
            broker_id: self.node_id().0,
            broker_epoch: self.epoch,
            directories: directories.map(directory).collect(),
            ..AssignReplicasToDirsRequest::default()
        };
        drop(self.own_command(self.env().now(), Command::AssignReplicasToDirs(request)));
    }

    /// The replicas of a topic here of which the metadata names another directory, by directory.
    fn misplaced(&self, topic: &TopicImage) -> BTreeMap<Uuid, Vec<PartitionData>> {
        let mut found: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
        for (index, partition) in topic.partitions() {
            let Some(named) = partition.directory_of(self.node_id()) else { continue };
            let is_at = || Some(self.partitions.get(topic.id, index.0)?.directory().id);
            let wanted = self.moves.assigned((topic.id, index)).or_else(is_at);
            if let Some(wanted) = wanted.filter(|wanted| *wanted != named) {
                let data = PartitionData { partition_index: index.0, ..PartitionData::default() };
                found.entry(wanted).or_default().push(data);
            }
        }
        found
    }

    /// Whether the directory gets no new replicas.
    pub(crate) fn is_cordoned(&self, directory: &Directory) -> bool {
        let config = self.config();
        let cordoned = config.get(keys::CORDONED_LOG_DIRS);
        cordoned.iter().any(|path| path == "*" || *directory.path == *path.as_str())
    }

    /// The directories that get no new replicas, if the controller knows of others.
    pub(crate) fn cordoned_to_tell(&self, image: &Image) -> Option<Vec<Uuid>> {
        let known = image.broker(self.node_id())?.cordoned_dirs.as_deref().unwrap_or_default();
        let cordoned = self.directories.iter().filter(|directory| self.is_cordoned(directory));
        let mut ids: Vec<_> = cordoned.map(|directory| directory.id).collect();
        ids.sort_unstable();
        (ids != known && image.metadata_version().has_cordoned_dirs()).then_some(ids)
    }
}
