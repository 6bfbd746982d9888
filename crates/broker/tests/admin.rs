//! The administrative APIs, request in and answer out, as Kafka 4.4.0 was observed to answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use common::{CLUSTER, DIR, TestBroker};
use ottla_protocol::messages as m;
use ottla_protocol::{ErrorCode, Uuid};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

fn create_topic(broker: &mut TestBroker, name: &str) {
    let topic = m::create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(broker.call(7, &request).topics[0].error_code, 0);
}

/// A resource with changes: name, operation, value.
type Wish<'a> = (i8, &'a str, &'a [(&'a str, i8, Option<&'a str>)]);

fn alter(broker: &mut TestBroker, wishes: &[Wish<'_>]) -> Vec<ErrorCode> {
    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let resource = |(kind, name, changes): &Wish<'_>| AlterConfigsResource {
        resource_type: *kind,
        resource_name: (*name).into(),
        configs: changes
            .iter()
            .map(|(name, operation, value)| AlterableConfig {
                name: (*name).into(),
                config_operation: *operation,
                value: value.map(Into::into),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let resources = wishes.iter().map(resource).collect();
    let request = m::IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let answer = broker.call(1, &request);
    for (wish, response) in wishes.iter().zip(&answer.responses) {
        let told = (response.resource_type, &*response.resource_name);
        assert_eq!(told, (wish.0, wish.1), "answers are in the order of the request");
        assert_eq!(response.error_message.is_some(), response.error_code != 0, "{wish:?}");
    }
    answer.responses.iter().map(|response| error(response.error_code)).collect()
}

#[test]
fn loggers_and_other_brokers_are_answered_here_and_the_rest_by_the_controller() {
    use ErrorCode::{InvalidConfig, InvalidRequest, None, UnknownTopicOrPartition};
    let mut broker = TestBroker::start();
    create_topic(&mut broker, "t");
    let name = "kafka.server.KafkaApis";
    let got = alter(
        &mut broker,
        &[
            (TOPIC, "t", &[("retention.ms", SET, Some("1000"))]),
            (LOGGER, "1", &[(name, SET, Some("DEBUG"))]),
            (TOPIC, "nosuch", &[("retention.ms", SET, Some("1000"))]),
            (BROKER, "99", &[("background.threads", SET, Some("5"))]),
            (BROKER, "abc", &[("background.threads", SET, Some("5"))]),
            (LOGGER, "99", &[(name, SET, Some("DEBUG"))]),
            (BROKER, "1", &[("background.threads", SET, Some("9"))]),
        ],
    );
    let refused = InvalidRequest;
    assert_eq!(got, [None, None, UnknownTopicOrPartition, refused, refused, refused, None]);
    assert_eq!(broker.env.log_levels.lock().as_slice(), ["info,ottla_broker::api=DEBUG"]);

    for (wish, want) in [
        ((name, SET, Some("LOUD")), InvalidConfig),
        (("no.such.logger", SET, Some("INFO")), InvalidConfig),
        ((name, SET, Option::None), InvalidRequest),
        ((name, APPEND, Some("INFO")), InvalidRequest),
        (("root", DELETE, Option::None), InvalidRequest),
        ((name, DELETE, Option::None), None),
    ] {
        assert_eq!(alter(&mut broker, &[(LOGGER, "1", &[wish])]), [want], "{wish:?}");
    }
    assert_eq!(broker.env.log_levels.lock().len(), 2, "what is refused changes nothing");
    let twice: Wish<'_> = (LOGGER, "1", &[(name, SET, Some("DEBUG"))]);
    assert_eq!(alter(&mut broker, &[twice, twice]), [InvalidRequest; 2]);
}

#[test]
fn describe_configs_shows_the_level_of_each_logger() {
    let mut broker = TestBroker::start();
    alter(&mut broker, &[(LOGGER, "1", &[("kafka.server", SET, Some("TRACE"))])]);
    let resource = m::describe_configs_request::DescribeConfigsResource {
        resource_type: LOGGER,
        resource_name: "1".into(),
        ..Default::default()
    };
    let request = m::DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = broker.call(4, &request);
    let level = |name: &str| {
        let configs = &answer.results[0].configs;
        configs.iter().find(|config| *config.name == *name).unwrap().value.clone().unwrap()
    };
    assert_eq!(&*level("kafka.server.KafkaApis"), "TRACE");
    assert_eq!(&*level("root"), "INFO");
}

#[test]
fn the_quorum_of_one_describes_itself() {
    use m::describe_quorum_request::{PartitionData, TopicData};
    let mut broker = TestBroker::start();
    let mut ask = |topic: &str| {
        let topic = TopicData {
            topic_name: topic.into(),
            partitions: vec![PartitionData::default()],
            ..Default::default()
        };
        broker.call(2, &m::DescribeQuorumRequest { topics: vec![topic], ..Default::default() })
    };
    let answer = ask("__cluster_metadata");
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id, partition.leader_epoch), (0, 1, 1));
    assert_eq!((partition.current_voters.len(), partition.observers.len()), (1, 0));
    assert_eq!(partition.current_voters[0].log_end_offset, partition.high_watermark);
    assert_eq!(&*answer.nodes[0].listeners[0].name, "CONTROLLER");
    let answer = ask("t");
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(error(code), ErrorCode::UnknownTopicOrPartition);
    assert!(answer.nodes.is_empty());
}

#[test]
fn the_only_voter_stays_the_only_voter() {
    use ErrorCode::{DuplicateVoter, InconsistentClusterId, RequestTimedOut, VoterNotFound};
    use m::add_raft_voter_request::Listener;
    let mut broker = TestBroker::start();
    for (cluster, voter, add, remove) in [
        (Some("other"), 1, InconsistentClusterId, InconsistentClusterId),
        (Some(CLUSTER), 1, DuplicateVoter, VoterNotFound),
        // It does not follow the log.
        (None, 5, RequestTimedOut, VoterNotFound),
    ] {
        let cluster_id = cluster.map(Into::into);
        let request = m::AddRaftVoterRequest {
            cluster_id: cluster_id.clone(),
            voter_id: voter,
            listeners: vec![Listener { name: "CONTROLLER".into(), ..Listener::default() }],
            ..Default::default()
        };
        assert_eq!(error(broker.call(1, &request).error_code), add, "{cluster:?} {voter}");
        let request =
            m::RemoveRaftVoterRequest { cluster_id, voter_id: voter, ..Default::default() };
        assert_eq!(error(broker.call(0, &request).error_code), remove, "{cluster:?} {voter}");
    }
}

#[test]
fn quotas_that_are_set_are_described() {
    use m::alter_client_quotas_request::{EntityData, EntryData, OpData};
    let mut broker = TestBroker::start();
    let user = EntityData {
        entity_type: "user".into(),
        entity_name: Some("alice".into()),
        ..Default::default()
    };
    let limit = OpData { key: "producer_byte_rate".into(), value: 1024.0, ..Default::default() };
    let entry = EntryData { entity: vec![user], ops: vec![limit], ..Default::default() };
    let request = m::AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    assert_eq!(broker.call(1, &request).entries[0].error_code, 0);
    let answer = broker.call(1, &m::DescribeClientQuotasRequest::default());
    let entries = answer.entries.unwrap();
    assert_eq!(entries[0].entity[0].entity_name.as_deref(), Some("alice"));
    assert_eq!(
        (&*entries[0].values[0].key, entries[0].values[0].value),
        ("producer_byte_rate", 1024.0)
    );
}

#[test]
fn scram_users_are_described_without_their_keys() {
    use m::alter_user_scram_credentials_request::ScramCredentialUpsertion;
    use m::describe_user_scram_credentials_request::UserName;
    let mut broker = TestBroker::start();
    let upsertion = ScramCredentialUpsertion {
        name: "alice".into(),
        mechanism: 1,
        iterations: 8192,
        salt: "salt".into(),
        salted_password: "salted".into(),
        ..Default::default()
    };
    let request =
        m::AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() };
    assert_eq!(broker.call(0, &request).results[0].error_code, 0);
    let mut describe = |names: Option<&[&str]>| {
        let user = |name: &&str| UserName { name: (*name).into(), ..Default::default() };
        let users = names.map(|names| names.iter().map(user).collect());
        let request = m::DescribeUserScramCredentialsRequest { users, ..Default::default() };
        let results = broker.call(0, &request).results;
        let told = results.iter().map(|result| {
            let iterations = result.credential_infos.first().map(|info| info.iterations);
            (result.user.to_string(), error(result.error_code), iterations)
        });
        told.collect::<Vec<_>>()
    };
    let alice = ("alice".to_owned(), ErrorCode::None, Some(8192));
    for everybody in [None, Some([].as_slice())] {
        assert_eq!(describe(everybody), std::slice::from_ref(&alice));
    }
    let bob = ("bob".to_owned(), ErrorCode::ResourceNotFound, None);
    assert_eq!(describe(Some(&["bob", "alice"])), [alice, bob]);
    let twice = ("alice".to_owned(), ErrorCode::DuplicateResource, None);
    assert_eq!(describe(Some(&["alice", "alice"])), [twice]);
}

