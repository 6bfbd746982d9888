//! Counters of what the broker did since it started. Reading them takes no lock, and two of them
//! need not be of the same instant.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_protocol::ApiKey;

use crate::api::TABLE;
use crate::histogram::{Histogram, Times};

/// Room for one counter per API key; Kafka's keys end below.
const KEYS: usize = 128;

/// The counters.
pub struct Metrics {
    requests: [AtomicU64; KEYS],
    /// Made when the API is first used. Fetches are counted apart.
    latencies: [OnceLock<Box<Latency>>; KEYS],
    /// Of Fetch by consumers and by replicas, which dashboards tell apart.
    fetches: [OnceLock<Box<Latency>>; 2],
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

/// How long requests of one API took.
#[derive(Debug, Default)]
struct Latency {
    total: Histogram,
    local: Histogram,
    remote: Histogram,
}

/// How long requests of one API took, as read at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies {
    /// From the request's beginning until its answer was ready.
    pub total: Times,
    /// In its handler.
    pub local: Times,
    /// Waiting for replicas, records, the controller or a deadline: the rest of the total.
    pub remote: Times,
}

impl Latencies {
    fn plus(&self, other: &Self) -> Self {
        Self {
            total: self.total.plus(&other.total),
            local: self.local.plus(&other.local),
            remote: self.remote.plus(&other.remote),
        }
    }
}

/// What went in and out of one partition since its log was opened.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Records appended for producers.
    pub messages_in: Counter,
    /// Bytes of batches appended for producers.
    pub bytes_in: Counter,
    /// Bytes of batches in fetch responses.
    pub bytes_out: Counter,
}

impl Latency {
    fn record(&self, total_us: u64, local_us: u64) {
        self.total.record(total_us);
        self.local.record(local_us);
        self.remote.record(total_us.saturating_sub(local_us));
    }

    fn read(&self) -> Latencies {
        Latencies { total: self.total.read(), local: self.local.read(), remote: self.remote.read() }
    }
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
            latencies: [const { OnceLock::new() }; KEYS],
            fetches: [const { OnceLock::new() }; 2],
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

    /// A request whose answer is ready.
    pub(crate) fn record_latency(&self, key: ApiKey, of_replica: bool, times: (u64, u64)) {
        let slot = match key {
            ApiKey::Fetch => self.fetches.get(usize::from(of_replica)),
            key => self.latencies.get(usize::try_from(key.key()).unwrap_or(KEYS)),
        };
        if let Some(slot) = slot {
            slot.get_or_init(Box::default).record(times.0, times.1);
        }
    }

    /// How long requests took, by the name that Kafka's metrics have for the request; those that came.
    #[must_use]
    pub fn latencies(&self) -> Vec<(&'static str, Latencies)> {
        let row = |row: &crate::api::Row| {
            let slot = self.latencies.get(usize::try_from(row.key.key()).ok()?)?;
            Some((row.name(), slot.get()?.read()))
        };
        let mut all: Vec<_> = TABLE.iter().filter_map(row).collect();
        let fetches = ["FetchConsumer", "FetchFollower"].into_iter().zip(&self.fetches);
        let fetches = fetches.filter_map(|(name, slot)| Some((name, slot.get()?.read())));
        let fetches: Vec<_> = fetches.collect();
        let sum = fetches.iter().map(|(_, latency)| latency.clone());
        all.extend(sum.reduce(|one, other| one.plus(&other)).map(|sum| ("Fetch", sum)));
        all.extend(fetches);
        all
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
    fn latencies_are_told_by_api_and_fetches_of_consumers_and_replicas_apart() {
        let metrics = Metrics::default();
        assert_eq!(metrics.latencies(), []);
        metrics.record_latency(ApiKey::Produce, false, (5000, 2000));
        metrics.record_latency(ApiKey::Fetch, false, (1000, 1000));
        metrics.record_latency(ApiKey::Fetch, true, (1000, 1000));
        let counts: Vec<_> = metrics
            .latencies()
            .iter()
            .map(|(name, latency)| (*name, latency.total.count()))
            .collect();
        let want = [("Produce", 1), ("Fetch", 2), ("FetchConsumer", 1), ("FetchFollower", 1)];
        assert_eq!(counts, want);
        assert_eq!(metrics.latencies()[0].1.remote.sum_ms(), 3.0);
    }

    #[test]
    fn every_api_of_the_table_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        for row in TABLE {
            metrics.count_request(row.key);
        }
        assert!(metrics.requests().all(|(_, count)| count == 1));
    }
}
