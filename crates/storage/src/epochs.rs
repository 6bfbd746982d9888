//! Which leader epoch began at which offset (KIP-101), as `leader-epoch-checkpoint` keeps it.

use ottla_protocol::ids::{LeaderEpoch, Offset};

/// One line of the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start_offset: Offset,
}

/// The epochs of a log, oldest first; epochs and start offsets both increase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// Reads the checkpoint's text; an empty file has no entries.
    ///
    /// # Errors
    /// Says which line is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let Some(version) = lines.next() else { return Ok(Self::default()) };
        if version.trim() != "0" {
            return Err(format!("version {version:?} in line 1 is not 0"));
        }
        let count: usize = lines
            .next()
            .and_then(|line| line.trim().parse().ok())
            .ok_or("line 2 is not the number of entries")?;
        let mut cache = Self::default();
        for (number, line) in lines.enumerate().take_while(|(_, line)| !line.is_empty()) {
            let entry = parse_line(line)
                .ok_or_else(|| format!("line {} is not \"epoch offset\": {line:?}", number + 3))?;
            cache.assign(entry.epoch, entry.start_offset);
            if number >= count {
                return Err(format!("more than the {count} entries of line 2"));
            }
        }
        Ok(cache)
    }

    /// The checkpoint's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            text.push_str(&format!("{} {}\n", entry.epoch, entry.start_offset));
        }
        text
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that `epoch` begins at `start`. Older entries that contradict it go, as Kafka's do.
    /// Returns whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch(0) || start < Offset::ZERO {
            return false;
        }
        if let Some(last) = self.entries.last()
            && last.epoch == epoch
            && last.start_offset <= start
        {
            return false;
        }
        while self.entries.pop_if(|e| e.epoch >= epoch || e.start_offset >= start).is_some() {}
        self.entries.push(EpochEntry { epoch, start_offset: start });
        true
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|e| e.start_offset <= offset);
        after.checked_sub(1).and_then(|i| self.entries.get(i)).map(|e| e.epoch)
    }

    /// The largest epoch not above `epoch`, and the offset where it ends (OffsetsForLeaderEpoch,
    /// KIP-101/279). (-1, -1) if nothing is known of it.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        const UNKNOWN: (LeaderEpoch, Offset) = (LeaderEpoch::NONE, Offset::NONE);
        if epoch == LeaderEpoch::NONE {
            return UNKNOWN;
        }
        let next = self.entries.partition_point(|e| e.epoch <= epoch);
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let Some(higher) = self.entries.get(next) else { return UNKNOWN };
        match next.checked_sub(1).and_then(|i| self.entries.get(i)) {
            Some(floor) => (floor.epoch, higher.start_offset),
            // All known epochs are newer: the asker truncates to where the oldest begins.
            None => (epoch, higher.start_offset),
        }
    }

    /// Forgets epochs that begin at `end` or later. Returns whether anything changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.start_offset < end);
        before != self.entries.len()
    }

    /// Forgets epochs that end at or before `start`; the one that contains it then begins there.
    /// Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|e| e.start_offset <= start);
        let Some(floor) = after.checked_sub(1) else { return false };
        let moved = self.entries.get_mut(floor).is_some_and(|entry| {
            let moved = entry.start_offset != start;
            entry.start_offset = start;
            moved
        });
        self.entries.drain(..floor);
        moved || floor > 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

fn parse_line(line: &str) -> Option<EpochEntry> {
    let (epoch, offset) = line.split_once(' ')?;
    let (epoch, offset) = (epoch.parse().ok()?, offset.trim().parse().ok()?);
    (epoch >= 0 && offset >= 0)
        .then_some(EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(offset) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for &(epoch, start) in entries {
            cache.assign(LeaderEpoch(epoch), Offset(start));
        }
        cache
    }

    #[test]
    fn text_has_version_count_and_lines_and_reads_back() {
        let epochs = cache(&[(0, 0), (2, 10), (5, 11)]);
        assert_eq!(epochs.to_text(), "0\n3\n0 0\n2 10\n5 11\n");
        assert_eq!(EpochCache::parse(&epochs.to_text()), Ok(epochs));
        assert_eq!(EpochCache::parse(""), Ok(EpochCache::default()));
        for bad in ["1\n0\n", "0\n", "0\nx\n", "0\n1\n1 \n", "0\n1\n-1 3\n", "0\n1\n0 0\n1 1\n"] {
            assert!(EpochCache::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn end_offset_is_where_the_next_known_epoch_begins() {
        let epochs = cache(&[(2, 5), (4, 10), (7, 20)]);
        for (asked, want) in [
            (-1, (-1, -1)),
            (1, (1, 5)),
            (2, (2, 10)),
            (3, (2, 10)),
            (4, (4, 20)),
            (6, (4, 20)),
            (7, (7, 33)),
            (8, (-1, -1)),
        ] {
            let got = epochs.end_offset_for(LeaderEpoch(asked), Offset(33));
            assert_eq!(got, (LeaderEpoch(want.0), Offset(want.1)), "epoch {asked}");
        }
    }

    #[test]
    fn truncation_keeps_the_epoch_that_contains_the_start() {
        let mut epochs = cache(&[(2, 5), (4, 10), (7, 20)]);
        assert!(epochs.truncate_from_start(Offset(12)));
        assert_eq!(epochs, cache(&[(4, 12), (7, 20)]));
        assert!(!epochs.truncate_from_start(Offset(12)));
        assert!(epochs.truncate_from_end(Offset(20)));
        assert_eq!(epochs, cache(&[(4, 12)]));
        assert_eq!(epochs.epoch_at(Offset(12)), Some(LeaderEpoch(4)));
        assert_eq!(epochs.epoch_at(Offset(11)), None);
    }

    #[test]
    fn an_assignment_that_contradicts_newer_entries_replaces_them() {
        let mut epochs = cache(&[(2, 5), (4, 10), (7, 20)]);
        assert!(epochs.assign(LeaderEpoch(5), Offset(15)));
        assert_eq!(epochs, cache(&[(2, 5), (4, 10), (5, 15)]));
        assert!(!epochs.assign(LeaderEpoch(5), Offset(15)));
        assert!(!epochs.assign(LeaderEpoch(5), Offset(16)), "a later batch of the same epoch");
    }
}
