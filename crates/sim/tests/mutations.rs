//! The checkers see: a run with a defect put in on purpose fails within a few seeds.

use ottla_sim::{Mutation, Options, run};

/// Seeds that are tried with each defect.
const SEEDS: u64 = 60;

#[track_caller]
fn is_seen(mutation: Mutation) {
    let options = Options { mutation, ..Options::default() };
    let seen = (0..SEEDS).find_map(|seed| run(seed, &options).err());
    assert!(seen.is_some(), "{:?} is not seen", options.mutation);
}

#[test]
fn a_disk_that_does_not_sync_records() {
    is_seen(Mutation::IgnoreSyncs("*.log"));
}

#[test]
fn a_disk_that_does_not_sync_group_records() {
    is_seen(Mutation::IgnoreSyncs("*__consumer_offsets*.log"));
}

#[test]
fn a_disk_that_does_not_sync_metadata() {
    is_seen(Mutation::IgnoreSyncs("*__cluster_metadata*.log"));
}

#[test]
fn a_disk_that_does_not_sync_names() {
    is_seen(Mutation::IgnoreDirSyncs("*"));
}

#[test]
fn a_producer_that_repeats_a_batch_under_another_sequence() {
    is_seen(Mutation::NewSequenceOnRetry);
}

#[test]
fn a_record_that_is_served_with_another_byte() {
    is_seen(Mutation::ChangeServedRecord);
}

#[test]
fn an_answer_that_is_never_written() {
    is_seen(Mutation::LoseAnswer);
}
