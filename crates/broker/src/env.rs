//! What the broker asks of the world around it: time, randomness, threads to run slow work on, and
//! a timer. `server` gives the real ones, `sim` virtual ones.

use ottla_config::BrokerConfig;
use ottla_protocol::ids::{Monotonic, Now};

use crate::jobs::Job;
use crate::quotas::IpRates;

/// The broker's environment. All calls return at once.
pub trait Env: Send + Sync + 'static {
    /// Reads both clocks.
    fn now(&self) -> Now;

    /// Reads the monotonic clock alone, to measure how long something took.
    fn monotonic(&self) -> Monotonic {
        self.now().monotonic
    }

    /// 64 unpredictable bits (in simulation: from the seed).
    fn random(&self) -> u64;

    /// Runs `Broker::run(job)` later, on a thread where it may block. Jobs of one
    /// [`crate::jobs::Lane`] run in order of submission, in the lane `Data` only those of one
    /// partition; otherwise jobs are independent of each other.
    fn submit(&self, job: Job);

    /// Calls `Broker::tick` at `at` or earlier. Earlier requests stay in force.
    fn schedule(&self, at: Monotonic);

    /// Puts the limits on connections in force that a configuration and the quotas of addresses say.
    /// Without effect where no sockets are accepted.
    fn limit_connections(&self, _config: &BrokerConfig, _rates: &IpRates) {}

    /// Replaces the levels of the process log: comma-separated `level` or `target=level`, of which a
    /// later one wins. Without effect where no process log is kept.
    fn set_log_levels(&self, _directives: &str) {}
}
