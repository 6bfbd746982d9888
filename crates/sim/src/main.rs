//! Plays seeds of the simulation: `--seed N [--trace]`, or `--seeds A..B` on all cores.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_sim::{Options, run};

const USAGE: &str = "usage: ottla-sim --seed N [--trace] | --seeds A..B";

fn main() -> ExitCode {
    let mut seeds = None;
    let mut trace = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--trace" => trace = true,
            "--seed" => seeds = arguments.next().and_then(|n| n.parse().ok()).map(|n| (n, n + 1)),
            "--seeds" => seeds = arguments.next().as_deref().and_then(range),
            _ => seeds = None,
        }
    }
    match seeds {
        Some((first, end)) if end == first + 1 => one(first, trace),
        Some((first, end)) => many(first, end),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (first, end) = text.split_once("..")?;
    Some((first.parse().ok()?, end.parse().ok()?))
}

fn one(seed: u64, trace: bool) -> ExitCode {
    if trace {
        // The broker's own words between the events.
        tracing_subscriber::fmt().without_time().with_ansi(false).init();
    }
    match run(seed, &Options { trace, keep: !trace, ..Options::default() }) {
        Ok(outcome) => {
            println!("{outcome:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn many(first: u64, end: u64) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            if let Err(failure) = run(seed, &Options::default()) {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("{failure}");
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner();
    println!("{} seeds, {failed} failed", end.saturating_sub(first));
    ExitCode::from(u8::from(failed > 0))
}
