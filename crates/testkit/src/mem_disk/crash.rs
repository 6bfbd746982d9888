//! What a crash leaves: the durable state plus a chosen subset of everything unsynced.

use super::content::{Content, pieces};
use super::state::{FileChange, Node, State, apply};
use crate::Rng;

/// How the unsynced changes fare.
pub(super) enum Choice {
    KeepAll,
    DropAll,
    Seed(u64),
}

/// The state a machine finds when it comes up again.
pub(super) fn crash(state: &State, choice: &Choice) -> State {
    let mut after = state.clone();
    let mut luck = Luck::new(choice);
    for op in &state.names {
        if luck.keeps() {
            after.apply_name(&op.change);
        }
    }
    for (&ino, inode) in &state.inodes {
        if let (Node::File(before), Ok(file)) = (&inode.node, after.file(ino)) {
            luck.next_file();
            for op in &before.journal {
                keep_some(&mut file.durable, &op.change, &mut luck);
            }
        }
    }
    after.restart();
    after
}

fn keep_some(content: &mut Content, change: &FileChange, luck: &mut Luck) {
    let FileChange::Write { position, bytes } = change else {
        if luck.keeps() {
            apply(content, change);
        }
        return;
    };
    let end = position + bytes.len() as u64;
    for (from, to, _) in pieces(*position, bytes.len() as u64) {
        let piece = &bytes[(from - position) as usize..(to - position) as usize];
        for (at, part) in luck.surviving(piece) {
            content.write(from + at, part);
        }
    }
    // The new length may reach the medium without the data behind it.
    if content.len < end && luck.grows() {
        content.set_len(end);
    }
}

/// The choices of one crash. Each crash, and each file in it, leans another way, so that seeds reach
/// both the extremes and the mixtures.
enum Luck {
    All(bool),
    Draw { rng: Rng, lean: u64 },
}

impl Luck {
    fn new(choice: &Choice) -> Self {
        match choice {
            Choice::KeepAll => Self::All(true),
            Choice::DropAll => Self::All(false),
            Choice::Seed(seed) => {
                let mut rng = Rng::new(*seed);
                let lean = lean(&mut rng);
                Self::Draw { rng, lean }
            }
        }
    }

    fn next_file(&mut self) {
        if let Self::Draw { rng, lean: current } = self {
            *current = lean(rng);
        }
    }

    fn keeps(&mut self) -> bool {
        match self {
            Self::All(keep) => *keep,
            Self::Draw { rng, lean } => rng.chance(*lean, 8),
        }
    }

    fn grows(&mut self) -> bool {
        match self {
            Self::All(_) => false,
            Self::Draw { rng, .. } => rng.chance(1, 4),
        }
    }

    /// The parts of a page's bytes that reached the medium, with their positions.
    fn surviving<'a>(&mut self, piece: &'a [u8]) -> Vec<(u64, &'a [u8])> {
        const SECTOR: usize = 512;
        let keep = self.keeps();
        let whole = if keep { vec![(0, piece)] } else { Vec::new() };
        let Self::Draw { rng, .. } = self else { return whole };
        if !rng.chance(1, 4) {
            return whole;
        }
        let cut = rng.below(piece.len() as u64 + 1) as usize;
        match rng.below(3) {
            0 => vec![(0, &piece[..cut])],
            1 => vec![(cut as u64, &piece[cut..])],
            _ => {
                let sectors = piece.chunks(SECTOR).enumerate();
                let sectors = sectors.map(|(i, sector)| ((i * SECTOR) as u64, sector));
                sectors.filter(|_| rng.chance(1, 2)).collect()
            }
        }
    }
}

fn lean(rng: &mut Rng) -> u64 {
    *rng.pick(&[0, 1, 4, 7, 8])
}
