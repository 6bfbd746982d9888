//! A compacted segment takes the place of those it was made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::ids::Now;

use super::output::{CLEANED, Output, SWAP};
use super::work::{CleanWork, Source};
use crate::cut::DeleteWork;
use crate::error::StorageError;
use crate::home::ext;
use crate::log::Log;
use crate::segment::Segment;

impl Log {
    /// Puts a segment that [`CleanWork::step`] called ready where its sources are. Returns the files
    /// to be removed later, or `None` when the log was truncated or lost those segments meanwhile:
    /// abandon the cleaning then.
    ///
    /// Three syncs of the directory order the renames: `.swap` names are durable before a source
    /// goes, sources are gone before the log file loses its `.swap`, and nothing else happens to the
    /// names before that is durable. A start after a crash undoes the swap before the first sync and
    /// finishes it after that.
    ///
    /// # Errors
    /// What the disk says; any error takes the log offline, because names are half changed.
    pub fn install_cleaned(
        &mut self,
        work: &mut CleanWork,
        now: Now,
    ) -> Result<Option<DeleteWork>, StorageError> {
        self.check_online()?;
        let Some((sources, output)) = work.take_ready() else { return Ok(None) };
        let Some(first) = self.still_there(&sources).filter(|_| !work.is_stale()) else {
            output.remove();
            return Ok(None);
        };
        let installed = self.swap_in(first, &sources, &output);
        let files = self.watch(installed.map_err(never_full))?;
        let due = now.monotonic.plus_millis(self.config.file_delete_delay_ms);
        Ok(Some(DeleteWork { disk: Arc::clone(&self.home.disk), due, files }))
    }

    /// Where the sources begin in the log, if they are all there as they were, and sealed.
    fn still_there(&self, sources: &[Source]) -> Option<usize> {
        let base = sources.first()?.base;
        let first = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        let here = self.segments.get(first..first + sources.len())?;
        let same = here.iter().zip(sources).all(|(a, b)| a.base == b.base && a.size == b.size);
        (same && first + sources.len() < self.segments.len()).then_some(first)
    }

    fn swap_in(
        &mut self,
        first: usize,
        sources: &[Source],
        output: &Output,
    ) -> Result<Vec<PathBuf>, StorageError> {
        let home = self.home.clone();
        let base = output.base;
        for ext in output.files() {
            let from = Output::name(&home, base, ext, CLEANED);
            home.rename(&from, &Output::name(&home, base, ext, SWAP))?;
        }
        home.sync_dir()?;
        let created = sources.last().map_or(ottla_protocol::ids::Timestamp::NONE, |s| s.created);
        let mut segment = Segment::cold(base, u32::try_from(output.size()).unwrap_or(0), created);
        segment.txn_len = output.txn_len();
        let end = first + sources.len();
        let replaced: Vec<Segment> = self.segments.splice(first..end, [segment]).collect();
        let files = self.mark_replaced(&replaced)?;
        for ext in output.files().filter(|ext| *ext != ext::LOG) {
            home.rename(&Output::name(&home, base, ext, SWAP), &home.path(base, ext))?;
        }
        home.sync_dir()?;
        home.rename(&Output::name(&home, base, ext::LOG, SWAP), &home.path(base, ext::LOG))?;
        home.sync_dir()?;
        if output.txn_len() == 0 && output.files().any(|ext| ext == ext::TXN_INDEX) {
            // It had to replace the old one; a log without aborted transactions has none.
            home.remove(&home.path(base, ext::TXN_INDEX))?;
        }
        Ok(files)
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
}

fn deleted(path: &Path) -> PathBuf {
    let mut to = path.as_os_str().to_owned();
    to.push(".deleted");
    PathBuf::from(to)
}

/// A disk that is full in the middle of the renames is as bad as a broken one.
fn never_full(error: StorageError) -> StorageError {
    match error {
        StorageError::Full { action, path, source }
        | StorageError::TooManyFiles { action, path, source } => {
            StorageError::Offline { action, path, source }
        }
        other => other,
    }
}