#[test]
fn what_needs_security_says_that_there_is_none() {
    use m::create_acls_request::AclCreation;
    use m::delete_acls_request::DeleteAclsFilter;
    let mut broker = TestBroker::start();
    let acls = broker.call(3, &m::DescribeAclsRequest::default()).error_code;
    let creations = vec![AclCreation::default()];
    let created = broker.call(3, &m::CreateAclsRequest { creations, ..Default::default() });
    let filters = vec![DeleteAclsFilter::default()];
    let deleted = broker.call(3, &m::DeleteAclsRequest { filters, ..Default::default() });
    for code in [acls, created.results[0].error_code, deleted.filter_results[0].error_code] {
        assert_eq!(error(code), ErrorCode::SecurityDisabled);
    }
    for code in [
        broker.call(3, &m::CreateDelegationTokenRequest::default()).error_code,
        broker.call(2, &m::RenewDelegationTokenRequest::default()).error_code,
        broker.call(2, &m::ExpireDelegationTokenRequest::default()).error_code,
        broker.call(3, &m::DescribeDelegationTokenRequest::default()).error_code,
    ] {
        assert_eq!(error(code), ErrorCode::DelegationTokenRequestNotAllowed);
    }
    for code in [
        broker.call(1, &m::SaslHandshakeRequest::default()).error_code,
        broker.call(2, &m::SaslAuthenticateRequest::default()).error_code,
    ] {
        assert_eq!(error(code), ErrorCode::IllegalSaslState);
    }
}

