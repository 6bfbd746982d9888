//! Features, controllers, elections, ISR changes and directories: the rows of the error matrix.

mod common;

use common::{Cluster, dir, incarnation, registration};
use ottla_metadata::Command;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use ottla_protocol::messages as m;
use ottla_protocol::messages::alter_partition_request as ap;
use ottla_protocol::messages::assign_replicas_to_dirs_request as ar;
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;

const P0: PartitionIndex = PartitionIndex(0);

fn update(feature: &str, level: i16, upgrade_type: i8) -> m::UpdateFeaturesRequest {
    let update = FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        upgrade_type,
        ..Default::default()
    };
    m::UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }
}

#[test]
fn feature_updates_answer_as_observed() {
    let mut cluster = Cluster::brokers(&[1]);
    let rows = [
        ("metadata.version", 34, 1, 95),
        ("no.such.feature", 1, 1, 95),
        ("metadata.version", 32, 1, 95),
        ("metadata.version", 31, 2, 95),
        ("metadata.version", 31, 3, 95),
        ("metadata.version", 33, 1, 0),
        ("share.version", 1, 1, 95),
        ("share.version", 1, 2, 0),
        ("share.version", 0, 2, 0),
        ("share.version", 2, 1, 0),
        ("share.version", 2, 9, 42),
        ("kraft.version", 1, 1, 0),
        ("kraft.version", 0, 2, 95),
        ("eligible.leader.replicas.version", 0, 3, 0),
        ("eligible.leader.replicas.version", 1, 1, 0),
    ];
    for (feature, level, kind, code) in rows {
        let answer: m::UpdateFeaturesResponse = cluster.ask(update(feature, level, kind));
        assert_eq!(answer.error_code, code, "{feature} {level} {kind}: {:?}", answer.error_message);
        if code == 0 && feature != "kraft.version" {
            assert_eq!(cluster.image().feature(feature), level, "{feature}");
        }
    }
    let empty: m::UpdateFeaturesResponse = cluster.ask(m::UpdateFeaturesRequest::default());
    assert_eq!(empty.error_code, 0);
}

#[test]
fn a_level_that_a_registered_broker_cannot_do_is_refused() {
    let mut cluster = Cluster::new();
    cluster.records(update("share.version", 1, 2));
    let mut request = registration(1, incarnation(1));
    for feature in request.features.iter_mut().filter(|feature| &*feature.name == "share.version") {
        feature.max_supported_version = 1;
    }
    cluster.records(request);
    let answer: m::UpdateFeaturesResponse = cluster.ask(update("share.version", 2, 1));
    assert_eq!(answer.error_code, 95);
    assert!(answer.error_message.unwrap().contains("broker 1"));
}

#[test]
fn controllers_come_and_go() {
    let mut cluster = Cluster::new();
    for id in [1, 70] {
        let request = m::ControllerRegistrationRequest { controller_id: id, ..Default::default() };
        let answer: m::ControllerRegistrationResponse = cluster.ask(request);
        assert_eq!(answer.error_code, 0);
    }
    for (id, code) in [(99, 136), (1, 42), (70, 0), (70, 136)] {
        let request = m::UnregisterControllerRequest { controller_id: id, ..Default::default() };
        let answer: m::UnregisterControllerResponse = cluster.ask(request);
        assert_eq!(answer.error_code, code, "{id}");
    }
}

fn elect(kind: i8, topic: &str) -> m::ElectLeadersRequest {
    let topics = TopicPartitions { topic: topic.into(), partitions: vec![0], ..Default::default() };
    m::ElectLeadersRequest {
        election_type: kind,
        topic_partitions: Some(vec![topics]),
        ..Default::default()
    }
}

