//! A new metadata image: opens the logs of new partitions, removes those of deleted topics, and
//! applies configuration. Runs on the metadata lane, image after image, before the commands that led
//! to the image are answered: who is told that a topic exists can use it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytestring::ByteString;
use ottla_config::TopicConfig;
use ottla_metadata::{ConfigResource, Image, PartitionImage, TopicImage};
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::{MetadataRecord, Uuid};
use ottla_storage::dirs::{self, PartitionMetadata};
use ottla_storage::{Log, LogDisk, OpenLog, RecoveryReport, StorageError};
use parking_lot::Mutex;

use crate::Broker;
use crate::isr::Replicas;
use crate::jobs::Job;
use crate::partition::{Directory, Partition, PartitionName};
use crate::startup::Leftovers;
use crate::topics;

/// Partitions whose log a full disk refused to open. No more than there are partitions.
#[derive(Default)]
pub(crate) struct Postponed {
    /// A job that tries again is on its way.
    scheduled: AtomicBool,
    /// Those that were told of in the log.
    partitions: Mutex<BTreeSet<(Uuid, PartitionIndex)>>,
}

impl Broker {
    /// Takes over the image that `records` led to.
    pub(crate) fn publish(&self, image: Image, records: &[MetadataRecord]) {
        let touched = Touched::by(records);
        if touched.broker_config {
            self.reconfigure(&image);
        }
        if touched.broker_config || touched.features {
            for (_, shards) in self.coordinators() {
                shards.reconfigure(&self.config(), &image);
            }
        }
        if touched.client_metrics {
            self.telemetry.replace(&image);
        }
        if touched.quotas {
            self.quotas.replace(&image);
            self.limit_connections();
        }
        for id in &touched.topics {
            match image.topic_by_id(*id) {
                Some(topic) => self.apply_topic(&image, topic),
                None => self.remove_topic(*id),
            }
        }
        let all = touched.broker_config;
        let reconfigured =
            image.topics().filter(|topic| all || touched.topic_configs.contains(&*topic.name));
        for topic in reconfigured {
            self.configure_topic(&image, topic);
        }
        let image = Arc::new(image);
        self.image.store(Arc::clone(&image));
        if touched.broker_config && self.cordoned_to_tell(&image).is_some() {
            self.heartbeat(self.env().now());
        }
        let topics = touched.topics.iter().filter_map(|id| image.topic_by_id(*id));
        self.shrink_isrs(topics.clone());
        self.assign_directories(&image, topics);
    }

    fn apply_topic(&self, image: &Image, topic: &TopicImage) {
        let config = std::cell::LazyCell::new(|| {
            Arc::new(topics::config(image, &self.config(), &topic.name))
        });
        for (index, partition) in topic.partitions() {
            let mine = partition.replicas.contains(&self.node_id());
            if !mine {
                continue;
            }
            if let Some(known) = self.partitions.get(topic.id, index.0) {
                self.apply_leadership(&known, partition);
            } else if self.opened.load(Ordering::Acquire) {
                self.open_partition(topic, &config, index, partition);
                if let Some(shards) = self.coordinator_of(&topic.name)
                    && let Some(partition) = self.partitions.get(topic.id, index.0)
                {
                    shards.take_over(&partition);
                    shards.load(index.0, self);
                }
            }
        }
    }

    fn apply_leadership(&self, known: &Partition, partition: &PartitionImage) {
        let me = self.node_id();
        known.set_replicas(Replicas::of(partition, me));
        known.lead(partition.leader == me, partition.leader_epoch);
    }

    /// Opens what a full disk refused to open.
    pub(crate) fn open_postponed(&self) {
        self.postponed.scheduled.store(false, Ordering::Release);
        let image = self.image();
        for topic in image.topics() {
            self.apply_topic(&image, topic);
        }
        let is_there =
            |&(id, index): &_| image.topic_by_id(id).is_some() && !self.has_opened(id, index);
        self.postponed.partitions.lock().retain(is_there);
    }

    fn has_opened(&self, id: Uuid, index: PartitionIndex) -> bool {
        self.partitions.get(id, index.0).is_some()
    }

