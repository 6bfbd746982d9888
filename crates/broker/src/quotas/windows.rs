//! How rates are measured, and how they are kept to (KIP-13, 599).
//!
//! A rate is what was counted in the last windows of time. It is kept to by a bucket of tokens that
//! come at the quota's rate: who spends more than there is pauses until the debt is paid. Kafka has
//! buckets for partitions and compares rates for all else; a burst and an average are the same by
//! both, but who compares rates lets a fast client burst, then nothing, until the window of the burst
//! is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_protocol::ids::Monotonic;

/// How many windows of which length a rate is measured over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    windows: u64,
    window_us: u64,
}

impl Span {
    /// `*.quota.window.num` windows of `*.quota.window.size.seconds`.
    pub(crate) fn new(windows: i32, seconds: i32) -> Self {
        let positive = |number: i32| u64::try_from(number).unwrap_or(1).max(1);
        Self { windows: positive(windows), window_us: positive(seconds) * 1_000_000 }
    }

    /// The length of one window in seconds.
    pub(crate) fn window_seconds(self) -> f64 {
        self.window_us as f64 / 1e6
    }

    /// The length of all windows in seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.windows as f64 * self.window_seconds()
    }

    /// The shortest time that a rate is taken over, in seconds: what is counted in a shorter time
    /// counts as if it had taken this long, which lets a client that was idle burst.
    pub(crate) fn seconds_min(self) -> f64 {
        self.windows.saturating_sub(1) as f64 * self.window_seconds()
    }

    fn micros(self) -> u64 {
        self.windows.saturating_mul(self.window_us)
    }
}

/// One window.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: u64,
    total: f64,
}

/// What was counted in the last windows.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// Oldest first; at most one more than the span has windows.
    windows: VecDeque<Window>,
}

impl Windows {
    /// Counts `value`.
    pub(crate) fn record(&mut self, value: f64, now: Monotonic, span: Span) {
        self.forget(now, span);
        match self.windows.back_mut() {
            Some(last) if now.0 < last.start.saturating_add(span.window_us) => last.total += value,
            last => {
                // Windows follow each other without a gap as long as there is one.
                let start = last.map_or(now.0, |last| {
                    now.0 - now.0.saturating_sub(last.start) % span.window_us
                });
                self.windows.push_back(Window { start, total: value });
            }
        }
    }

    /// The rate per second.
    pub(crate) fn rate(&mut self, now: Monotonic, span: Span) -> f64 {
        self.forget(now, span);
        let total: f64 = self.windows.iter().map(|window| window.total).sum();
        total / self.seconds(now, span)
    }

    /// What was counted in all windows.
    pub(crate) fn total(&mut self, now: Monotonic, span: Span) -> f64 {
        self.forget(now, span);
        self.windows.iter().map(|window| window.total).sum()
    }

    /// The time the rate is taken over: since the oldest window began, and no less than all windows
    /// but one.
    fn seconds(&self, now: Monotonic, span: Span) -> f64 {
        let elapsed = self.windows.front().map_or(0, |first| now.0.saturating_sub(first.start));
        let missing = span.windows.saturating_sub(1).saturating_sub(elapsed / span.window_us);
        let elapsed = elapsed.saturating_add(missing.saturating_mul(span.window_us));
        (elapsed as f64 / 1e6).max(1e-3)
    }

    /// Drops the windows that began a whole span ago.
    fn forget(&mut self, now: Monotonic, span: Span) {
        let is_old = |window: &mut Window| window.start.saturating_add(span.micros()) <= now.0;
        while self.windows.pop_front_if(is_old).is_some() {}
    }
}

/// What a quota gives: tokens per second, and how many are kept for a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Supply {
    pub(crate) per_second: f64,
    pub(crate) burst: f64,
}

/// Tokens of one client. Full at first.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Missing from full; more than the burst when it is overdrawn.
    missing: f64,
    at: Monotonic,
    /// When it is full again.
    full_at: Monotonic,
}

/// What is left of a token by the arithmetic of a wait that is over.
const ROUNDING: f64 = 1e-6;

impl Bucket {
    /// Takes tokens, also such as are not there yet. Returns the seconds until the debt is paid.
    pub(crate) fn take(&mut self, count: f64, supply: Supply, now: Monotonic) -> f64 {
        self.fill(supply, now);
        let debt = self.missing + count - supply.burst;
        self.set(self.missing + count, supply, now);
        if debt <= ROUNDING { 0.0 } else { debt / supply.per_second }
    }

    /// Takes tokens if they are there, or if the bucket is full and never holds more.
    ///
    /// # Errors
    /// They are not; the seconds until then.
    pub(crate) fn try_take(
        &mut self,
        count: f64,
        supply: Supply,
        now: Monotonic,
    ) -> Result<(), f64> {
        self.fill(supply, now);
        let lacks = (self.missing + count - supply.burst).min(self.missing);
        if lacks > ROUNDING {
            return Err(lacks / supply.per_second);
        }
        self.set(self.missing + count, supply, now);
        Ok(())
    }

