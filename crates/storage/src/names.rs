//! Changes of names in a log's directory that are made without the partition's lock.
//!
//! A rename waits for a commit of the file system's journal, some ten milliseconds on a busy disk, and
//! whoever produces would wait with it. So the log decides under its lock what is to be called how, and
//! somebody else does it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Context, StorageError};
use crate::home::Home;

/// Changes of names in a log's directory, and their syncs. Whoever comes first makes them; the others
/// wait for that. If nobody does, the log does before it removes or replaces other segments, or a flush
/// before it counts records as durable.
#[derive(Clone)]
pub struct NamesWork(Arc<Names>);

struct Names {
    home: Home,
    changes: Vec<Change>,
    /// Whether they succeeded, once they were tried.
    done: Mutex<Option<bool>>,
}

/// One step.
pub(crate) enum Change {
    /// From one name to another.
    Rename(PathBuf, PathBuf),
    /// To the name of a file that is to be removed later, [`retired`]. It may be gone already.
    Retire(PathBuf),
    /// Away.
    Remove(PathBuf),
    /// Makes the steps before it durable.
    Sync,
}

impl NamesWork {
    pub(crate) fn new(home: &Home, changes: Vec<Change>) -> Self {
        Self(Arc::new(Names { home: home.clone(), changes, done: Mutex::new(None) }))
    }

    /// Whether it was done, and succeeded.
    pub(crate) fn is_done(&self) -> bool {
        // Not while somebody does it: that may take long.
        self.0.done.try_lock().is_some_and(|done| *done == Some(true))
    }

    /// Changes the names, durably, unless that was done already. Nothing happens if the directory got
    /// another name meanwhile: nobody starts from these then.
    ///
    /// # Errors
    /// What the disk says. A full disk or too many open files stop retention, which is tried again with
    /// the next call; after any other error nothing may be assumed of the names.
    pub fn run(&self) -> Result<(), StorageError> {
        let names = &*self.0;
        let mut done = names.done.lock();
        match *done {
            Some(true) => Ok(()),
            Some(false) => Err(StorageError::AlreadyOffline { path: names.home.dir.to_path_buf() }),
            None => {
                let changed = match names.change() {
                    Err(error) if !error.is_fatal() && names.is_repeatable() => return Err(error),
                    changed => changed.map_err(never_temporary),
                };
                *done = Some(changed.is_ok());
                changed
            }
        }
    }

    /// As [`NamesWork::run`], with the disk's own error where it may be tried again.
    pub(crate) fn run_for_io(&self) -> io::Result<()> {
        match self.run() {
            Ok(()) => Ok(()),
            Err(StorageError::Full { source, .. } | StorageError::TooManyFiles { source, .. }) => {
                Err(source)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Names {
    /// Whether all may be done again after some were.
    fn is_repeatable(&self) -> bool {
        self.changes.iter().all(|change| matches!(change, Change::Retire(_) | Change::Sync))
    }

    fn change(&self) -> Result<(), StorageError> {
        let home = &self.home;
        let ours = home.ours.lock();
        if !*ours {
            return Ok(());
        }
        for change in &self.changes {
            match change {
                Change::Rename(from, to) => home.rename(from, to)?,
                Change::Retire(path) => match home.disk.rename(path, &retired(path)) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    renamed => renamed.context("rename", path)?,
                },
                Change::Remove(path) => home.remove(path)?,
                Change::Sync => home.sync_dir()?,
            }
        }
        Ok(())
    }
}

/// The name of a file that is to be removed later.
pub(crate) fn retired(path: &Path) -> PathBuf {
    let mut to = path.as_os_str().to_owned();
    to.push(".deleted");
    PathBuf::from(to)
}

/// A disk that is full in the middle of the renames is as bad as a broken one.
pub(crate) fn never_temporary(error: StorageError) -> StorageError {
    match error {
        StorageError::Full { action, path, source }
        | StorageError::TooManyFiles { action, path, source } => {
            StorageError::Offline { action, path, source }
        }
        other => other,
    }
}
