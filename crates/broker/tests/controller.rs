//! What other nodes ask of the controller's listener: they register, follow the metadata log, hand
//! requests on. As Kafka 4.4.0 was observed to answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

#[allow(dead_code, reason = "shared with other tests and the fuzz targets")]
mod support;

use bytes::Bytes;
use ottla_protocol::codec::encode_to_bytes;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::ids::Timestamp;
use ottla_protocol::messages as m;
use ottla_protocol::messages::broker_registration_request::{Feature, Listener};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::records::{BatchBuilder, BatchOptions, batches};
use ottla_protocol::{ErrorCode, MetadataRecord, Records, Uuid};
use ottla_testkit::{Errno, Fault, MemDisk, OpKind};
use support::{Client, Node, formatted};

const CLUSTER: &str = "BkTIgbM1R8Kca0FJ7O2L0Q";
/// A metadata offset that no log has reached.
const CAUGHT_UP: i64 = 1_000_000_000;

fn node() -> Node {
    Node::start(&formatted()).unwrap()
}

fn create_topic(node: &Node, client: &mut Client, name: &str, replicas: i16) -> i16 {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: replicas,
        ..CreatableTopic::default()
    };
    let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    client.call(node, 7, &request).topics[0].error_code
}

fn registration(id: i32) -> m::BrokerRegistrationRequest {
    let feature = |feature: &ottla_metadata::features::Feature| Feature {
        name: feature.name.into(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Feature::default()
    };
    let listener = Listener {
        name: "PLAINTEXT".into(),
        host: "10.0.0.7".into(),
        port: 9,
        ..Listener::default()
    };
    m::BrokerRegistrationRequest {
        broker_id: id,
        cluster_id: CLUSTER.into(),
        incarnation_id: Uuid::from_u128(id as u128 + 1000),
        listeners: vec![listener],
        features: ottla_metadata::features::FEATURES.iter().map(feature).collect(),
        log_dirs: vec![Uuid::from_u128(id as u128 + 5000)],
        previous_broker_epoch: -1,
        ..Default::default()
    }
}

/// Registers and unfences a broker; its epoch.
fn join(node: &Node, client: &mut Client, id: i32) -> i64 {
    let answer = client.call(node, 4, &registration(id));
    assert_eq!(answer.error_code, 0);
    let beat = heartbeat(node, client, (id, answer.broker_epoch), false);
    assert_eq!((beat.error_code, beat.is_fenced), (0, false));
    answer.broker_epoch
}

fn heartbeat(
    node: &Node,
    client: &mut Client,
    (id, epoch): (i32, i64),
    want_shut_down: bool,
) -> m::BrokerHeartbeatResponse {
    let request = m::BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: epoch,
        current_metadata_offset: CAUGHT_UP,
        want_shut_down,
        ..Default::default()
    };
    client.call(node, 2, &request)
}

fn known_brokers(node: &Node, client: &mut Client) -> Vec<i32> {
    let request = m::MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    client.call(node, 12, &request).brokers.iter().map(|broker| broker.node_id).collect()
}

fn quorum(node: &Node, client: &mut Client) -> m::describe_quorum_response::PartitionData {
    use m::describe_quorum_request::{PartitionData, TopicData};
    let topic = TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![PartitionData::default()],
        ..Default::default()
    };
    let request = m::DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
    client.call(node, 2, &request).topics.remove(0).partitions.remove(0)
}

/// A fetch of the metadata log by node 70, whose log ends at `offset` with a record of `last_epoch`.
fn fetch(leader_epoch: i32, (offset, last_epoch): (i64, i32), max_wait_ms: i32) -> m::FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        current_leader_epoch: leader_epoch,
        fetch_offset: offset,
        last_fetched_epoch: last_epoch,
        replica_directory_id: Uuid::from_u128(70_000),
        high_watermark: i64::MAX,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic_id: Uuid::ONE, partitions: vec![partition], ..FetchTopic::default() };
    m::FetchRequest {
        cluster_id: Some(CLUSTER.into()),
        replica_state: ReplicaState { replica_id: 70, replica_epoch: -1, ..Default::default() },
        max_wait_ms,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..m::FetchRequest::default()
    }
}

