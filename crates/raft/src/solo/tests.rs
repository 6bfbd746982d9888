use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

use super::*;
use crate::voters::{Voter, VoterSet};

const ME: ReplicaKey = ReplicaKey { id: BrokerId(1), directory_id: Uuid::from_u128(7777) };

fn at(millis: u64) -> Now {
    Now { monotonic: Monotonic(millis * 1000), wall: Timestamp(1_000_000 + millis as i64) }
}

fn voters(ids: &[i32]) -> VoterSet {
    let voter = |&id: &i32| Voter {
        key: ReplicaKey { id: BrokerId(id), directory_id: ME.directory_id },
        endpoints: vec![Endpoint {
            listener: "CONTROLLER".into(),
            host: "localhost".into(),
            port: 9093,
        }],
        kraft_versions: (0, 1),
    };
    VoterSet::new(ids.iter().map(voter))
}

fn config() -> QuorumConfig {
    QuorumConfig {
        replica: ME,
        snapshot_bytes: 1000,
        snapshot_interval: Duration::from_secs(3600),
        unflushed_bytes_max: 500,
    }
}

fn start(voters: VoterSource, epoch: i32, log_end: i64) -> Start {
    let quorum_state = QuorumState { epoch: LeaderEpoch(epoch), ..QuorumState::default() };
    Start { quorum_state, log_end: Offset(log_end), last_epoch: LeaderEpoch(epoch), voters }
}

fn quorum(voters: VoterSource, epoch: i32, log_end: i64) -> Quorum {
    Quorum::new(config(), start(voters, epoch, log_end)).unwrap()
}

/// A leader of epoch 1 whose log holds the three control records of the first epoch.
fn leader() -> Quorum {
    let mut quorum = quorum(VoterSource::Bootstrap(voters(&[1])), 0, 0);
    quorum.step(Input::Start, at(0)).unwrap();
    quorum.step(Input::Flushed { end: Offset(3) }, at(1)).unwrap();
    quorum
}

fn append(records: u32, bytes: u64) -> Input {
    Input::Append(Append { records, bytes })
}

#[test]
fn the_first_epoch_of_a_dynamic_quorum_writes_the_voters() {
    let mut quorum = quorum(VoterSource::Bootstrap(voters(&[1])), 0, 0);
    let epoch = LeaderEpoch(1);
    let voted = QuorumState { epoch, leader: None, voted: Some(ME) };
    let leads = QuorumState { epoch, leader: Some(ME.id), voted: None };
    let change =
        ControlRecord::LeaderChange { leader: ME.id, voters: vec![ME], granting: vec![ME] };
    let records = vec![change, ControlRecord::KRaftVersion(1), ControlRecord::Voters(voters(&[1]))];
    assert_eq!(
        quorum.step(Input::Start, at(0)),
        Ok(vec![
            Action::PersistQuorumState(voted),
            Action::PersistQuorumState(leads),
            Action::BecameLeader { epoch },
            Action::AppendControl { base: Offset(0), epoch, records },
            Action::Flush { through: Offset(3) },
        ])
    );
    assert_eq!(quorum.step(Input::Start, at(0)), Err(RaftError::Started));
}

#[test]
fn later_epochs_and_static_quorums_write_only_the_leader_change() {
    for source in [VoterSource::Log(voters(&[1])), VoterSource::Static(voters(&[1]))] {
        let mut quorum = quorum(source.clone(), 4, 20);
        let actions = quorum.step(Input::Start, at(0)).unwrap();
        let control = actions.iter().find_map(|action| match action {
            Action::AppendControl { base, epoch, records } => Some((*base, *epoch, records.len())),
            _ => None,
        });
        assert_eq!(control, Some((Offset(20), LeaderEpoch(5), 1)), "{source:?}");
    }
}

#[test]
fn a_leader_counts_itself_only_after_the_flush() {
    let mut quorum = quorum(VoterSource::Log(voters(&[1])), 4, 20);
    quorum.step(Input::Start, at(0)).unwrap();
    assert_eq!(quorum.high_watermark(), None);
    let refused = Err(RaftError::NotLeader { node: ME.id, epoch: LeaderEpoch(5) });
    assert_eq!(quorum.step(append(1, 1), at(0)), refused, "before the epoch's start is committed");
    assert_eq!(
        quorum.step(Input::Flushed { end: Offset(20) }, at(0)),
        Ok(vec![]),
        "only old epochs"
    );
    let epoch = LeaderEpoch(5);
    let committed = vec![Action::HighWatermark(Offset(21)), Action::Activate { epoch }];
    assert_eq!(quorum.step(Input::Flushed { end: Offset(21) }, at(0)), Ok(committed));
    let base = Offset(21);
    let written = vec![Action::AppendData { base, epoch }, Action::Flush { through: Offset(24) }];
    assert_eq!(quorum.step(append(3, 100), at(1)), Ok(written));
    assert_eq!(quorum.high_watermark(), Some(Offset(21)));
    let committed = vec![Action::HighWatermark(Offset(24))];
    assert_eq!(quorum.step(Input::Flushed { end: Offset(24) }, at(2)), Ok(committed));
    assert_eq!(
        quorum.step(Input::Flushed { end: Offset(22) }, at(2)),
        Ok(vec![]),
        "a late completion"
    );
    let past = Err(RaftError::PastLogEnd { got: Offset(25), log_end: Offset(24) });
    assert_eq!(quorum.step(Input::Flushed { end: Offset(25) }, at(2)), past);
}

