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
        endpoints: Vec::new(),
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

const STRANGER: ReplicaKey = ReplicaKey { id: BrokerId(70), directory_id: Uuid::from_u128(70_000) };

/// A vote that is asked of this node, by a candidate that has more than anybody.
fn vote(epoch: i32, last_epoch: i32) -> VoteRequest {
    VoteRequest {
        candidate: STRANGER,
        epoch: LeaderEpoch(epoch),
        last_epoch: LeaderEpoch(last_epoch),
        log_end: Offset(1_000_000),
        pre_vote: false,
        voter: Some(ME),
    }
}

#[test]
fn candidates_are_answered_as_observed() {
    let quorum = leader();
    let other = ReplicaKey { id: ME.id, directory_id: STRANGER.directory_id };
    let pre = |request| VoteRequest { pre_vote: true, ..request };
    let behind = |request| VoteRequest { log_end: Offset(1), ..request };
    let to = |voter, request| VoteRequest { voter: Some(voter), ..request };
    let nobody =
        |request| VoteRequest { candidate: ReplicaKey { id: BrokerId(-1), ..STRANGER }, ..request };
    // What is asked, the refusal, the leader and the epoch of the answer, and whether it is granted.
    for (request, refused, leader, epoch, granted) in [
        (vote(0, -1), Some(Refusal::OldEpoch), Some(1), 1, false),
        (vote(1, 1), Some(Refusal::Invalid), Some(1), 1, false),
        (vote(1, 0), None, Some(1), 1, false),
        (pre(vote(1, 1)), None, Some(1), 1, false),
        (pre(vote(2, 1)), None, None, 2, true),
        (behind(pre(vote(2, 1))), None, None, 2, false),
        (vote(2, 1), None, None, 2, true),
        (behind(vote(2, 1)), None, None, 2, false),
        (to(STRANGER, vote(2, 1)), Some(Refusal::OtherVoter), None, 2, false),
        (to(other, vote(2, 1)), Some(Refusal::OtherVoter), None, 2, false),
        (nobody(vote(2, 1)), Some(Refusal::Invalid), Some(1), 1, false),
        (vote(i32::MAX, 1), Some(Refusal::Invalid), Some(1), 1, false),
    ] {
        let want = VoteAnswer {
            refused,
            leader: leader.map(BrokerId),
            epoch: LeaderEpoch(epoch),
            granted,
        };
        let want = if epoch > 1 { Vote::Adopt(want) } else { Vote::Answer(want) };
        assert_eq!(quorum.vote(&request), want, "{request:?}");
    }
}

#[test]
fn a_larger_epoch_is_topped_and_what_waited_for_commit_is_committed() {
    let mut quorum = leader();
    quorum.step(append(2, 10), at(2)).unwrap();
    let epoch = LeaderEpoch(6);
    let state = QuorumState { epoch, leader: Some(ME.id), voted: None };
    let seen = Input::EpochSeen { epoch: LeaderEpoch(5) };
    assert_eq!(quorum.step(seen, at(3)), Ok(vec![Action::PersistQuorumState(state)]));
    // Nothing is written in the new epoch before it is durable.
    let base = Offset(5);
    let old = quorum.step(append(1, 10), at(3)).unwrap();
    assert_eq!(old[0], Action::AppendData { base, epoch: LeaderEpoch(1) });
    let (base, at_epoch, records) = quorum.next_epoch_start().unwrap();
    assert_eq!((base, at_epoch, records.len()), (Offset(6), epoch, 1));
    let next = vec![Action::BecameLeader { epoch }, Action::Flush { through: Offset(7) }];
    assert_eq!(quorum.step(Input::Persisted, at(4)), Ok(next));
    assert_eq!(quorum.leader(), (Some(ME.id), epoch));
    assert_eq!(quorum.active_epoch(), Some(epoch), "commands go on");
    // Records of the old epoch are committed by the first of the new one.
    assert_eq!(quorum.step(Input::Flushed { end: Offset(6) }, at(5)), Ok(vec![]));
    let all = Input::Flushed { end: Offset(7) };
    assert_eq!(quorum.step(all, at(6)), Ok(vec![Action::HighWatermark(Offset(7))]));
    assert_eq!(quorum.step(Input::Persisted, at(7)), Ok(vec![]), "once");
    let seen = Input::EpochSeen { epoch: LeaderEpoch(6) };
    assert_eq!(quorum.step(seen, at(8)), Ok(vec![]), "an epoch that is led already");
}

#[test]
fn nobody_else_can_claim_to_lead() {
    let quorum = leader();
    let check = |leader, epoch, meant| {
        quorum.check_claim((BrokerId(leader), LeaderEpoch(epoch)), meant).err()
    };
    for (leader, epoch, meant, want) in [
        (1, 1, None, None),
        (1, 1, Some(ME), None),
        (70, 0, None, Some(Refusal::OldEpoch)),
        (70, 1, None, Some(Refusal::NotVoter)),
        (70, 2, None, Some(Refusal::NotVoter)),
        (1, 2, None, Some(Refusal::Invalid)),
        (-1, 1, None, Some(Refusal::Invalid)),
        (1, 1, Some(STRANGER), Some(Refusal::OtherVoter)),
    ] {
        assert_eq!(check(leader, epoch, meant), want, "{leader} claims epoch {epoch}");
    }
}

