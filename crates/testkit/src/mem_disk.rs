//! An in-memory [`Disk`] that is deterministic, may fail, and may crash.
//!
//! Each file has the content the process sees, the content that is durable, and the journal of
//! unsynced writes and truncations between them; names are kept in the same way. [`MemDisk::crash`]
//! gives the disk a machine would find when it comes up again: the durable state plus any subset of
//! the unsynced changes, drawn from a seed, with writes cut at page ends and torn inside a page.
//!
//! Stricter than most file systems, as POSIX allows: syncing a file does not make its name durable,
//! a lost truncation may be followed by a kept write, and after a failed sync the data it covered is
//! never durable unless it is written again.

mod content;
mod crash;
mod faults;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use ottla_storage::{DirEntry, Disk, DiskFile, OpenMode, Space};
use parking_lot::Mutex;

use self::content::pieces;
use self::crash::Choice;
pub use self::faults::{Errno, Fault, OpKind, OpRecord};
use self::faults::{Faults, Verdict};
use self::state::{FileChange, FileNode, FileOp, Ino, Node, State};

/// What [`Disk::space`] tells without a capacity.
const UNBOUNDED: u64 = 1 << 40;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct MemDisk {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    state: State,
    faults: Faults,
    locks: BTreeSet<Ino>,
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(State::new())
    }

    /// An empty disk on which these directories durably exist.
    #[must_use]
    pub fn with_dirs(paths: &[&str]) -> Self {
        let disk = Self::new();
        {
            let mut inner = disk.inner.lock();
            for path in paths {
                inner.state.create_dir_all(Path::new(path)).expect("a usable path");
            }
            make_durable(&mut inner.state);
        }
        disk
    }

    fn from_state(state: State) -> Self {
        let inner = Inner { state, faults: Faults::default(), locks: BTreeSet::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The disk after the machine went down now, with a subset of the unsynced changes that belongs
    /// to `seed`. It has no faults and no locks; this disk stays as it is, so one moment can be
    /// crashed under many seeds. Use [`MemDisk::kill`] to make sure that nobody goes on using it.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        self.crashed(&Choice::Seed(seed))
    }

    /// As [`MemDisk::crash`], with every unsynced change kept: what a killed process leaves.
    #[must_use]
    pub fn crash_keep_all(&self) -> Self {
        self.crashed(&Choice::KeepAll)
    }

    /// As [`MemDisk::crash`], with every unsynced change lost.
    #[must_use]
    pub fn crash_drop_all(&self) -> Self {
        self.crashed(&Choice::DropAll)
    }

    fn crashed(&self, choice: &Choice) -> Self {
        let inner = self.inner.lock();
        let after = Self::from_state(crash::crash(&inner.state, choice));
        after.inner.lock().faults.capacity = inner.faults.capacity;
        after
    }

    /// Makes every further operation on this disk and its open files fail.
    pub fn kill(&self) {
        self.inner.lock().faults.dead = true;
    }

    /// Lets `count` more mutations pass, counted from now, and dies in the next one: that one may or
    /// may not have its effect after a crash, and everything later fails.
    pub fn crash_after_ops(&self, count: u64) {
        let mut inner = self.inner.lock();
        inner.faults.die_at = Some(inner.faults.mutations + count);
    }

    /// Whether the disk died, by [`MemDisk::kill`] or [`MemDisk::crash_after_ops`].
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.inner.lock().faults.dead
    }

    /// Adds a fault. The first that applies to an operation wins.
    pub fn fail(&self, fault: Fault) {
        self.inner.lock().faults.add(fault);
    }

    /// Removes all faults and ignored syncs; the capacity stays.
    pub fn clear_faults(&self) {
        self.inner.lock().faults.clear();
    }

    /// Bounds the bytes that files may occupy, in pages of 4096 bytes: writes past it fail with
    /// ENOSPC after what fits.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner.lock().faults.capacity = bytes;
    }

    /// Syncs of files whose path matches (`*` stands for any text) succeed without an effect: a test
    /// that still passes does not prove that the sync is needed.
    pub fn ignore_file_syncs(&self, glob: &str) {
        self.inner.lock().faults.ignored_file_syncs.push(glob.to_owned());
    }

    /// As [`MemDisk::ignore_file_syncs`], for syncs of directories.
    pub fn ignore_dir_syncs(&self, glob: &str) {
        self.inner.lock().faults.ignored_dir_syncs.push(glob.to_owned());
    }

    /// As [`MemDisk::ignore_file_syncs`], for files and directories that [`Disk::sync_tree`] would make
    /// durable; those two hold for it as well.
    pub fn ignore_tree_syncs(&self, glob: &str) {
        self.inner.lock().faults.ignored_tree_syncs.push(glob.to_owned());
    }

    /// As [`MemDisk::ignore_file_syncs`], for one place in the code: the syncs of kind and path
    /// `sync` ([`OpKind::Sync`] or [`OpKind::SyncDir`]) that come right after a mutation `after`.
    pub fn ignore_syncs_after(&self, after: (OpKind, &str), sync: (OpKind, &str)) {
        let rule = (after.0, after.1.to_owned(), sync.0, sync.1.to_owned());
        self.inner.lock().faults.ignored_after.push(rule);
    }

    /// Makes [`Disk::sync_tree`] answer that it cannot.
    pub fn refuse_tree_syncs(&self) {
        self.inner.lock().faults.no_tree_syncs = true;
    }

    /// How many operations changed, or tried to change, what a crash may leave.
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.inner.lock().faults.mutations
    }

    /// Operations so far, per kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<OpKind, u64> {
        self.inner.lock().faults.counts.clone()
    }

    /// Operations of one kind so far.
    #[must_use]
    pub fn count(&self, kind: OpKind) -> u64 {
        self.inner.lock().faults.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Starts to record operations for [`MemDisk::take_ops`].
    pub fn record_ops(&self) {
        self.inner.lock().faults.log.get_or_insert_default();
    }

    /// The operations recorded since the last call.
    #[must_use]
    pub fn take_ops(&self) -> Vec<OpRecord> {
        self.inner.lock().faults.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The bytes of a file as the process sees them; `None` when there is no such file.
    #[must_use]
    pub fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut inner = self.inner.lock();
        let ino = inner.state.find(path.as_ref()).ok()?;
        inner.state.file(ino).ok().map(|file| file.live.to_vec())
    }

    /// Puts a file durably on the disk, with its directories, past all faults and counters.
    ///
    /// # Panics
    /// When the path is not usable.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let mut inner = self.inner.lock();
        let path = path.as_ref();
        let parent = path.parent().expect("a file's path");
        inner.state.create_dir_all(parent).expect("a usable path");
        let ino = open(&mut inner.state, path, OpenMode::Create).expect("a usable path");
        let file = inner.state.file(ino).expect("a file");
        file.live.set_len(0);
        file.live.write(0, bytes);
        file.durable = file.live.clone();
        file.journal.clear();
        let mut at = Some(path);
        while let Some(dir) = at {
            let ino = inner.state.find(dir).expect("it was just created");
            if inner.state.is_dir(ino) {
                inner.state.sync_dir(ino).expect("a directory");
            }
            at = dir.parent();
        }
    }

    /// Every path on the disk, sorted; directories end with a slash.
    #[must_use]
    pub fn tree(&self) -> Vec<String> {
        let inner = self.inner.lock();
        let linked = inner.state.inodes.iter().filter(|(_, inode)| inode.linked);
        let mut paths: Vec<String> = linked
            .filter(|&(&ino, _)| ino != state::ROOT)
            .map(|(&ino, inode)| {
                let slash = if matches!(inode.node, Node::Dir(_)) { "/" } else { "" };
                format!("{}{slash}", inner.state.path_of(ino))
            })
            .collect();
        paths.sort();
        paths
    }
}

