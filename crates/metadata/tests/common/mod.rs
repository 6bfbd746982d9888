//! A driver of the controller without a log: what is appended is committed at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "not every test uses every helper")]

use std::sync::Arc;

use ottla_config::BrokerConfig;
use ottla_metadata::{
    Command, CommandContext, Controller, ControllerConfig, Image, Provenance, Response, SplitMix64,
    VersionedRecord, bootstrap,
};
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, Now, Offset, Timestamp};
use ottla_protocol::messages as m;
use ottla_protocol::messages::broker_registration_request as br;

pub(crate) const CLUSTER: &str = "CbQTIYdVQQKtixZgdB95CQ";

pub(crate) struct Cluster {
    pub(crate) controller: Controller,
    pub(crate) next: Offset,
    pub(crate) millis: u64,
    random: SplitMix64,
}

pub(crate) fn config() -> ControllerConfig {
    let (broker, _) = BrokerConfig::load(None, &[]).unwrap();
    ControllerConfig {
        node_id: BrokerId(1),
        ..ControllerConfig::new(Arc::new(broker), CLUSTER, 1, bootstrap::format_records(&[]))
    }
}

pub(crate) fn dir(broker: i32) -> Uuid {
    Uuid::from_u128(1000 + u128::from(broker.unsigned_abs()))
}

pub(crate) fn incarnation(number: u128) -> Uuid {
    Uuid::from_u128(5000 + number)
}

/// Registration of a broker that can do everything.
pub(crate) fn registration(broker: i32, incarnation: Uuid) -> m::BrokerRegistrationRequest {
    let feature = |feature: ottla_metadata::features::Feature| br::Feature {
        name: feature.name.into(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    };
    let listener = br::Listener {
        name: "PLAINTEXT".into(),
        host: "127.0.0.1".into(),
        port: 9092,
        security_protocol: 0,
        ..Default::default()
    };
    m::BrokerRegistrationRequest {
        broker_id: broker,
        cluster_id: CLUSTER.into(),
        incarnation_id: incarnation,
        listeners: vec![listener],
        features: ottla_metadata::features::FEATURES.into_iter().map(feature).collect(),
        log_dirs: vec![dir(broker)],
        previous_broker_epoch: -1,
        ..Default::default()
    }
}

impl Cluster {
    /// An active controller that has written the bootstrap records.
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: ControllerConfig) -> Self {
        let controller = Controller::new(config, Image::default());
        let mut cluster = Self { controller, next: Offset(3), millis: 0, random: SplitMix64(1) };
        cluster.controller.activate(cluster.now());
        cluster.run(Command::Activate);
        cluster
    }

    /// Brokers `ids`, registered and unfenced.
    pub(crate) fn brokers(ids: &[i32]) -> Self {
        let mut cluster = Self::new();
        for id in ids {
            cluster.start_broker(*id, incarnation(*id as u128));
        }
        cluster
    }

    pub(crate) fn start_broker(&mut self, id: i32, incarnation: Uuid) -> i64 {
        let answer: m::BrokerRegistrationResponse = self.ask(registration(id, incarnation));
        assert_eq!(answer.error_code, 0);
        let beat = self.beat(id, false, false);
        assert!(beat.is_caught_up && !beat.is_fenced, "{beat:?}");
        answer.broker_epoch
    }

    pub(crate) fn heartbeat(&self, id: i32) -> m::BrokerHeartbeatRequest {
        let epoch = self.image().broker(BrokerId(id)).map_or(-1, |broker| broker.epoch);
        m::BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: self.next.0 - 1,
            ..Default::default()
        }
    }

    pub(crate) fn beat(
        &mut self,
        id: i32,
        want_fence: bool,
        want_shut_down: bool,
    ) -> m::BrokerHeartbeatResponse {
        self.ask(m::BrokerHeartbeatRequest { want_fence, want_shut_down, ..self.heartbeat(id) })
    }

    pub(crate) fn now(&self) -> Now {
        let wall = Timestamp(1_800_000_000_000 + self.millis as i64);
        Now { monotonic: Monotonic(self.millis * 1000), wall }
    }

    pub(crate) fn image(&self) -> &Image {
        self.controller.image()
    }

    /// Runs a command to its commit: records and response.
    pub(crate) fn run(&mut self, command: impl Into<Command>) -> (Vec<VersionedRecord>, Response) {
        let now = self.now();
        let mut ctx = CommandContext {
            now,
            next_offset: self.next,
            random: &mut self.random,
            principal: "User:ANONYMOUS",
            client_host: "127.0.0.1",
            mutations: None,
        };
        let outcome = self.controller.handle(command, &mut ctx).unwrap();
        if !outcome.records.is_empty() {
            self.next = self.next.plus(outcome.records.len() as i64);
            let at = Provenance {
                offset: self.next.plus(-1),
                epoch: LeaderEpoch(1),
                timestamp: now.wall,
            };
            self.controller
                .replay(at, outcome.records.iter().map(|record| &record.record))
                .unwrap();
            self.controller.commit(self.next);
            for record in &outcome.records {
                record.record.encode(record.version).expect("its version can carry the record");
            }
        }
        (outcome.records, outcome.response)
    }

    /// The answer to a request.
    pub(crate) fn ask<R: TryFrom<Response, Error = Response>>(
        &mut self,
        request: impl Into<Command>,
    ) -> R {
        let (_, response) = self.run(request);
        R::try_from(response).unwrap_or_else(|other| panic!("another response: {other:?}"))
    }

    /// The records of a request.
    pub(crate) fn records(&mut self, request: impl Into<Command>) -> Vec<VersionedRecord> {
        self.run(request).0
    }

    pub(crate) fn create(&mut self, name: &str, replicas: &[&[i32]]) -> Uuid {
        use m::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
        let assignment = |(index, brokers): (usize, &&[i32])| CreatableReplicaAssignment {
            partition_index: index as i32,
            broker_ids: brokers.to_vec(),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: replicas.iter().enumerate().map(assignment).collect(),
            ..Default::default()
        };
        let request =
            m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let answer: m::CreateTopicsResponse = self.ask(request);
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        answer.topics[0].topic_id
    }
}
