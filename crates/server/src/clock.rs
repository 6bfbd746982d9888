//! The real clocks.

use std::time::{Duration, Instant, SystemTime};

use ottla_protocol::ids::{Monotonic, Now, Timestamp};

/// Reads both clocks. The monotonic one counts from when this value was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock whose monotonic zero is now.
    #[must_use]
    pub fn start() -> Self {
        Self { zero: Instant::now() }
    }

    /// Both clocks now.
    #[must_use]
    pub fn now(&self) -> Now {
        self.at(Instant::now())
    }

    /// Both clocks, the monotonic one as read before.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX));
        Now { monotonic: self.monotonic(instant), wall }
    }

    /// An instant as the broker counts it.
    #[must_use]
    pub fn monotonic(&self, instant: Instant) -> Monotonic {
        Monotonic::default().plus(instant.saturating_duration_since(self.zero))
    }

    /// A point of the broker's clock as an instant; `None` for [`Monotonic::NEVER`] and what is too
    /// far away to be one. Rounded up, so that who waits for it does not look too early.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> Option<Instant> {
        match at {
            Monotonic::NEVER => None,
            Monotonic(micros) => self.zero.checked_add(Duration::from_micros(micros)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_made_from_a_deadline_has_reached_it() {
        let clock = Clock::start();
        for micros in [0, 1, 999, 1_000_001] {
            let instant = clock.instant(Monotonic(micros)).unwrap();
            assert_eq!(clock.monotonic(instant), Monotonic(micros));
        }
        assert_eq!(clock.instant(Monotonic::NEVER), None);
    }
}