#[test]
fn a_replica_that_is_where_it_is_wanted_stays() {
    use m::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    let mut broker = TestBroker::start();
    create_topic(&mut broker, "t");
    for (path, topic, want) in [
        ("/nonexistent", "t", ErrorCode::LogDirNotFound),
        (DIR, "nosuch", ErrorCode::UnknownTopicOrPartition),
        (DIR, "t", ErrorCode::None),
    ] {
        let topic = AlterReplicaLogDirTopic {
            name: topic.into(),
            partitions: vec![0],
            ..Default::default()
        };
        let dir =
            AlterReplicaLogDir { path: path.into(), topics: vec![topic], ..Default::default() };
        let request = m::AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
        let got = broker.call(2, &request).results[0].partitions[0].error_code;
        assert_eq!(error(got), want, "{path}");
    }
}

#[test]
fn a_client_that_asks_for_telemetry_gets_an_id_and_no_metrics_to_push() {
    let mut broker = TestBroker::start();
    let answer = broker.call(0, &m::GetTelemetrySubscriptionsRequest::default());
    assert_eq!((answer.error_code, answer.requested_metrics.len()), (0, 0));
    assert_ne!(answer.client_instance_id, Uuid::ZERO);
    let known = m::GetTelemetrySubscriptionsRequest {
        client_instance_id: Uuid::from_u128(9),
        ..Default::default()
    };
    assert_eq!(broker.call(0, &known).client_instance_id, Uuid::from_u128(9));
}

#[test]
fn only_what_does_all_that_kafkas_does_is_listed() {
    let mut broker = TestBroker::start();
    for (key, want) in [(55, true), (81, true), (34, true), (80, false)] {
        assert_eq!(lists(&mut broker, key), want, "API key {key}");
    }
}