    /// Has the opening of a partition tried again: with all others that wait, by one job.
    fn postpone(&self, topic: &TopicImage, index: PartitionIndex, error: &OpenError) {
        if self.postponed.partitions.lock().insert((topic.id, index)) {
            tracing::warn!("{}-{index} is opened when there is room: {error}", topic.name);
        }
        if !self.postponed.scheduled.swap(true, Ordering::AcqRel) {
            self.run_soon(Job::OpenPartitions);
        }
    }

    /// Opens or creates the log of a partition. A full disk postpones it; other errors take the
    /// directory offline.
    pub(crate) fn open_partition(
        &self,
        topic: &TopicImage,
        config: &Arc<TopicConfig>,
        index: PartitionIndex,
        partition: &PartitionImage,
    ) {
        let assigned = partition.directory_of(self.node_id());
        let Some((directory, leftovers)) = self.directory_for(topic, index, assigned) else {
            tracing::error!(topic = &*topic.name, %index, "no log directory is online for this partition");
            return;
        };
        if directory.offline().is_some() {
            return;
        }
        match self.open_in(topic, config, index, (directory, leftovers)) {
            Ok((log, must_sync)) => {
                let name = PartitionName {
                    topic: ByteString::from(&*topic.name),
                    topic_id: topic.id,
                    index,
                };
                let opened = Partition::new(name, Arc::clone(directory), log, Arc::clone(config));
                self.apply_leadership(&opened, partition);
                let opened = Arc::new(opened);
                directory.changed.everything();
                if must_sync {
                    self.recovered.lock().push(Arc::clone(&opened));
                }
                self.partitions.insert(opened);
            }
            Err(error) if error.is_full() => self.postpone(topic, index, &error),
            Err(error) => {
                directory
                    .take_offline(&format!("{}-{index} cannot be opened: {error}", topic.name));
            }
        }
    }

    fn open_in(
        &self,
        topic: &TopicImage,
        topic_config: &TopicConfig,
        index: PartitionIndex,
        (directory, leftovers): (&Directory, &Leftovers),
    ) -> Result<(Log, bool), OpenError> {
        let path = directory.path.join(dirs::log_dir_name(&topic.name, index));
        let known = match PartitionMetadata::read(self.disk(), &path) {
            // It is not synced when a log is created, so a crash may have cut it.
            Err(dirs::DirsError::Malformed { .. }) => None,
            read => read?,
        };
        if known.as_ref().is_some_and(|known| known.topic_id != topic.id) {
            // Left by a topic of this name that was deleted while this broker was down.
            let name = dirs::log_dir_name(&topic.name, index);
            self.mark_deleted(directory, &name, (&topic.name, index))?;
            leftovers.forget(&topic.name, index);
        }
        let (recovery_point, log_start_offset) = leftovers.offsets(&topic.name, index);
        // What this run made is not what the last one closed: a full disk may have stopped its making.
        let clean = leftovers.clean && !self.opened.load(Ordering::Acquire);
        let now = self.env().now();
        let options = OpenLog { recovery_point, log_start_offset, clean, now };
        let config = self.config();
        let log_config = topics::log_config(topic_config, &config, self.env().random());
        let disk =
            LogDisk { disk: Arc::clone(&self.disk), open_files: Arc::clone(&self.open_files) };
        let (mut log, mut report) = Log::open(disk, path.clone(), log_config, options)?;
        leftovers.forget(&topic.name, index);
        report_recovery(&topic.name, index, &report);
        if report.must_sync && self.opened.load(Ordering::Acquire) {
            log.sync(now)?;
            report.must_sync = false;
        }
        if known.is_none_or(|known| known.topic_id != topic.id) {
            PartitionMetadata { topic_id: topic.id }.write_unsynced(self.disk(), &path)?;
        }
        Ok((log, report.must_sync))
    }

