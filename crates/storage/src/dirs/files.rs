//! Small files that are read and replaced as a whole.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::{At, DirsError};
use crate::disk::{Disk, OpenMode};

/// No small file of a data directory is larger: a checkpoint of a million partitions fits.
const BYTES_MAX: u64 = 512 << 20;

/// Puts `bytes` in place of the file at `path`: after a crash it is the old or the new file as a
/// whole, and after success the new one. Writes `<path>.tmp`, syncs it, renames it, and syncs the
/// directory.
///
/// # Errors
/// The first of these steps that failed; the old file is then still in place, or the new one without
/// being durable.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DirsError> {
    let temporary = temporary(path);
    let file = disk.open(&temporary, OpenMode::Create).at("create", &temporary)?;
    file.set_len(0).at("truncate", &temporary)?; // What a crash left.
    file.write_at(&[IoSlice::new(bytes)], 0).at("write", &temporary)?;
    file.sync().at("sync", &temporary)?;
    drop(file);
    disk.rename(&temporary, path).at("rename to", path)?;
    sync_parent(disk, path)
}

/// Writes a file in place, without making it durable.
///
/// # Errors
/// A disk operation failed.
pub fn write_unsynced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DirsError> {
    let file = disk.open(path, OpenMode::Create).at("create", path)?;
    file.set_len(0).at("truncate", path)?;
    file.write_at(&[IoSlice::new(bytes)], 0).at("write", path)
}

/// The bytes of a small file; `None` when there is no such file.
///
/// # Errors
/// It cannot be read, or is larger than any file of this kind.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, DirsError> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", path),
    };
    let len = file.len().at("stat", path)?;
    let Some(len) = usize::try_from(len).ok().filter(|_| len <= BYTES_MAX) else {
        let what = format!("{len} bytes, at most {BYTES_MAX} are expected");
        return Err(DirsError::Malformed { path: path.to_path_buf(), what });
    };
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0).at("read", path)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// As [`read`], for a file of UTF-8 text.
///
/// # Errors
/// As [`read`], and [`DirsError::Malformed`] when it is not UTF-8.
pub fn read_text(disk: &dyn Disk, path: &Path) -> Result<Option<String>, DirsError> {
    let Some(bytes) = read(disk, path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let what = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
        DirsError::Malformed { path: path.to_path_buf(), what }
    })
}

/// Removes a file durably. Returns whether it was there.
///
/// # Errors
/// The removal or the sync of the directory failed.
pub fn remove(disk: &dyn Disk, path: &Path) -> Result<bool, DirsError> {
    match disk.remove_file(path) {
        Ok(()) => sync_parent(disk, path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}

/// Creates a directory and its parents durably; fine if it exists.
///
/// # Errors
/// The creation failed, or the sync of a directory that holds a new one.
pub fn create_dir(disk: &dyn Disk, path: &Path) -> Result<(), DirsError> {
    let mut new = vec![path]; // Synced even if it exists: a killed process may not have done it.
    for ancestor in path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if disk.exists(ancestor).at("look for", ancestor)? {
            break;
        }
        if ancestor != path {
            new.push(ancestor);
        }
    }
    disk.create_dir_all(path).at("create", path)?;
    for created in new.iter().rev() {
        sync_parent(disk, created)?;
    }
    Ok(())
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), DirsError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    disk.sync_dir(parent).at("sync", parent)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}