#[test]
fn telemetry_is_listed_while_a_subscription_asks_for_it() {
    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let mut broker = TestBroker::start();
    assert!(![71, 72].iter().any(|&key| lists(&mut broker, key)), "nothing is subscribed to");
    let mut set = |operation, want| {
        let config = AlterableConfig {
            name: "metrics".into(),
            config_operation: operation,
            value: Some("*".into()),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: 16,
            resource_name: "all".into(),
            configs: vec![config],
            ..Default::default()
        };
        let request =
            m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        assert_eq!(broker.call(1, &request).responses[0].error_code, 0);
        for key in [71, 72] {
            assert_eq!(lists(&mut broker, key), want, "API key {key}");
        }
    };
    set(0, true);
    set(1, false);
}

/// Whether ApiVersions lists an API.
fn lists(broker: &mut TestBroker, key: i16) -> bool {
    let request = m::ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    broker.call(4, &request).api_keys.iter().any(|api| api.api_key == key)
}

#[test]
fn a_fetch_session_ends_with_its_last_partition() {
    use m::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
    let mut broker = TestBroker::start();
    let topic = |partitions| FetchTopic { topic: "t".into(), partitions, ..Default::default() };
    let open = m::FetchRequest {
        session_epoch: 0,
        topics: vec![topic(vec![FetchPartition::default()])],
        ..Default::default()
    };
    let id = broker.call(12, &open).session_id;
    assert_ne!(id, 0);
    let forget = ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() };
    let mut next = |epoch, forgotten_topics_data| {
        let request = m::FetchRequest {
            session_id: id,
            session_epoch: epoch,
            forgotten_topics_data,
            ..Default::default()
        };
        let answer = broker.call(12, &request);
        (error(answer.error_code), answer.session_id)
    };
    assert_eq!(next(1, vec![forget]), (ErrorCode::None, 0));
    assert_eq!(next(2, Vec::new()).0, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn every_version_is_answered() {
    use m::describe_quorum_request::{PartitionData, TopicData};
    let mut broker = TestBroker::start();
    let metadata = TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![PartitionData::default()],
        ..Default::default()
    };
    let quorum = m::DescribeQuorumRequest { topics: vec![metadata], ..Default::default() };
    macro_rules! ask {
        ($($request:expr, $versions:expr;)*) => {
            // An answer that cannot be encoded would close the connection.
            $(for version in $versions {
                broker.call(version, &$request);
            })*
        };
    }
    ask! {
        quorum, 0..=2;
        m::SaslHandshakeRequest::default(), 0..=1;
        m::SaslAuthenticateRequest::default(), 0..=2;
        m::DescribeAclsRequest::default(), 1..=3;
        m::CreateAclsRequest::default(), 1..=3;
        m::DeleteAclsRequest::default(), 1..=3;
        m::AlterReplicaLogDirsRequest::default(), 1..=2;
        m::CreateDelegationTokenRequest::default(), 1..=3;
        m::RenewDelegationTokenRequest::default(), 1..=2;
        m::ExpireDelegationTokenRequest::default(), 1..=2;
        m::DescribeDelegationTokenRequest::default(), 1..=3;
        m::ElectLeadersRequest::default(), 0..=2;
        m::AlterPartitionReassignmentsRequest::default(), 0..=1;
        m::ListPartitionReassignmentsRequest::default(), 0..=0;
        m::DescribeClientQuotasRequest::default(), 0..=1;
        m::AlterClientQuotasRequest::default(), 0..=1;
        m::DescribeUserScramCredentialsRequest::default(), 0..=0;
        m::AlterUserScramCredentialsRequest::default(), 0..=0;
        m::UpdateFeaturesRequest::default(), 0..=2;
        m::UnregisterBrokerRequest { broker_id: 9, ..Default::default() }, 0..=0;
        m::UnregisterControllerRequest { controller_id: 9, ..Default::default() }, 0..=0;
        m::AddRaftVoterRequest::default(), 0..=1;
        m::RemoveRaftVoterRequest::default(), 0..=0;
        m::DescribeConfigsRequest::default(), 1..=4;
        m::AlterConfigsRequest::default(), 0..=2;
        m::IncrementalAlterConfigsRequest::default(), 0..=1;
    }
}
