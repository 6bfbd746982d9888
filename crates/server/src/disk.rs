//! [`Disk`] over the operating system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::{DirEntry, Disk, DiskFile, OpenMode, Space};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Most parts that one `pwritev` takes (`IOV_MAX` on Linux).
const PARTS_MAX: usize = 1024;

/// The real disk.
#[derive(Debug, Default)]
pub struct RealDisk {
    roots: Vec<Root>,
}

/// A data directory.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Held open: `syncfs` reports the errors of the file system since then. Absent where it does
    /// not.
    handle: Option<File>,
}

impl RealDisk {
    /// The real disk, on which [`Disk::sync_tree`] is fast for these directories. They must exist.
    #[must_use]
    pub fn new(data_dirs: &[PathBuf]) -> Self {
        let root = |path: &PathBuf| Root {
            path: path.clone(),
            handle: File::open(path).ok().filter(syncfs_reports_errors),
        };
        Self { roots: data_dirs.iter().map(root).collect() }
    }
}

/// Whether `syncfs` on the file system of this directory tells what could not be written.
fn syncfs_reports_errors(directory: &File) -> bool {
    const EXT4: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683E;
    const F2FS: u64 = 0xF2F5_2010;
    const TMPFS: u64 = 0x0102_1994;
    let kernel = rustix::system::uname();
    let mut version = kernel.release().to_str().unwrap_or_default().split(['.', '-']);
    let mut number = || version.next().and_then(|part| part.parse().ok()).unwrap_or(0_u32);
    let recent = (number(), number()) >= (5, 8);
    let known = rustix::fs::fstatfs(directory)
        .is_ok_and(|found| [EXT4, XFS, BTRFS, F2FS, TMPFS].contains(&(found.f_type as u64)));
    recent && known
}

/// An open file of the real disk.
#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        // The standard library sets O_CLOEXEC.
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_dir = entry.file_type()?.is_dir();
            let len = match entry.metadata() {
                Ok(_) if is_dir => 0,
                Ok(metadata) => metadata.len(),
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry { name, is_dir, len });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// `syncfs`, where the kernel reports its errors (Linux 5.8) and the file system is known to pass
    /// them on.
    fn sync_tree(&self, path: &Path) -> io::Result<bool> {
        let root = self.roots.iter().find(|root| path.starts_with(&root.path));
        let Some(handle) = root.and_then(|root| root.handle.as_ref()) else { return Ok(false) };
        rustix::fs::syncfs(handle)?;
        Ok(true)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    /// A record lock on the whole file, which is what Java's `FileChannel.lock` takes: a Kafka
    /// process and this one see each other's. The file must not be opened a second time while the
    /// lock is held: closing any descriptor of it would release the lock.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(file)),
            // POSIX leaves it open which of the two says "held by another process".
            Err(Errno::ACCESS | Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Space {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            available: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, mut buf: &mut [u8], mut position: u64) -> io::Result<usize> {
        let mut done = 0;
        while !buf.is_empty() {
            match self.0.read_at(buf, position) {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    position += read as u64;
                    buf = buf.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let written = write_some(&self.0, parts, position)?;
        if written < total { write_rest(&self.0, parts, (written, position)) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn raw_fd(&self) -> Option<i32> {
        Some(self.0.as_raw_fd())
    }
}

/// Writes after the first `written` bytes, which one call did not take all at once.
fn write_rest(
    file: &File,
    parts: &[IoSlice<'_>],
    (mut written, mut position): (usize, u64),
) -> io::Result<()> {
    let mut parts = parts.to_vec();
    let mut rest = parts.as_mut_slice();
    loop {
        position += written as u64;
        IoSlice::advance_slices(&mut rest, written);
        if rest.iter().all(|part| part.is_empty()) {
            return Ok(());
        }
        written = write_some(file, rest, position)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
}

/// One vectored write, repeated when a signal interrupted it.
fn write_some(file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    let parts = parts.get(..parts.len().min(PARTS_MAX)).unwrap_or(parts);
    loop {
        match rustix::io::pwritev(file, parts, position) {
            Ok(written) => return Ok(written),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("ottla-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn parts_beyond_the_systems_limit_are_all_written() {
        let dir = scratch("parts");
        let file = RealDisk::default().open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        let bytes: Vec<u8> = (0..3 * PARTS_MAX + 7).map(|i| i as u8).collect();
        let parts: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
        file.write_at(&parts, 5).unwrap();
        let mut read = vec![0; bytes.len() + 9];
        assert_eq!(file.read_at(&mut read, 5).unwrap(), bytes.len(), "short only at the end");
        assert_eq!(read[..bytes.len()], bytes);
        assert_eq!(file.len().unwrap(), 5 + bytes.len() as u64);
        file.write_at(&[], 0).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn modes_say_what_must_exist() {
        let dir = scratch("modes");
        let path = dir.join("f");
        let kind = |mode| RealDisk::default().open(&path, mode).err().map(|error| error.kind());
        assert_eq!(kind(OpenMode::Read), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(OpenMode::ReadWrite), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(OpenMode::Create), None);
        assert_eq!(kind(OpenMode::CreateNew), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(OpenMode::Read), None);
        fs::create_dir(dir.join("d")).unwrap();
        let names: Vec<_> = RealDisk::default()
            .list(&dir)
            .unwrap()
            .into_iter()
            .map(|e| (e.name, e.is_dir))
            .collect();
        assert_eq!(names, [("d".to_owned(), true), ("f".to_owned(), false)]);
        assert!(RealDisk::default().space(&dir).unwrap().available > 0);
        fs::remove_dir_all(dir).unwrap();
    }
}