fn fetched(mut response: m::FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

fn record_bytes(data: &PartitionData) -> Bytes {
    data.records.as_ref().and_then(|records| records.as_bytes()).cloned().unwrap_or_default()
}

/// The metadata records in the batches of an answer.
fn records(bytes: &Bytes) -> Vec<MetadataRecord> {
    let decode = |batch: Result<ottla_protocol::records::BatchView<'_>, _>| {
        ottla_metadata::batch::decode_batch(&batch.unwrap()).unwrap().1
    };
    batches(bytes).flat_map(decode).collect()
}

#[test]
fn each_listener_serves_its_own_apis() {
    let node = node();
    let keys = |client: &mut Client| -> Vec<i16> {
        let answer = client.call(&node, 0, &m::ApiVersionsRequest::default());
        answer.api_keys.iter().map(|api| api.api_key).collect()
    };
    let (mut broker, mut controller) = (node.connect(), node.connect_controller());
    let (broker_keys, controller_keys) = (keys(&mut broker), keys(&mut controller));
    // Produce, Metadata; Vote, BrokerRegistration; Fetch, CreateTopics, DescribeQuorum.
    for (key, on_broker, on_controller) in [
        (0, true, false),
        (3, true, false),
        (52, false, true),
        (62, false, true),
        (1, true, true),
        (19, true, true),
        (55, true, true),
    ] {
        assert_eq!(broker_keys.contains(&key), on_broker, "API {key}");
        assert_eq!(controller_keys.contains(&key), on_controller, "API {key}");
    }
    broker.ask(&node, 4, &registration(7));
    assert!(broker.connection.should_close().is_some(), "BrokerRegistration to a broker");
    controller.ask(&node, 12, &m::MetadataRequest::default());
    assert!(controller.connection.should_close().is_some(), "Metadata to a controller");
}

#[test]
fn a_foreign_broker_is_listed_while_it_beats_and_fenced_when_it_stops() {
    let node = node();
    let (mut client, mut controller) = (node.connect(), node.connect_controller());
    let epoch = join(&node, &mut controller, 7);
    assert_eq!(known_brokers(&node, &mut client), [1, 7]);
    assert_eq!(create_topic(&node, &mut client, "two", 2), 0);
    let stale = heartbeat(&node, &mut controller, (7, epoch - 1), false);
    assert_eq!(stale.error_code, ErrorCode::StaleBrokerEpoch.code());
    // broker.session.timeout.ms is 9 s; this node beats every 2 s.
    for _ in 0..4 {
        node.pass(2000);
    }
    assert_eq!(known_brokers(&node, &mut client), [1, 7]);
    node.pass(1000);
    assert_eq!(known_brokers(&node, &mut client), [1]);
    let image = node.broker.image();
    let (_, partition) = image.topic("two").unwrap().partitions().next().unwrap();
    assert_eq!(partition.leader.0, 1, "leadership went to the broker that lives");
    assert_eq!(partition.isr.iter().map(|id| id.0).collect::<Vec<_>>(), [1]);
    let request = m::DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
    let listed = client.call(&node, 2, &request).brokers;
    let listed: Vec<_> = listed.iter().map(|b| (b.broker_id, b.is_fenced)).collect();
    assert_eq!(listed, [(1, false), (7, true)]);
}

#[test]
fn what_is_acknowledged_is_on_every_replica_in_sync() {
    let node = node();
    let (mut client, mut controller) = (node.connect(), node.connect_controller());
    join(&node, &mut controller, 7);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(create_topic(&node, &mut client, name, 2), 0);
    }
    node.run_jobs();
    let image = node.broker.image();
    let mut led_here = 0;
    for topic in image.topics() {
        let (index, partition) = topic.partitions().next().unwrap();
        let isr: Vec<_> = partition.isr.iter().map(|id| id.0).collect();
        if partition.leader.0 == 1 {
            led_here += 1;
            assert_eq!(isr, [1], "nobody follows from here");
        } else {
            assert!(isr.contains(&7) && partition.leader.0 == 7);
            let here = node.broker.partitions.get(topic.id, index.0).unwrap();
            assert!(here.offsets(None).is_err(), "this broker does not lead it");
        }
    }
    assert!(led_here > 0);
}

/// Sends a record to partition 0 of a topic: the error, and the high watermark afterwards.
fn produce(node: &Node, topic: &str, acks: i16) -> (ErrorCode, i64) {
    use m::produce_request::{PartitionProduceData, TopicProduceData};
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(Timestamp(1_700_000_000_000), None, Some(b"v")).unwrap();
    let records = Records::Bytes(batch.build().unwrap().into());
    let part = PartitionProduceData { records: Some(records), ..Default::default() };
    let data =
        TopicProduceData { name: topic.into(), partition_data: vec![part], ..Default::default() };
    let request =
        m::ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![data], ..Default::default() };
    let answer = node.connect().call(node, 9, &request);
    let error = answer.responses[0].partition_responses[0].error_code;
    let id = node.broker.image().topic(topic).unwrap().id;
    let partition = node.broker.partitions.get(id, 0).unwrap();
    (ErrorCode::from_code(error).unwrap(), partition.high_watermark().0)
}

