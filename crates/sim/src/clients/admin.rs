//! The only client that changes topics: creates and deletes them, adds partitions, deletes records,
//! and changes configurations, one thing at a time.

use bytes::Bytes;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest,
};
use ottla_protocol::{ErrorCode, Uuid};
use ottla_testkit::Rng;

use super::committer::STABLE;
use super::{Client, Cx, Late, Link};
use crate::model::{Durability, Existence, Place, TRANSACTIONAL};
use crate::records::SEGMENT_MIN;

const CREATE: i16 = 7;
const DELETE: i16 = 6;
const GROW: i16 = 3;
const RECORDS: i16 = 2;
const ALTER: i16 = 1;
const TOPICS_MAX: usize = 5;
/// Resource type of a topic, and the operation that sets a value.
const TOPIC: i8 = 2;
const SET: i8 = 0;

/// The administrator.
pub(crate) struct Admin {
    link: Link,
    synced: bool,
    /// Topics that are created first, and never deleted.
    fixed: Vec<&'static str>,
    /// No other topics are created.
    only_fixed: bool,
    next_name: u32,
    asked: Option<Pending>,
}

enum Pending {
    Create(String),
    Delete(Uuid),
    Grow(Uuid, i32),
    DeleteRecords(Place),
    Alter(Uuid, Option<Durability>),
}

impl Admin {
    /// `synced`: topics wait for fsync unless they say otherwise. `transactional`: there are the
    /// topics of transactional clients, and no others.
    pub(crate) fn new(synced: bool, transactional: bool) -> Self {
        let fixed = if transactional { TRANSACTIONAL.to_vec() } else { vec![STABLE] };
        let link = Link::default();
        Self { link, synced, fixed, only_fixed: transactional, next_name: 0, asked: None }
    }

    fn create(&mut self, cx: &mut Cx<'_>, name: String) {
        let fixed = self.fixed.contains(&&*name);
        let own = !fixed && cx.rng.chance(1, 3);
        let synced = if own { !self.synced } else { self.synced };
        let mut configs = Vec::new();
        let mut set = |name: &str, value: &str| {
            let (name, value) = (name.into(), Some(value.into()));
            configs.push(CreatableTopicConfig { name, value, ..Default::default() });
        };
        if own {
            set("flush.messages", if synced { "1" } else { "9223372036854775807" });
        }
        set(
            "internal.segment.bytes",
            one_of(cx.rng, &[SEGMENT_MIN, SEGMENT_MIN, "40000", "1000000"]),
        );
        set("index.interval.bytes", one_of(cx.rng, &["0", "300", "4096"]));
        set("segment.ms", one_of(cx.rng, &["300", "2000", "604800000"]));
        if cx.rng.chance(1, 4) {
            set("flush.ms", "1500");
        }
        let retention = !fixed && cx.rng.chance(1, 4);
        if retention {
            set("retention.bytes", one_of(cx.rng, &["4000", "30000"]));
        }
        let count = cx.rng.between(1, 3) as i32;
        let durability = if synced { Durability::Synced } else { Durability::Unsynced };
        cx.model.creating.insert(name.clone(), (count, durability, retention));
        let topic = CreatableTopic {
            name: name.as_str().into(),
            num_partitions: count,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 20_000, ..Default::default() };
        self.link.send(cx, CREATE, &request);
        self.asked = Some(Pending::Create(name));
    }

    fn delete(&mut self, cx: &mut Cx<'_>, id: Uuid) {
        if let Some(topic) = cx.model.topics.get_mut(&id) {
            topic.existence = Existence::Leaving;
        }
        let topic = DeleteTopicState { topic_id: id, ..Default::default() };
        let request =
            DeleteTopicsRequest { topics: vec![topic], timeout_ms: 20_000, ..Default::default() };
        self.link.send(cx, DELETE, &request);
        self.asked = Some(Pending::Delete(id));
    }