#[test]
fn a_voter_that_listens_elsewhere_than_the_log_says_corrects_it() {
    let elsewhere =
        Endpoint { listener: "CONTROLLER".into(), host: "localhost".into(), port: 19093 };
    let start_at = |source: VoterSource, epoch| {
        let config = QuorumConfig { endpoints: vec![elsewhere.clone()], ..config() };
        let mut quorum = Quorum::new(config, start(source, epoch, 0)).unwrap();
        let actions = quorum.step(Input::Start, at(0)).unwrap();
        let written = actions.into_iter().find_map(|action| match action {
            Action::AppendControl { records, .. } => Some(records),
            _ => None,
        });
        (written.unwrap(), quorum)
    };
    let mut moved = voters(&[1]).get(ME.id).unwrap().clone();
    moved.endpoints = vec![elsewhere.clone()];
    let moved = VoterSet::new([moved]);
    for (source, records) in
        [(VoterSource::Bootstrap(voters(&[1])), 3), (VoterSource::Log(voters(&[1])), 2)]
    {
        let (written, quorum) = start_at(source, 1);
        assert_eq!(written.len(), records);
        assert_eq!(written.last(), Some(&ControlRecord::Voters(moved.clone())));
        assert_eq!(quorum.voters(), &VoterSource::Log(moved.clone()));
        let (written, _) = start_at(quorum.voters().clone(), 1);
        assert_eq!(written.len(), 1, "once");
    }
    let (written, _) = start_at(VoterSource::Static(voters(&[1])), 1);
    assert_eq!(written.len(), 1, "fixed voters are the configuration's");
}

#[test]
fn a_fetch_goes_on_where_the_logs_agree() {
    let key = |end, epoch| SnapshotKey { end: Offset(end), epoch: LeaderEpoch(epoch) };
    let diverging = |epoch, end| FetchPlace::Diverging(LeaderEpoch(epoch), Offset(end));
    let bootstrap = Some(key(0, 0));
    let (old, new) = (Some(key(100, 3)), Some(key(200, 5)));
    // Offset and last epoch of the follower; log start, snapshots, end of that epoch; what follows.
    for (offset, last_epoch, start, earliest, latest, end_of_epoch, want) in [
        (0, 0, 0, bootstrap, bootstrap, (0, 0), FetchPlace::Here),
        (0, 0, 0, None, None, (0, 0), FetchPlace::Here),
        (7, 3, 0, bootstrap, bootstrap, (3, 50), FetchPlace::Here),
        (51, 3, 0, bootstrap, bootstrap, (3, 50), diverging(3, 50)),
        (50, 0, 0, bootstrap, bootstrap, (0, 0), diverging(0, 0)),
        (50, 4, 0, bootstrap, bootstrap, (3, 50), diverging(3, 50)),
        (0, 0, 100, old, new, (0, 100), FetchPlace::Snapshot(key(200, 5))),
        (99, 3, 100, old, new, (3, 150), FetchPlace::Snapshot(key(200, 5))),
        (100, 2, 100, old, new, (2, 100), FetchPlace::Snapshot(key(200, 5))),
        (120, 2, 100, old, new, (2, 100), FetchPlace::Snapshot(key(200, 5))),
        (100, 3, 100, old, new, (3, 150), FetchPlace::Here),
        (100, 3, 100, old, new, (3, 100), FetchPlace::Here),
        (150, 4, 100, old, new, (4, 180), FetchPlace::Here),
    ] {
        let (epoch, end) = end_of_epoch;
        let facts = LogFacts {
            log_start: Offset(start),
            earliest,
            latest,
            end_of_epoch: (LeaderEpoch(epoch), Offset(end)),
        };
        let place = FetchPlace::of(Offset(offset), LeaderEpoch(last_epoch), &facts);
        assert_eq!(place, want, "offset {offset} of epoch {last_epoch}");
    }
}

#[test]
fn observers_are_described_for_five_minutes_after_their_last_fetch() {
    let mut quorum = leader();
    let described = |quorum: &Quorum, millis| {
        let observers = quorum.describe(at(millis)).observers;
        observers
            .into_iter()
            .map(|o| (o.key.id.0, o.log_end.0, o.last_fetch.0, o.last_caught_up.0))
            .collect::<Vec<_>>()
    };
    quorum.observe(ME, Offset(1), at(0));
    quorum.observe(ReplicaKey { id: BrokerId(-1), ..STRANGER }, Offset(1), at(0));
    assert_eq!(described(&quorum, 0), [], "neither the leader nor a consumer observes");
    quorum.observe(STRANGER, Offset(1), at(10));
    assert_eq!(described(&quorum, 10), [(70, 1, 1_000_010, -1)]);
    assert!(!quorum.is_caught_up(STRANGER, at(10)));
    quorum.observe(STRANGER, Offset(3), at(20));
    assert_eq!(described(&quorum, 20), [(70, 3, 1_000_020, 1_000_020)]);
    assert!(quorum.is_caught_up(STRANGER, at(20)));
    // It lags behind what is new and has what was there at its last fetch.
    quorum.step(append(5, 1), at(25)).unwrap();
    quorum.observe(STRANGER, Offset(3), at(30));
    assert_eq!(described(&quorum, 30), [(70, 3, 1_000_030, 1_000_020)]);
    assert_eq!(described(&quorum, 30 + 299_999).len(), 1);
    assert_eq!(described(&quorum, 30 + 300_000), []);
}

#[test]
fn the_observer_that_fetched_longest_ago_is_forgotten_first() {
    let mut quorum = leader();
    let key = |id: i32| ReplicaKey { id: BrokerId(id), directory_id: Uuid::from_u128(5) };
    for id in 0..=OBSERVERS_MAX as i32 {
        quorum.observe(key(id + 100), Offset(0), at(id as u64));
    }
    let observers = quorum.describe(at(2000)).observers;
    assert_eq!(observers.len(), OBSERVERS_MAX);
    assert_eq!(observers[0].key, key(101));
}
