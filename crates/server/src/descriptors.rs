//! File descriptors: how many the process may have, and what they are for. A node works with any
//! limit; it raises the soft one to the hard one, and bounds itself to what that is.

use ottla_config::{BrokerConfig, keys};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Taken as the limit where there is none.
const LIMIT_MAX: u64 = 1 << 20;

/// How the descriptors are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// What the process may have open.
    pub(crate) limit: u64,
    /// Files that logs hold open.
    pub(crate) log_files: u64,
    connections: u64,
}

impl Descriptors {
    /// Raises the limit of this process and shares it out.
    pub(crate) fn claim(config: &BrokerConfig) -> Self {
        let shares = Self::of(raise(), config.get(keys::OTTLA_LOG_OPEN_FILES_MAX));
        tracing::debug!("{shares:?}");
        shares
    }

    /// Connections of all listeners.
    pub(crate) fn connections(self) -> u32 {
        u32::try_from(self.connections).unwrap_or(u32::MAX)
    }

    /// Half for connections and three eighths for logs, unless `log_files` says a number; the rest is
    /// for files that an answer holds on to, and for everything else.
    fn of(limit: u64, log_files: i32) -> Self {
        let log_files = match u64::try_from(log_files) {
            Ok(count @ 1..) => count.min(limit / 2),
            _ => limit / 8 * 3,
        };
        Self { limit, log_files, connections: limit - limit / 8 - log_files }
    }
}

/// Raises the soft limit to the hard one. Returns the limit then in force.
fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    let now = match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(error) => {
            tracing::debug!("the limit of open files stays {soft:?}: {error}");
            soft
        }
    };
    now.unwrap_or(LIMIT_MAX).min(LIMIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_shared_out_and_never_exceeded() {
        for (limit, asked, log_files, connections) in [
            (1024, -1, 384, 512),
            (1024, 0, 384, 512),
            (1024, 100, 100, 796),
            (1024, 100_000, 512, 384),
            (LIMIT_MAX, -1, 393_216, 524_288),
        ] {
            let shares = Descriptors::of(limit, asked);
            assert_eq!(shares, Descriptors { limit, log_files, connections }, "{limit} {asked}");
            assert!(shares.log_files + shares.connections < limit);
        }
    }
}