#[test]
fn with_fewer_replicas_in_sync_than_asked_for_nothing_is_acknowledged_nor_committed() {
    use m::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};
    let node = node();
    let (mut client, mut controller) = (node.connect(), node.connect_controller());
    join(&node, &mut controller, 7);
    let min_isr = |value: &str| CreatableTopicConfig {
        name: "min.insync.replicas".into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let topic = |name: &str, replicas: &[i32]| CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![CreatableReplicaAssignment {
            broker_ids: replicas.into(),
            ..Default::default()
        }],
        configs: vec![min_isr("2")],
        ..Default::default()
    };
    let topics = vec![topic("single", &[1]), topic("double", &[1, 7])];
    let request = m::CreateTopicsRequest { topics, ..Default::default() };
    assert!(client.call(&node, 7, &request).topics.iter().all(|topic| topic.error_code == 0));
    node.run_jobs();
    // As Kafka: more than there are cannot be asked for.
    assert_eq!(produce(&node, "single", -1), (ErrorCode::None, 1));
    assert_eq!(produce(&node, "double", -1), (ErrorCode::NotEnoughReplicas, 0));
    assert_eq!(produce(&node, "double", 1), (ErrorCode::None, 0), "taken, and not committed");

    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig {
        name: "min.insync.replicas".into(),
        value: Some("1".into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "double".into(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(client.call(&node, 1, &request).responses[0].error_code, 0);
    assert_eq!(produce(&node, "double", -1), (ErrorCode::None, 2));
}

#[test]
fn describe_cluster_tells_the_controllers_on_their_listener() {
    let node = node();
    let mut controller = node.connect_controller();
    let ask = |client: &mut Client, version, endpoint_type| {
        let request = m::DescribeClusterRequest { endpoint_type, ..Default::default() };
        client.call(&node, version, &request)
    };
    let answer = ask(&mut controller, 1, 2);
    let nodes: Vec<_> = answer.brokers.iter().map(|n| (n.broker_id, &*n.host, n.port)).collect();
    assert_eq!((answer.error_code, nodes), (0, vec![(1, "localhost", 9093)]));
    for (version, endpoint_type, error) in [
        (1, 1, ErrorCode::MismatchedEndpointType),
        (1, 9, ErrorCode::UnsupportedEndpointType),
        (0, 1, ErrorCode::InvalidRequest),
    ] {
        let answer = ask(&mut controller, version, endpoint_type);
        assert_eq!(answer.error_code, error.code(), "v{version}, type {endpoint_type}");
    }
    let answer = ask(&mut node.connect(), 1, 2);
    assert_eq!(answer.error_code, ErrorCode::MismatchedEndpointType.code());
}

#[test]
fn a_follower_gets_the_log_and_then_waits_for_what_is_committed() {
    let node = node();
    let (mut client, mut controller) = (node.connect(), node.connect_controller());
    let epoch = quorum(&node, &mut client).leader_epoch;
    let first = fetched(controller.call(&node, 17, &fetch(epoch, (0, 0), 500)));
    assert_eq!((first.error_code, first.current_leader.leader_id), (0, 1));
    let bytes = record_bytes(&first);
    let end = batches(&bytes).last().unwrap().unwrap().header().last_offset().0 + 1;
    assert_eq!(end, first.high_watermark, "all that is committed");
    let is_registration = |record: &MetadataRecord| matches!(record, MetadataRecord::RegisterBroker(r) if r.broker_id == 1);
    assert!(records(&bytes).iter().any(is_registration));

    let at_end = fetch(epoch, (end, epoch), 500);
    controller.ask(&node, 17, &at_end);
    assert!(controller.answer::<m::FetchRequest>(17).is_none(), "there is nothing new");
    // Appended, and not yet synced: still nothing.
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let frame = encode_request(7, 5, None, &request).unwrap().bytes.slice(4..);
    client.connection.frame(frame, node.broker.env().now());
    controller.connection.poll(node.broker.env().now());
    assert!(controller.answer::<m::FetchRequest>(17).is_none(), "nothing is committed");
    client.settle(&node);
    assert!(client.answer::<m::CreateTopicsRequest>(7).is_some());
    controller.settle(&node);
    let more = fetched(controller.answer::<m::FetchRequest>(17).expect("woken by the commit"));
    assert!(more.high_watermark > end);
    let is_topic = |record: &MetadataRecord| matches!(record, MetadataRecord::Topic(_));
    assert!(records(&record_bytes(&more)).iter().any(is_topic));

    // Without news the answer comes when its time is over, and the follower is known.
    let end = more.high_watermark;
    controller.ask(&node, 17, &fetch(epoch, (end, epoch), 500));
    node.world.advance(499);
    controller.settle(&node);
    assert!(controller.answer::<m::FetchRequest>(17).is_none());
    node.world.advance(1);
    controller.settle(&node);
    let none = fetched(controller.answer::<m::FetchRequest>(17).unwrap());
    assert_eq!((none.error_code, record_bytes(&none).len()), (0, 0));
    let observers = quorum(&node, &mut client).observers;
    let observers: Vec<_> = observers.iter().map(|o| (o.replica_id, o.log_end_offset)).collect();
    assert_eq!(observers, [(70, end)]);
}

#[test]
fn a_follower_that_knows_less_of_what_is_committed_is_told_at_once() {
    let node = node();
    let mut controller = node.connect_controller();
    let known = quorum(&node, &mut controller);
    let (epoch, end) = (known.leader_epoch, known.high_watermark);
    let mut request = fetch(epoch, (end, epoch), 500);
    request.topics[0].partitions[0].high_watermark = end - 1;
    let answer = fetched(controller.call(&node, 18, &request));
    assert_eq!((answer.high_watermark, record_bytes(&answer).len()), (end, 0));
}

#[test]
fn fetches_that_make_no_sense_are_refused_as_observed() {
    let node = node();
    let mut controller = node.connect_controller();
    let known = quorum(&node, &mut controller);
    let (epoch, end) = (known.leader_epoch, known.high_watermark);
    let edit = |change: &dyn Fn(&mut m::FetchRequest)| {
        let mut request = fetch(epoch, (0, 0), 0);
        change(&mut request);
        request
    };
    for (what, request, top, partition) in [
        ("old epoch", fetch(epoch - 1, (0, 0), 0), 0, 74),
        ("newer epoch", fetch(epoch + 1, (0, 0), 0), 0, 75),
        ("other cluster", edit(&|r| r.cluster_id = Some("other".into())), 104, 0),
        ("another topic", edit(&|r| r.topics[0].topic_id = Uuid::from_u128(9)), 42, 0),
        ("no topic", edit(&|r| r.topics.clear()), 42, 0),
        ("a negative offset", edit(&|r| r.topics[0].partitions[0].fetch_offset = -1), 0, 42),
        ("a negative wait", edit(&|r| r.max_wait_ms = -1), 0, 42),
        ("this node itself", edit(&|r| r.replica_state.replica_id = 1), 0, 42),
        ("no cluster", edit(&|r| r.cluster_id = None), 0, 0),
        ("a consumer", edit(&|r| r.replica_state.replica_id = -1), 0, 0),
    ] {
        let answer = controller.call(&node, 17, &request);
        let found = answer.responses.first().map_or(0, |topic| topic.partitions[0].error_code);
        assert_eq!((answer.error_code, found), (top, partition), "{what}");
    }
    for (at, diverging) in [((CAUGHT_UP, epoch), (epoch, end)), ((2, 0), (0, 0))] {
        let answer = fetched(controller.call(&node, 17, &fetch(epoch, at, 500)));
        let told = (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset);
        assert_eq!((answer.error_code, told), (0, diverging), "{at:?}");
    }
}

#[test]
fn a_new_follower_begins_with_the_snapshot() {
    let small = [("metadata.log.max.record.bytes.between.snapshots", "1")];
    let node = Node::start_with(&formatted(), &small).unwrap();
    let (mut client, mut controller) = (node.connect(), node.connect_controller());
    assert_eq!(create_topic(&node, &mut client, "t", 1), 0);
    node.run_jobs();
    let epoch = quorum(&node, &mut client).leader_epoch;
    let hint = fetched(controller.call(&node, 17, &fetch(epoch, (0, 0), 500))).snapshot_id;
    assert!(hint.end_offset > 0);
    let piece = |controller: &mut Client, id: (i64, i32), position, bytes, leader_epoch| {
        use m::fetch_snapshot_request::{PartitionSnapshot, SnapshotId, TopicSnapshot};
        let (end_offset, epoch) = id;
        let partition = PartitionSnapshot {
            current_leader_epoch: leader_epoch,
            snapshot_id: SnapshotId { end_offset, epoch, ..SnapshotId::default() },
            position,
            ..PartitionSnapshot::default()
        };
        let topic = TopicSnapshot {
            name: "__cluster_metadata".into(),
            partitions: vec![partition],
            ..TopicSnapshot::default()
        };
        let request =
            m::FetchSnapshotRequest { max_bytes: bytes, topics: vec![topic], ..Default::default() };
        controller.call(&node, 1, &request).topics.remove(0).partitions.remove(0)
    };
    let id = (hint.end_offset, hint.epoch);
    let mut whole = Vec::new();
    loop {
        let answer = piece(&mut controller, id, whole.len() as i64, 100, epoch);
        assert_eq!((answer.error_code, answer.position), (0, whole.len() as i64));
        let bytes = answer.unaligned_records.as_bytes().unwrap().clone();
        assert!(!bytes.is_empty() && bytes.len() <= 100);
        whole.extend_from_slice(&bytes);
        if whole.len() as i64 == answer.size {
            break;
        }
    }
    let is_topic = |record: &MetadataRecord| matches!(record, MetadataRecord::Topic(_));
    assert!(records(&whole.into()).iter().any(is_topic));
    for (what, id, position, leader_epoch, error) in [
        ("the bootstrap snapshot", (0, 0), 0, epoch, ErrorCode::SnapshotNotFound),
        ("one that never was", (12_345, 1), 0, epoch, ErrorCode::SnapshotNotFound),
        ("behind its end", id, 1 << 40, epoch, ErrorCode::PositionOutOfRange),
        ("before its start", id, -1, epoch, ErrorCode::PositionOutOfRange),
        ("in another epoch", id, 0, epoch + 7, ErrorCode::UnknownLeaderEpoch),
    ] {
        let answer = piece(&mut controller, id, position, 100, leader_epoch);
        assert_eq!(answer.error_code, error.code(), "{what}");
    }
}

#[test]
fn a_candidate_does_not_end_the_leadership_of_the_only_voter() {
    use m::vote_request::{PartitionData, TopicData};
    let disk = formatted();
    let node = Node::start(&disk).unwrap();
    let (mut client, mut controller) = (node.connect(), node.connect_controller());
    let before = quorum(&node, &mut client).leader_epoch;
    let partition = PartitionData {
        replica_epoch: before + 1,
        replica_id: 70,
        last_offset_epoch: before,
        last_offset: CAUGHT_UP,
        pre_vote: true,
        ..PartitionData::default()
    };
    let topic = TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![partition],
        ..TopicData::default()
    };
    let request = m::VoteRequest { topics: vec![topic], voter_id: -1, ..Default::default() };
    let answer = controller.call(&node, 2, &request).topics.remove(0).partitions.remove(0);
    let told = (answer.error_code, answer.leader_id, answer.leader_epoch, answer.vote_granted);
    assert_eq!(told, (0, -1, before + 1, true), "as Kafka answers");
    let after = quorum(&node, &mut client);
    assert_eq!((after.leader_id, after.leader_epoch), (1, before + 2), "it leads on");
    assert_eq!(create_topic(&node, &mut client, "t", 1), 0);
    let stale = fetched(controller.call(&node, 17, &fetch(before, (0, 0), 0)));
    assert_eq!(stale.error_code, ErrorCode::FencedLeaderEpoch.code());
    let node = Node::start(&disk.crash_keep_all()).unwrap();
    assert!(node.broker.image().topic("t").is_some());
    assert_eq!(quorum(&node, &mut node.connect()).leader_epoch, before + 3);
}

#[test]
fn a_request_in_an_envelope_is_answered_in_one() {
    let node = node();
    let mut controller = node.connect_controller();
    let name = m::DefaultPrincipalData {
        type_: "User".into(),
        name: "alice".into(),
        ..Default::default()
    };
    let mut principal = vec![0, 0];
    principal.extend_from_slice(&encode_to_bytes(&name, 0).unwrap());
    let principal = Bytes::from(principal);
    let envelope = |request_data: Bytes, principal: Option<Bytes>| m::EnvelopeRequest {
        request_data,
        request_principal: principal,
        client_host_address: Bytes::from_static(&[10, 0, 0, 9]),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let create = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let inner = encode_request(7, 99, None, &create).unwrap().bytes.slice(4..);
    let answer = controller.call(&node, 0, &envelope(inner.clone(), Some(principal.clone())));
    assert_eq!(answer.error_code, 0);
    let (id, created) =
        decode_response::<m::CreateTopicsRequest>(answer.response_data.unwrap(), 7).unwrap();
    assert_eq!((id, created.topics[0].error_code), (99, 0));
    assert!(node.broker.image().topic("t").is_some());

    let fetch = encode_request(17, 9, None, &fetch(1, (0, 0), 0)).unwrap().bytes.slice(4..);
    let nested = envelope(Bytes::new(), None);
    let nested = encode_request(0, 9, None, &nested).unwrap().bytes.slice(4..);
    for (what, inner, principal, error) in [
        ("no principal", inner, None, ErrorCode::PrincipalDeserializationFailure),
        ("nothing", Bytes::new(), Some(principal.clone()), ErrorCode::InvalidRequest),
        ("a Fetch", fetch, Some(principal.clone()), ErrorCode::InvalidRequest),
        ("an Envelope", nested, Some(principal), ErrorCode::InvalidRequest),
    ] {
        let answer = controller.call(&node, 0, &envelope(inner, principal));
        assert_eq!((answer.error_code, answer.response_data), (error.code(), None), "{what}");
    }
}

#[test]
fn a_node_that_wants_to_vote_is_told_that_this_quorum_has_one_voter() {
    use m::add_raft_voter_request::Listener;
    let node = node();
    let mut controller = node.connect_controller();
    let request = m::AddRaftVoterRequest {
        cluster_id: Some(CLUSTER.into()),
        voter_id: 70,
        voter_directory_id: Uuid::from_u128(70_000),
        timeout_ms: 1500,
        listeners: vec![Listener { name: "CONTROLLER".into(), ..Listener::default() }],
        ..Default::default()
    };
    controller.ask(&node, 1, &request);
    let early = controller.answer::<m::AddRaftVoterRequest>(1);
    assert_eq!(early, None, "it may yet catch up");
    node.world.advance(1500);
    controller.settle(&node);
    let answer = controller.answer::<m::AddRaftVoterRequest>(1).unwrap();
    assert_eq!(answer.error_code, ErrorCode::RequestTimedOut.code());
    let known = quorum(&node, &mut controller);
    let (epoch, end) = (known.leader_epoch, known.high_watermark);
    controller.call(&node, 17, &fetch(epoch, (end, epoch), 0));
    let answer = controller.call(&node, 1, &request);
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    let listener = Vec::new();
    let answer =
        controller.call(&node, 1, &m::AddRaftVoterRequest { listeners: listener, ..request });
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
}

/// Sets 300 settings of 30 KB each in one request; its error.
fn configure(node: &Node, client: &mut Client) -> i16 {
    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let value = "x".repeat(30_000);
    let config = |number: i32| AlterableConfig {
        name: format!("my.setting.{number}").into(),
        value: Some(value.as_str().into()),
        ..AlterableConfig::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configs: (0..300).map(config).collect(),
        ..AlterConfigsResource::default()
    };
    let request =
        m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(node, 1, &request).responses[0].error_code
}

#[test]
fn a_change_of_several_batches_that_the_disk_does_not_take_whole_is_not_taken_at_all() {
    let disk: MemDisk = formatted();
    let node = Node::start(&disk).unwrap();
    let mut client = node.connect();
    let before = quorum(&node, &mut client).high_watermark;
    // The first batch of 8 MiB is written, the second is not.
    let full = Fault::on(OpKind::Write).path("*__cluster_metadata*.log").after(1).times(1);
    disk.fail(full.error(Errno::NoSpace));
    assert_eq!(configure(&node, &mut client), ErrorCode::KafkaStorageError.code());
    // Nothing of it is there, and what follows is committed as if it had never been asked for.
    assert_eq!(create_topic(&node, &mut client, "after", 1), 0);
    let after = quorum(&node, &mut client).high_watermark;
    assert!(after - before < 10, "{} records were written", after - before);
    assert!(node.broker.image().topic("after").is_some());
    assert_eq!(configure(&node, &mut client), 0, "there is room again");
    let node = Node::start(&disk.crash_keep_all()).unwrap();
    assert!(node.broker.image().topic("after").is_some());
    assert_eq!(node.broker.config().text("my.setting.7").map(str::len), Some(30_000));
}
