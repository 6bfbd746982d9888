//! A compacted segment takes the place of those it was made of.
//!
//! Three syncs of the directory order the renames: the `.swap` names are durable before a source goes,
//! the sources are gone before a file loses its `.swap`, and nothing else happens to the names before
//! that is durable. A start after a crash undoes the swap before the first sync and finishes it after
//! that. Renames and syncs, which wait for the file system's journal, are done without the partition's
//! lock ([`crate::names`]); meanwhile the log uses the new segment under its `.swap` names
//! ([`crate::home::Home::path`]). Whatever else removes or replaces segments settles the swap first.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::ids::{Now, Offset, Timestamp};

use super::output::{CLEANED, Output};
use super::work::{CleanWork, Source};
use crate::cut::DeleteWork;
use crate::error::StorageError;
use crate::home::{SWAP, ext, file_name};
use crate::log::Log;
use crate::names::{Change, NamesWork, never_temporary, retired};
use crate::segment::Segment;

/// How far [`Log::install_step`] came.
pub enum Installing {
    /// Names are to be changed, without the partition's lock, before the next step.
    Names(NamesWork),
    /// The new segment is in place; the replaced files are to be removed later.
    Done(DeleteWork),
    /// The log was truncated or lost those segments meanwhile: abandon the cleaning.
    Abandoned,
}

/// A swap that is under way.
pub(crate) struct Swap {
    stage: Stage,
    /// What leads to the stage. It may not have been done yet.
    names: NamesWork,
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
    /// One step of putting a segment that [`CleanWork::step`] called ready where its sources are. Names
    /// of the last step that were not changed yet are changed first.
    ///
    /// # Errors
    /// What the disk says. A full disk while the sources get other names stops the swap, and it is tried
    /// again when names are settled; any other error takes the log offline, because names are half
    /// changed.
    pub fn install_step(
        &mut self,
        work: &mut CleanWork,
        now: Now,
    ) -> Result<Installing, StorageError> {
        self.check_online()?;
        if work.is_ready() {
            self.settle_names()?; // One that nobody went on with.
        }
        let done = self.next_install_step(work, now);
        self.watch(done)
    }

    fn next_install_step(
        &mut self,
        work: &mut CleanWork,
        now: Now,
    ) -> Result<Installing, StorageError> {
        let Some(swap) = &self.swap else { return self.name_swap(work) };
        swap.names.run()?;
        match swap.stage {
            Stage::Named if work.is_stale() || !self.can_switch() => {
                self.settle_names().map(|()| Installing::Abandoned)
            }
            Stage::Named => Ok(self.switch()),
            Stage::Switched => Ok(self.rename_swap()),
            Stage::Renamed => Ok(self.end_swap(now)),
        }
    }

