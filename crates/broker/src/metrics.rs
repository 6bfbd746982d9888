//! Counters of what the broker did since it started. Reading them takes no lock, and two of them
//! need not be of the same instant.

use std::sync::atomic::{AtomicU64, Ordering};

use ottla_protocol::ApiKey;

use crate::api::TABLE;

/// Room for one counter per API key; Kafka's keys end below.
const KEYS: usize = 128;

/// The counters.
pub struct Metrics {
    requests: [AtomicU64; KEYS],
    /// Records appended for producers.
    pub messages_in: Counter,
    /// Bytes of batches appended for producers.
    pub bytes_in: Counter,
    /// Bytes of batches in fetch responses.
    pub bytes_out: Counter,
    /// Batches that producers sent and that were refused.
    pub failed_produce: Counter,
    /// Partitions asked for in fetch requests that answered with an error.
    pub failed_fetch: Counter,
    /// Transactions that their coordinator did not confirm to a partition (KIP-890).
    pub failed_verification: Counter,
}

/// One counter; it only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: [const { AtomicU64::new(0) }; KEYS],
            messages_in: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            failed_produce: Counter::default(),
            failed_fetch: Counter::default(),
            failed_verification: Counter::default(),
        }
    }
}

impl Metrics {
    /// A request that was started.
    pub(crate) fn count_request(&self, key: ApiKey) {
        if let Some(counter) = self.counter(key) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests started, for every API of the table.
    pub fn requests(&self) -> impl Iterator<Item = (ApiKey, u64)> {
        let count = |key| self.counter(key).map_or(0, |counter| counter.load(Ordering::Relaxed));
        TABLE.iter().map(move |row| (row.key, count(row.key)))
    }

    fn counter(&self, key: ApiKey) -> Option<&AtomicU64> {
        self.requests.get(usize::try_from(key.key()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_of_the_table_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        for row in TABLE {
            metrics.count_request(row.key);
        }
        assert!(metrics.requests().all(|(_, count)| count == 1));
    }
}
