//! Registration, heartbeats, fencing and controlled shutdown: the rows of the error matrix.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{CLUSTER, Cluster, dir, incarnation, registration};
use ottla_metadata::{Command, LeaderRecovery, record_name};
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, PartitionIndex};
use ottla_protocol::messages as m;
use ottla_protocol::{MetadataRecord, Uuid};

const P0: PartitionIndex = PartitionIndex(0);

#[test]
fn registration_answers_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    let good = || registration(7, incarnation(7));
    let only =
        |name: &str| good().features.into_iter().filter(|f| &*f.name == name).collect::<Vec<_>>();
    let range = |name: &str, min, max| {
        let mut request = good();
        let feature = request.features.iter_mut().find(|feature| &*feature.name == name).unwrap();
        (feature.min_supported_version, feature.max_supported_version) = (min, max);
        request
    };
    type Request = m::BrokerRegistrationRequest;
    let rows: Vec<(&str, Request, i16)> = vec![
        ("wrong cluster id", Request { cluster_id: "wrong".into(), ..good() }, 104),
        ("no features", Request { features: vec![], ..good() }, 119),
        ("metadata.version 7-30", range("metadata.version", 7, 30), 35),
        ("metadata.version only", Request { features: only("metadata.version"), ..good() }, 35),
        ("group.version 0-0", range("group.version", 0, 0), 35),
        ("kraft.version 0-0", range("kraft.version", 0, 0), 35),
        ("no log dirs", Request { log_dirs: vec![], ..good() }, 119),
        ("log dir twice", Request { log_dirs: vec![dir(7), dir(7)], ..good() }, 119),
        ("reserved log dir", Request { log_dirs: vec![Uuid::ZERO], ..good() }, 119),
        ("log dir of another", Request { log_dirs: vec![dir(1)], ..good() }, 119),
        ("migrating", Request { is_migrating_zk_broker: true, ..good() }, 102),
        ("id of a live broker", registration(1, incarnation(99)), 101),
        ("id -1", registration(-1, incarnation(7)), 119),
        ("no listeners", Request { listeners: vec![], ..good() }, 0),
        ("good", good(), 0),
    ];
    for (what, request, code) in rows {
        let next = cluster.next;
        let answer: m::BrokerRegistrationResponse = cluster.ask(request);
        assert_eq!(answer.error_code, code, "{what}");
        assert_eq!(answer.broker_epoch >= 0, code == 0, "{what}");
        assert_eq!(cluster.next > next, code == 0, "{what}");
    }
    assert_eq!(
        cluster.controller.image().broker(BrokerId(1)).unwrap().id,
        BrokerId(1),
        "{CLUSTER}"
    );
}

#[test]
fn the_epoch_is_the_offset_of_the_registration() {
    let mut cluster = Cluster::new();
    let next = cluster.next;
    let first: m::BrokerRegistrationResponse = cluster.ask(registration(7, incarnation(1)));
    assert_eq!(first.broker_epoch, next.0);
    let same: m::BrokerRegistrationResponse = cluster.ask(registration(7, incarnation(1)));
    assert_eq!(same.broker_epoch, first.broker_epoch);
    let other: m::BrokerRegistrationResponse = cluster.ask(registration(7, incarnation(2)));
    assert!(other.broker_epoch > first.broker_epoch);
    let registered = cluster.image().broker(BrokerId(7)).unwrap();
    assert_eq!((registered.epoch, registered.fenced), (other.broker_epoch, true));
}

#[test]
fn heartbeats_answer_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    cluster.ask::<m::BrokerRegistrationResponse>(registration(7, incarnation(7)));
    let good = cluster.heartbeat(7);
    type Beat = m::BrokerHeartbeatRequest;
    type Answer = (i16, bool, bool, bool);
    let rows: Vec<(&str, Beat, Answer)> = vec![
        (
            "wrong epoch",
            Beat { broker_epoch: good.broker_epoch + 99, ..good.clone() },
            (77, false, true, false),
        ),
        ("unknown", Beat { broker_id: 55, ..good.clone() }, (77, false, true, false)),
        ("behind", Beat { current_metadata_offset: 0, ..good.clone() }, (0, false, true, false)),
        ("wants to be fenced", Beat { want_fence: true, ..good.clone() }, (0, true, true, false)),
        ("caught up", good.clone(), (0, true, false, false)),
        ("again", good.clone(), (0, true, false, false)),
        (
            "unknown dir",
            Beat { offline_log_dirs: vec![dir(9)], ..good.clone() },
            (0, true, false, false),
        ),
        (
            "all dirs",
            Beat { offline_log_dirs: vec![dir(7)], ..good.clone() },
            (0, true, false, false),
        ),
        ("shuts down", Beat { want_shut_down: true, ..good.clone() }, (0, true, true, true)),
        ("again", Beat { want_shut_down: true, ..good.clone() }, (0, true, true, true)),
        ("comes back", good.clone(), (0, true, false, false)),
    ];
    for (what, request, want) in rows {
        let a: m::BrokerHeartbeatResponse = cluster.ask(request);
        let got = (a.error_code, a.is_caught_up, a.is_fenced, a.should_shut_down);
        assert_eq!(got, want, "{what}");
    }
}