impl Inner {
    /// Counts an operation that has all or nothing of its effect. `Ok(true)`: do it; `Ok(false)`:
    /// do it and then fail, because the process dies in it.
    fn begin(&mut self, kind: OpKind, path: &str, detail: &str) -> io::Result<bool> {
        match self.faults.begin(kind, path, detail) {
            Verdict::Go => Ok(true),
            Verdict::Die => Ok(false),
            Verdict::Fail { error, .. } => Err(error),
        }
    }

    /// Writes as much as there is room for.
    fn write(&mut self, ino: Ino, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut fits = bytes.len() as u64;
        if let Some(capacity) = self.faults.capacity {
            let mut room = capacity.saturating_sub(self.state.allocated());
            let file = self.state.file(ino)?;
            for (from, to, _) in pieces(position, bytes.len() as u64) {
                let need = file.live.would_allocate(from, to - from);
                if need > room {
                    fits = from - position;
                    break;
                }
                room -= need;
            }
        }
        let written = &bytes[..fits as usize];
        if !written.is_empty() {
            let file = self.state.file(ino)?;
            file.live.write(position, written);
            let change = FileChange::Write { position, bytes: written.into() };
            file.journal.push(FileOp { change, stuck: false });
        }
        if fits < bytes.len() as u64 { Err(Errno::NoSpace.into()) } else { Ok(()) }
    }
}

