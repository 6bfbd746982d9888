//! The bytes of one file: sparse pages shared between copies of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The unit in which the journal of unsynced writes is kept or lost.
pub(super) const PAGE: u64 = 4096;

type Page = [u8; PAGE as usize];

/// Sparse content. A missing page is zero, and so is everything at and after `len`.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) len: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Content {
    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let wanted = self.len.saturating_sub(position).min(buf.len() as u64) as usize;
        for (from, to, page) in pieces(position, wanted as u64) {
            let target = &mut buf[(from - position) as usize..(to - position) as usize];
            match self.pages.get(&page) {
                Some(bytes) => {
                    target.copy_from_slice(
                        &bytes[(from - page * PAGE) as usize..(to - page * PAGE) as usize],
                    );
                }
                None => target.fill(0),
            }
        }
        wanted
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.len as usize];
        self.read(&mut all, 0);
        all
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return; // As pwrite: nothing written, nothing extended.
        }
        for (from, to, page) in pieces(position, bytes.len() as u64) {
            let target = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize]));
            let source = &bytes[(from - position) as usize..(to - position) as usize];
            Arc::make_mut(target)[(from - page * PAGE) as usize..(to - page * PAGE) as usize]
                .copy_from_slice(source);
        }
        self.len = self.len.max(position + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let first_free = len.div_ceil(PAGE);
            self.pages.split_off(&first_free);
            // The cut page must read as zero when the file grows again.
            if !len.is_multiple_of(PAGE)
                && let Some(page) = self.pages.get_mut(&(len / PAGE))
            {
                Arc::make_mut(page)[(len % PAGE) as usize..].fill(0);
            }
        }
        self.len = len;
    }

    /// Takes over `other`'s pages that `position..position + len` touches, sharing them.
    pub(super) fn share(&mut self, other: &Self, position: u64, len: u64) {
        for (_, _, page) in pieces(position, len) {
            match other.pages.get(&page) {
                Some(bytes) => self.pages.insert(page, Arc::clone(bytes)),
                None => self.pages.remove(&page),
            };
        }
    }

    /// Bytes that occupy space.
    pub(super) fn allocated(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// Bytes that a write would newly occupy.
    pub(super) fn would_allocate(&self, position: u64, len: u64) -> u64 {
        let new = pieces(position, len).filter(|(_, _, page)| !self.pages.contains_key(page));
        new.count() as u64 * PAGE
    }
}

/// Cuts a range at page ends: `(from, to, page number)`.
pub(super) fn pieces(position: u64, len: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    let end = position + len;
    let pages = if len == 0 { 0..0 } else { position / PAGE..(end - 1) / PAGE + 1 };
    pages.map(move |page| (position.max(page * PAGE), end.min((page + 1) * PAGE), page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn sparse_content_is_a_vector() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let (mut content, mut model) = (Content::default(), Vec::new());
            for _ in 0..40 {
                if rng.chance(1, 4) {
                    let len = rng.below(20_000);
                    content.set_len(len);
                    model.resize(len as usize, 0);
                } else {
                    let (position, len) = (rng.below(15_000), rng.between(1, 9_000) as usize);
                    let bytes = rng.bytes(len);
                    content.write(position, &bytes);
                    let end = position as usize + len;
                    model.resize(model.len().max(end), 0);
                    model[position as usize..end].copy_from_slice(&bytes);
                }
                assert_eq!(content.to_vec(), model, "seed {seed}");
            }
        }
    }
}
