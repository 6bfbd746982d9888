//! Checkpoint files: recovery points, high watermarks and log start offsets, per directory.

use std::sync::Arc;

use ottla_protocol::ids::{Now, Offset};
use ottla_storage::checkpoint;
use ottla_storage::dirs::CleanShutdown;

use crate::Broker;
use crate::partition::{Directory, Partition};

impl Broker {
    /// Writes `replication-offset-checkpoint` in every directory where one moved.
    pub(crate) fn checkpoint_high_watermarks(&self) {
        let moved = |directory: &Directory| directory.changed.take_high_watermarks();
        for directory in self.directories.iter().filter(|directory| moved(directory)) {
            let name = checkpoint::HIGH_WATERMARK;
            if self.write_checkpoint(directory, name, |p| Some(p.high_watermark())).is_none() {
                directory.changed.high_watermark();
            }
        }
    }

    /// Writes `recovery-point-offset-checkpoint` and `log-start-offset-checkpoint` in every directory
    /// where one moved.
    pub(crate) fn checkpoint_recovery_points(&self) {
        for directory in &self.directories {
            if directory.changed.take_log_starts() {
                let start = Partition::log_start_to_checkpoint;
                if self.write_checkpoint(directory, checkpoint::LOG_START, start).is_none() {
                    directory.changed.log_start();
                }
            }
            if !directory.changed.take_recovery_points() {
                continue;
            }
            let point = |partition: &Partition| Some(partition.recovery_point());
            match self.write_checkpoint(directory, checkpoint::RECOVERY_POINT, point) {
                Some(said) => said.iter().for_each(|(p, offset)| p.checkpointed(*offset)),
                None => directory.changed.recovery_point(),
            }
        }
    }

    /// Writes one checkpoint of one directory. Returns what it says, `None` if it was not written.
    pub(crate) fn write_checkpoint(
        &self,
        directory: &Arc<Directory>,
        name: &str,
        offset: impl Fn(&Partition) -> Option<Offset>,
    ) -> Option<Vec<(Arc<Partition>, Offset)>> {
        if directory.offline().is_some() {
            return None;
        }
        let all = self.partitions.all().into_iter();
        let here = all.filter(|partition| partition.directory().id == directory.id);
        let said: Vec<_> = here.filter_map(|p| offset(&p).map(|offset| (p, offset))).collect();
        let entries = said.iter().map(|(p, offset)| (&*p.name.topic, p.name.index, *offset));
        match checkpoint::write(self.disk(), &directory.path, name, entries) {
            Ok(()) => Some(said),
            Err(error) => {
                checkpoint_failed(directory, &error);
                None
            }
        }
    }

    /// Closes every log and writes the checkpoints.
    pub(crate) fn close_partitions(&self, now: Now) {
        let all = self.partitions.all();
        for directory in &self.directories {
            let here: Vec<_> = all.iter().filter(|p| p.directory().id == directory.id).collect();
            if directory.offline().is_none()
                && let Err(reason) = self.close_together(directory, &here, now)
            {
                directory.take_offline(&reason);
            }
            // A clean stop leaves them, whatever moved.
            directory.changed.everything();
        }
        self.checkpoint_high_watermarks();
        self.checkpoint_recovery_points();
    }

    fn close_together(
        &self,
        directory: &Directory,
        partitions: &[&Arc<Partition>],
        now: Now,
    ) -> Result<(), String> {
        let (mut open, mut flushes) = (Vec::new(), Vec::new());
        for partition in partitions {
            let closed = partition.shared_close();
            if let Some(flush) = closed.map_err(|error| format!("{}: {error}", partition.name))? {
                open.push((partition, flush.covers));
                flushes.push(flush);
            }
        }
        if flushes.is_empty() {
            return Ok(());
        }
        let done = ottla_storage::SharedFlush::run(self.disk(), &directory.path, &flushes);
        if done.map_err(|error| error.to_string())? {
            for (partition, covers) in open {
                partition.flushed(Ok(covers), now);
            }
            return Ok(());
        }
        for (partition, _) in open {
            partition.close(now).map_err(|error| format!("{}: {error}", partition.name))?;
        }
        Ok(())
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
