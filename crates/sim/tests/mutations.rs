//! The checkers see: a run with a defect put in on purpose fails within a few seeds.

use ottla_sim::{Mutation, Options, run};

/// Seeds that are tried with each defect.
const SEEDS: u64 = 60;

/// In runs about everything but transactions, which are the even ones.
#[track_caller]
fn is_seen(mutation: Mutation) {
    first_failure(mutation, 0);
}

/// In runs about transactions, where the report has to say so.
#[track_caller]
fn is_seen_as(mutation: Mutation, words: &str) {
    let what = first_failure(mutation, 1);
    assert!(what.contains(words), "{what}");
}

#[track_caller]
fn first_failure(mutation: Mutation, first: u64) -> String {
    let options = Options { mutation, ..Options::default() };
    let seeds = (first..2 * SEEDS).step_by(2);
    let seen = seeds.map(|seed| run(seed, &options)).find_map(Result::err);
    assert!(seen.is_some(), "{:?} is not seen", options.mutation);
    seen.map(|failure| failure.what).unwrap_or_default()
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

#[test]
fn a_disk_that_does_not_sync_records_of_transactions() {
    is_seen_as(Mutation::IgnoreSyncs("*/journal-*.log"), "had to survive");
}

#[test]
fn a_disk_that_does_not_sync_decisions() {
    let what = first_failure(Mutation::IgnoreSyncs("*__transaction_state*.log"), 1);
    let lost = ["was acknowledged", "given to two", "unexpected error", "torn"];
    assert!(lost.iter().any(|words| what.contains(words)), "{what}");
}

#[test]
fn a_transactional_producer_that_repeats_a_batch_under_another_sequence() {
    let what = first_failure(Mutation::NewSequenceOnRetry, 1);
    assert!(what.contains("is at offset") || what.contains("visible twice"), "{what}");
}

#[test]
fn a_reader_that_ignores_what_was_aborted() {
    is_seen_as(Mutation::IgnoreAborted, "nobody committed it");
}

#[test]
fn a_last_stable_offset_that_goes_back() {
    is_seen_as(Mutation::LastStableGoesBack, "last stable offset");
}

#[test]
fn a_transaction_that_is_committed_in_parts() {
    let what = first_failure(Mutation::CommitInPart, 1);
    assert!(what.contains("torn") || what.contains("nobody committed it"), "{what}");
}

#[test]
fn a_transfer_that_destroys_money() {
    is_seen_as(Mutation::HalfTransfer, "the bank holds");
}

#[test]
fn positions_that_are_committed_outside_of_the_transaction() {
    is_seen_as(Mutation::OffsetsOutside, "outputs, and the group is at");
}

#[test]
fn a_transaction_that_is_never_decided() {
    is_seen_as(Mutation::NoTimeout, "still waiting at the end: Decided");
}
