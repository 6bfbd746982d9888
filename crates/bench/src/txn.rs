//! The transaction workload.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_protocol::ids::Timestamp;

use crate::call::BenchError;
use crate::meter::cpu_seconds;
use crate::producer::Producer;
use crate::report::Figures;

/// Not counted: the first second of a turn.
const WARM_UP: Duration = Duration::from_secs(1);
/// Records of one request when transactions are cut by time, one request a millisecond.
const RECORDS_PER_MILLI: usize = 10;

/// When a transaction is committed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cadence {
    /// After this many records, and the next one begins at once.
    Records(usize),
    /// This many milliseconds after it began, with ten records sent in each of them.
    Millis(u64),
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(count) => write!(f, "commit-every-{count}-records"),
            Self::Millis(millis) => write!(f, "commit-every-{millis}-ms"),
        }
    }
}

/// One turn of one broker.
pub(crate) struct Plan<'a> {
    pub(crate) address: &'a str,
    pub(crate) pids: &'a [u32],
    pub(crate) cadence: Cadence,
    pub(crate) seconds: u64,
    pub(crate) partitions: i32,
    pub(crate) record_bytes: usize,
}

/// Runs one turn on a topic of its own.
pub(crate) async fn run(plan: &Plan<'_>) -> Result<Figures, BenchError> {
    let unique = wall().0;
    let topic = format!("ottla-bench-{}-{unique}", std::process::id());
    let mut producer =
        Producer::start(plan.address, &topic, plan.partitions, plan.record_bytes).await?;
    repeat(&mut producer, plan.cadence, WARM_UP).await?;
    producer.retries = 0;
    let cpu = cpu_seconds(plan.pids)?;
    let begun = Instant::now();
    let mut commits =
        repeat(&mut producer, plan.cadence, Duration::from_secs(plan.seconds)).await?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds(plan.pids)? - cpu;
    let retries = producer.retries;
    producer.finish().await?;
    commits.sort_unstable();
    Ok(Figures {
        transactions: commits.len(),
        per_second: commits.len() as f64 / wall_seconds,
        cpu_us: (!plan.pids.is_empty()).then(|| cpu * 1e6 / commits.len().max(1) as f64),
        commit_ms: [500, 990, 999].map(|permille| quantile(&commits, permille)),
        retries,
    })
}

/// Transactions until the time is over; the time of each commit.
async fn repeat(
    producer: &mut Producer,
    cadence: Cadence,
    time: Duration,
) -> Result<Vec<Duration>, BenchError> {
    let mut commits = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        match cadence {
            Cadence::Records(count) => producer.send(count, wall()).await?,
            Cadence::Millis(millis) => {
                let begun = tokio::time::Instant::now();
                for milli in 1..=millis {
                    producer.send(RECORDS_PER_MILLI, wall()).await?;
                    tokio::time::sleep_until(begun + Duration::from_millis(milli)).await;
                }
            }
        }
        let begun = Instant::now();
        producer.commit().await?;
        commits.push(begun.elapsed());
    }
    Ok(commits)
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The value below which `permille` of a thousand lie, in milliseconds.
fn quantile(sorted: &[Duration], permille: usize) -> f64 {
    let at = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let times: Vec<_> = (1..=1000).map(Duration::from_millis).collect();
        assert_eq!([500, 990, 999].map(|p| quantile(&times, p)), [501.0, 991.0, 1000.0]);
        assert_eq!(quantile(&[], 500), 0.0);
    }
}