    /// The directory that a partition lives in: where its files are, where the controller says, or
    /// the one with the fewest partitions, of those that are not cordoned. A crash while the
    /// partition is moved, or a full disk while its log was made, may leave files in two: then those
    /// count that the controller names, else those of this topic with records, and the others are
    /// set aside.
    fn directory_for(
        &self,
        topic: &TopicImage,
        index: PartitionIndex,
        assigned: Option<Uuid>,
    ) -> Option<(&Arc<Directory>, &Leftovers)> {
        let mut all = self.directories.iter().zip(&self.leftovers);
        if self.directories.len() == 1 {
            return all.next();
        }
        let is_named = |(directory, _): &(&Arc<Directory>, &Leftovers)| {
            assigned.is_some_and(|id| id == directory.id)
        };
        let named = all.clone().find(is_named);
        if named.is_some_and(|(directory, _)| directory.offline().is_some()) {
            // The files may be there: the partition must not begin anew elsewhere.
            return named;
        }
        let name = dirs::log_dir_name(&topic.name, index);
        let online = all.filter(|(directory, _)| directory.offline().is_none());
        let has_files = |(directory, _): &(&Arc<Directory>, &Leftovers)| {
            self.disk().exists(&directory.path.join(&name)).unwrap_or(false)
        };
        let holders: Vec<_> = online.clone().filter(has_files).collect();
        let counts = holders.iter().copied().find(is_named).or_else(|| {
            let rank = |holder: &&(&Arc<Directory>, _)| {
                let dir = holder.0.path.join(&name);
                // One of a topic that had this name before does not count, whatever it holds.
                let another = PartitionMetadata::read(self.disk(), &dir)
                    .is_ok_and(|known| known.is_some_and(|known| known.topic_id != topic.id));
                (!another, self.log_bytes(&dir))
            };
            holders.iter().filter(|_| holders.len() > 1).max_by_key(rank).copied()
        });
        if let Some(found) = counts {
            for (other, _) in holders.iter().filter(|(other, _)| other.id != found.0.id) {
                self.set_aside(other, (&topic.name, index));
            }
            return Some(found);
        }
        let fewest = || {
            let fullness = |directory: &Directory| {
                (self.is_cordoned(directory), self.partitions.count_in(directory.id))
            };
            online.min_by_key(|(directory, _)| fullness(directory))
        };
        holders.first().copied().or(named).or_else(fewest)
    }

    /// How many bytes the segments in a directory have. One that cannot be read is not taken for
    /// empty: opening it says what is wrong.
    fn log_bytes(&self, dir: &Path) -> u64 {
        let Ok(entries) = self.disk().list(dir) else { return u64::MAX };
        let logs = entries.iter().filter(|entry| entry.name.ends_with(".log"));
        logs.map(|entry| entry.len).sum()
    }

    /// Renames the directory of a log that does not count to `-stray`: kept, and not loaded.
    fn set_aside(&self, directory: &Directory, (topic, index): (&str, PartitionIndex)) {
        let from = dirs::log_dir_name(topic, index);
        let to = dirs::stray_dir_name(topic, index, self.random_uuid());
        match dirs::rename_log(self.disk(), &directory.path, &from, &to) {
            Ok(()) => tracing::warn!(
                "{topic}-{index} is in another directory; what is here is kept as {}",
                directory.path.join(to).display()
            ),
            Err(error) => directory.take_offline(&error.to_string()),
        }
    }

    fn remove_topic(&self, id: Uuid) {
        for partition in self.partitions.remove_topic(id) {
            partition.resign();
            partition.directory().changed.everything();
            if let Some(shards) = self.coordinator_of(&partition.name.topic) {
                shards.give_up(partition.name.index.0, self.env().now());
            }
            let name = &partition.name;
            let directory = partition.directory();
            let from = dirs::log_dir_name(&name.topic, name.index);
            if let Err(error) = self.mark_deleted(&directory, &from, (&name.topic, name.index)) {
                directory.take_offline(&format!("{name} cannot be deleted: {error}"));
            }
        }
    }

    /// Renames the directory of a partition's log to `-delete` and removes it after
    /// `file.delete.delay.ms`.
    pub(crate) fn mark_deleted(
        &self,
        directory: &Directory,
        from: &str,
        (topic, index): (&str, PartitionIndex),
    ) -> Result<(), dirs::DirsError> {
        let to = dirs::delete_dir_name(topic, index, self.random_uuid());
        dirs::rename_log(self.disk(), &directory.path, from, &to)?;
        let delay = self.config().get(ottla_config::keys::LOG_SEGMENT_DELETE_DELAY_MS);
        self.delete_later(Job::RemoveDirectory(directory.path.join(to)), delay);
        Ok(())
    }

