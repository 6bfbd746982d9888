//! Log lines that a peer can cause, at most one per interval.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one line through per interval and counts the others.
#[derive(Debug)]
pub(crate) struct LogLimit {
    interval: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::new((None, 0)) }
    }

    /// `Some(n)` if a line may be written now, with the number of lines left out before it.
    pub(crate) fn allow(&self, now: Instant) -> Option<u64> {
        let (last, left_out) = &mut *self.state.lock();
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_with_the_number_left_out() {
        let limit = LogLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        for (second, want) in [(0, Some(0)), (1, None), (9, None), (10, Some(2)), (11, None)] {
            assert_eq!(limit.allow(start + Duration::from_secs(second)), want, "at {second} s");
        }
    }
}
