//! A compacted segment takes the place of those it was made of.
//!
//! Three syncs of the directory order the renames: the `.swap` names are durable before a source goes,
//! the sources are gone before a file loses its `.swap`, and nothing else happens to the names before
//! that is durable. A start after a crash undoes the swap before the first sync and finishes it after
//! that. The syncs are done without the partition's lock; meanwhile the log uses the new segment under
//! its `.swap` names ([`crate::home::Home::path`]). Whatever else changes names of the log settles the
//! swap first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::ids::{Now, Offset, Timestamp};

use super::output::{CLEANED, Output, SWAP};
use super::work::{CleanWork, Source};
use crate::cut::DeleteWork;
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};
use crate::log::Log;
use crate::segment::Segment;

/// How far [`Log::install_step`] came.
pub enum Installing {
    /// The names are to be synced, without the partition's lock, before the next step.
    Sync(NamesSync),
    /// The new segment is in place; the replaced files are to be removed later.
    Done(DeleteWork),
    /// The log was truncated or lost those segments meanwhile: abandon the cleaning.
    Abandoned,
}

/// A sync of the names in a log's directory.
pub struct NamesSync {
    home: Home,
}

impl NamesSync {
    /// Makes the names durable.
    ///
    /// # Errors
    /// What the disk says; nothing may be assumed of the names then.
    pub fn run(&self) -> Result<(), StorageError> {
        let ours = self.home.ours.lock();
        if !*ours {
            return Ok(()); // The directory has another name: nobody starts from these.
        }
        let synced = self.home.disk.sync_dir(&self.home.dir).context("sync", &self.home.dir);
        synced.map_err(never_temporary)
    }
}

/// A swap that is under way.
pub(crate) struct Swap {
    stage: Stage,
    base: Offset,
    sources: Vec<Source>,
    output: Output,
    /// Sources that were renamed.
    replaced: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The new files have `.swap` names.
    Named,
    /// The log uses them, and the sources are renamed.
    Switched,
    /// They have their final names.
    Renamed,
}

impl Log {
    /// One step of putting a segment that [`CleanWork::step`] called ready where its sources are.
    ///
    /// # Errors
    /// What the disk says; any error takes the log offline, because names are half changed.
    pub fn install_step(
        &mut self,
        work: &mut CleanWork,
        now: Now,
    ) -> Result<Installing, StorageError> {
        self.check_online()?;
        if work.is_ready() {
            self.settle_swap()?; // One that nobody went on with.
        }
        let done = match self.swap.as_ref().map(|swap| swap.stage) {
            None => self.name_swap(work),
            Some(Stage::Named) if work.is_stale() || !self.can_switch() => {
                self.settle_swap().map(|()| Installing::Abandoned)
            }
            Some(Stage::Named) => self.switch(),
            Some(Stage::Switched) => self.rename_swap(),
            Some(Stage::Renamed) => return Ok(self.end_swap(now)),
        };
        self.watch(done.map_err(never_temporary))
    }

    /// As [`Log::install_step`] to the end, with its syncs. `None` if it was abandoned.
    ///
    /// # Errors
    /// As [`Log::install_step`].
    pub fn install_cleaned(
        &mut self,
        work: &mut CleanWork,
        now: Now,
    ) -> Result<Option<DeleteWork>, StorageError> {
        loop {
            match self.install_step(work, now)? {
                Installing::Sync(sync) => {
                    let synced = sync.run();
                    self.watch(synced)?;
                }
                Installing::Done(replaced) => return Ok(Some(replaced)),
                Installing::Abandoned => return Ok(None),
            }
        }
    }

    /// Ends a swap that is under way, before anything else happens to the names: one that the log
    /// does not use yet is undone.
    pub(crate) fn settle_swap(&mut self) -> Result<(), StorageError> {
        let settled = self.try_settle_swap();
        self.watch(settled.map_err(never_temporary))
    }

    fn try_settle_swap(&mut self) -> Result<(), StorageError> {
        match self.swap.as_ref().map(|swap| swap.stage) {
            None => return Ok(()),
            Some(Stage::Named) => {
                let Some(swap) = self.swap.take() else { return Ok(()) };
                for ext in swap.output.files() {
                    self.home.remove(&Output::name(&self.home, swap.base, ext, SWAP))?;
                }
            }
            Some(Stage::Switched) => {
                self.home.sync_dir()?;
                self.rename_swap()?;
            }
            Some(Stage::Renamed) => {}
        }
        self.home.sync_dir()
    }

