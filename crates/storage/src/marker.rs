//! End-of-transaction markers inside control batches.

use ottla_protocol::records::{BatchHeader, BatchOptions, BatchView, BuildError, EndTxnMarker};

use crate::producers::{TxnEnd, TxnMarker};

/// The batch of a marker; its place is not known yet.
pub(crate) fn build_marker(marker: &TxnMarker) -> Result<Vec<u8>, BuildError> {
    let options = BatchOptions {
        producer_id: marker.producer_id,
        producer_epoch: marker.epoch,
        ..BatchOptions::default()
    };
    let committed = marker.end == TxnEnd::Commit;
    EndTxnMarker { committed, coordinator_epoch: marker.coordinator_epoch }
        .build(options, marker.timestamp)
}

/// The marker in a batch, if it is one.
pub(crate) fn marker_of(batch: &BatchView<'_>) -> Option<TxnMarker> {
    parse_marker(batch.header(), batch.records_payload())
}

/// The marker in the records of a transactional control batch. Such a batch holds one record, is
/// never compressed, and its key is (version, type), its value (version, coordinator epoch).
pub(crate) fn parse_marker(header: &BatchHeader, payload: &[u8]) -> Option<TxnMarker> {
    if !header.is_control() || !header.has_producer_id() {
        return None;
    }
    let mut rest = Cursor(payload);
    let _length = rest.varint()?;
    let _attributes = rest.take(1)?;
    let _timestamp_delta = rest.varint()?;
    let _offset_delta = rest.varint()?;
    let key_len = usize::try_from(rest.varint()?).ok()?;
    let key = rest.take(key_len)?;
    let value_len = usize::try_from(rest.varint()?).ok()?;
    let value = rest.take(value_len)?;
    let marker = EndTxnMarker::from_record(key, value)?;
    Some(TxnMarker {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        end: if marker.committed { TxnEnd::Commit } else { TxnEnd::Abort },
        coordinator_epoch: marker.coordinator_epoch,
        timestamp: header.max_timestamp,
    })
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    /// A zig-zag varint of up to 64 bits.
    fn varint(&mut self) -> Option<i64> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
            }
        }
        None
    }
}
