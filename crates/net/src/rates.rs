//! How fast connections may come: of the broker, of a listener, and from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most addresses that are remembered. Beyond it those that connected little are forgotten, and if
/// there are none, all.
const ADDRESSES_MAX: usize = 10_000;

/// The longest pause for one connection, as Kafka has it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A rate of connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConnectionRate {
    /// Connections per second; positive.
    pub per_second: f64,
    /// How many seconds' worth may come at once after a quiet time.
    pub burst_seconds: f64,
}

/// Tokens that come at a rate; a connection takes one.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// What has come of late: one bucket per key, full where there is none.
#[derive(Debug)]
pub(crate) struct Buckets<K>(BTreeMap<K, Bucket>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl ConnectionRate {
    /// No bucket holds less than one connection.
    fn burst(self) -> f64 {
        (self.per_second * self.burst_seconds).max(1.0)
    }

    fn filled(self, bucket: Bucket, now: Instant) -> Bucket {
        let came = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        Bucket { tokens: (bucket.tokens + came).min(self.burst()), at: now.max(bucket.at) }
    }

    /// The time until a bucket holds one token.
    fn pause(self, bucket: Bucket) -> Duration {
        let seconds = (1.0 - bucket.tokens) / self.per_second.max(1e-9);
        Duration::from_secs_f64(seconds.clamp(0.0, PAUSE_MAX.as_secs_f64()))
    }
}

impl<K: Ord + Copy> Buckets<K> {
    /// Takes a token.
    ///
    /// # Errors
    /// There is none, and nothing was taken; the time to wait.
    pub(crate) fn take(
        &mut self,
        key: K,
        rate: ConnectionRate,
        now: Instant,
    ) -> Result<(), Duration> {
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&key) {
            self.make_room(rate, now);
        }
        let full = Bucket { tokens: rate.burst(), at: now };
        let bucket = self.0.entry(key).or_insert(full);
        *bucket = rate.filled(*bucket, now);
        // The arithmetic of a wait that is over may leave a token short by its last bit.
        if bucket.tokens < 1.0 - 1e-6 {
            return Err(rate.pause(*bucket));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    fn make_room(&mut self, rate: ConnectionRate, now: Instant) {
        self.0.retain(|_, bucket| rate.filled(*bucket, now).tokens < rate.burst() / 2.0);
        if self.0.len() >= ADDRESSES_MAX {
            self.0.clear();
        }
    }
}

/// Buckets by address.
pub(crate) type Addresses = Buckets<IpAddr>;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ConnectionRate = ConnectionRate { per_second: 2.0, burst_seconds: 3.0 };

    #[test]
    fn after_a_burst_connections_come_at_the_rate() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let taken = |buckets: &mut Buckets<u8>, millis| {
            let now = start + Duration::from_millis(millis);
            std::iter::repeat_with(|| buckets.take(1, RATE, now)).take_while(Result::is_ok).count()
        };
        for (millis, want) in [(0, 6), (100, 0), (500, 1), (2000, 3), (60_000, 6)] {
            assert_eq!(taken(&mut buckets, millis), want, "after {millis} ms");
        }
        assert_eq!(buckets.take(2, RATE, start), Ok(()), "another key has its own");
        let now = start + Duration::from_secs(60);
        assert_eq!(buckets.take(1, RATE, now), Err(Duration::from_millis(500)));
    }

    #[test]
    fn who_waits_as_told_gets_its_token() {
        let (mut buckets, mut now) = (Buckets::default(), Instant::now());
        let rate = ConnectionRate { per_second: 7.0, burst_seconds: 0.0 };
        for _ in 0..100 {
            if let Err(pause) = buckets.take(1, rate, now) {
                now += pause;
                assert_eq!(buckets.take(1, rate, now), Ok(()));
            }
        }
    }

    #[test]
    fn addresses_are_bounded() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        for key in 0..ADDRESSES_MAX * 3 {
            let _ = buckets.take(key, RATE, now);
            assert!(buckets.0.len() <= ADDRESSES_MAX);
        }
    }
}
