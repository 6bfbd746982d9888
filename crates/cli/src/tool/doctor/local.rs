//! This machine: directories, memory, open files, the clock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ottla_server::RealDisk;
use ottla_storage::Disk;

use super::Finding;
use crate::output::show_bytes;
use crate::time::{now_millis, show_duration, show_millis};

/// fsyncs measured in each directory.
const SYNCS: usize = 20;
/// A median above this limits producers that wait for the disk; metadata always does.
const SYNC_SLOW: Duration = Duration::from_millis(30);
/// Free space below these parts of a hundred.
const SPACE_LOW: u64 = 10;
const SPACE_OUT: u64 = 1;
/// Memory below this is short even for an idle node under its first load.
const MEMORY_LOW: u64 = 256 << 20;
/// A partition takes a few descriptors, a connection one.
const FILES_LOW: u64 = 4096;
/// 2025-01-01: this program is younger.
const CLOCK_LEAST: i64 = 1_735_689_600_000;
/// How far a file's time may lie ahead.
const CLOCK_AHEAD: Duration = Duration::from_secs(60);
const TMPFS: i64 = 0x0102_1994;

const NO_DIR: &str = "create it, or name the right one; it must belong to the user that runs the \
    node";
const CLOCK: &str = "records are timed and deleted by the clock: set it, and keep it set (NTP)";

/// Looks at the machine and at data directories.
pub(super) fn look(dirs: &[impl AsRef<Path>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dir in dirs {
        directory(dir.as_ref(), &mut findings);
    }
    findings.push(memory());
    findings.push(open_files());
    findings.push(clock(dirs));
    findings
}

fn directory(dir: &Path, findings: &mut Vec<Finding>) {
    let name = dir.display();
    match sync_times(dir) {
        Err(error) => {
            findings.push(Finding::failed("directory", format!("{name}: {error}"), NO_DIR));
            return;
        }
        Ok(mut times) => {
            findings.push(Finding::ok("directory", format!("{name} can be written to")));
            times.sort_unstable();
            let at = |part: usize| times.get(part).copied().unwrap_or_default();
            let (median, worst) = (at(SYNCS / 2), at(SYNCS - 1));
            let found = format!(
                "{name}: {:.2} ms median, {:.2} ms worst of {SYNCS}",
                median.as_secs_f64() * 1000.0,
                worst.as_secs_f64() * 1000.0
            );
            findings.push(if is_memory(dir) {
                let advice = "this is memory (tmpfs): everything is lost with the machine";
                Finding::warning("fsync", found, advice)
            } else if median > SYNC_SLOW {
                let advice = "every change of metadata, and with flush.messages=1 every \
                    acknowledgement, waits that long: a local SSD takes a few milliseconds";
                Finding::warning("fsync", found, advice)
            } else {
                Finding::ok("fsync", found)
            });
        }
    }
    match RealDisk::default().space(dir) {
        Err(error) => findings.push(Finding::failed("space", format!("{name}: {error}"), NO_DIR)),
        Ok(space) => {
            let found = format!(
                "{name}: {} free of {}",
                show_bytes(space.available),
                show_bytes(space.total)
            );
            let percent = space.available.saturating_mul(100) / space.total.max(1);
            findings.push(if percent < SPACE_OUT {
                let advice = "producers are refused when it is full: make room, lower \
                    retention.ms or retention.bytes, or take a larger disk";
                Finding::failed("space", found, advice)
            } else if percent < SPACE_LOW {
                let advice = "lower retention.ms or retention.bytes before it is full";
                Finding::warning("space", found, advice)
            } else {
                Finding::ok("space", found)
            });
        }
    }
}

/// Writes and syncs a small file again and again.
fn sync_times(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".ottla-doctor-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let times = file.and_then(|file| time_syncs(&file));
    let removed = fs::remove_file(&path);
    let times = times?;
    removed.map(|()| times)
}

fn time_syncs(mut file: &File) -> io::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    Ok(times)
}

fn is_memory(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type == TMPFS)
}

fn memory() -> Finding {
    let Ok(text) = fs::read_to_string("/proc/meminfo") else {
        return Finding::ok("memory", "not known on this system");
    };
    let (total, free) = (meminfo(&text, "MemTotal:"), meminfo(&text, "MemAvailable:"));
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    let mut found = format!("{} available of {}", show_bytes(free), show_bytes(total));
    if let Some(limit) = limit {
        found.push_str(&format!(", this group is limited to {}", show_bytes(limit)));
    }
    if free.min(limit.unwrap_or(u64::MAX)) < MEMORY_LOW {
        let advice = "reads come from the disk when the page cache has no room";
        Finding::warning("memory", found, advice)
    } else {
        Finding::ok("memory", found)
    }
}

/// A value of /proc/meminfo, in bytes; 0 if it is not there.
fn meminfo(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let words =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let found =
        format!("limit {}, can be raised to {}", words(limit.current), words(limit.maximum));
    if limit.current.is_some_and(|current| current < FILES_LOW) {
        let advice = "a partition takes a few descriptors, a connection one: raise it with \
            `ulimit -n`, or LimitNOFILE of the service";
        Finding::warning("open files", found, advice)
    } else {
        Finding::ok("open files", found)
    }
}

/// The clock against this program's age and the newest file of the data directories.
fn clock(dirs: &[impl AsRef<Path>]) -> Finding {
    let now = now_millis();
    if now < CLOCK_LEAST {
        return Finding::failed("clock", format!("it is {}", show_millis(now)), CLOCK);
    }
    let newest = dirs.iter().filter_map(|dir| newest_file(dir.as_ref())).max();
    let ahead = newest.and_then(|newest| newest.duration_since(SystemTime::now()).ok());
    match ahead.filter(|ahead| *ahead > CLOCK_AHEAD) {
        Some(ahead) => {
            let ahead = show_duration(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX));
            let found = format!("it is {}, a file is {ahead} ahead", show_millis(now));
            Finding::warning("clock", found, CLOCK)
        }
        None => Finding::ok("clock", format!("it is {}", show_millis(now))),
    }
}

/// The latest time of a file in the directory itself.
fn newest_file(dir: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_written_to_and_left_as_it_was() {
        let dir = std::env::temp_dir().join(format!("ottla-doctor-test-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(sync_times(&dir).unwrap().len(), SYNCS);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir_all(&dir).unwrap();
        let mut findings = Vec::new();
        directory(&dir, &mut findings);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].verdict, super::super::Verdict::Failed);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(meminfo("MemTotal:  12 kB\nMemAvailable: 3 kB\n", "MemAvailable:"), 3072);
        assert_eq!(meminfo("", "MemTotal:"), 0);
    }
}
