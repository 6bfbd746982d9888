//! One partition: which record is at which offset, and what must survive.

use std::collections::BTreeMap;

use super::{Place, Sent};
use crate::records::{Entry, RecordId};

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It waits for fsync: what is acknowledged or shown survives everything.
    Synced,
    /// It was switched to this since a time: an acknowledgement of something sent later tells that
    /// everything before it is on the disk, too.
    SyncedSince(u64),
    /// It survives the process, not the machine.
    Unsynced,
}

/// What must have survived a restart, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Survival {
    /// What was known to be synced.
    Synced,
    /// Everything acknowledged or shown: the page cache survived.
    All,
    /// The same, and the log start with it: a clean stop.
    Clean,
}

/// What a partition holds after a restart.
pub(crate) struct Audit {
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
    /// What is at each offset, in order.
    pub(crate) records: Vec<(i64, Entry)>,
    pub(crate) survival: Survival,
    pub(crate) place: Place,
    /// `retention.*` was set once.
    pub(crate) retention: bool,
}

/// One partition in the model.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Acknowledged or seen.
    at: BTreeMap<i64, Entry>,
    offset_of: BTreeMap<RecordId, i64>,
    durability: Durability,
    /// Highest high watermark that was shown.
    high_watermark: i64,
    /// Everything below is on the disk.
    durable_end: i64,
    /// It was [`Durability::Synced`] from the beginning.
    always_synced: bool,
    /// Highest offset that DeleteRecords was asked to delete up to.
    pub(crate) delete_asked: i64,
    /// The same, acknowledged.
    pub(crate) deleted: i64,
}

