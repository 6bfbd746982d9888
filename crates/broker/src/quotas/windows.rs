//! Sums over a sliding row of time windows, and a token bucket: how rates are measured (KIP-13, 599).

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
    /// Counts `value`; a negative one takes back what was counted.
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

    /// How long nothing may be counted until the rate is down to `bound`, in milliseconds; 0 if the
    /// rate is within it.
    pub(crate) fn excess_ms(&mut self, bound: f64, now: Monotonic, span: Span) -> f64 {
        let rate = self.rate(now, span);
        if rate <= bound {
            return 0.0;
        }
        (rate - bound) / bound * self.seconds(now, span) * 1e3
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

/// Tokens that come at a rate and are spent in lumps (KIP-599). Full at first.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Missing from full; more than full when it was overdrawn.
    missing: f64,
    at: Monotonic,
    /// When it is full again.
    full_at: Monotonic,
}

impl Bucket {
    /// How many tokens there are, negative when it is overdrawn. It holds what comes in a whole span.
    pub(crate) fn tokens(&mut self, rate: f64, now: Monotonic, span: Span) -> f64 {
        let came = now.since(self.at).as_secs_f64() * rate;
        self.missing = (self.missing - came).max(0.0);
        self.at = self.at.max(now);
        rate * span.seconds() - self.missing
    }

    /// Takes tokens, also such as are not there yet.
    pub(crate) fn take(&mut self, count: f64, rate: f64, now: Monotonic, span: Span) {
        self.tokens(rate, now, span);
        self.missing += count;
        let seconds = (self.missing / rate).clamp(0.0, 1e9);
        self.full_at = now.plus(Duration::from_secs_f64(seconds));
    }

    /// Whether nothing is left to remember at `now`.
    pub(crate) fn is_full(&self, now: Monotonic) -> bool {
        self.full_at <= now
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
        assert_eq!(windows.excess_ms(10.0, at(0), SPAN), 0.0);
        windows.record(50.0, at(0), SPAN);
        // 150 within 15 s are 10 per second; 10 s of them are taken as past.
        assert_eq!(windows.excess_ms(10.0, at(0), SPAN), 5000.0);
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

    #[test]
    fn what_is_taken_back_does_not_count() {
        let mut windows = Windows::default();
        windows.record(1000.0, at(0), SPAN);
        windows.record(-1000.0, at(10), SPAN);
        assert_eq!(windows.excess_ms(1.0, at(10), SPAN), 0.0);
    }

    /// A client that sends as fast as it may: `chunk` units, then it waits as long as it is told.
    fn sent_in(seconds: u64, chunk: f64, bound: f64) -> f64 {
        let (mut windows, mut now, mut sent) = (Windows::default(), 0.0, 0.0);
        while now < seconds as f64 * 1e3 {
            let at = at(now as u64);
            windows.record(chunk, at, SPAN);
            sent += chunk;
            now += windows.excess_ms(bound, at, SPAN).max(1.0);
        }
        sent
    }

    #[test]
    fn a_client_that_waits_as_told_gets_its_rate_and_one_burst() {
        for chunk in [16e3, 250e3, 1e6, 20e6] {
            let bound = 5e6;
            let steady = (sent_in(120, chunk, bound) - sent_in(20, chunk, bound)) / 100.0;
            let off = steady / bound - 1.0;
            assert!(off.abs() < 0.05 + chunk / (100.0 * bound), "chunks of {chunk}: {steady}");
            assert!(sent_in(10, chunk, bound) < bound * 21.5 + chunk);
        }
    }

    #[test]
    fn a_bucket_holds_a_span_of_tokens_and_can_be_overdrawn_once() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.tokens(2.0, at(0), SPAN), 22.0);
        bucket.take(30.0, 2.0, at(0), SPAN);
        for (millis, tokens) in [(0, -8.0), (1000, -6.0), (4000, 0.0), (60_000, 22.0)] {
            assert_eq!(bucket.tokens(2.0, at(millis), SPAN), tokens, "after {millis} ms");
        }
        assert!(!bucket.is_full(at(14_999)) && bucket.is_full(at(15_000)));
    }
}