    fn grow(&mut self, cx: &mut Cx<'_>, id: Uuid) {
        let Some(topic) = cx.model.topics.get_mut(&id) else { return };
        topic.count_max = topic.count_max.max(topic.count + 1);
        let count = topic.count_max;
        let name = topic.name.as_str().into();
        let topic = CreatePartitionsTopic { name, count, assignments: None, ..Default::default() };
        let topics = vec![topic];
        let request = CreatePartitionsRequest { topics, timeout_ms: 20_000, ..Default::default() };
        self.link.send(cx, GROW, &request);
        self.asked = Some(Pending::Grow(id, count));
    }

    fn delete_records(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(topic) = cx.model.topics.get_mut(&place.0) else { return };
        let name = topic.name.as_str().into();
        let Some(partition) = topic.partitions.get_mut(&place.1) else { return };
        let offset = cx.rng.below(partition.known_end() as u64 + 1) as i64;
        partition.delete_asked = partition.delete_asked.max(offset);
        let part =
            DeleteRecordsPartition { partition_index: place.1, offset, ..Default::default() };
        let topic = DeleteRecordsTopic { name, partitions: vec![part], ..Default::default() };
        let topics = vec![topic];
        let request = DeleteRecordsRequest { topics, timeout_ms: 20_000, ..Default::default() };
        self.link.send(cx, RECORDS, &request);
        self.asked = Some(Pending::DeleteRecords(place));
    }

    fn alter(&mut self, cx: &mut Cx<'_>, id: Uuid) {
        let Some(topic) = cx.model.topics.get_mut(&id) else { return };
        let (mut durability, mut retention) = (None, false);
        let (name, value) = match cx.rng.below(5) {
            _ if topic.transactional => {
                ("internal.segment.bytes", one_of(cx.rng, &[SEGMENT_MIN, "20000"]))
            }
            0 => {
                // From now on until it is acknowledged, nothing is sure.
                topic.set_durability(Durability::Unsynced);
                ("flush.messages", "100")
            }
            1 => {
                durability = Some(Durability::Synced);
                ("flush.messages", "1")
            }
            2 => ("internal.segment.bytes", one_of(cx.rng, &[SEGMENT_MIN, "20000"])),
            3 if topic.name != STABLE => {
                retention = true;
                ("retention.ms", one_of(cx.rng, &["800", "604800000"]))
            }
            _ => ("segment.ms", one_of(cx.rng, &["200", "604800000"])),
        };
        topic.retention |= retention;
        let name_of_topic = topic.name.clone();
        self.set(cx, &name_of_topic, (name, value));
        self.asked = Some(Pending::Alter(id, durability));
    }

    /// Lets a coordinator's log have many segments, so that it is compacted.
    fn shrink(&mut self, cx: &mut Cx<'_>, topic: &str) {
        let bytes = one_of(cx.rng, &["20000", "60000"]);
        self.set(cx, topic, ("internal.segment.bytes", bytes));
        self.asked = Some(Pending::Alter(Uuid::ZERO, None));
    }

