//! Files that a crash left half-way: deletions, compaction output, temporary files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ottla_protocol::ids::Offset;

use crate::disk::{DirEntry, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext, parse_name};
use crate::scan::{Scanner, Step, WALK_CHUNK};

/// Removes `.deleted`, `.cleaned` and `.tmp` files and finishes a swap: a `.log.swap` is complete
/// when it exists under that name, unless `.cleaned` files say that its siblings never were. Without it
/// they are removed: after a swap that was undone they would not fit the log that is there, and what a
/// swap that was finished lacks then is made anew.
pub(crate) fn tidy(home: &Home, entries: &[DirEntry]) -> Result<(), StorageError> {
    let names = || entries.iter().filter(|entry| !entry.is_dir).map(|entry| entry.name.as_str());
    let first_cleaned = names()
        .filter_map(|name| parse_name(name.strip_suffix(".cleaned")?))
        .map(|(base, _)| base)
        .min();
    let mut swaps = Vec::new();
    for name in names() {
        let leftover = [".deleted", ".cleaned", ".tmp"].iter().any(|end| name.ends_with(end));
        if leftover {
            home.remove(&home.dir.join(name))?;
        } else if let Some((base, ext)) = name.strip_suffix(".swap").and_then(parse_name) {
            if first_cleaned.is_some_and(|first| base >= first) {
                home.remove(&home.dir.join(name))?;
            } else {
                swaps.push((base, ext));
            }
        }
    }
    let logs = swaps.iter().filter(|(_, ext)| *ext == ext::LOG);
    let swapped: BTreeSet<Offset> = logs.map(|(base, _)| *base).collect();
    for base in &swapped {
        drop_replaced(home, entries, *base, &swapped)?;
    }
    for (base, ext) in swaps.into_iter().filter(|(_, ext)| *ext != ext::LOG) {
        let path = swap_path(home, base, ext);
        if swapped.contains(&base) {
            home.rename(&path, &home.path(base, ext))?;
        } else {
            home.remove(&path)?;
        }
    }
    home.sync_dir()?;
    // The log comes last: while it has the suffix, this is done again after another crash.
    for base in swapped {
        home.rename(&swap_path(home, base, ext::LOG), &home.path(base, ext::LOG))?;
    }
    home.sync_dir()
}

/// Removes the segments whose range the swapped one covers.
fn drop_replaced(
    home: &Home,
    entries: &[DirEntry],
    base: Offset,
    swapped: &BTreeSet<Offset>,
) -> Result<(), StorageError> {
    let end = end_of(home, base)?;
    for entry in entries {
        let Some((other, ext)) = parse_name(&entry.name) else { continue };
        let replaced = other > base && other < end && !swapped.contains(&other);
        if replaced && ext::SEGMENT.contains(&ext) {
            home.remove(&home.path(other, ext))?;
        }
    }
    Ok(())
}

fn end_of(home: &Home, base: Offset) -> Result<Offset, StorageError> {
    let path = swap_path(home, base, ext::LOG);
    let file = home.open(&path, OpenMode::Read)?;
    let size = u32::try_from(file.len().context("stat", &path)?).unwrap_or(u32::MAX);
    let mut scanner = Scanner::new(file.as_ref(), 0, size, WALK_CHUNK);
    let mut end = base;
    while let Step::Entry { entry, .. } = scanner.step_headers().context("read", &path)? {
        end = entry.next_offset();
    }
    Ok(end)
}

fn swap_path(home: &Home, base: Offset, ext: &str) -> PathBuf {
    home.dir.join(format!("{}.swap", crate::home::file_name(base, ext)))
}
