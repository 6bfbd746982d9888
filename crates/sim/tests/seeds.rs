//! Seeds of the simulation. `make sim` plays a hundred thousand.

use ottla_sim::{Options, run};

#[test]
fn a_seed_gives_the_same_events_again() {
    for seed in 0..10 {
        let (first, again) = (run(seed, &Options::default()), run(seed, &Options::default()));
        assert_eq!(first, again, "seed {seed}");
    }
}

/// A checker that nothing comes by proves nothing.
#[test]
fn transactions_are_committed_aborted_and_fenced_by_the_hundred() {
    let (mut committed, mut processed, mut aborted, mut fenced) = (0, 0, 0, 0);
    for seed in (1..60).step_by(2) {
        let counts = run(seed, &Options::default()).expect("a run that holds").counts;
        committed += counts.transactions;
        processed += counts.processed;
        aborted += counts.aborted;
        fenced += counts.fenced;
    }
    let all = (committed, processed, aborted, fenced);
    assert!(committed > 500 && processed > 100 && aborted > 200 && fenced > 100, "{all:?}");
}

/// A quarter of a thousand, of which every second is about transactions: the test runner plays the
/// quarters side by side.
#[track_caller]
fn play(quarter: u64) {
    for seed in quarter * 250..(quarter + 1) * 250 {
        let failure = run(seed, &Options { keep: true, ..Options::default() }).err();
        let text = failure.map(|failure| failure.to_string()).unwrap_or_default();
        assert!(text.is_empty(), "{text}");
    }
}

#[test]
fn seeds_0_to_249_hold() {
    play(0);
}

#[test]
fn seeds_250_to_499_hold() {
    play(1);
}

#[test]
fn seeds_500_to_749_hold() {
    play(2);
}

#[test]
fn seeds_750_to_999_hold() {
    play(3);
}