#[test]
fn elections_answer_as_observed() {
    let mut cluster = Cluster::brokers(&[1, 2]);
    cluster.create("t", &[&[2, 1]]);
    cluster.create("lone", &[&[2]]);
    let code = |cluster: &mut Cluster, kind, topic: &str| {
        let answer: m::ElectLeadersResponse = cluster.ask(elect(kind, topic));
        (answer.error_code, answer.replica_election_results[0].partition_result[0].error_code)
    };
    assert_eq!(code(&mut cluster, 0, "t"), (0, 84));
    assert_eq!(code(&mut cluster, 1, "t"), (0, 84));
    assert_eq!(code(&mut cluster, 0, "nosuch"), (0, 3));
    assert_eq!(code(&mut cluster, 7, "t"), (42, 42));
    let all = m::ElectLeadersRequest { topic_partitions: None, ..elect(0, "t") };
    let none: m::ElectLeadersResponse = cluster.ask(all.clone());
    assert_eq!(none.replica_election_results, []);
    cluster.beat(2, true, false);
    assert_eq!(code(&mut cluster, 0, "t"), (0, 80));
    assert_eq!(code(&mut cluster, 1, "lone"), (0, 83));
    cluster.beat(2, false, false);
    let topic = cluster.image().topic("t").unwrap();
    let (id, partition) = (topic.id, topic.partition(P0).unwrap());
    assert_eq!(
        (partition.leader(), partition.isr.as_slice()),
        (Some(BrokerId(1)), &[BrokerId(1)][..])
    );
    let epoch = cluster.heartbeat(1).broker_epoch;
    let joined: m::AlterPartitionResponse = cluster.ask(alter(
        (1, epoch),
        id,
        ap::PartitionData { leader_epoch: 1, partition_epoch: 1, ..isr(&[(1, -1), (2, -1)]) },
    ));
    assert_eq!(joined.topics[0].partitions[0].error_code, 0);
    let elected: m::ElectLeadersResponse = cluster.ask(all);
    assert_eq!(elected.replica_election_results[0].partition_result[0].error_code, 0);
    let partition = cluster.image().partition(id, P0).unwrap();
    assert_eq!((partition.leader(), partition.leader_epoch), (Some(BrokerId(2)), LeaderEpoch(2)));
}

fn isr(members: &[(i32, i64)]) -> ap::PartitionData {
    let member = |(broker_id, broker_epoch): &(i32, i64)| ap::BrokerState {
        broker_id: *broker_id,
        broker_epoch: *broker_epoch,
        ..Default::default()
    };
    ap::PartitionData {
        new_isr_with_epochs: members.iter().map(member).collect(),
        ..Default::default()
    }
}

fn alter(
    (broker_id, broker_epoch): (i32, i64),
    topic_id: Uuid,
    partition: ap::PartitionData,
) -> m::AlterPartitionRequest {
    let topic = ap::TopicData { topic_id, partitions: vec![partition], ..Default::default() };
    m::AlterPartitionRequest { broker_id, broker_epoch, topics: vec![topic], ..Default::default() }
}

#[test]
fn isr_changes_answer_as_observed() {
    let mut cluster = Cluster::brokers(&[1, 7]);
    let id = cluster.create("t", &[&[7, 1]]);
    let mine = (7, cluster.heartbeat(7).broker_epoch);
    let other = (1, cluster.heartbeat(1).broker_epoch);
    let own = || isr(&[mine]);
    let at = |partition_epoch, data| ap::PartitionData { partition_epoch, ..data };
    let shrunk = |data: ap::PartitionData| at(1, data);
    let rows = [
        ("shrinks", alter(mine, id, own()), 0),
        ("old partition epoch", alter(mine, id, own()), 95),
        (
            "newer leader epoch",
            alter(mine, id, ap::PartitionData { leader_epoch: 5, ..shrunk(own()) }),
            41,
        ),
        ("not the leader", alter(other, id, shrunk(isr(&[other]))), 42),
        ("stale member", alter(mine, id, shrunk(isr(&[mine, (1, 999_999)]))), 107),
        ("no replica", alter(mine, id, shrunk(isr(&[mine, (5, 1)]))), 42),
        ("without the leader", alter(mine, id, shrunk(isr(&[other]))), 42),
        ("unknown topic", alter(mine, Uuid::from_u128(77), shrunk(own())), 100),
        ("expands", alter(mine, id, shrunk(isr(&[mine, (1, -1)]))), 0),
        (
            "old form",
            alter(mine, id, at(2, ap::PartitionData { new_isr: vec![7], ..Default::default() })),
            0,
        ),
    ];
    for (what, request, code) in rows {
        let answer: m::AlterPartitionResponse = cluster.ask(request);
        assert_eq!(answer.error_code, 0, "{what}");
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, code, "{what}");
        assert_eq!(partition.leader_id, if code == 0 { 7 } else { 0 }, "{what}");
    }
    let stale: m::AlterPartitionResponse = cluster.ask(alter((7, mine.1 - 1), id, own()));
    assert_eq!((stale.error_code, stale.topics.len()), (77, 0));
    let partition = cluster.image().partition(id, P0).unwrap();
    assert_eq!((partition.partition_epoch, partition.leader_epoch), (3, LeaderEpoch(0)));
}

