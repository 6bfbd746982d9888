//! Group commits and generations.

use std::collections::{BTreeMap, BTreeSet};

/// A committed position: group and partition index.
pub(crate) type CommitKey = (String, i32);

/// What is known of committed positions. Every committer commits ascending numbers, one at a time.
#[derive(Default)]
pub(crate) struct Commits {
    by_key: BTreeMap<CommitKey, Commit>,
}

#[derive(Default)]
struct Commit {
    asked: i64,
    acknowledged: i64,
}

impl Commits {
    /// The next number to commit, noted as asked for.
    pub(crate) fn ask(&mut self, key: &CommitKey) -> i64 {
        let commit = self.by_key.entry(key.clone()).or_default();
        commit.asked += 1;
        commit.asked
    }

    pub(crate) fn acknowledged(&mut self, key: &CommitKey, value: i64) {
        let commit = self.by_key.entry(key.clone()).or_default();
        commit.acknowledged = commit.acknowledged.max(value);
    }

    /// A fetch that was sent when `floor` was acknowledged found `value` (-1 for none).
    ///
    /// # Errors
    /// It went back, or was never sent.
    pub(crate) fn found(&mut self, key: &CommitKey, floor: i64, value: i64) -> Result<(), String> {
        let commit = self.by_key.entry(key.clone()).or_default();
        let value = value.max(0);
        let (group, index) = key;
        if value > commit.asked {
            return Err(format!("group {group} partition {index}: {value} was never committed"));
        }
        if value < floor.min(commit.acknowledged) {
            return Err(format!(
                "group {group} partition {index}: position {value}, but {} was acknowledged",
                commit.acknowledged
            ));
        }
        commit.acknowledged = commit.acknowledged.max(value);
        Ok(())
    }

    /// What a fetch sent now must find at least.
    pub(crate) fn floor(&self, key: &CommitKey) -> i64 {
        self.by_key.get(key).map_or(0, |commit| commit.acknowledged)
    }

    /// The machine went down and commits are not synced.
    pub(crate) fn forget(&mut self) {
        for commit in self.by_key.values_mut() {
            commit.acknowledged = 0;
        }
    }
}

/// What members were told of the generations of their groups.
#[derive(Default)]
pub(crate) struct Generations {
    seen: BTreeMap<(String, i32), Generation>,
    last: BTreeMap<String, i32>,
}

struct Generation {
    leader: String,
    members: BTreeSet<String>,
    assigned: BTreeMap<String, Vec<u8>>,
}

impl Generations {
    /// A member joined.
    ///
    /// # Errors
    /// The generation has two leaders.
    pub(crate) fn joined(
        &mut self,
        group: &str,
        generation: i32,
        (leader, member): (&str, &str),
    ) -> Result<(), String> {
        let last = self.last.entry(group.to_owned()).or_insert(generation);
        *last = (*last).max(generation);
        let seen = self.seen.entry((group.to_owned(), generation)).or_insert_with(|| Generation {
            leader: leader.to_owned(),
            members: BTreeSet::new(),
            assigned: BTreeMap::new(),
        });
        if seen.leader != leader {
            let first = &seen.leader;
            return Err(format!(
                "generation {generation} of {group} is led by {leader} and {first}"
            ));
        }
        seen.members.insert(member.to_owned());
        Ok(())
    }

    /// A member was given its assignment.
    ///
    /// # Errors
    /// Another member of the generation has the same, or it was given another one before.
    pub(crate) fn assigned(
        &mut self,
        group: &str,
        generation: i32,
        (member, assignment): (&str, &[u8]),
    ) -> Result<(), String> {
        let Some(seen) = self.seen.get_mut(&(group.to_owned(), generation)) else { return Ok(()) };
        let twice =
            seen.assigned.iter().any(|(other, a)| other != member && a.as_slice() == assignment);
        if twice {
            return Err(format!("two members of generation {generation} of {group} share a part"));
        }
        let before = seen.assigned.insert(member.to_owned(), assignment.to_vec());
        if before.is_some_and(|before| before != assignment) {
            return Err(format!("{member} of {group} was assigned twice in {generation}"));
        }
        Ok(())
    }

    /// The broker ended.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
        self.last.clear();
    }
}