    /// As [`Log::install_step`] to the end, with its changes of names. `None` if it was abandoned.
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
                Installing::Names(names) => {
                    let changed = names.run();
                    self.watch(changed)?;
                }
                Installing::Done(replaced) => return Ok(Some(replaced)),
                Installing::Abandoned => return Ok(None),
            }
        }
    }

    /// Changes the names that are to be changed and ends a swap that is under way, before anything else
    /// happens to the names: a swap that the log does not use yet is undone.
    pub(crate) fn settle_names(&mut self) -> Result<(), StorageError> {
        let settled = self.try_settle_names();
        self.watch(settled)
    }

    fn try_settle_names(&mut self) -> Result<(), StorageError> {
        if let Some(names) = &self.retiring {
            names.run()?;
            self.retiring = None;
        }
        while let Some(swap) = &self.swap {
            swap.names.run()?;
            match swap.stage {
                Stage::Named => return self.undo_swap().map_err(never_temporary),
                Stage::Switched => drop(self.rename_swap()),
                Stage::Renamed => {
                    self.home.set_swapping(None);
                    self.swap = None;
                }
            }
        }
        Ok(())
    }

    /// The log goes first: without it a start removes the others, which would not fit that of the
    /// source. It does not matter when the last name is gone.
    fn undo_swap(&mut self) -> Result<(), StorageError> {
        let Some(swap) = self.swap.take() else { return Ok(()) };
        let name = |ext| Output::name(&self.home, swap.base, ext, SWAP);
        self.home.remove(&name(ext::LOG))?;
        self.home.sync_dir()?;
        for ext in swap.output.files().filter(|ext| *ext != ext::LOG) {
            self.home.remove(&name(ext))?;
        }
        Ok(())
    }

    fn name_swap(&mut self, work: &mut CleanWork) -> Result<Installing, StorageError> {
        let Some((sources, output)) = work.take_ready() else { return Ok(Installing::Abandoned) };
        if work.is_stale() || self.still_there(&sources).is_none() {
            output.remove();
            return Ok(Installing::Abandoned);
        }
        let base = output.base;
        let name = |ext, suffix| Output::name(&self.home, base, ext, suffix);
        let renames = output.files().map(|ext| Change::Rename(name(ext, CLEANED), name(ext, SWAP)));
        let names = NamesWork::new(&self.home, renames.chain([Change::Sync]).collect());
        let (stage, replaced) = (Stage::Named, Vec::new());
        let swap = Swap { stage, names: names.clone(), base, sources, output, replaced };
        self.swap = Some(Box::new(swap));
        Ok(Installing::Names(names))
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

    fn switch(&mut self) -> Installing {
        let Some(mut swap) = self.swap.take() else { return Installing::Abandoned };
        let Some(first) = self.still_there(&swap.sources) else { return Installing::Abandoned };
        let created = swap.sources.last().map_or(Timestamp::NONE, |source| source.created);
        let size = u32::try_from(swap.output.size()).unwrap_or(0);
        let mut segment = Segment::cold(swap.base, size, created);
        segment.txn_len = swap.output.txn_len();
        let end = first + swap.sources.len();
        let replaced: Vec<Segment> = self.segments.splice(first..end, [segment]).collect();
        let paths = self.forget_replaced(&replaced);
        swap.replaced = paths.iter().map(|path| retired(path)).collect();
        let renames = paths.into_iter().map(Change::Retire).chain([Change::Sync]);
        swap.names = NamesWork::new(&self.home, renames.collect());
        swap.stage = Stage::Switched;
        let names = swap.names.clone();
        self.home.set_swapping(Some(swap.base));
        self.swap = Some(swap);
        Installing::Names(names)
    }

    /// The files of replaced segments. The producer snapshot of the first one stays, because the new
    /// segment begins there.
    fn forget_replaced(&mut self, replaced: &[Segment]) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for (at, segment) in replaced.iter().enumerate() {
            all.extend(self.segment_files(segment));
            if at > 0
                && let Ok(snapshot) = self.snapshots.binary_search(&segment.base)
            {
                self.snapshots.remove(snapshot);
                all.push(self.home.path(segment.base, ext::SNAPSHOT));
            }
        }
        all
    }

    /// The log comes last: while it has the suffix, a start after a crash does this again. What has the
    /// suffix without it is removed by a start, which makes lost indexes anew; a transaction index may be
    /// lost, since the records of aborted transactions are gone.
    fn rename_swap(&mut self) -> Installing {
        let Some(swap) = &mut self.swap else { return Installing::Abandoned };
        let swapped = |ext| Output::name(&self.home, swap.base, ext, SWAP);
        let own = |ext| self.home.dir.join(file_name(swap.base, ext));
        let renames = swap.output.files().map(|ext| Change::Rename(swapped(ext), own(ext)));
        let mut changes: Vec<Change> = renames.collect();
        if swap.output.txn_len() == 0 && swap.output.files().any(|ext| ext == ext::TXN_INDEX) {
            // It had to replace the old one; a log without aborted transactions has none.
            changes.push(Change::Remove(own(ext::TXN_INDEX)));
        }
        changes.push(Change::Sync);
        swap.names = NamesWork::new(&self.home, changes);
        swap.stage = Stage::Renamed;
        Installing::Names(swap.names.clone())
    }

    fn end_swap(&mut self, now: Now) -> Installing {
        self.home.set_swapping(None);
        let files = self.swap.take().map(|swap| swap.replaced).unwrap_or_default();
        let due = now.monotonic.plus_millis(self.config.file_delete_delay_ms);
        let disk = Arc::clone(&self.home.disk);
        Installing::Done(DeleteWork { disk, names: None, due, files })
    }
}
