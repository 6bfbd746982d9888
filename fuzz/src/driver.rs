//! Runs fuzz targets without libFuzzer, on any toolchain: mutates the seeds, the same way in every
//! run. `driver short`, `driver TARGET ROUNDS [SEED]`, `driver TARGET --seconds SECONDS`,
//! `driver TARGET FILE...`, `driver seeds DIR`, `driver targets`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use ottla_fuzz::{TARGETS, Target};
use ottla_testkit::Rng;

/// No target needs more than this for inputs of a few kilobytes.
const HELD_MAX: usize = 256 << 20;
const INPUT_MAX: usize = 16 << 10;

/// Refuses memory beyond [`HELD_MAX`], which aborts the process.
struct Bounded;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the system's allocator unchanged, or refused with null, as the
// trait allows; counting does not allocate.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if HELD.fetch_add(layout.size(), Ordering::Relaxed) > HELD_MAX {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if HELD.fetch_add(layout.size(), Ordering::Relaxed) > HELD_MAX {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["targets"] => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        ["short"] => TARGETS.iter().for_each(|target| mutate(target, target.rounds, 1)),
        ["seeds", dir] => write_seeds(Path::new(dir))?,
        [name, "--seconds", seconds] => {
            let (target, limit) = (find(name)?, Duration::from_secs(seconds.parse()?));
            let started = Instant::now();
            for seed in 1.. {
                if started.elapsed() >= limit {
                    break;
                }
                mutate(target, target.rounds, seed);
            }
        }
        [name, rounds] if rounds.parse::<u64>().is_ok() => mutate(find(name)?, rounds.parse()?, 1),
        [name, rounds, seed] if rounds.parse::<u64>().is_ok() => {
            mutate(find(name)?, rounds.parse()?, seed.parse()?);
        }
        [name, files @ ..] if !files.is_empty() => {
            for file in files {
                (find(name)?.run)(&fs::read(file)?);
                println!("{name}: {file} is fine");
            }
        }
        _ => {
            return Err(
                "usage: driver targets | short | seeds DIR | TARGET ROUNDS [SEED] | TARGET --seconds SECONDS | TARGET FILE..."
                    .into(),
            );
        }
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Target, String> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| format!("no target {name}"))
}

fn write_seeds(dir: &Path) -> Result<(), Box<dyn Error>> {
    for target in TARGETS {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(dir.join(format!("seed-{number:05}")), seed)?;
        }
    }
    Ok(())
}

fn mutate(target: &Target, rounds: u64, seed: u64) {
    let started = Instant::now();
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let mut rng = Rng::new(seed);
    for input in &seeds {
        run(target, input);
    }
    for _ in 0..rounds {
        let mut input = rng.pick(&seeds).clone();
        for _ in 0..=rng.below(4) {
            change(&mut input, &seeds, &mut rng);
        }
        input.truncate(INPUT_MAX);
        run(target, &input);
    }
    let millis = started.elapsed().as_millis();
    println!("{}: {} seeds and {rounds} mutations in {millis} ms", target.name, seeds.len());
}

fn run(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok() {
        return;
    }
    let path = format!("artifacts/{}/crash-driver", target.name);
    let kept = fs::create_dir_all(format!("artifacts/{}", target.name))
        .and_then(|()| fs::write(&path, input));
    match kept {
        Ok(()) => eprintln!("{}: the input is kept in fuzz/{path}", target.name),
        Err(error) => {
            eprintln!("{}: {path} cannot be written ({error}): {input:02x?}", target.name)
        }
    }
    process::exit(1);
}

/// Changes that make sense for binary and text: numbers that matter as lengths, bits, pieces of
/// other inputs.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    const EDGES: [u8; 10] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, b'\n', b'='];
    let at = rng.below(input.len() as u64 + 1) as usize;
    let len = rng.below(9) as usize;
    let end = (at + len).min(input.len());
    match rng.below(8) {
        0 | 1 if at < input.len() => input[at] = *rng.pick(&EDGES),
        2 if at < input.len() => input[at] ^= 1 << rng.below(8),
        3 if at < input.len() => input[at] = rng.next_u64() as u8,
        4 => drop(input.drain(at..end)),
        5 => {
            let piece = input[at..end].to_vec();
            drop(input.splice(at..at, piece));
        }
        6 => {
            let other = rng.pick(seeds);
            let from = rng.below(other.len() as u64 + 1) as usize;
            let to = (from + rng.below(64) as usize).min(other.len());
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
        7 => {
            // Another request, record or line behind this one.
            let other = rng.pick(seeds);
            input.extend_from_slice(other);
        }
        _ => input.insert(at, *rng.pick(&EDGES)),
    }
}