impl Partition {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            at: BTreeMap::new(),
            offset_of: BTreeMap::new(),
            durability,
            high_watermark: 0,
            durable_end: 0,
            always_synced: durability == Durability::Synced,
            delete_asked: 0,
            deleted: 0,
        }
    }

    pub(crate) fn set_durability(&mut self, durability: Durability) {
        self.always_synced &= durability == Durability::Synced;
        self.durability = durability;
    }

    pub(crate) fn switch_to_synced(&mut self, now: u64) {
        if self.durability != Durability::Synced {
            self.durability = Durability::SyncedSince(now);
        }
    }

    /// One past the last record that is known.
    pub(crate) fn known_end(&self) -> i64 {
        self.at.last_key_value().map_or(0, |(offset, _)| offset + 1).max(self.high_watermark)
    }

    /// Whether every acknowledgement so far told that the records are on the disk.
    pub(crate) fn always_synced(&self) -> bool {
        self.always_synced
    }

    fn put(&mut self, offset: i64, entry: Entry) -> Result<(), String> {
        if let Some(&before) = self.at.get(&offset)
            && before != entry
        {
            return Err(format!("offset {offset} holds {entry}, before it was {before}"));
        }
        self.at.insert(offset, entry);
        let Some(id) = entry.record() else { return Ok(()) };
        if let Some(&before) = self.offset_of.get(&id)
            && before != offset
        {
            return Err(format!("record {id} is at offset {offset} and at {before}"));
        }
        self.offset_of.insert(id, offset);
        Ok(())
    }

    /// A batch was acknowledged at `base`. `asked_at` is when its request was first sent.
    ///
    /// # Errors
    /// It contradicts what is known.
    pub(crate) fn acknowledged(
        &mut self,
        base: i64,
        ids: &[RecordId],
        asked_at: u64,
    ) -> Result<(), String> {
        for (offset, &id) in (base..).zip(ids) {
            let entry = Entry::Record(id);
            self.put(offset, entry).map_err(|what| format!("acknowledged: {what}"))?;
        }
        if let Durability::SyncedSince(since) = self.durability
            && asked_at > since
        {
            self.durability = Durability::Synced;
        }
        if self.durability == Durability::Synced {
            self.durable_end = self.durable_end.max(base + ids.len() as i64);
        }
        Ok(())
    }

    /// A consumer was shown this high watermark.
    pub(crate) fn shown(&mut self, high_watermark: i64) {
        self.high_watermark = self.high_watermark.max(high_watermark);
        if self.durability == Durability::Synced {
            self.durable_end = self.durable_end.max(high_watermark);
        }
    }

    /// A consumer read these records.
    ///
    /// # Errors
    /// One was never sent here, or it contradicts what is known.
    pub(crate) fn fetched(
        &mut self,
        place: Place,
        entries: &[(i64, Entry)],
        sent: &[Sent],
    ) -> Result<(), String> {
        for &(offset, entry) in entries {
            check_sent(place, (offset, entry), sent)?;
            self.put(offset, entry).map_err(|what| format!("fetched: {what}"))?;
        }
        Ok(())
    }

    /// Whether an offset may be out of range for who asked when everything below `sure` was there.
    pub(crate) fn may_be_out_of_range(&self, offset: i64, sure: i64, retention: bool) -> bool {
        retention || offset < self.delete_asked || offset > sure.min(self.durable_end)
    }

    /// Everything below is on the disk.
    pub(crate) fn durable_end(&self) -> i64 {
        self.durable_end
    }

    /// Compares the partition after a restart with what must be there, and takes it over.
    ///
    /// # Errors
    /// What is lost, changed or where it must not be.
    pub(crate) fn audited(&mut self, audit: &Audit, sent: &[Sent]) -> Result<(), String> {
        let Audit { log_start, high_watermark, survival, .. } = *audit;
        let must_end = match survival {
            Survival::Synced => self.durable_end,
            Survival::All | Survival::Clean => self.known_end(),
        };
        if high_watermark < must_end {
            return Err(format!(
                "after the restart the log ends at {high_watermark}: {must_end} was acknowledged \
                 or shown, and had to survive"
            ));
        }
        if log_start > self.delete_asked && !audit.retention {
            let asked = self.delete_asked;
            return Err(format!("the log starts at {log_start}; deleted was up to {asked}"));
        }
        if survival == Survival::Clean && log_start < self.deleted {
            let deleted = self.deleted;
            return Err(format!("the log starts at {log_start}; {deleted} was acknowledged"));
        }
        // What the broker knew of a producer may have gone with records that were deleted: one that
        // was not acknowledged may come again.
        self.offset_of.retain(|_, offset| (log_start..high_watermark).contains(offset));
        drop(self.at.split_off(&high_watermark));
        check_order(audit, sent)?;
        for &(offset, entry) in &audit.records {
            self.put(offset, entry).map_err(|what| format!("after the restart: {what}"))?;
        }
        self.high_watermark = high_watermark;
        // The log start is a checkpoint: only a clean stop is sure to keep it.
        self.deleted = self.deleted.min(log_start);
        // Recovery syncs what it found before it is served.
        self.durable_end = high_watermark;
        Ok(())
    }
}

fn check_sent(place: Place, (offset, entry): (i64, Entry), sent: &[Sent]) -> Result<(), String> {
    let Some(id) = entry.record() else { return Ok(()) };
    match usize::try_from(id).ok().and_then(|id| sent.get(id)) {
        Some(sent) if sent.place == place => Ok(()),
        Some(sent) => Err(format!("record {id} at offset {offset} was sent to {:?}", sent.place)),
        None => Err(format!("record {id} at offset {offset} was never sent")),
    }
}

/// Offsets without a gap, each record once, those of one producer session in order.
fn check_order(audit: &Audit, sent: &[Sent]) -> Result<(), String> {
    let mut want = audit.log_start;
    let mut last = BTreeMap::new();
    for &(offset, entry) in &audit.records {
        if offset != want {
            return Err(format!("after offset {} comes {offset}", want - 1));
        }
        want += 1;
        check_sent(audit.place, (offset, entry), sent)?;
        let Some(id) = entry.record() else { continue };
        let Some(session) = sent[id as usize].session else { continue };
        if let Some(before) = last.insert(session, id)
            && before >= id
        {
            return Err(format!(
                "record {id} at offset {offset} follows record {before} of the same producer"
            ));
        }
    }
    if want != audit.high_watermark {
        let end = audit.high_watermark;
        return Err(format!("the records end at {want}, the high watermark is {end}"));
    }
    Ok(())
}
