//! The whole disk, as storage sees it: one small trait.
//!
//! `server` implements it over the operating system, `testkit` over memory with faults. All calls
//! are synchronous; which thread makes a slow one (fsync, deletes, recovery) is the caller's
//! decision, because storage returns slow work as values instead of starting threads.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; only reads are allowed.
    Read,
    /// Must exist; reads and writes.
    ReadWrite,
    /// Created empty if absent; reads and writes.
    Create,
    /// Must not exist; reads and writes.
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The file name without its directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
    /// Size in bytes; 0 for a directory.
    pub len: u64,
}

/// Space of the file system that holds a path, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// What an unprivileged process may still write.
    pub available: u64,
}

/// A disk: names and files.
///
/// Crash model: after a crash any subset of the writes, truncations, creations, renames and removals
/// that were not followed by the right sync may be missing, in any order; a page is torn at any byte.
pub trait Disk: Send + Sync + 'static {
    /// Opens or creates a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a directory and its parents; fine if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, sorted by name. Names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Renames a file or a directory, replacing a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all it holds.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything below the directory durable, contents, lengths and names, for about the cost
    /// of one sync. `false` where that cannot be done; nothing happened then. After an error nothing
    /// may be assumed durable.
    fn sync_tree(&self, path: &Path) -> io::Result<bool>;
    /// Whether the name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Takes the exclusive lock on `path`, creating the file. The lock ends when the value is
    /// dropped or the process dies. `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Space of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// An open file. It stays readable after it was renamed or removed, until the value is dropped.
pub trait DiskFile: Send + Sync + 'static {
    /// Current length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buf.len()` bytes at `position`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `parts` back to back at `position`. On an error any prefix may have been
    /// written.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Sets the length; new bytes are zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file's data and length durable (fdatasync). After an error nothing may be assumed
    /// durable and the directory must be taken offline.
    fn sync(&self) -> io::Result<()>;
    /// The descriptor for `sendfile`, where the disk has one.
    fn raw_fd(&self) -> Option<i32> {
        None
    }
}
