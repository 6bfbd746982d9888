//! A histogram of times with fixed buckets: a quarter of an octave wide, from 64 µs to 67 s.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of each octave.
const PER_OCTAVE: u32 = 4;
/// Times below `1 << FIRST` microseconds share one bucket.
const FIRST: u32 = 6;
/// Times from `1 << END` microseconds on share one bucket.
const END: u32 = 26;
/// How many buckets there are.
const BUCKETS: usize = ((END - FIRST) * PER_OCTAVE) as usize + 2;

/// Counts times. Recording takes no lock and two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// What a histogram held at one time; two counts need not be of the same instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_us: AtomicU64::new(0) }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum_us: 0 }
    }
}

impl Histogram {
    /// Counts a time in microseconds.
    pub fn record(&self, micros: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn read(&self) -> Times {
        let buckets = std::array::from_fn(|index| {
            self.buckets.get(index).map_or(0, |bucket| bucket.load(Ordering::Relaxed))
        });
        Times { buckets, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

impl Times {
    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in milliseconds.
    #[must_use]
    pub fn sum_ms(&self) -> f64 {
        self.sum_us as f64 / 1e3
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (bucket, before) in since.buckets.iter_mut().zip(&earlier.buckets) {
            *bucket = bucket.saturating_sub(*before);
        }
        since.sum_us = since.sum_us.saturating_sub(earlier.sum_us);
        since
    }

    /// What both counted.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.buckets.iter_mut().zip(&other.buckets).for_each(|(sum, count)| *sum += count);
        sum.sum_us += other.sum_us;
        sum
    }

    /// The time in milliseconds that the share `quantile` of all is not above, to within the width of
    /// a bucket (an eighth of the time); `None` if nothing was counted.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = (self.count() as f64 * quantile).ceil().max(1.0);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen as f64 >= rank {
                let (low, high) = (bound_us(index), bound_us(index + 1));
                return Some((low as f64 + high as f64) / 2e3);
            }
        }
        None
    }

    /// Upper bounds in seconds, an octave apart, with how many times are not above each.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut seen = 0;
        let counts = self.buckets.iter().enumerate().map(move |(index, count)| {
            seen += count;
            (index, seen)
        });
        let octaves =
            counts.filter(|(index, _)| index % PER_OCTAVE as usize == 0 && index + 1 < BUCKETS);
        octaves.map(|(index, seen)| (bound_us(index + 1) as f64 / 1e6, seen))
    }
}

/// The bucket of a time.
fn bucket_of(micros: u64) -> usize {
    let Some(octave) = micros.checked_ilog2().filter(|octave| *octave >= FIRST) else { return 0 };
    if octave >= END {
        return BUCKETS - 1;
    }
    let quarter = (micros >> (octave - 2)) & 3;
    1 + ((octave - FIRST) * PER_OCTAVE) as usize + quarter as usize
}

/// Where a bucket begins, in microseconds.
fn bound_us(index: usize) -> u64 {
    let Some(index) = index.checked_sub(1) else { return 0 };
    let (octave, quarter) = (index as u32 / PER_OCTAVE, index as u64 % u64::from(PER_OCTAVE));
    (4 + quarter) << (octave + FIRST - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_within_its_bucket() {
        let times = (0..64).flat_map(|shift| [1u64 << shift, (1 << shift) + 1, (1 << shift) - 1]);
        for micros in times.chain([0, 100, 12_345, 999_999, u64::MAX]) {
            let index = bucket_of(micros);
            assert!(bound_us(index) <= micros, "{micros}");
            assert!(index == BUCKETS - 1 || micros < bound_us(index + 1), "{micros}");
        }
    }

    #[test]
    fn quantiles_are_right_to_within_a_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile_ms(0.5), None);
        (1..=1000).for_each(|millis| histogram.record(millis * 1000));
        let times = histogram.read();
        for (quantile, want) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = times.quantile_ms(quantile).unwrap();
            assert!((got / want - 1.0).abs() < 0.15, "{quantile}: {got}");
        }
        assert_eq!((times.count(), times.sum_ms()), (1000, 500_500.0));
        histogram.record(5000);
        let since = histogram.read().since(&times);
        assert_eq!((since.count(), since.sum_ms()), (1, 5.0));
    }

    #[test]
    fn cumulative_counts_end_with_all_but_the_longest() {
        let histogram = Histogram::default();
        for micros in [1, 64, 100, 128, 1 << 25, 1 << 30] {
            histogram.record(micros);
        }
        let all: Vec<_> = histogram.read().cumulative().collect();
        assert_eq!(all.len(), 21);
        assert_eq!(&all[..3], [(64e-6, 1), (128e-6, 3), (256e-6, 4)]);
        assert_eq!(all.last(), Some(&(67.108_864, 5)));
    }
}
