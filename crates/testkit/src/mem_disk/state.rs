//! The file system behind the disk: what the running process sees, what is durable, and the journal
//! of what lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::content::Content;

pub(super) type Ino = u64;

/// The root directory.
pub(super) const ROOT: Ino = 1;

/// One unsynced change of a file.
#[derive(Debug, Clone)]
pub(super) enum FileChange {
    Write { position: u64, bytes: Arc<[u8]> },
    SetLen(u64),
}

#[derive(Debug, Clone)]
pub(super) struct FileOp {
    pub(super) change: FileChange,
    /// A sync failed on it: later syncs report success without writing it, as Linux does after it
    /// marked the pages clean.
    pub(super) stuck: bool,
}

/// One unsynced change of names. A rename is one change: it happens as a whole or not at all.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create { dir: Ino, name: String, ino: Ino },
    Remove { dir: Ino, name: String, ino: Ino },
    Rename { from: Ino, to: Ino, name: String, ino: Ino },
}

#[derive(Debug, Clone)]
pub(super) struct NameOp {
    pub(super) change: NameChange,
    /// Directories that still have to be synced.
    waits: Vec<Ino>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct FileNode {
    pub(super) live: Content,
    pub(super) durable: Content,
    pub(super) journal: Vec<FileOp>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirNode {
    pub(super) live: BTreeMap<String, Ino>,
    pub(super) durable: BTreeMap<String, Ino>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Where it is linked now; kept after removal for messages.
    parent: Ino,
    name: String,
    pub(super) linked: bool,
    /// Handles open on it.
    pub(super) open: usize,
    pub(super) node: Node,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<Ino, Inode>,
    pub(super) names: Vec<NameOp>,
    next_ino: Ino,
    /// With so many files, those that nothing can reach are looked for.
    collect_at: usize,
}

/// Fewer files than this are not worth looking through.
const COLLECT_MIN: usize = 64;

impl State {
    pub(super) fn new() -> Self {
        let root = Inode {
            parent: ROOT,
            name: String::new(),
            linked: true,
            open: 0,
            node: Node::Dir(DirNode::default()),
        };
        let inodes = BTreeMap::from([(ROOT, root)]);
        Self { inodes, names: Vec::new(), next_ino: ROOT + 1, collect_at: COLLECT_MIN }
    }

    pub(super) fn file(&mut self, ino: Ino) -> io::Result<&mut FileNode> {
        match self.inodes.get_mut(&ino).map(|inode| &mut inode.node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn dir(&mut self, ino: Ino) -> io::Result<&mut DirNode> {
        match self.inodes.get_mut(&ino).map(|inode| &mut inode.node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        matches!(self.inodes.get(&ino), Some(Inode { node: Node::Dir(_), .. }))
    }

    /// The path as of now, or as of its removal.
    pub(super) fn path_of(&self, mut ino: Ino) -> String {
        let mut parts = Vec::new();
        while ino != ROOT {
            let Some(inode) = self.inodes.get(&ino) else { break };
            parts.push(inode.name.as_str());
            ino = inode.parent;
        }
        parts.reverse();
        format!("/{}", parts.join("/"))
    }

    /// The directory and everything that is linked below it.
    pub(super) fn below(&self, root: Ino) -> Vec<Ino> {
        let is_below = |&&ino: &&Ino| {
            let mut at = ino;
            while at != root && at != ROOT {
                match self.inodes.get(&at).filter(|inode| inode.linked) {
                    Some(inode) => at = inode.parent,
                    None => return false,
                }
            }
            at == root
        };
        self.inodes.keys().filter(is_below).copied().collect()
    }

    pub(super) fn find(&mut self, path: &Path) -> io::Result<Ino> {
        let mut at = ROOT;
        for part in parts(path)? {
            at = *self.dir(at)?.live.get(&part).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory that holds `path`, and the last name.
    pub(super) fn parent(&mut self, path: &Path) -> io::Result<(Ino, String)> {
        let mut all = parts(path)?;
        let last = all.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = ROOT;
        for part in all {
            at = *self.dir(at)?.live.get(&part).ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(at)?;
        Ok((at, last))
    }

    pub(super) fn create(&mut self, dir: Ino, name: &str, node: Node) -> io::Result<Ino> {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.dir(dir)?.live.insert(name.to_owned(), ino);
        let inode = Inode { parent: dir, name: name.to_owned(), linked: true, open: 0, node };
        self.inodes.insert(ino, inode);
        let change = NameChange::Create { dir, name: name.to_owned(), ino };
        self.names.push(NameOp { change, waits: vec![dir] });
        Ok(ino)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<Ino> {
        let mut at = ROOT;
        for part in parts(path)? {
            at = match self.dir(at)?.live.get(&part) {
                Some(&next) => next,
                None => self.create(at, &part, Node::Dir(DirNode::default()))?,
            };
        }
        self.dir(at)?;
        Ok(at)
    }

    pub(super) fn remove(&mut self, dir: Ino, name: &str) -> io::Result<()> {
        let ino = self.dir(dir)?.live.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if let Ok(inner) = self.dir(ino) {
            let names: Vec<String> = inner.live.keys().cloned().collect();
            for inner in names {
                self.remove(ino, &inner)?;
            }
        }
        self.unlink(ino);
        let change = NameChange::Remove { dir, name: name.to_owned(), ino };
        self.names.push(NameOp { change, waits: vec![dir] });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.find(from)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (self.parent(from)?, self.parent(to)?);
        let replaced = self.dir(to_dir)?.live.get(&to_name).copied();
        if replaced == Some(ino) {
            return Ok(());
        }
        if let Some(old) = replaced {
            match (self.is_dir(ino), self.is_dir(old)) {
                (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, true) if !self.dir(old)?.live.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => self.unlink(old),
            }
        }
        self.dir(from_dir)?.live.remove(&from_name);
        self.dir(to_dir)?.live.insert(to_name.clone(), ino);
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.parent = to_dir;
            inode.name.clone_from(&to_name);
        }
        let mut waits = vec![from_dir];
        if to_dir != from_dir {
            waits.push(to_dir);
        }
        let change = NameChange::Rename { from: from_dir, to: to_dir, name: to_name, ino };
        self.names.push(NameOp { change, waits });
        Ok(())
    }

    fn unlink(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.linked = false;
        }
    }

    /// Makes the file's changes durable, except those a failed sync gave up.
    pub(super) fn sync_file(&mut self, ino: Ino) -> io::Result<()> {
        let file = self.file(ino)?;
        let journal = std::mem::take(&mut file.journal);
        if journal.iter().any(|op| op.stuck) {
            let (stuck, good): (Vec<_>, Vec<_>) = journal.into_iter().partition(|op| op.stuck);
            for op in &good {
                apply(&mut file.durable, &op.change);
            }
            // What was rewritten since has its newer bytes: the older ones are gone for good.
            file.journal = stuck
                .into_iter()
                .filter(|old| !good.iter().any(|new| overlap(&old.change, &new.change)))
                .collect();
            return Ok(());
        }
        for op in &journal {
            match &op.change {
                FileChange::SetLen(len) => file.durable.set_len(*len),
                FileChange::Write { position, bytes } => {
                    file.durable.share(&file.live, *position, bytes.len() as u64);
                }
            }
        }
        file.durable.set_len(file.live.len);
        Ok(())
    }

    /// A sync failed: its pages are marked clean without having reached the medium.
    pub(super) fn give_up_file(&mut self, ino: Ino) -> io::Result<()> {
        for op in &mut self.file(ino)?.journal {
            op.stuck = true;
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: Ino) -> io::Result<()> {
        self.dir(dir)?;
        let (mut done, mut removed) = (Vec::new(), false);
        self.names.retain_mut(|op| {
            op.waits.retain(|&waits| waits != dir);
            if op.waits.is_empty() {
                done.push(op.change.clone());
            }
            !op.waits.is_empty()
        });
        for change in &done {
            removed |= !matches!(change, NameChange::Create { .. });
            self.apply_name(change);
        }
        if removed && self.inodes.len() >= self.collect_at {
            self.collect();
        }
        Ok(())
    }

    /// Changes the durable names.
    pub(super) fn apply_name(&mut self, change: &NameChange) {
        match change {
            NameChange::Create { dir, name, ino } => {
                if let Ok(dir) = self.dir(*dir) {
                    dir.durable.insert(name.clone(), *ino);
                }
            }
            NameChange::Remove { dir, name, ino } => {
                if let Ok(dir) = self.dir(*dir)
                    && dir.durable.get(name) == Some(ino)
                {
                    dir.durable.remove(name);
                }
            }
            NameChange::Rename { from, to, name, ino } => {
                for dir in [from, to] {
                    if let Ok(dir) = self.dir(*dir) {
                        dir.durable.retain(|_, held| held != ino);
                    }
                }
                if let Ok(dir) = self.dir(*to) {
                    dir.durable.insert(name.clone(), *ino);
                }
            }
        }
    }

    /// Forgets files that nothing can reach any more.
    pub(super) fn collect(&mut self) {
        let mut reachable = BTreeSet::new();
        let mut queue: Vec<Ino> = vec![ROOT];
        queue.extend(self.inodes.iter().filter(|(_, inode)| inode.open > 0).map(|(&ino, _)| ino));
        for op in &self.names {
            let (NameChange::Create { ino, .. }
            | NameChange::Remove { ino, .. }
            | NameChange::Rename { ino, .. }) = &op.change;
            queue.push(*ino);
            queue.extend(&op.waits);
        }
        while let Some(ino) = queue.pop() {
            if let Some(inode) = self.inodes.get(&ino)
                && reachable.insert(ino)
                && let Node::Dir(dir) = &inode.node
            {
                queue.extend(dir.live.values());
                queue.extend(dir.durable.values());
            }
        }
        self.inodes.retain(|ino, _| reachable.contains(ino));
        self.collect_at = 2 * self.inodes.len() + COLLECT_MIN;
    }

    /// Bytes that linked files occupy.
    pub(super) fn allocated(&self) -> u64 {
        let linked = self.inodes.values().filter(|inode| inode.linked);
        linked
            .map(|inode| match &inode.node {
                Node::File(file) => file.live.allocated(),
                Node::Dir(_) => 0,
            })
            .sum()
    }

    /// Makes the durable state the only one, as after a restart of the machine.
    pub(super) fn restart(&mut self) {
        self.names.clear();
        let mut links = Vec::new();
        for (&ino, inode) in &mut self.inodes {
            inode.open = 0;
            inode.linked = ino == ROOT;
            match &mut inode.node {
                Node::File(file) => {
                    file.live = file.durable.clone();
                    file.journal.clear();
                }
                Node::Dir(dir) => {
                    dir.live = dir.durable.clone();
                    links.extend(dir.live.iter().map(|(name, &held)| (ino, name.clone(), held)));
                }
            }
        }
        for (parent, name, ino) in links {
            if let Some(inode) = self.inodes.get_mut(&ino) {
                inode.parent = parent;
                inode.name = name;
                inode.linked = true;
            }
        }
        self.collect();
    }
}

/// Applies one change of a file to its content.
pub(super) fn apply(content: &mut Content, change: &FileChange) {
    match change {
        FileChange::Write { position, bytes } => content.write(*position, bytes),
        FileChange::SetLen(len) => content.set_len(*len),
    }
}

fn overlap(old: &FileChange, new: &FileChange) -> bool {
    let range = |change: &FileChange| match change {
        FileChange::Write { position, bytes } => (*position, position + bytes.len() as u64),
        FileChange::SetLen(len) => (*len, u64::MAX),
    };
    let ((a, b), (c, d)) = (range(old), range(new));
    a < d && c < b
}

fn parts(path: &Path) -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                if name.len() > 255 {
                    return Err(io::ErrorKind::InvalidFilename.into());
                }
                all.push(name.to_owned());
            }
            Component::Prefix(_) | Component::ParentDir => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
    }
    Ok(all)
}