    fn set(&mut self, cx: &mut Cx<'_>, topic: &str, (name, value): (&str, &str)) {
        let config = AlterableConfig {
            name: name.into(),
            config_operation: SET,
            value: Some(value.into()),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.into(),
            configs: vec![config],
            ..Default::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        self.link.send(cx, ALTER, &request);
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        let exists: Vec<_> = cx
            .model
            .topics
            .iter()
            .filter(|(_, topic)| topic.existence == Existence::Exists)
            .map(|(id, topic)| (*id, topic.name != STABLE))
            .collect();
        let missing = self.fixed.iter().find(|name| {
            let exists = cx.model.topics.values().any(|topic| topic.name == **name);
            !exists && !cx.model.creating.contains_key(**name)
        });
        if let Some(name) = missing {
            return self.create(cx, (*name).to_owned());
        }
        if self.only_fixed {
            return match cx.rng.below(4) {
                0 if cx.model.counts.transactions > 0 => self.shrink(cx, "__transaction_state"),
                1 if cx.model.counts.processed > 0 => self.shrink(cx, "__consumer_offsets"),
                // There may be none yet.
                _ if exists.is_empty() => {}
                _ => {
                    let (id, _) = *cx.rng.pick(&exists);
                    self.alter(cx, id);
                }
            };
        }
        if exists.len() < 2 || (exists.len() < TOPICS_MAX && cx.rng.chance(1, 4)) {
            self.next_name += 1;
            let name = format!("topic-{}", self.next_name);
            return self.create(cx, name);
        }
        let (id, other) = *cx.rng.pick(&exists);
        match cx.rng.below(10) {
            0..2 if other => self.delete(cx, id),
            2..4 => self.grow(cx, id),
            4..7 => {
                let places = cx.model.writable();
                if !places.is_empty() {
                    let place = *cx.rng.pick(&places);
                    self.delete_records(cx, place);
                }
            }
            _ => self.alter(cx, id),
        }
    }

    fn done(&mut self, cx: &mut Cx<'_>, pending: Pending, frame: Bytes) -> Option<i16> {
        Some(match pending {
            Pending::Create(name) => {
                let response = cx.decode::<CreateTopicsRequest>(frame, CREATE)?;
                let topic = response.topics.first()?;
                if topic.error_code == 0 {
                    cx.model.created(&name, topic.topic_id);
                }
                topic.error_code
            }
            Pending::Delete(id) => {
                let response = cx.decode::<DeleteTopicsRequest>(frame, DELETE)?;
                let code = response.responses.first()?.error_code;
                if let Some(topic) = cx.model.topics.get_mut(&id).filter(|_| code == 0) {
                    topic.existence = Existence::Gone;
                }
                code
            }
            Pending::Grow(id, count) => {
                let response = cx.decode::<CreatePartitionsRequest>(frame, GROW)?;
                // INVALID_PARTITIONS: an earlier request for this count, whose answer was lost, was
                // carried out; the audit looks for the partitions.
                match response.results.first()?.error_code {
                    0 => {}
                    code if code == ErrorCode::InvalidPartitions.code() => {}
                    code => return Some(code),
                }
                cx.model.grown(id, count);
                0
            }
            Pending::DeleteRecords(place) => {
                let response = cx.decode::<DeleteRecordsRequest>(frame, RECORDS)?;
                let found = response.topics.first()?.partitions.first()?;
                let (code, low) = (found.error_code, found.low_watermark);
                if code == 0 {
                    cx.model.check(place, |partition, _| {
                        partition.deleted = partition.deleted.max(low);
                        Ok(())
                    });
                }
                code
            }
            Pending::Alter(id, durability) => {
                let response = cx.decode::<IncrementalAlterConfigsRequest>(frame, ALTER)?;
                let code = response.responses.first()?.error_code;
                let now = cx.now;
                let synced = durability.is_some() && code == 0;
                if let Some(topic) = cx.model.topics.get_mut(&id).filter(|_| synced) {
                    topic.switch_to_synced(now);
                }
                code
            }
        })
    }
}

fn one_of(rng: &mut Rng, values: &[&'static str]) -> &'static str {
    let index = rng.below(values.len() as u64);
    values[index as usize]
}

impl Client for Admin {
    fn act(&mut self, cx: &mut Cx<'_>) {
        if self.asked.is_none() && !cx.model.stopping {
            self.next(cx);
        }
        if cx.rng.chance(1, 60) && self.link.cut(cx, Late::Lost) {
            self.closed(cx);
        }
        if !cx.model.stopping {
            let busy = cx.model.topics.len() >= 2;
            cx.act_in(1_000, if busy { 500_000 } else { 20_000 });
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, _correlation: i32, frame: Bytes) {
        let Some(pending) = self.asked.take() else {
            return cx.model.violate("an answer that nobody asked for".to_owned());
        };
        let records = matches!(pending, Pending::DeleteRecords(_));
        match self.done(cx, pending, frame) {
            None => cx.model.violate("an administrative answer is incomplete".to_owned()),
            Some(0) => cx.model.counts.changes += 1,
            Some(code) => match ErrorCode::from_code(code) {
                // An acknowledgement, or the high watermark, was of records that are gone.
                Some(ErrorCode::OffsetOutOfRange) if records => {}
                _ if cx.model.disk_fault => {}
                _ => cx.unexpected("an administrative request", code),
            },
        }
    }

    fn closed(&mut self, _cx: &mut Cx<'_>) {
        self.link.lost();
        self.asked = None;
    }

    fn name(&self) -> String {
        "admin".to_owned()
    }
}