fn done(alive: bool) -> io::Result<()> {
    if alive { Ok(()) } else { Err(faults::dead()) }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn open(state: &mut State, path: &Path, mode: OpenMode) -> io::Result<Ino> {
    let (dir, name) = state.parent(path)?;
    let found = state.dir(dir)?.live.get(&name).copied();
    match (found, mode) {
        (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
        (Some(ino), _) => state.file(ino).map(|_| ino),
        (None, OpenMode::Read | OpenMode::ReadWrite) => Err(io::ErrorKind::NotFound.into()),
        (None, _) => state.create(dir, &name, Node::File(FileNode::default())),
    }
}

fn make_durable(state: &mut State) {
    let dirs: Vec<Ino> = state.inodes.keys().copied().filter(|&ino| state.is_dir(ino)).collect();
    for dir in dirs {
        state.sync_dir(dir).expect("a directory");
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.inner.lock();
        let creates = matches!(mode, OpenMode::Create | OpenMode::CreateNew)
            && inner.state.find(path).is_err();
        let kind = if creates { OpKind::Create } else { OpKind::Open };
        let alive = inner.begin(kind, &text(path), "")?;
        let ino = open(&mut inner.state, path, mode)?;
        done(alive)?;
        if let Some(inode) = inner.state.inodes.get_mut(&ino) {
            inode.open += 1;
        }
        let writes = mode != OpenMode::Read;
        Ok(Arc::new(MemFile { inner: Arc::clone(&self.inner), ino, writes }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if let Ok(found) = inner.state.find(path)
            && !inner.faults.dead
        {
            return inner.state.dir(found).map(|_| ());
        }
        let alive = inner.begin(OpKind::CreateDir, &text(path), "")?;
        inner.state.create_dir_all(path)?;
        done(alive)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut inner = self.inner.lock();
        inner.begin(OpKind::List, &text(path), "")?;
        let ino = inner.state.find(path)?;
        let names = inner.state.dir(ino)?.live.clone();
        let entry = |(name, ino)| {
            let is_dir = inner.state.is_dir(ino);
            let len = inner.state.file(ino).map_or(0, |file| file.live.len);
            DirEntry { name, is_dir, len }
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let alive = inner.begin(OpKind::Rename, &text(from), &text(to))?;
        inner.state.rename(from, to)?;
        done(alive)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let alive = inner.begin(OpKind::RemoveFile, &text(path), "")?;
        let ino = inner.state.find(path)?;
        inner.state.file(ino)?;
        let (dir, name) = inner.state.parent(path)?;
        inner.state.remove(dir, &name)?;
        done(alive)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let alive = inner.begin(OpKind::RemoveDir, &text(path), "")?;
        let ino = inner.state.find(path)?;
        inner.state.dir(ino)?;
        let (dir, name) = inner.state.parent(path)?;
        inner.state.remove(dir, &name)?;
        done(alive)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let alive = inner.begin(OpKind::SyncDir, &text(path), "")?;
        let ino = inner.state.find(path)?;
        inner.state.dir(ino)?;
        done(alive)?;
        let path = text(path);
        if inner.faults.ignores(OpKind::SyncDir, &path) {
            return Ok(());
        }
        inner.state.sync_dir(ino)
    }

    fn sync_tree(&self, path: &Path) -> io::Result<bool> {
        let mut inner = self.inner.lock();
        if inner.faults.no_tree_syncs {
            return Ok(false);
        }
        let root = inner.state.find(path)?;
        inner.state.dir(root)?;
        let all = inner.state.below(root);
        match inner.begin(OpKind::SyncTree, &text(path), "") {
            Ok(alive) => done(alive)?,
            Err(error) => {
                // Nothing is known of what did not reach the medium.
                for ino in all {
                    if !inner.faults.dead && !inner.state.is_dir(ino) {
                        inner.state.give_up_file(ino)?;
                    }
                }
                return Err(error);
            }
        }
        for ino in all {
            let path = inner.state.path_of(ino);
            let is_dir = inner.state.is_dir(ino);
            let kind = if is_dir { OpKind::SyncDir } else { OpKind::Sync };
            if inner.faults.ignores(kind, &path) || inner.faults.ignores(OpKind::SyncTree, &path) {
                continue;
            }
            if is_dir { inner.state.sync_dir(ino)? } else { inner.state.sync_file(ino)? }
        }
        Ok(true)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut inner = self.inner.lock();
        if inner.faults.dead {
            return Err(faults::dead());
        }
        Ok(inner.state.find(path).is_ok())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut inner = self.inner.lock();
        let alive = inner.begin(OpKind::Lock, &text(path), "")?;
        let ino = open(&mut inner.state, path, OpenMode::Create)?;
        done(alive)?;
        if !inner.locks.insert(ino) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock { inner: Arc::clone(&self.inner), ino }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let inner = self.inner.lock();
        if inner.faults.dead {
            return Err(faults::dead());
        }
        let total = inner.faults.capacity.unwrap_or(UNBOUNDED);
        Ok(Space { total, available: total.saturating_sub(inner.state.allocated()) })
    }
}

struct MemLock {
    inner: Arc<Mutex<Inner>>,
    ino: Ino,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.inner.lock().locks.remove(&self.ino);
    }
}

struct MemFile {
    inner: Arc<Mutex<Inner>>,
    ino: Ino,
    writes: bool,
}

impl MemFile {
    fn writable(&self) -> io::Result<()> {
        if self.writes { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let mut inner = self.inner.lock();
        if let Some(inode) = inner.state.inodes.get_mut(&self.ino) {
            inode.open -= 1;
        }
    }
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        let mut inner = self.inner.lock();
        if inner.faults.dead {
            return Err(faults::dead());
        }
        inner.state.file(self.ino).map(|file| file.live.len)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut inner = self.inner.lock();
        let path = inner.state.path_of(self.ino);
        inner.begin(OpKind::Read, &path, &format!("{position}+{}", buf.len()))?;
        Ok(inner.state.file(self.ino)?.live.read(buf, position))
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.writable()?;
        let mut inner = self.inner.lock();
        let bytes = parts.iter().map(|part| &**part).collect::<Vec<_>>().concat();
        let path = inner.state.path_of(self.ino);
        let detail = format!("{position}+{}", bytes.len());
        match inner.faults.begin(OpKind::Write, &path, &detail) {
            Verdict::Go => inner.write(self.ino, position, &bytes),
            Verdict::Die => {
                inner.write(self.ino, position, &bytes)?;
                Err(faults::dead())
            }
            Verdict::Fail { short, error } => {
                let short = bytes.len().min(short as usize);
                inner.write(self.ino, position, &bytes[..short])?;
                Err(error)
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        let mut inner = self.inner.lock();
        let path = inner.state.path_of(self.ino);
        let alive = inner.begin(OpKind::SetLen, &path, &len.to_string())?;
        let file = inner.state.file(self.ino)?;
        file.live.set_len(len);
        file.journal.push(FileOp { change: FileChange::SetLen(len), stuck: false });
        done(alive)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let path = inner.state.path_of(self.ino);
        match inner.faults.begin(OpKind::Sync, &path, "") {
            Verdict::Go => {
                if inner.faults.ignores(OpKind::Sync, &path) {
                    return Ok(());
                }
                inner.state.sync_file(self.ino)
            }
            Verdict::Die => Err(faults::dead()),
            Verdict::Fail { error, .. } => {
                if !inner.faults.dead {
                    inner.state.give_up_file(self.ino)?;
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
