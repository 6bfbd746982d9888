//! Reads everything a node holds, right after it started and before any client does.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_broker::{Broker, Connection};
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{FetchRequest, ListOffsetsRequest, MetadataRequest};
use ottla_protocol::records::batches;
use ottla_protocol::{Records, Uuid};

use crate::env::SimEnv;
use crate::model::{Audit, Model, Survival};
use crate::{records, wire};

const METADATA: i16 = 12;
const FETCH: i16 = 17;
const LIST: i16 = 7;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// A client that asks one thing after the other and needs no time.
struct Auditor {
    env: Arc<SimEnv>,
    connection: Connection,
}

/// Compares everything with the model.
///
/// # Errors
/// Something cannot be read at all.
pub(crate) fn audit(
    broker: &Arc<Broker>,
    env: &Arc<SimEnv>,
    model: &mut Model,
    survival: Survival,
) -> Result<(), String> {
    let connection = wire::accept(broker, env, u64::MAX);
    let mut auditor = Auditor { env: Arc::clone(env), connection };
    let metadata = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let metadata = auditor.ask(METADATA, &metadata)?;
    let mut found = Vec::new();
    for topic in metadata.topics.iter().filter(|topic| !topic.is_internal) {
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        found.push((name, topic.topic_id, topic.partitions.len() as i32));
    }
    model.audit_topics(&found);
    for (name, id, count) in &found {
        for index in 0..*count {
            let retention = model.topics.get(id).is_some_and(|topic| topic.retention);
            let audit = auditor.partition(name, (*id, index), (survival, retention))?;
            model.counts.audited += audit.records.len() as u64;
            model.check((*id, index), |partition, sent| partition.audited(&audit, sent));
        }
    }
    Ok(())
}

impl Auditor {
    fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, String> {
        use ottla_broker::Env;
        let name = R::KEY.name();
        let id = ByteString::from_static("audit");
        let frame = encode_request(version, 1, Some(&id), request).map_err(|e| e.to_string())?;
        self.connection.frame(frame.bytes.slice(4..), self.env.now());
        let response = self.connection.take_response();
        let response = response.ok_or_else(|| format!("{name} is not answered after the start"))?;
        let frame: Bytes = match wire::flatten(response, false) {
            Ok(frame) => frame,
            Err(wire::WriteError::Truncated) => return Err(format!("{name}: truncated")),
            Err(wire::WriteError::Io(error)) => return Err(format!("{name}: {error}")),
        };
        decode_response::<R>(frame, version).map(|(_, r)| r).map_err(|e| e.to_string())
    }

    fn list(&mut self, name: &str, index: i32, timestamp: i64) -> Result<i64, String> {
        let partition =
            ListOffsetsPartition { partition_index: index, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic {
            name: name.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = self.ask(LIST, &request)?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        match found {
            Some(found) if found.error_code == 0 => Ok(found.offset),
            found => Err(format!("{name}-{index} cannot be listed after the start: {found:?}")),
        }
    }

    fn partition(
        &mut self,
        name: &str,
        place: (Uuid, i32),
        (survival, retention): (Survival, bool),
    ) -> Result<Audit, String> {
        let log_start = self.list(name, place.1, EARLIEST)?;
        let high_watermark = self.list(name, place.1, LATEST)?;
        let mut found = Vec::new();
        let mut next = log_start;
        while next < high_watermark {
            let bytes = self.fetch(place, next)?;
            let before = next;
            for batch in batches(&bytes) {
                let batch = batch.map_err(|error| format!("{name}-{}: {error}", place.1))?;
                for (offset, id) in records::open(&batch)? {
                    if offset >= log_start {
                        found.push((offset, id));
                        next = offset + 1;
                    }
                }
            }
            if next == before {
                return Err(format!("{name}-{} has nothing at offset {next}", place.1));
            }
        }
        Ok(Audit { log_start, high_watermark, records: found, survival, place, retention })
    }

    fn fetch(&mut self, (topic_id, partition): (Uuid, i32), at: i64) -> Result<Bytes, String> {
        let partition = FetchPartition {
            partition,
            fetch_offset: at,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let partitions = vec![partition];
        let topic = FetchTopic { topic_id, partitions, ..FetchTopic::default() };
        let request = FetchRequest {
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let response = self.ask(FETCH, &request)?;
        let data = response.responses.first().and_then(|topic| topic.partitions.first());
        match data {
            Some(data) if data.error_code == 0 => match &data.records {
                Some(Records::Bytes(bytes)) => Ok(bytes.clone()),
                _ => Ok(Bytes::new()),
            },
            data => Err(format!("offset {at} cannot be fetched after the start: {data:?}")),
        }
    }
}
