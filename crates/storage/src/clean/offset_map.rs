//! The newest offset of every key, in a fixed number of bytes.

use ottla_protocol::ids::Offset;
use sha2::{Digest, Sha256};

/// Bytes of one entry: 128 bits of the key's hash and an offset, as in Kafka's map.
pub(crate) const SLOT_BYTES: u64 = 24;

/// Hash and offset; an offset of 0 stands for an empty slot, so one more is stored.
type Slot = (u64, u64, i64);

/// Keys are known by 128 bits of their SHA-256 only: keys that collide cannot be made, so no key's
/// record is ever taken for another's. Open addressing with linear probing.
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    load_factor: f64,
}

impl OffsetMap {
    /// A map of at most `bytes`, and no larger than `records` different keys need.
    pub(crate) fn new(bytes: u64, load_factor: f64, records: u64) -> Self {
        let load_factor = load_factor.clamp(0.1, 0.95);
        let needed = (records as f64 / load_factor).ceil() as u64 + 1;
        let slots = usize::try_from((bytes / SLOT_BYTES).min(needed).max(1)).unwrap_or(usize::MAX);
        Self { slots: vec![(0, 0, 0); slots], used: 0, load_factor }
    }

    /// Keys that fit beside those that are there.
    pub(crate) fn room(&self) -> usize {
        self.most().saturating_sub(self.used)
    }

    /// Whether no key is there yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Notes that `key` was written at `offset`. A map that is full grows: the caller asks
    /// [`Self::room`] before every batch but the first.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) {
        let hash = hash(key);
        let at = self.slot_of(hash);
        if let Some(slot) = self.slots.get_mut(at) {
            let fresh = slot.2 == 0;
            *slot = (hash.0, hash.1, offset.0.max(slot.2 - 1) + 1);
            self.used += usize::from(fresh);
        }
        if self.used > self.most() {
            self.grow();
        }
    }

    /// The newest offset of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.slot_of(hash(key)))?;
        (slot.2 > 0).then(|| Offset(slot.2 - 1))
    }

    /// The slot of a hash, or the empty one where it belongs. One slot at least is always empty.
    fn slot_of(&self, hash: (u64, u64)) -> usize {
        let len = self.slots.len();
        let mut at = (hash.0 % len as u64) as usize;
        loop {
            match self.slots.get(at) {
                Some(&(a, b, offset)) if offset > 0 && (a, b) != hash => {
                    at = if at + 1 == len { 0 } else { at + 1 };
                }
                _ => return at,
            }
        }
    }

    fn most(&self) -> usize {
        let most = (self.slots.len() as f64 * self.load_factor) as usize;
        most.min(self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let larger = vec![(0, 0, 0); self.slots.len() * 2 + 1];
        for slot in std::mem::replace(&mut self.slots, larger) {
            if slot.2 > 0 {
                let at = self.slot_of((slot.0, slot.1));
                if let Some(place) = self.slots.get_mut(at) {
                    *place = slot;
                }
            }
        }
    }
}

fn hash(key: &[u8]) -> (u64, u64) {
    let digest = Sha256::digest(key);
    let word = |at: usize| {
        digest.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
    };
    (word(0), word(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_newest_offset_and_a_full_map_says_so() {
        let mut map = OffsetMap::new(24 * 100, 0.9, 1_000_000);
        assert!(map.is_empty());
        assert_eq!(map.room(), 90);
        for round in 0..3 {
            for key in 0..90_i64 {
                map.put(&key.to_be_bytes(), Offset(round * 1000 + key));
            }
        }
        assert_eq!(map.room(), 0);
        for key in 0..90_i64 {
            assert_eq!(map.get(&key.to_be_bytes()), Some(Offset(2000 + key)), "{key}");
        }
        assert_eq!(map.get(&90_i64.to_be_bytes()), None);
        assert_eq!(map.get(b""), None);
        assert_eq!(map.slots.len(), 100, "known keys take no room");
    }

    #[test]
    fn a_map_is_as_small_as_its_records_and_grows_for_one_that_must_go_in() {
        let mut map = OffsetMap::new(128 << 20, 0.9, 9);
        assert_eq!((map.slots.len(), map.room()), (11, 9));
        for key in 0..500_i64 {
            map.put(&key.to_be_bytes(), Offset(key));
        }
        assert!((0..500_i64).all(|key| map.get(&key.to_be_bytes()) == Some(Offset(key))));
        let mut smallest = OffsetMap::new(0, 0.9, 0);
        smallest.put(b"a", Offset(0));
        assert_eq!(smallest.get(b"a"), Some(Offset(0)));
        assert_eq!(smallest.get(b"b"), None);
    }
}
