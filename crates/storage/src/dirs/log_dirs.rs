//! The data directories of a running node: identity, lock, and whether each is usable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

use super::format::check_id;
use super::{At, CleanShutdown, DirsError, LOCK, Listing, METADATA_LOG, MetaProperties, list_logs};
use crate::disk::Disk;

/// Whether a data directory is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirState {
    /// It is.
    Online,
    /// It is not until the next start, for this reason.
    Offline(String),
}

/// One data directory.
pub struct LogDir {
    path: PathBuf,
    directory_id: Option<Uuid>,
    state: DirState,
    lock: Option<Box<dyn Send + Sync>>,
}

/// All data directories of a node.
pub struct LogDirs {
    disk: Arc<dyn Disk>,
    dirs: Vec<LogDir>,
    cluster_id: String,
    node_id: BrokerId,
}

/// How the directories are opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenDirs<'a> {
    /// `log.dirs`, and `metadata.log.dir` if it is not among them; each once.
    pub paths: &'a [PathBuf],
    /// `metadata.log.dir`, by default the first of `log.dirs`.
    pub metadata_dir: &'a Path,
    /// `node.id`.
    pub node_id: BrokerId,
    /// The cluster's id where it is known; otherwise the directories only have to agree.
    pub cluster_id: Option<&'a str>,
}

impl LogDirs {
    /// Checks the identity of all directories and locks them. A directory that cannot be read is
    /// offline, as in Kafka, unless it is the metadata log's or the last. A directory without id
    /// (older than KIP-858) gets one from `fresh_id`.
    ///
    /// # Errors
    /// A directory that is not formatted, is of another cluster or node, is a copy of another one,
    /// is in use, or holds a metadata log it must not hold; or no usable directory.
    pub fn open(
        disk: Arc<dyn Disk>,
        plan: &OpenDirs<'_>,
        fresh_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Self, DirsError> {
        let mut cluster_id = plan.cluster_id.map(str::to_owned);
        let (mut dirs, mut ids, mut last_error) = (Vec::new(), Vec::new(), String::new());
        for path in plan.paths {
            let (meta, state) = match identify(&*disk, path, plan, &mut cluster_id) {
                Ok(meta) => (Some(meta), DirState::Online),
                Err(error @ DirsError::Io { .. }) if path != plan.metadata_dir => {
                    last_error = error.to_string();
                    (None, DirState::Offline(last_error.clone()))
                }
                Err(error) => return Err(error),
            };
            let directory_id = meta.as_ref().and_then(|meta| meta.directory_id);
            if let Some(id) = directory_id {
                check_id(&mut ids, path, id)?;
            }
            dirs.push((LogDir { path: path.clone(), directory_id, state, lock: None }, meta));
        }
        let Some(cluster_id) = cluster_id.filter(|_| dirs.iter().any(|(_, meta)| meta.is_some()))
        else {
            return Err(DirsError::AllOffline(last_error));
        };
        let mut opened = Vec::new();
        for (mut dir, meta) in dirs {
            if let Some(meta) = meta {
                dir.claim(&*disk, meta, fresh_id, path_is(plan.metadata_dir))?;
            }
            opened.push(dir);
        }
        let opened = Self { disk, dirs: opened, cluster_id, node_id: plan.node_id };
        opened.check_any_online()?;
        Ok(opened)
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// This node.
    #[must_use]
    pub const fn node_id(&self) -> BrokerId {
        self.node_id
    }

    /// The directories, in the order of the configuration.
    #[must_use]
    pub fn dirs(&self) -> &[LogDir] {
        &self.dirs
    }

    /// The directories in use.
    pub fn online(&self) -> impl Iterator<Item = &LogDir> {
        self.dirs.iter().filter(|dir| dir.is_online())
    }

    /// The directory at `path`.
    #[must_use]
    pub fn by_path(&self, path: &Path) -> Option<&LogDir> {
        self.dirs.iter().find(|dir| dir.path == path)
    }

    /// The directory with this id, if it could be read.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<&LogDir> {
        self.dirs.iter().find(|dir| dir.directory_id == Some(id))
    }

    /// Takes a directory out of use until the next start. Returns whether it was in use; the first
    /// reason is kept. Its lock stays, since files in it may still be open.
    pub fn set_offline(&mut self, path: &Path, reason: String) -> bool {
        let dir = self.dirs.iter_mut().find(|dir| dir.path == path && dir.is_online());
        dir.map(|dir| dir.state = DirState::Offline(reason)).is_some()
    }

    /// The broker epoch of the last run, if all directories were closed cleanly by it (KIP-966);
    /// otherwise the node may have lost records that it had acknowledged. To be asked before
    /// [`LogDirs::take_clean_shutdown`].
    #[must_use]
    pub fn previous_broker_epoch(&self) -> Option<i64> {
        let mut epochs = self.dirs.iter().map(|dir| {
            let online = Some(dir).filter(|dir| dir.is_online())?;
            CleanShutdown::read(&*self.disk, &online.path).ok()??.broker_epoch
        });
        let first = epochs.next()??;
        epochs.all(|epoch| epoch == Some(first)).then_some(first)
    }

    /// Reads the mark of a clean stop and removes it, before the first log of directory `path` is
    /// opened.
    ///
    /// # Errors
    /// A disk operation failed.
    pub fn take_clean_shutdown(&self, path: &Path) -> Result<Option<CleanShutdown>, DirsError> {
        let found = CleanShutdown::read(&*self.disk, path)?;
        if found.is_some() {
            CleanShutdown::delete(&*self.disk, path)?;
        }
        Ok(found)
    }

    /// The logs in a directory.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn logs(&self, path: &Path) -> Result<Listing, DirsError> {
        list_logs(&*self.disk, path)
    }