#[test]
fn replicas_below_min_isr_stay_eligible_until_the_isr_is_full_again() {
    let mut cluster = Cluster::brokers(&[1, 2]);
    let id = cluster.create("t", &[&[1, 2]]);
    let resource =
        ottla_protocol::messages::incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![
                ottla_protocol::messages::incremental_alter_configs_request::AlterableConfig {
                    name: "min.insync.replicas".into(),
                    value: Some("2".into()),
                    ..Default::default()
                },
            ],
            ..Default::default()
        };
    cluster.records(m::IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    });
    cluster.millis = 5000;
    cluster.beat(1, false, false);
    cluster.millis = 9000;
    cluster.records(Command::FenceStale);
    let partition = cluster.image().partition(id, P0).unwrap();
    assert_eq!(
        (partition.isr.as_slice(), partition.elr.as_slice()),
        (&[BrokerId(1)][..], &[BrokerId(2)][..])
    );
    cluster.start_broker(2, incarnation(22));
    let partition = cluster.image().partition(id, P0).unwrap();
    assert_eq!(partition.elr.len(), 0, "it did not close its logs");
    let mine = (1, cluster.heartbeat(1).broker_epoch);
    let data =
        ap::PartitionData { partition_epoch: partition.partition_epoch, ..isr(&[mine, (2, -1)]) };
    let answer: m::AlterPartitionResponse = cluster.ask(alter(mine, id, data));
    assert_eq!(answer.topics[0].partitions[0].isr, [1, 2]);
    assert_eq!(cluster.image().partition(id, P0).unwrap().elr.len(), 0);
}

#[test]
fn directories_are_assigned_as_observed() {
    let mut cluster = Cluster::brokers(&[7]);
    let id = cluster.create("t", &[&[7]]);
    let epoch = cluster.heartbeat(7).broker_epoch;
    let request = |broker_epoch, directory, topic_id| {
        let partition = ar::PartitionData { partition_index: 0, ..Default::default() };
        let topic = ar::TopicData { topic_id, partitions: vec![partition], ..Default::default() };
        let directory =
            ar::DirectoryData { id: directory, topics: vec![topic], ..Default::default() };
        m::AssignReplicasToDirsRequest {
            broker_id: 7,
            broker_epoch,
            directories: vec![directory],
            ..Default::default()
        }
    };
    let code = |answer: m::AssignReplicasToDirsResponse| {
        answer.directories[0].topics[0].partitions[0].error_code
    };
    assert!(cluster.records(request(epoch, dir(7), id)).is_empty(), "it is there already");
    assert_eq!(code(cluster.ask(request(epoch, dir(9), id))), 0);
    assert_eq!(cluster.image().partition(id, P0).unwrap().directories, [dir(9)]);
    assert_eq!(code(cluster.ask(request(epoch, dir(7), Uuid::from_u128(77)))), 100);
    let stale: m::AssignReplicasToDirsResponse = cluster.ask(request(epoch - 1, dir(7), id));
    assert_eq!(stale.error_code, 77);
}
