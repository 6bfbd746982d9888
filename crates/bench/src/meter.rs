//! CPU time of processes, from Linux's `/proc`.

use crate::call::BenchError;

/// `USER_HZ`: the kernel's tick in `/proc/PID/stat`, 100 on every architecture Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of the processes so far, in seconds.
pub(crate) fn cpu_seconds(pids: &[u32]) -> Result<f64, BenchError> {
    let mut ticks = 0;
    for &pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_err(|error| BenchError::Process { pid, error })?;
        ticks += ticks_in(&stat).unwrap_or(0);
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Fields 14 and 15 of `proc_pid_stat(5)`, counted behind the name, which may hold anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_parentheses_and_spaces() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("7 (a) S 1"), None);
    }
}
