//! What a log must hold after a crash, kept beside it in plain vectors.

use ottla_protocol::ids::{LeaderEpoch, Offset, ProducerId, Timestamp};
use ottla_protocol::records::{BatchView, EndTxnMarker, WalkLimits, batches, records};
use ottla_storage::Log;
use std::collections::BTreeMap;

pub(crate) const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 20 };

/// A batch as the log must give it back.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) bytes: Vec<u8>,
}

/// The history of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// All batches ever appended that were not truncated, those below the log start too.
    pub(crate) batches: Vec<Batch>,
    pub(crate) log_start: i64,
    pub(crate) end: i64,
    /// Acknowledged as durable: must survive.
    pub(crate) durable: i64,
    /// The log was being emptied when the machine went down.
    pub(crate) may_be_empty: bool,
}

impl Model {
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            let header = batch.header();
            let (base, last) = (header.base_offset.0, header.last_offset().0);
            self.batches.push(Batch { base, last, bytes: batch.bytes().to_vec() });
            self.end = last + 1;
        }
    }

    /// Nothing at or above `end` is promised any more; the batches may still be there.
    pub(crate) fn begin_truncation(&mut self, end: i64) {
        self.durable = self.durable.min(end);
    }

    pub(crate) fn truncate(&mut self, end: i64) {
        self.begin_truncation(end);
        self.batches.retain(|batch| batch.base < end);
        self.end = self.end.min(end);
        self.log_start = self.log_start.min(end);
    }

    /// Compares a log that was opened after a crash with the history.
    pub(crate) fn check(&self, log: &Log) -> Result<(), String> {
        let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
        if self.may_be_empty && start == end && log.producers().next().is_none() {
            return Ok(());
        }
        if end < self.durable || end > self.end {
            return Err(format!("log end {end}, durable {}, written {}", self.durable, self.end));
        }
        if start > self.log_start {
            return Err(format!("log start {start}, it was {}", self.log_start));
        }
        // What was deleted on purpose may come back in part; the rest must be whole.
        let from = start.max(self.log_start);
        let kept: Vec<&Batch> =
            self.batches.iter().filter(|b| b.last >= from && b.base < end).collect();
        if kept.last().is_some_and(|batch| batch.last + 1 != end) && from < end {
            return Err(format!("log end {end} is inside a batch or behind a gap"));
        }
        self.check_reads(log, from, &kept)?;
        check_epochs(log, &kept)?;
        check_timestamps(log, from, &kept)?;
        self.check_producers(log, from, end)?;
        self.check_aborted(log, from, end)
    }

    fn check_reads(&self, log: &Log, from: i64, kept: &[&Batch]) -> Result<(), String> {
        let end = log.log_end_offset();
        let mut next = log.log_start_offset().0;
        let mut found = Vec::new();
        while next < end.0 {
            let slice =
                log.read(Offset(next), 1, end, true).map_err(|e| format!("read {next}: {e}"))?;
            if slice.len == 0 {
                break;
            }
            let bytes = slice.read().map_err(|e| format!("read {next}: {e}"))?;
            let batch = BatchView::parse(&bytes).map_err(|e| format!("at {next}: {e}"))?;
            batch.verify_crc().map_err(|e| format!("at {next}: {e}"))?;
            if batch.header().last_offset().0 < next {
                return Err(format!("a read at {next} gives the batch before"));
            }
            next = batch.header().last_offset().0 + 1;
            found.push(bytes);
        }
        let deleted = found.iter().position(|bytes| base_of(bytes).1 >= from);
        let (old, new) = found.split_at(deleted.unwrap_or(found.len()));
        for bytes in old {
            if !self.batches.iter().any(|batch| batch.bytes == *bytes) {
                return Err(format!("a batch at {:?} that was never there", base_of(bytes)));
            }
        }
        let places = |found: &[Vec<u8>]| found.iter().map(|b| base_of(b)).collect::<Vec<_>>();
        if new.len() != kept.len() || new.iter().zip(kept).any(|(a, b)| *a != b.bytes) {
            let want: Vec<_> = kept.iter().map(|b| (b.base, b.last)).collect();
            return Err(format!("batches {:?}, want {want:?}", places(new)));
        }
        // Every offset leads to its batch, through the index.
        for batch in kept {
            for offset in [batch.base.max(from), batch.last] {
                let slice = log.read(Offset(offset), 1, end, true).map_err(|e| e.to_string())?;
                if slice.base_offset.0 != batch.base || slice.len as usize != batch.bytes.len() {
                    return Err(format!("offset {offset} leads to {slice:?}, not {}", batch.base));
                }
            }
        }
        Ok(())
    }

    fn check_producers(&self, log: &Log, from: i64, end: i64) -> Result<(), String> {
        let found: BTreeMap<ProducerId, _> = log.producers().map(|p| (p.producer_id, p)).collect();
        let want = self.producers(0, end);
        // If retention took records before the snapshot behind them was durable, what is known
        // begins with the records that are left: enough for those.
        let least = self.producers(from, end);
        for (id, want) in &want {
            let Some(found) = found.get(id) else {
                // Where its records were deleted, what was known of it may be, too.
                if want.last_offset >= from {
                    return Err(format!("producer {id} is forgotten, want {want:?}"));
                }
                continue;
            };
            let got = Producer {
                epoch: found.epoch.0,
                last_sequence: found.last_sequence(),
                txn: found.txn_first_offset.map(|offset| offset.0),
                last_offset: want.last_offset,
            };
            // Where its transaction began, and its sequence, may be gone with the records.
            let sequence = [-1, want.last_sequence].contains(&got.last_sequence);
            let told = sequence && got.epoch == want.epoch && want.last_offset < from;
            if got != *want && least.get(id) != Some(&got) && !told {
                return Err(format!("producer {id} is {got:?}, want {want:?}"));
            }
        }
        match found.keys().find(|id| !want.contains_key(id)) {
            Some(id) => Err(format!("producer {id} is from nowhere")),
            None => Ok(()),
        }
    }

    fn check_aborted(&self, log: &Log, from: i64, end: i64) -> Result<(), String> {
        let found =
            log.aborted_transactions(Offset(from), Offset(end)).map_err(|e| e.to_string())?;
        let found: Vec<_> =
            found.iter().map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0)).collect();
        let want: Vec<_> =
            self.aborted(0, end).into_iter().filter(|&(_, _, last)| last >= from).collect();
        let least = self.aborted(from, end);
        let known = found.iter().all(|txn| want.contains(txn) || least.contains(txn));
        let whole = |txn: &(i64, i64, i64)| found.iter().any(|f| (f.0, f.2) == (txn.0, txn.2));
        if known && found.len() <= want.len() && least.iter().all(whole) {
            Ok(())
        } else {
            Err(format!("aborted {found:?}, want {want:?}"))
        }
    }

    fn producers(&self, from: i64, end: i64) -> BTreeMap<ProducerId, Producer> {
        let mut producers: BTreeMap<ProducerId, Producer> = BTreeMap::new();
        for (view, marker) in self.views(from, end) {
            let header = view.header();
            if !header.has_producer_id() {
                continue;
            }
            let producer = producers.entry(header.producer_id).or_default();
            producer.last_offset = header.last_offset().0;
            if producer.epoch != header.producer_epoch.0 {
                producer.last_sequence = -1;
            }
            producer.epoch = header.producer_epoch.0;
            if marker.is_some() {
                producer.txn = None;
                continue;
            }
            producer.last_sequence = header.last_sequence();
            if header.is_transactional() {
                producer.txn.get_or_insert(header.base_offset.0);
            }
        }
        producers
    }

    /// Producer, first offset and marker offset of aborted transactions.
    fn aborted(&self, from: i64, end: i64) -> Vec<(i64, i64, i64)> {
        let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
        for (view, marker) in self.views(from, end) {
            let (header, id) = (view.header(), view.header().producer_id.0);
            match marker {
                None if header.is_transactional() => {
                    open.entry(id).or_insert(header.base_offset.0);
                }
                None => {}
                Some(marker) => {
                    if let Some(first) = open.remove(&id)
                        && !marker.committed
                    {
                        aborted.push((id, first, header.base_offset.0));
                    }
                }
            }
        }
        aborted
    }

    fn views(
        &self,
        from: i64,
        end: i64,
    ) -> impl Iterator<Item = (BatchView<'_>, Option<EndTxnMarker>)> {
        self.batches.iter().filter(move |b| b.last >= from && b.base < end).map(|batch| {
            let view = BatchView::parse(&batch.bytes).unwrap();
            let record = records(&view, &LIMITS).unwrap().next().unwrap().unwrap().into_owned();
            let marker = view.header().is_control().then(|| {
                let (key, value) = (record.key.unwrap(), record.value.unwrap());
                EndTxnMarker::from_record(&key, &value).unwrap()
            });
            (view, marker)
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    last_sequence: i32,
    txn: Option<i64>,
    last_offset: i64,
}

impl Default for Producer {
    fn default() -> Self {
        Self { epoch: -1, last_sequence: -1, txn: None, last_offset: -1 }
    }
}

fn base_of(bytes: &[u8]) -> (i64, i64) {
    let header = *BatchView::parse(bytes).unwrap().header();
    (header.base_offset.0, header.last_offset().0)
}

fn check_epochs(log: &Log, kept: &[&Batch]) -> Result<(), String> {
    let epoch_of =
        |batch: &Batch| BatchView::parse(&batch.bytes).unwrap().header().partition_leader_epoch;
    let mut ends: BTreeMap<LeaderEpoch, i64> = BTreeMap::new();
    for batch in kept {
        let (epoch, base) = (epoch_of(batch), Offset(batch.base).max(log.log_start_offset()));
        if log.epoch_at(base) != Some(epoch) {
            return Err(format!("epoch {:?} at {base}, want {epoch}", log.epoch_at(base)));
        }
        ends.insert(epoch, batch.last + 1);
    }
    for (epoch, end) in ends {
        let found = log.end_offset_for_epoch(epoch);
        if found != (epoch, Offset(end)) {
            return Err(format!("epoch {epoch} ends at {found:?}, want {end}"));
        }
    }
    Ok(())
}

fn check_timestamps(log: &Log, from: i64, kept: &[&Batch]) -> Result<(), String> {
    if log.log_start_offset().0 < from {
        return Ok(()); // Deleted records that came back would be found first.
    }
    let mut all = Vec::new();
    for batch in kept {
        let view = BatchView::parse(&batch.bytes).unwrap();
        let records = records(&view, &LIMITS).unwrap().map(Result::unwrap);
        all.extend(records.filter(|r| r.offset.0 >= from).map(|r| (r.timestamp, r.offset)));
    }
    let targets = all.iter().step_by(3).flat_map(|(t, _)| [*t, Timestamp(t.0 + 1)]);
    for target in targets {
        let found = log.offset_for_timestamp(target).map_err(|e| e.to_string())?;
        let want = all.iter().find(|(timestamp, _)| *timestamp >= target);
        if found.map(|f| (f.timestamp, f.offset)) != want.copied() {
            return Err(format!("timestamp {target} leads to {found:?}, want {want:?}"));
        }
    }
    Ok(())
}