#[test]
fn unflushed_bytes_are_bounded_and_released_by_flushes() {
    let mut quorum = leader();
    assert_eq!(quorum.step(append(0, 0), at(1)), Err(RaftError::EmptyAppend));
    quorum.step(append(1, 9000), at(1)).expect("one batch is always taken");
    let full = Err(RaftError::Backlog { unflushed: 9000, limit: 500 });
    assert_eq!(quorum.step(append(1, 1), at(1)), full);
    quorum.step(Input::Flushed { end: Offset(4) }, at(2)).unwrap();
    quorum.step(append(1, 400), at(3)).unwrap();
    quorum.step(append(1, 100), at(3)).unwrap();
    assert!(quorum.step(append(1, 1), at(3)).is_err());
    quorum.step(Input::Flushed { end: Offset(5) }, at(4)).unwrap();
    quorum.step(append(1, 300), at(4)).expect("the first of the two batches is durable");
}

#[test]
fn a_snapshot_is_asked_for_by_bytes_and_by_age() {
    let mut quorum = leader();
    quorum.step(append(1, 1000), at(5)).unwrap();
    let actions = quorum.step(Input::Flushed { end: Offset(4) }, at(6)).unwrap();
    assert_eq!(
        actions,
        [Action::HighWatermark(Offset(4)), Action::TakeSnapshot { end: Offset(4) }]
    );
    assert_eq!(quorum.step(Input::Tick, at(9_999_999)), Ok(vec![]), "asked once");
    let taken = Input::SnapshotTaken { end: Offset(4), epoch: LeaderEpoch(1) };
    assert_eq!(quorum.step(taken, at(7)), Ok(vec![Action::LogStart { start: Offset(4) }]));
    assert_eq!(quorum.next_deadline(), Monotonic::NEVER, "nothing new since");
    quorum.step(append(1, 1), at(10)).unwrap();
    quorum.step(Input::Flushed { end: Offset(5) }, at(11)).unwrap();
    assert_eq!(quorum.next_deadline(), Monotonic(3_600_010_000));
    assert_eq!(quorum.step(Input::Tick, at(3_600_009)), Ok(vec![]));
    let due = vec![Action::TakeSnapshot { end: Offset(5) }];
    assert_eq!(quorum.step(Input::Tick, at(3_600_010)), Ok(due.clone()));
    assert_eq!(quorum.step(Input::SnapshotFailed, at(3_600_011)), Ok(vec![]));
    assert_eq!(quorum.step(Input::Tick, at(7_200_011)), Ok(due), "tried again");
}

#[test]
fn a_leader_resigns_once() {
    for (input, reason) in
        [(Input::Shutdown, ResignReason::Shutdown), (Input::LogFailed, ResignReason::LogFailed)]
    {
        let mut quorum = leader();
        let resigned = vec![Action::Resigned { epoch: LeaderEpoch(1), reason }];
        assert_eq!(quorum.step(input, at(5)), Ok(resigned));
        assert_eq!(quorum.step(input, at(5)), Ok(vec![]));
        assert!(quorum.step(append(1, 1), at(5)).is_err());
        assert_eq!(quorum.step(Input::Flushed { end: Offset(3) }, at(5)), Ok(vec![]));
    }
}

#[test]
fn only_a_quorum_of_this_node_is_led() {
    for ids in [&[][..], &[2], &[1, 2]] {
        let refused = Quorum::new(config(), start(VoterSource::Static(voters(ids)), 0, 0));
        assert!(matches!(refused, Err(RaftError::NotOnlyVoter { .. })), "voters {ids:?}");
    }
    let mut old = start(VoterSource::Log(voters(&[1])), 3, 9);
    old.quorum_state.epoch = LeaderEpoch(2);
    assert!(matches!(Quorum::new(config(), old), Err(RaftError::EpochBehindLog { .. })));
}

#[test]
fn the_description_names_the_leader_and_its_log_end() {
    let quorum = leader();
    let described = quorum.describe(at(8));
    assert_eq!(described.leader, Some(ME));
    assert_eq!((described.epoch, described.high_watermark), (LeaderEpoch(1), Offset(3)));
    let [voter] = described.voters.as_slice() else { panic!("one voter: {described:?}") };
    assert_eq!((voter.log_end, voter.last_caught_up), (Offset(3), at(8).wall));
}
