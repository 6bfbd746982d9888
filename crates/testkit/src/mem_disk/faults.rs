//! What a test may make go wrong, and what it may look at afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// The kinds of operation a disk counts, fails and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// Opening a file that exists.
    Open,
    /// Opening a file that did not exist.
    Create,
    /// `create_dir_all`, when it creates at least one.
    CreateDir,
    /// `list`.
    List,
    /// `rename`.
    Rename,
    /// `remove_file`.
    RemoveFile,
    /// `remove_dir_all`.
    RemoveDir,
    /// `sync_dir`.
    SyncDir,
    /// `sync_tree`.
    SyncTree,
    /// `lock`.
    Lock,
    /// `read_at`.
    Read,
    /// `write_at`.
    Write,
    /// `set_len`.
    SetLen,
    /// `sync` of a file.
    Sync,
}

impl OpKind {
    /// Whether the operation changes what a crash may leave behind. Only these are numbered.
    #[must_use]
    pub const fn is_mutation(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Lock | Self::Read)
    }
}

/// One operation, as `MemDisk::take_ops` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRecord {
    /// What was done.
    pub kind: OpKind,
    /// The path at the time of the operation.
    pub path: String,
    /// Positions, lengths and second names; empty where there is nothing to add.
    pub detail: String,
    /// Whether it succeeded.
    pub ok: bool,
}

impl fmt::Display for OpRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, path, detail, ok } = self;
        write!(f, "{kind:?} {path}")?;
        if !detail.is_empty() {
            write!(f, " {detail}")?;
        }
        if !ok {
            write!(f, " failed")?;
        }
        Ok(())
    }
}

/// The operating system's error that a fault gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// EIO: the medium failed.
    Io = 5,
    /// EMFILE: no descriptor left.
    TooManyOpenFiles = 24,
    /// ENOSPC: the disk is full.
    NoSpace = 28,
    /// EROFS: the file system went read-only.
    ReadOnly = 30,
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno as i32)
    }
}

/// Makes matching operations fail: by default every one of the kind, with EIO.
#[derive(Debug, Clone)]
pub struct Fault {
    kind: OpKind,
    glob: String,
    skip: u64,
    times: u64,
    short: u64,
    errno: Errno,
}

impl Fault {
    /// Fails operations of this kind.
    #[must_use]
    pub fn on(kind: OpKind) -> Self {
        Self { kind, glob: "*".into(), skip: 0, times: u64::MAX, short: 0, errno: Errno::Io }
    }

    /// Only where the whole path matches; `*` stands for any text, also with slashes.
    #[must_use]
    pub fn path(mut self, glob: &str) -> Self {
        glob.clone_into(&mut self.glob);
        self
    }

    /// Lets the first `count` matching operations pass.
    #[must_use]
    pub const fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Fails only so many operations.
    #[must_use]
    pub const fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// A failing write first writes so many of its bytes.
    #[must_use]
    pub const fn short(mut self, bytes: u64) -> Self {
        self.short = bytes;
        self
    }

    /// The error given.
    #[must_use]
    pub const fn error(mut self, errno: Errno) -> Self {
        self.errno = errno;
        self
    }
}

/// What happens to one operation.
pub(super) enum Verdict {
    /// It is done.
    Go,
    /// It fails after `short` bytes (of a write; nothing else has an effect).
    Fail { short: u64, error: io::Error },
    /// The process dies in it: the effect may or may not come about.
    Die,
}

/// The switches of one disk.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Fault>,
    pub(super) ignored_file_syncs: Vec<String>,
    pub(super) ignored_dir_syncs: Vec<String>,
    pub(super) ignored_tree_syncs: Vec<String>,
    pub(super) ignored_after: Vec<(OpKind, String, OpKind, String)>,
    /// The last mutation, and the one before it.
    last: Option<(OpKind, String)>,
    previous: Option<(OpKind, String)>,
    pub(super) capacity: Option<u64>,
    pub(super) die_at: Option<u64>,
    pub(super) dead: bool,
    pub(super) no_tree_syncs: bool,
    pub(super) mutations: u64,
    pub(super) counts: BTreeMap<OpKind, u64>,
    pub(super) log: Option<Vec<OpRecord>>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.rules.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.ignored_file_syncs.clear();
        self.ignored_dir_syncs.clear();
        self.ignored_tree_syncs.clear();
        self.ignored_after.clear();
        self.die_at = None;
    }

    /// Counts an operation and decides about it.
    pub(super) fn begin(&mut self, kind: OpKind, path: &str, detail: &str) -> Verdict {
        if self.dead {
            return Verdict::Fail { short: 0, error: dead() };
        }
        let verdict = self.decide(kind, path);
        *self.counts.entry(kind).or_default() += 1;
        if kind.is_mutation() {
            self.mutations += 1;
            self.previous = self.last.replace((kind, path.to_owned()));
        }
        if let Some(log) = &mut self.log {
            let ok = matches!(verdict, Verdict::Go);
            log.push(OpRecord { kind, path: path.to_owned(), detail: detail.to_owned(), ok });
        }
        verdict
    }

    /// Whether the sync that was just begun has no effect.
    pub(super) fn ignores(&self, sync: OpKind, path: &str) -> bool {
        let globs = match sync {
            OpKind::Sync => &self.ignored_file_syncs,
            OpKind::SyncTree => &self.ignored_tree_syncs,
            _ => &self.ignored_dir_syncs,
        };
        let previous = |kind: OpKind, glob: &str| {
            self.previous.as_ref().is_some_and(|(last, path)| *last == kind && matches(glob, path))
        };
        globs.iter().any(|glob| matches(glob, path))
            || self.ignored_after.iter().any(|(kind, glob, ignored, of)| {
                *ignored == sync && matches(of, path) && previous(*kind, glob)
            })
    }

    fn decide(&mut self, kind: OpKind, path: &str) -> Verdict {
        if kind.is_mutation() && self.die_at.is_some_and(|at| self.mutations >= at) {
            self.dead = true;
            return Verdict::Die;
        }
        for rule in self.rules.iter_mut().filter(|rule| rule.kind == kind) {
            if !matches(&rule.glob, path) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return Verdict::Fail { short: rule.short, error: rule.errno.into() };
            }
        }
        Verdict::Go
    }
}

/// What every operation of a dead process gives.
pub(super) fn dead() -> io::Error {
    io::Error::other("the process that had this disk open is dead")
}

/// Whether `text` matches `glob`, in which `*` stands for any text.
pub(super) fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, text, want) in [
            ("*", "", true),
            ("*", "/a/b", true),
            ("/a", "/a", true),
            ("/a", "/a/b", false),
            ("*.log", "/t-0/00.log", true),
            ("*.log", "/t-0/00.log.deleted", false),
            ("/t-*/*.log", "/t-0/00.log", true),
            ("/t-*/*.log", "/u-0/00.log", false),
            ("*aba", "aba", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(glob, text), want, "{glob} {text}");
        }
    }
}
