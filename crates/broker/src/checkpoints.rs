//! Checkpoint files: recovery points, high watermarks and log start offsets, per directory.

use std::sync::Arc;

use ottla_protocol::ids::{Now, Offset};
use ottla_storage::checkpoint;
use ottla_storage::dirs::CleanShutdown;

use crate::Broker;
use crate::partition::{Directory, Partition};

impl Broker {
    /// Writes `replication-offset-checkpoint` in every directory.
    pub(crate) fn checkpoint_high_watermarks(&self) {
        self.write_checkpoints(checkpoint::HIGH_WATERMARK, |p| Some(p.high_watermark()));
    }

    /// Writes `recovery-point-offset-checkpoint` and `log-start-offset-checkpoint`.
    pub(crate) fn checkpoint_recovery_points(&self) {
        self.write_checkpoints(checkpoint::RECOVERY_POINT, |p| Some(p.recovery_point()));
        self.write_checkpoints(checkpoint::LOG_START, Partition::log_start_to_checkpoint);
    }

    pub(crate) fn write_checkpoints(
        &self,
        name: &str,
        offset: impl Fn(&Partition) -> Option<Offset>,
    ) {
        let all = self.partitions.all();
        for directory in self.directories.iter().filter(|d| d.offline().is_none()) {
            let here = all.iter().filter(|p| p.directory.id == directory.id);
            let entries = here.filter_map(|partition| {
                Some((&*partition.name.topic, partition.name.index, offset(partition)?))
            });
            if let Err(error) = checkpoint::write(self.disk(), &directory.path, name, entries) {
                checkpoint_failed(directory, &error);
            }
        }
    }

    /// Closes every log and writes the checkpoints.
    pub(crate) fn close_partitions(&self, now: Now) {
        for partition in self.partitions.all() {
            if partition.directory.offline().is_some() {
                continue;
            }
            if let Err(error) = partition.close(now) {
                partition.directory.take_offline(&format!("{}: {error}", partition.name));
            }
        }
        self.checkpoint_high_watermarks();
        self.checkpoint_recovery_points();
    }

    /// Marks the directories clean: the last thing that is written.
    pub(crate) fn close_directories(&self) {
        let Some(mut dirs) = self.dirs.lock().take() else { return };
        for directory in &self.directories {
            if let Some(reason) = directory.offline() {
                dirs.set_offline(&directory.path, reason.to_owned());
            }
        }
        let clean = CleanShutdown { broker_epoch: Some(self.epoch) };
        for (path, error) in dirs.close(clean) {
            tracing::warn!("{} was not marked clean: {error}", path.display());
        }
    }
}

fn checkpoint_failed(directory: &Arc<Directory>, error: &ottla_storage::dirs::DirsError) {
    if error.is_full() {
        tracing::warn!("a checkpoint was not written: {error}");
    } else {
        directory.take_offline(&error.to_string());
    }
}