#[test]
fn a_lone_broker_shuts_down_and_comes_back_as_in_kafka() {
    let mut cluster = Cluster::brokers(&[1]);
    let topic = cluster.create("t", &[&[1]]);
    let epoch = cluster.heartbeat(1).broker_epoch;
    let request = m::BrokerHeartbeatRequest { want_shut_down: true, ..cluster.heartbeat(1) };
    let records = cluster.records(request.clone());
    let [change, partition] = records.as_slice() else { panic!("{records:?}") };
    let MetadataRecord::BrokerRegistrationChange(body) = &change.record else { panic!() };
    assert_eq!((change.version, body.fenced, body.in_controlled_shutdown), (1, 0, 1));
    let MetadataRecord::PartitionChange(body) = &partition.record else { panic!() };
    assert_eq!((body.isr.as_deref(), body.leader), (Some(&[][..]), -1));
    assert_eq!(body.eligible_leader_replicas.as_deref(), Some(&[1][..]));
    assert_eq!(body.last_known_elr.as_deref(), Some(&[1][..]));
    let records = cluster.records(request);
    let [MetadataRecord::BrokerRegistrationChange(body)] =
        &records.iter().map(|r| r.record.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{records:?}")
    };
    assert_eq!((body.fenced, body.in_controlled_shutdown), (1, 0));

    let back = m::BrokerRegistrationRequest {
        previous_broker_epoch: epoch,
        ..registration(1, incarnation(2))
    };
    assert_eq!(cluster.records(back).len(), 1);
    cluster.beat(1, false, false);
    let partition = cluster.image().partition(topic, P0).unwrap();
    assert_eq!((partition.leader(), partition.leader_epoch), (Some(BrokerId(1)), LeaderEpoch(2)));
    assert_eq!((partition.isr.as_slice(), partition.elr.len()), (&[BrokerId(1)][..], 0));
    assert_eq!(partition.last_known_elr, []);
    assert_eq!(partition.leader_recovery, LeaderRecovery::Recovered);
}

#[test]
fn a_broker_that_died_is_out_of_the_elr_and_still_leads_its_only_replica() {
    let mut cluster = Cluster::brokers(&[1]);
    let topic = cluster.create("t", &[&[1]]);
    cluster.millis = 9001;
    assert_eq!(cluster.controller.due(cluster.now()), [Command::FenceStale, Command::NoOp]);
    cluster.records(Command::FenceStale);
    let partition = cluster.image().partition(topic, P0).unwrap();
    assert_eq!((partition.leader(), partition.elr.as_slice()), (None, &[BrokerId(1)][..]));
    cluster.start_broker(1, incarnation(2));
    let partition = cluster.image().partition(topic, P0).unwrap();
    assert_eq!(
        (partition.leader(), partition.isr.as_slice()),
        (Some(BrokerId(1)), &[BrokerId(1)][..])
    );
    assert_eq!(partition.leader_recovery, LeaderRecovery::Recovering);
    assert_eq!((partition.elr.len(), partition.last_known_elr.len()), (0, 0));
}

#[test]
fn the_controllers_own_broker_need_not_wait_for_its_last_session() {
    let mut cluster = Cluster::brokers(&[1, 2]);
    let topic = cluster.create("t", &[&[1, 2]]);
    cluster.controller.resign();
    cluster.controller.activate(cluster.now());
    let other: m::BrokerRegistrationResponse = cluster.ask(registration(2, incarnation(8)));
    assert_eq!(other.error_code, 101, "broker 2 may live");
    cluster.start_broker(1, incarnation(9));
    let partition = cluster.image().partition(topic, P0).unwrap();
    assert_eq!(
        (partition.leader(), partition.isr.as_slice()),
        (Some(BrokerId(2)), &[BrokerId(2)][..])
    );
    let again: m::BrokerRegistrationResponse = cluster.ask(registration(1, incarnation(10)));
    assert_eq!(again.error_code, 101);
}