    fn configure_topic(&self, image: &Image, topic: &TopicImage) {
        let config = self.config();
        let topic_config = Arc::new(topics::config(image, &config, &topic.name));
        for (index, _) in topic.partitions() {
            if let Some(partition) = self.partitions.get(topic.id, index.0) {
                let jitter = self.env().random();
                let log_config = topics::log_config(&topic_config, &config, jitter);
                partition.configure(log_config, Arc::clone(&topic_config));
            }
        }
    }

    /// Removes what earlier runs renamed to `-delete`, and reports directories that are no logs.
    pub(crate) fn remove_leftover_directories(&self) {
        for directory in &self.directories {
            if directory.offline().is_some() {
                continue;
            }
            let listing = match dirs::list_logs(self.disk(), &directory.path) {
                Ok(listing) => listing,
                Err(error) => {
                    directory.take_offline(&error.to_string());
                    continue;
                }
            };
            for name in listing.odd {
                tracing::warn!(directory = %directory.path.display(), name, "not a partition's directory; it is left alone");
            }
            for log in listing.logs.iter().filter(|log| log.kind == dirs::LogKind::Delete) {
                self.env().submit(Job::RemoveDirectory(directory.path.join(&log.dir_name)));
            }
        }
    }

    /// Hands the partitions of their topics to the coordinators.
    pub(crate) fn take_over_shards(&self) {
        let image = self.image();
        for (name, shards) in self.coordinators() {
            let Some(topic) = image.topic(name) else { continue };
            for (index, _) in topic.partitions() {
                if let Some(partition) = self.partitions.get(topic.id, index.0) {
                    shards.take_over(&partition);
                    self.env().submit(Job::LoadShard(partition));
                }
            }
        }
    }
}

/// Says what recovery found, where it is more than nothing.
fn report_recovery(topic: &str, index: PartitionIndex, report: &RecoveryReport) {
    let scanned = report.scanned_bytes;
    match &report.cut {
        Some(cut) => tracing::warn!(
            topic, partition = index.0, removed_bytes = cut.removed_bytes, kept = ?cut.kept,
            "the log was cut to end at offset {}: {}", cut.end_offset, cut.why
        ),
        None if scanned > 0 => {
            tracing::debug!(topic, partition = index.0, scanned, "the log was recovered");
        }
        None => {}
    }
}

/// Why a partition's log could not be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Dirs(#[from] dirs::DirsError),
}

impl OpenError {
    fn is_full(&self) -> bool {
        match self {
            Self::Storage(error) => !error.is_fatal(),
            Self::Dirs(error) => error.is_full(),
        }
    }
}

/// What a run of records concerns.
#[derive(Default)]
struct Touched {
    topics: BTreeSet<Uuid>,
    topic_configs: BTreeSet<ByteString>,
    broker_config: bool,
    features: bool,
    quotas: bool,
    client_metrics: bool,
}

impl Touched {
    fn by(records: &[MetadataRecord]) -> Self {
        let mut touched = Self::default();
        for record in records {
            match record {
                MetadataRecord::Topic(r) => drop(touched.topics.insert(r.topic_id)),
                MetadataRecord::Partition(r) => drop(touched.topics.insert(r.topic_id)),
                MetadataRecord::PartitionChange(r) => drop(touched.topics.insert(r.topic_id)),
                MetadataRecord::RemoveTopic(r) => drop(touched.topics.insert(r.topic_id)),
                MetadataRecord::Config(r) if r.resource_type == ConfigResource::TOPIC => {
                    touched.topic_configs.insert(r.resource_name.clone());
                }
                MetadataRecord::FeatureLevel(_) => touched.features = true,
                MetadataRecord::Config(r) if r.resource_type == ConfigResource::BROKER => {
                    touched.broker_config = true;
                }
                MetadataRecord::Config(r) if r.resource_type == ConfigResource::CLIENT_METRICS => {
                    touched.client_metrics = true;
                }
                MetadataRecord::ClientQuota(_) => touched.quotas = true,
                _ => {}
            }
        }
        touched
    }
}
