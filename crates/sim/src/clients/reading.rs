//! What a reader makes of a partition's part of a Fetch answer, as Kafka's consumer does: with
//! read_committed, records of aborted transactions are told by the list that comes with them.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::Records;
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::records::{BatchView, batches};

use super::Cx;
use crate::Mutation;
use crate::model::Place;
use crate::records::{self, Entry, RecordId};

/// Isolation levels of Fetch and ListOffsets.
pub(super) const READ_UNCOMMITTED: i8 = 0;
pub(super) const READ_COMMITTED: i8 = 1;

/// One entry of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) offset: i64,
    pub(super) entry: Entry,
    /// The reader gives it to the application, if it is a record.
    pub(super) visible: bool,
}

impl Item {
    /// The record, if the application is given it.
    pub(super) fn record(&self) -> Option<RecordId> {
        self.entry.record().filter(|_| self.visible)
    }
}

/// The aborted transactions of an answer, and how far a reader is.
struct Aborted {
    /// First offset and producer of those to come, the first last.
    ahead: Vec<(i64, i64)>,
    /// Producers whose records are aborted here.
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(data: &PartitionData) -> Self {
        let list = data.aborted_transactions.iter().flatten();
        let mut ahead: Vec<_> = list.map(|txn| (txn.first_offset, txn.producer_id)).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Self { ahead, open: BTreeSet::new() }
    }

    /// Whether the records of the next batch are aborted.
    fn hides(&mut self, batch: &BatchView<'_>, entries: &[(i64, Entry)]) -> bool {
        let (header, last) = (batch.header(), entries.last().map_or(-1, |(offset, _)| *offset));
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= last) {
            self.open.insert(producer);
        }
        let producer = header.producer_id.0;
        if let Some((_, Entry::Marker { committed, .. })) = entries.last() {
            if !committed {
                self.open.remove(&producer);
            }
            return false;
        }
        header.is_transactional() && self.open.contains(&producer)
    }
}

/// The entries from `next` on in what was served: offsets without a gap, all below the end for this
/// isolation level.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn read(data: &PartitionData, next: i64, isolation: i8) -> Result<Vec<Item>, String> {
    let committed = isolation == READ_COMMITTED;
    let end = if committed { data.last_stable_offset } else { data.high_watermark };
    let bytes = match &data.records {
        Some(Records::Bytes(bytes)) => bytes.clone(),
        _ => Bytes::new(),
    };
    let mut aborted = Aborted::new(data);
    let mut found = Vec::new();
    let mut want = None;
    for batch in batches(&bytes) {
        let batch = batch.map_err(|error| format!("a served batch is invalid: {error}"))?;
        let base = batch.header().base_offset.0;
        match want {
            None if base > next => return Err(format!("asked for {next}, served was {base}")),
            Some(want) if base != want => return Err(format!("{base} is served, not {want}")),
            _ => {}
        }
        let entries = records::open(&batch)?;
        let Some(&(last, _)) = entries.last() else { continue };
        want = Some(last + 1);
        if last >= end {
            return Err(format!(
                "offset {last} is served, and isolation {isolation} ends at {end}"
            ));
        }
        if found.is_empty() && last < next {
            return Err(format!("asked for {next}, served was a batch that ends at {last}"));
        }
        let visible = !(committed && aborted.hides(&batch, &entries));
        let from_next = entries.into_iter().filter(|(offset, _)| *offset >= next);
        found.extend(from_next.map(|(offset, entry)| Item { offset, entry, visible }));
    }
    Ok(found)
}

/// Reads, and tells the model everything that was learnt.
pub(super) fn take(
    cx: &mut Cx<'_>,
    place: Place,
    data: &PartitionData,
    (next, isolation): (i64, i8),
) -> Option<Vec<Item>> {
    let (high_watermark, last_stable) = (data.high_watermark, data.last_stable_offset);
    if isolation == READ_COMMITTED && last_stable > high_watermark {
        cx.model.violate(format!(
            "{place:?}: last stable offset {last_stable}, high watermark {high_watermark}"
        ));
    }
    let mut read = read(data, next, isolation);
    if *cx.mutation == Mutation::IgnoreAborted
        && let Ok(items) = &mut read
    {
        items.iter_mut().for_each(|item| item.visible = true);
    }
    let items = match read {
        Ok(items) => items,
        Err(what) => {
            cx.model.violate(format!("{place:?}: {what}"));
            return None;
        }
    };
    cx.model.counts.fetched += items.len() as u64;
    let entries: Vec<_> = items.iter().map(|item| (item.offset, item.entry)).collect();
    cx.model.check(place, |partition, sent| {
        partition.shown(high_watermark);
        partition.fetched(place, &entries, sent)
    });
    if isolation == READ_COMMITTED {
        cx.model.seen(place, items.iter().map(|item| (item.offset, item.entry, item.visible)));
    }
    Some(items)
}