    /// How many there are, 0 if it is overdrawn.
    pub(crate) fn tokens(&mut self, supply: Supply, now: Monotonic) -> f64 {
        self.fill(supply, now);
        (supply.burst - self.missing).max(0.0)
    }

    /// The seconds until there is a token or none is owed, 0 if so now.
    pub(crate) fn overdrawn(&mut self, supply: Supply, now: Monotonic) -> f64 {
        self.fill(supply, now);
        let debt = self.missing - supply.burst;
        if debt <= ROUNDING { 0.0 } else { debt / supply.per_second }
    }

    /// Whether nothing is left to remember at `now`.
    pub(crate) fn is_full(&self, now: Monotonic) -> bool {
        self.full_at <= now
    }

    fn fill(&mut self, supply: Supply, now: Monotonic) {
        let came = now.since(self.at).as_secs_f64() * supply.per_second;
        self.missing = (self.missing - came).max(0.0);
        self.at = self.at.max(now);
    }

    fn set(&mut self, missing: f64, supply: Supply, now: Monotonic) {
        self.missing = missing;
        let seconds = (self.missing / supply.per_second).clamp(0.0, 1e9);
        self.full_at = now.plus(Duration::from_secs_f64(seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { windows: 11, window_us: 1_000_000 };

    fn at(millis: u64) -> Monotonic {
        Monotonic(77_000_000 + millis * 1000)
    }

    #[test]
    fn a_first_burst_counts_as_if_it_had_taken_all_windows_but_one() {
        let mut windows = Windows::default();
        windows.record(100.0, at(0), SPAN);
        assert_eq!(windows.rate(at(0), SPAN), 10.0);
        windows.record(100.0, at(10_500), SPAN);
        assert_eq!(windows.rate(at(10_500), SPAN), 200.0 / 10.5);
    }

    #[test]
    fn windows_are_forgotten_after_the_span_and_then_nothing_is_kept() {
        let mut windows = Windows::default();
        windows.record(100.0, at(0), SPAN);
        for (millis, total) in [(500, 100.0), (10_999, 100.0), (11_000, 0.0)] {
            assert_eq!(windows.total(at(millis), SPAN), total, "after {millis} ms");
        }
        assert_eq!(windows.windows.len(), 0);
    }

    const SUPPLY: Supply = Supply { per_second: 5e6, burst: 5e7 };

    /// A client that sends as fast as it may: `chunk` units, then it waits as long as it is told.
    fn sent_in(seconds: u64, chunk: f64) -> f64 {
        let (mut bucket, mut now, mut sent) = (Bucket::default(), 0.0, 0.0);
        while now < seconds as f64 * 1e3 {
            sent += chunk;
            now += (bucket.take(chunk, SUPPLY, at(now as u64)) * 1e3).ceil();
        }
        sent
    }

    #[test]
    fn a_client_that_waits_as_told_gets_one_burst_and_its_rate() {
        for chunk in [16e3, 250e3, 1e6, 20e6] {
            for seconds in [1, 10, 100] {
                let want = SUPPLY.burst + seconds as f64 * SUPPLY.per_second;
                let off = (sent_in(seconds, chunk) - want) / want;
                assert!(off.abs() < 0.01 + chunk / want, "{chunk} in {seconds} s: {off}");
            }
        }
    }

    /// A consumer that asks again as soon as it may.
    #[test]
    fn tokens_that_were_refused_are_there_after_the_wait() {
        let (mut bucket, mut now, mut got) = (Bucket::default(), 0, 0.0f64);
        while now < 100_000 {
            match bucket.try_take(1e6, SUPPLY, at(now)) {
                Ok(()) => got += 1e6,
                Err(seconds) => {
                    now += (seconds * 1e3).ceil() as u64;
                    assert_eq!(bucket.try_take(1e6, SUPPLY, at(now)), Ok(()), "at {now}");
                    got += 1e6;
                }
            }
        }
        assert!((got - 5.5e8).abs() < 5e6, "{got}");
    }

    #[test]
    fn more_than_a_bucket_holds_is_given_from_a_full_one() {
        let mut bucket = Bucket::default();
        let supply = Supply { per_second: 10.0, burst: 100.0 };
        assert_eq!(bucket.try_take(500.0, supply, at(0)), Ok(()));
        assert_eq!(bucket.try_take(500.0, supply, at(0)), Err(50.0));
        assert_eq!(bucket.try_take(500.0, supply, at(50_000)), Ok(()));
    }

    #[test]
    fn a_bucket_is_full_at_first_and_again_when_everything_came_back() {
        let (mut bucket, supply) = (Bucket::default(), Supply { per_second: 2.0, burst: 22.0 });
        assert_eq!(bucket.take(22.0, supply, at(0)), 0.0);
        assert_eq!(bucket.take(8.0, supply, at(0)), 4.0);
        for (millis, seconds) in [(0, 4.0), (1000, 3.0), (4000, 0.0)] {
            assert_eq!(bucket.overdrawn(supply, at(millis)), seconds, "after {millis} ms");
        }
        assert!(!bucket.is_full(at(14_999)) && bucket.is_full(at(15_000)));
    }
}