#[test]
fn leadership_moves_when_a_leader_is_fenced_and_the_follower_stays() {
    let mut cluster = Cluster::brokers(&[1, 2]);
    let topic = cluster.create("t", &[&[1, 2]]);
    cluster.millis = 5000;
    cluster.beat(2, false, false);
    assert_eq!(
        cluster.controller.next_deadline(),
        Monotonic(5_000_000 - 4_500_000),
        "the idle record"
    );
    cluster.millis = 9000;
    let records = cluster.records(Command::FenceStale);
    let names: Vec<_> = records.iter().map(|record| record_name(&record.record)).collect();
    assert_eq!(names, ["PartitionChangeRecord", "BrokerRegistrationChangeRecord"]);
    let partition = cluster.image().partition(topic, P0).unwrap();
    assert_eq!((partition.leader(), partition.leader_epoch), (Some(BrokerId(2)), LeaderEpoch(1)));
    assert_eq!(
        (partition.isr.as_slice(), partition.elr.len()),
        (&[BrokerId(2)][..], 0),
        "min ISR is 1"
    );
    assert!(cluster.records(Command::FenceStale).is_empty(), "broker 2 was heard from");
}

#[test]
fn controlled_shutdown_waits_until_the_others_know() {
    let mut cluster = Cluster::brokers(&[1, 2]);
    let topic = cluster.create("t", &[&[1, 2]]);
    let first = cluster.beat(1, false, true);
    assert_eq!((first.should_shut_down, first.is_fenced), (false, false));
    assert_eq!(cluster.image().partition(topic, P0).unwrap().leader(), Some(BrokerId(2)));
    assert!(cluster.image().broker(BrokerId(1)).unwrap().in_controlled_shutdown);
    assert!(!cluster.beat(1, false, true).should_shut_down, "broker 2 may not know yet");
    cluster.beat(2, false, false);
    let last = cluster.beat(1, false, true);
    assert!(last.should_shut_down && last.is_fenced);
}

#[test]
fn producer_ids_come_in_blocks() {
    let mut cluster = Cluster::brokers(&[1]);
    let good = m::AllocateProducerIdsRequest {
        broker_id: 1,
        broker_epoch: cluster.heartbeat(1).broker_epoch,
        ..Default::default()
    };
    let wrong =
        m::AllocateProducerIdsRequest { broker_epoch: good.broker_epoch + 9, ..good.clone() };
    let unknown = m::AllocateProducerIdsRequest { broker_id: 50, ..good.clone() };
    for (request, want) in [
        (good.clone(), (0, 0, 1000)),
        (wrong, (77, 0, 0)),
        (unknown, (77, 0, 0)),
        (good, (0, 1000, 1000)),
    ] {
        let a: m::AllocateProducerIdsResponse = cluster.ask(request.clone());
        assert_eq!((a.error_code, a.producer_id_start, a.producer_id_len), want, "{request:?}");
    }
}

#[test]
fn an_unregistered_broker_is_forgotten() {
    let mut cluster = Cluster::brokers(&[1, 2]);
    let topic = cluster.create("t", &[&[2, 1]]);
    let unregister = |broker_id| m::UnregisterBrokerRequest { broker_id, ..Default::default() };
    let unknown: m::UnregisterBrokerResponse = cluster.ask(unregister(99));
    assert_eq!(unknown.error_code, 102);
    let live: m::UnregisterBrokerResponse = cluster.ask(unregister(2));
    assert_eq!(live.error_code, 0);
    assert!(cluster.image().broker(BrokerId(2)).is_none());
    assert_eq!(cluster.image().partition(topic, P0).unwrap().leader(), Some(BrokerId(1)));
}

#[test]
fn an_idle_controller_writes_no_op_records() {
    let mut cluster = Cluster::new();
    cluster.millis = 499;
    assert_eq!(cluster.controller.due(cluster.now()), []);
    cluster.millis = 500;
    assert_eq!(cluster.controller.due(cluster.now()), [Command::NoOp]);
    assert_eq!(record_name(&cluster.records(Command::NoOp)[0].record), "NoOpRecord");
    assert_eq!(cluster.controller.next_deadline(), Monotonic(1_000_000));
}

#[test]
fn an_activated_log_is_not_bootstrapped_again() {
    let mut cluster = Cluster::new();
    assert!(cluster.records(Command::Activate).is_empty());
    cluster.controller.resign();
    assert_eq!(cluster.controller.next_deadline(), Monotonic::NEVER);
}
