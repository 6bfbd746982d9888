//! Checkpoint files: one offset per partition, as text, replaced as a whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ottla_protocol::ids::{Offset, PartitionIndex};

use crate::dirs::{DirsError, files};
use crate::disk::Disk;

/// Up to here a log is known to be on the disk; recovery reads what lies after it.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// Log start offsets, where they are above the first segment's base offset.
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// First dirty offset of compacted partitions.
pub const CLEANER: &str = "cleaner-offset-checkpoint";

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, PartitionIndex), Offset>;

/// A checkpoint file as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its entries; none when there is no file, or a damaged one.
    pub offsets: Offsets,
    /// The file is damaged, for this reason, and counts as absent: more is recovered, fetched or
    /// cleaned again than would be needed. To be logged.
    pub damage: Option<String>,
}

/// A checkpoint text that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// The first line is not the version.
    #[error("version {0:?} in line 1, 0 is expected")]
    Version(String),
    /// The second line is not the number of entries.
    #[error("line 2 is {0:?}, the number of entries is expected")]
    Count(String),
    /// A line is no entry.
    #[error("line {line} is {text:?}, {expected:?} is expected")]
    Entry {
        /// Its number, from 1.
        line: usize,
        /// Its first characters.
        text: String,
        /// What an entry looks like.
        expected: &'static str,
    },
    /// The last line has no end.
    #[error("the last line has no end, so its number may be cut")]
    Cut,
    /// Lines are missing or left over.
    #[error("{found} entries, line 2 says {stated}")]
    Entries {
        /// Entries there are.
        found: usize,
        /// Entries there should be.
        stated: usize,
    },
}

/// Reads checkpoint `name` of data directory `dir`.
///
/// # Errors
/// A disk operation failed. A damaged file is no error, see [`Checkpoint::damage`].
pub fn read(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Checkpoint, DirsError> {
    let path = dir.join(name);
    let parsed = match files::read_text(disk, &path) {
        Ok(None) => return Ok(Checkpoint::default()),
        Ok(Some(text)) => parse(&text).map_err(|error| error.to_string()),
        Err(DirsError::Malformed { what, .. }) => Err(what),
        Err(error) => return Err(error),
    };
    Ok(match parsed {
        Ok(offsets) => Checkpoint { offsets, damage: None },
        Err(what) => {
            let damage = format!("{} is damaged and counts as absent: {what}", path.display());
            Checkpoint { offsets: Offsets::new(), damage: Some(damage) }
        }
    })
}

/// Replaces checkpoint `name` of data directory `dir`; durable when it returns.
///
/// # Errors
/// A disk operation failed; the old checkpoint or the new one is in place.
pub fn write<'a>(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    offsets: impl IntoIterator<Item = (&'a str, PartitionIndex, Offset)>,
) -> Result<(), DirsError> {
    files::replace(disk, &dir.join(name), render(offsets).as_bytes())
}

/// Reads a checkpoint's text; a file of 0 bytes has no entries.
///
/// # Errors
/// Says which line is wrong.
pub fn parse(text: &str) -> Result<Offsets, InvalidCheckpoint> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        let partition = partition.parse().ok().filter(|&partition| partition >= 0)?;
        let offset = offset.parse().ok()?;
        let key = (topic.to_owned(), PartitionIndex(partition));
        words.next().is_none().then_some((key, Offset(offset)))
    };
    Ok(parse_lines(text, "topic partition offset", entry)?.into_iter().collect())
}

/// The text of a checkpoint.
pub fn render<'a>(offsets: impl IntoIterator<Item = (&'a str, PartitionIndex, Offset)>) -> String {
    render_lines(offsets.into_iter().map(|(topic, partition, offset)| {
        move |text: &mut String| write!(text, "{topic} {partition} {offset}")
    }))
}

/// Reads the frame that all checkpoints share: version 0, the number of entries, one entry a line.
///
/// # Errors
/// Says which line is wrong; `expected` is what an entry looks like.
pub fn parse_lines<T>(
    text: &str,
    expected: &'static str,
    entry: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, InvalidCheckpoint> {
    let short = |line: Option<&str>| line.unwrap_or_default().chars().take(80).collect::<String>();
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != "0" {
        return Err(InvalidCheckpoint::Version(short(Some(version))));
    }
    let count = lines.next();
    let stated: usize = count
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| InvalidCheckpoint::Count(short(count)))?;
    let mut found = Vec::new();
    for (i, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let invalid =
            || InvalidCheckpoint::Entry { line: i + 3, text: short(Some(line)), expected };
        found.push(entry(line).ok_or_else(invalid)?);
    }
    if !text.ends_with('\n') {
        return Err(InvalidCheckpoint::Cut); // The last number may have lost digits.
    }
    if found.len() != stated {
        return Err(InvalidCheckpoint::Entries { found: found.len(), stated });
    }
    Ok(found)
}

/// Renders the frame that all checkpoints share.
pub fn render_lines<E>(entries: impl Iterator<Item = E>) -> String
where
    E: FnOnce(&mut String) -> std::fmt::Result,
{
    let (mut lines, mut count) = (String::new(), 0usize);
    for entry in entries {
        // Writing to a string does not fail.
        let _ = entry(&mut lines);
        lines.push('\n');
        count += 1;
    }
    format!("0\n{count}\n{lines}")
}
