//! A bound on the files that logs hold open.
//!
//! A log opens a file when it needs it and keeps it open. Beyond the bound the files that were not
//! used for longest are closed again (second chance, Corbató 1968): a node with many partitions needs
//! no more descriptors than the process may have. Whoever uses a file at that moment, a flush or an
//! answer being sent, goes on with it.
//!
//! Written and not synced pages do not go with a descriptor: Linux reports a failed write-back to
//! the first descriptor that is synced afterwards, also to one that was opened later.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use crate::disk::DiskFile;
use crate::error::StorageError;

/// The files that the logs of a node hold open.
pub struct OpenFiles {
    max: usize,
    /// In the order in which they are looked at; no more than `max`. Those of logs that are gone stay
    /// until their turn comes.
    slots: Mutex<VecDeque<Weak<Slot>>>,
}

impl OpenFiles {
    /// Holds at most `max` files open, and one at least.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), slots: Mutex::default() })
    }

    /// The bound.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// Takes a file in that was just opened, and closes others for it.
    fn admit(&self, slot: &Arc<Slot>) {
        let mut closed = Vec::new();
        let mut slots = self.slots.lock();
        // Every slot at most twice: the first look takes the mark of use away.
        for _ in 0..2 * slots.len() {
            if slots.len() < self.max {
                break;
            }
            let Some(oldest) = slots.pop_front() else { break };
            let Some(found) = oldest.upgrade() else { continue };
            match found.file.try_lock().as_deref_mut() {
                Some(None) => {}
                Some(file) if !found.used.swap(false, Ordering::Relaxed) => {
                    closed.push(file.take());
                }
                // In use at this moment, or since the last look.
                _ => slots.push_back(oldest),
            }
        }
        slots.push_back(Arc::downgrade(slot));
        drop(slots);
        drop(closed); // Without the lock: closing may take long.
    }
}

#[derive(Default)]
struct Slot {
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    used: AtomicBool,
}

/// A file that is opened when it is needed.
#[derive(Default)]
pub(crate) struct LazyFile(OnceLock<Arc<Slot>>);

impl LazyFile {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The file, opened with `open` if it is not.
    pub(crate) fn get(
        &self,
        files: &OpenFiles,
        open: impl FnOnce() -> Result<Arc<dyn DiskFile>, StorageError>,
    ) -> Result<Arc<dyn DiskFile>, StorageError> {
        let slot = self.0.get_or_init(Arc::default);
        let opened = {
            let mut file = slot.file.lock();
            if let Some(file) = &*file {
                slot.used.store(true, Ordering::Relaxed);
                return Ok(Arc::clone(file));
            }
            Arc::clone(file.insert(open()?))
        };
        files.admit(slot);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, IoSlice};

    struct Nothing;

    impl DiskFile for Nothing {
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn is_open(file: &LazyFile) -> bool {
        file.0.get().is_some_and(|slot| slot.file.lock().is_some())
    }

    /// Uses a file; whether it had to be opened.
    fn touch(file: &LazyFile, files: &OpenFiles) -> bool {
        let mut opened = false;
        file.get(files, || {
            opened = true;
            Ok(Arc::new(Nothing) as _)
        })
        .unwrap();
        opened
    }

    #[test]
    fn no_more_files_stay_open_than_the_bound_and_those_in_use_stay_longest() {
        let files = OpenFiles::new(4);
        let all: Vec<LazyFile> = (0..100).map(|_| LazyFile::new()).collect();
        assert!(touch(&all[0], &files));
        for file in &all[1..] {
            assert!(touch(file, &files));
            assert!(!touch(&all[0], &files), "it is used all the time");
            assert!(all.iter().filter(|file| is_open(file)).count() <= 4);
        }
        assert!(touch(&all[1], &files), "one that was closed is opened again");
    }

    #[test]
    fn files_of_logs_that_are_gone_make_room_and_nobody_loses_one_in_hand() {
        let files = OpenFiles::new(2);
        for _ in 0..50 {
            touch(&LazyFile::new(), &files);
        }
        assert!(files.slots.lock().len() <= 2);
        let (first, others) = (LazyFile::new(), [LazyFile::new(), LazyFile::new()]);
        let held = first.get(&files, || Ok(Arc::new(Nothing) as _)).unwrap();
        others.iter().for_each(|file| assert!(touch(file, &files)));
        assert!(!is_open(&first));
        assert_eq!(held.len().unwrap(), 0, "the descriptor lives as long as it is held");
    }
}
