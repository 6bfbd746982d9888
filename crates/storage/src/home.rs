//! The directory of one log and the names in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_protocol::ids::Offset;
use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::open_files::{LazyFile, OpenFiles};

/// Suffixes of the files of a segment.
pub(crate) mod ext {
    pub(crate) const LOG: &str = "log";
    pub(crate) const INDEX: &str = "index";
    pub(crate) const TIME_INDEX: &str = "timeindex";
    pub(crate) const TXN_INDEX: &str = "txnindex";
    pub(crate) const SNAPSHOT: &str = "snapshot";
    pub(crate) const SEGMENT: [&str; 4] = [LOG, INDEX, TIME_INDEX, TXN_INDEX];
}

/// Ends the names of a compacted segment's files until those it was made of are gone.
pub(crate) const SWAP: &str = ".swap";

/// The disk of many logs, with their common bound on open files.
#[derive(Clone)]
pub struct LogDisk {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// What is open.
    pub open_files: Arc<OpenFiles>,
}

impl<D: Disk> From<Arc<D>> for LogDisk {
    /// Without a bound on open files.
    fn from(disk: Arc<D>) -> Self {
        Self { disk, open_files: OpenFiles::new(usize::MAX) }
    }
}

/// Where a log lives.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: Arc<Path>,
    /// Bounds the files that are open.
    pub(crate) open_files: Arc<OpenFiles>,
    /// Base offset of the segment whose files may have `.swap` names still, -1 if there is none.
    swapping: Arc<AtomicI64>,
    /// Whether the directory still is this log's. Locked while files are written or renamed without the
    /// partition's lock.
    pub(crate) ours: Arc<Mutex<bool>>,
}

impl Home {
    pub(crate) fn new(disk: LogDisk, dir: PathBuf) -> Self {
        let LogDisk { disk, open_files } = disk;
        let (swapping, ours) = (Arc::new(AtomicI64::new(-1)), Arc::new(Mutex::new(true)));
        Self { disk, dir: dir.into(), open_files, swapping, ours }
    }

    /// Where a file of the log is.
    pub(crate) fn path(&self, base: Offset, ext: &str) -> PathBuf {
        let mut name = file_name(base, ext);
        if self.swapping.load(Ordering::Acquire) == base.0 && ext::SEGMENT.contains(&ext) {
            name.push_str(SWAP);
        }
        self.dir.join(name)
    }

    /// From now on the files of this segment are looked for under their `.swap` names first. Under the
    /// partition's lock.
    pub(crate) fn set_swapping(&self, base: Option<Offset>) {
        self.swapping.store(base.map_or(-1, |base| base.0), Ordering::Release);
    }

    pub(crate) fn open(
        &self,
        path: &Path,
        mode: OpenMode,
    ) -> Result<Arc<dyn DiskFile>, StorageError> {
        let Some(own) = path.to_str().and_then(|path| path.strip_suffix(SWAP)) else {
            return self.disk.open(path, mode).context("open", path);
        };
        // It loses the suffix at some moment, without a lock; from then on it has its own name.
        let existing = if mode == OpenMode::Create { OpenMode::ReadWrite } else { mode };
        match self.disk.open(path, existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let own = Path::new(own);
                self.disk.open(own, mode).context("open", own)
            }
            opened => opened.context("open", path),
        }
    }

    /// The file of `lazy`, which has this path.
    pub(crate) fn lazily(
        &self,
        lazy: &LazyFile,
        (base, ext): (Offset, &str),
        mode: OpenMode,
    ) -> Result<Arc<dyn DiskFile>, StorageError> {
        lazy.get(&self.open_files, || self.open(&self.path(base, ext), mode))
    }

    /// All bytes of a small file.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, StorageError> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len().context("stat", path)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0).context("read", path)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        self.disk.rename(from, to).context("rename", from)
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), StorageError> {
        self.disk.remove_file(path).context("remove", path)
    }

    pub(crate) fn sync_dir(&self) -> Result<(), StorageError> {
        self.disk.sync_dir(&self.dir).context("sync", &self.dir)
    }
}

/// `00000000000000000042.log`.
pub(crate) fn file_name(base: Offset, ext: &str) -> String {
    format!("{:020}.{ext}", base.0)
}

/// Splits `00000000000000000042.log.deleted` into 42 and `log.deleted`.
pub(crate) fn parse_name(name: &str) -> Option<(Offset, &str)> {
    let (number, ext) = name.split_once('.')?;
    if number.len() < 20 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Offset(number.parse().ok()?), ext))
}