    fn name_swap(&mut self, work: &mut CleanWork) -> Result<Installing, StorageError> {
        let Some((sources, output)) = work.take_ready() else { return Ok(Installing::Abandoned) };
        if work.is_stale() || self.still_there(&sources).is_none() {
            output.remove();
            return Ok(Installing::Abandoned);
        }
        let base = output.base;
        for ext in output.files() {
            let from = Output::name(&self.home, base, ext, CLEANED);
            self.home.rename(&from, &Output::name(&self.home, base, ext, SWAP))?;
        }
        let (stage, replaced) = (Stage::Named, Vec::new());
        self.swap = Some(Box::new(Swap { stage, base, sources, output, replaced }));
        Ok(self.sync_names())
    }

    fn can_switch(&self) -> bool {
        self.swap.as_ref().is_some_and(|swap| self.still_there(&swap.sources).is_some())
    }

    /// Where the sources begin in the log, if they are all there as they were, and sealed.
    fn still_there(&self, sources: &[Source]) -> Option<usize> {
        let base = sources.first()?.base;
        let first = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        let here = self.segments.get(first..first + sources.len())?;
        let same = here.iter().zip(sources).all(|(a, b)| a.base == b.base && a.size == b.size);
        (same && first + sources.len() < self.segments.len()).then_some(first)
    }

    fn switch(&mut self) -> Result<Installing, StorageError> {
        let Some(mut swap) = self.swap.take() else { return Ok(Installing::Abandoned) };
        let Some(first) = self.still_there(&swap.sources) else { return Ok(Installing::Abandoned) };
        let created = swap.sources.last().map_or(Timestamp::NONE, |source| source.created);
        let size = u32::try_from(swap.output.size()).unwrap_or(0);
        let mut segment = Segment::cold(swap.base, size, created);
        segment.txn_len = swap.output.txn_len();
        let end = first + swap.sources.len();
        let replaced: Vec<Segment> = self.segments.splice(first..end, [segment]).collect();
        swap.replaced = self.mark_replaced(&replaced)?;
        swap.stage = Stage::Switched;
        self.home.set_swapping(Some(swap.base));
        self.swap = Some(swap);
        Ok(self.sync_names())
    }

    /// Renames the files of replaced segments to `.deleted`. The producer snapshot of the first one
    /// stays, because the new segment begins there.
    fn mark_replaced(&mut self, replaced: &[Segment]) -> Result<Vec<PathBuf>, StorageError> {
        let mut renamed = Vec::new();
        for (at, segment) in replaced.iter().enumerate() {
            let mut paths = self.segment_files(segment);
            if at > 0
                && let Ok(snapshot) = self.snapshots.binary_search(&segment.base)
            {
                self.snapshots.remove(snapshot);
                paths.push(self.home.path(segment.base, ext::SNAPSHOT));
            }
            for path in paths {
                let to = deleted(&path);
                self.home.rename(&path, &to)?;
                renamed.push(to);
            }
        }
        Ok(renamed)
    }

    /// The log comes last: while it has the suffix, a start after a crash does this again.
    fn rename_swap(&mut self) -> Result<Installing, StorageError> {
        let Some(swap) = &mut self.swap else { return Ok(Installing::Abandoned) };
        self.home.set_swapping(None);
        for ext in swap.output.files() {
            let from = Output::name(&self.home, swap.base, ext, SWAP);
            self.home.rename(&from, &self.home.path(swap.base, ext))?;
        }
        if swap.output.txn_len() == 0 && swap.output.files().any(|ext| ext == ext::TXN_INDEX) {
            // It had to replace the old one; a log without aborted transactions has none.
            self.home.remove(&self.home.path(swap.base, ext::TXN_INDEX))?;
        }
        swap.stage = Stage::Renamed;
        Ok(self.sync_names())
    }

    fn end_swap(&mut self, now: Now) -> Installing {
        let files = self.swap.take().map(|swap| swap.replaced).unwrap_or_default();
        let due = now.monotonic.plus_millis(self.config.file_delete_delay_ms);
        Installing::Done(DeleteWork { disk: Arc::clone(&self.home.disk), due, files })
    }

    fn sync_names(&self) -> Installing {
        Installing::Sync(NamesSync { home: self.home.clone() })
    }
}

fn deleted(path: &Path) -> PathBuf {
    let mut to = path.as_os_str().to_owned();
    to.push(".deleted");
    PathBuf::from(to)
}

/// A disk that is full in the middle of the renames is as bad as a broken one.
fn never_temporary(error: StorageError) -> StorageError {
    match error {
        StorageError::Full { action, path, source }
        | StorageError::TooManyFiles { action, path, source } => {
            StorageError::Offline { action, path, source }
        }
        other => other,
    }
}