    /// Ends the use of all directories: writes the mark of a clean stop into those still online and
    /// removes the lock files. Every log must have been closed and every checkpoint written. Returns
    /// the directories where that failed; their logs are recovered at the next start.
    pub fn close(self, clean: CleanShutdown) -> Vec<(PathBuf, DirsError)> {
        let mut failed = Vec::new();
        for dir in self.dirs {
            if dir.is_online()
                && let Err(error) = clean.write(&*self.disk, &dir.path)
            {
                failed.push((dir.path.clone(), error));
            }
            if dir.lock.is_some() {
                // As Kafka: the file goes. Without an effect if it fails, the lock is what counts.
                let _ = self.disk.remove_file(&dir.path.join(LOCK));
            }
        }
        failed
    }

    fn check_any_online(&self) -> Result<(), DirsError> {
        let mut last = String::new();
        for dir in &self.dirs {
            match &dir.state {
                DirState::Online => return Ok(()),
                DirState::Offline(reason) => last.clone_from(reason),
            }
        }
        Err(DirsError::AllOffline(last))
    }
}

impl LogDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id; `None` when it could not be read.
    #[must_use]
    pub const fn directory_id(&self) -> Option<Uuid> {
        self.directory_id
    }

    /// Whether it is used.
    #[must_use]
    pub const fn state(&self) -> &DirState {
        &self.state
    }

    /// Whether it is used.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state == DirState::Online
    }

    /// Locks the directory and completes its identity.
    fn claim(
        &mut self,
        disk: &dyn Disk,
        meta: MetaProperties,
        fresh_id: &mut dyn FnMut() -> Uuid,
        must_work: impl Fn(&Path) -> bool,
    ) -> Result<(), DirsError> {
        let claimed = match disk.lock(&self.path.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(DirsError::Locked { path: self.path.clone() });
            }
            Err(error) => Err(error).at("lock", &self.path.join(LOCK)),
            Ok(lock) => {
                self.lock = Some(lock);
                self.complete(disk, meta, fresh_id)
            }
        };
        match claimed {
            Err(error) if must_work(&self.path) => Err(error),
            Err(error) => {
                self.state = DirState::Offline(error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn complete(
        &mut self,
        disk: &dyn Disk,
        mut meta: MetaProperties,
        fresh_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<(), DirsError> {
        if meta.directory_id.is_none() {
            meta.directory_id = Some(fresh_id());
            meta.write(disk, &self.path)?;
        }
        self.directory_id = meta.directory_id;
        Ok(())
    }
}

fn path_is(wanted: &Path) -> impl Fn(&Path) -> bool {
    move |path| path == wanted
}

/// Reads and checks what a directory says it is.
fn identify(
    disk: &dyn Disk,
    path: &Path,
    plan: &OpenDirs<'_>,
    cluster_id: &mut Option<String>,
) -> Result<MetaProperties, DirsError> {
    let path_buf = || path.to_path_buf();
    let Some(meta) = MetaProperties::read(disk, path)? else {
        return Err(DirsError::Unformatted { path: path_buf() });
    };
    if meta.node_id != plan.node_id {
        let (found, expected) = (meta.node_id, plan.node_id);
        return Err(DirsError::NodeId { path: path_buf(), found, expected });
    }
    let expected = cluster_id.get_or_insert_with(|| meta.cluster_id.clone());
    if meta.cluster_id != *expected {
        let (found, expected) = (meta.cluster_id, expected.clone());
        return Err(DirsError::ClusterId { path: path_buf(), found, expected });
    }
    let metadata = path.join(METADATA_LOG);
    if path != plan.metadata_dir && disk.exists(&metadata).at("look for", &metadata)? {
        let expected = plan.metadata_dir.to_path_buf();
        return Err(DirsError::MetadataElsewhere { path: path_buf(), expected });
    }
    Ok(meta)
}
