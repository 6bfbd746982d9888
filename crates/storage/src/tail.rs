//! Where the newest batches are, so that a reader at the log's end needs no index and no header.

use ottla_protocol::ids::Offset;

/// Batches remembered.
const KEPT: usize = 16;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    base_offset: Offset,
    last_offset: Offset,
    position: u32,
}

/// A remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hot {
    pub(crate) base_offset: Offset,
    pub(crate) position: u32,
    pub(crate) end: u32,
}

/// The newest batches of the active segment.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Allocated by the first append, so that an idle log pays nothing.
    ring: Option<Box<Ring>>,
}

#[derive(Debug, Default)]
struct Ring {
    places: [Place; KEPT],
    /// Batches ever pushed; the newest is at `(pushed - 1) % KEPT`.
    pushed: usize,
}

impl Tail {
    /// Remembers the batch that was just appended at `position`.
    pub(crate) fn push(&mut self, base_offset: Offset, last_offset: Offset, position: u32) {
        let ring = self.ring.get_or_insert_default();
        if let Some(place) = ring.places.get_mut(ring.pushed % KEPT) {
            *place = Place { base_offset, last_offset, position };
        }
        ring.pushed += 1;
    }

    /// The first batch that ends at or after `offset`, if it is known to be a remembered one.
    /// `end` is the end of the newest.
    pub(crate) fn find(&self, offset: Offset, end: u32) -> Option<Hot> {
        let ring = self.ring.as_ref()?;
        let mut newer = None;
        let mut batch_end = end;
        for back in 1..=ring.pushed.min(KEPT) {
            let place = ring.places.get((ring.pushed - back) % KEPT)?;
            if place.last_offset < offset {
                return newer;
            }
            let Place { base_offset, position, .. } = *place;
            newer = Some(Hot { base_offset, position, end: batch_end });
            if base_offset <= offset {
                return newer;
            }
            batch_end = position;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_batches_are_found_by_any_of_their_offsets_and_by_gaps_before_them() {
        let mut tail = Tail::default();
        assert_eq!(tail.find(Offset(0), 0), None);
        for i in 0..20_u32 {
            let base = i64::from(i) * 10;
            tail.push(Offset(base), Offset(base + 7), i * 100);
        }
        for (offset, want) in [
            (198, None),
            (197, Some(1900)),
            (190, Some(1900)),
            (189, Some(1900)),
            (187, Some(1800)),
            (40, Some(400)),
            (39, None),
        ] {
            let found = tail.find(Offset(offset), 2000);
            assert_eq!(found.map(|hot| hot.position), want, "offset {offset}");
            assert!(found.is_none_or(|hot| hot.end == hot.position + 100), "offset {offset}");
        }
    }
}
