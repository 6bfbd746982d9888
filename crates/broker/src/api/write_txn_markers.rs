//! WriteTxnMarkers (KIP-98, 1228): a transaction coordinator ends transactions in partitions that this
//! broker leads.

use std::sync::Arc;

use ottla_config::keys;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Monotonic, Offset, ProducerEpoch, ProducerId};
use ottla_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use ottla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_storage::{TxnEnd, TxnMarker};

use super::{Handler, Operation, Reply, Rule, Wait};
use crate::context::Context;
use crate::partition::Partition;
use crate::transactions::is_bumped;

/// The WriteTxnMarkers API.
pub(super) struct WriteTxnMarkers;

impl Handler for WriteTxnMarkers {
    type Request = WriteTxnMarkersRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=2; // v2 has the transaction.version.
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction); // Or Alter.

    fn handle(
        ctx: &Context<'_>,
        request: WriteTxnMarkersRequest,
    ) -> Reply<WriteTxnMarkersResponse> {
        let mut wait = Replicate {
            response: WriteTxnMarkersResponse::default(),
            waits: Vec::new(),
            deadline: ctx.deadline(ctx.broker.config().get(keys::REQUEST_TIMEOUT_MS)),
        };
        for marker in request.markers {
            let result = wait.write(ctx, marker);
            // As Kafka, the answer names what was tried: no marker or topic without partitions.
            if !result.topics.is_empty() {
                wait.response.markers.push(result);
            }
        }
        match wait.poll(ctx, false) {
            Some(response) => Reply::Now(response),
            None => Reply::wait(wait),
        }
    }
}

/// A marker that is appended, and done once everything below `end` is committed.
struct Pending {
    partition: Arc<Partition>,
    end: Offset,
    /// Marker, topic and partition position in the response.
    at: (usize, usize, usize),
}

struct Replicate {
    response: WriteTxnMarkersResponse,
    waits: Vec<Pending>,
    deadline: Monotonic,
}

impl Replicate {
    fn write(&mut self, ctx: &Context<'_>, marker: WritableTxnMarker) -> WritableTxnMarkerResult {
        let content = TxnMarker {
            producer_id: ProducerId(marker.producer_id),
            epoch: ProducerEpoch(marker.producer_epoch),
            end: if marker.transaction_result { TxnEnd::Commit } else { TxnEnd::Abort },
            coordinator_epoch: marker.coordinator_epoch,
            timestamp: ctx.now.wall,
        };
        let bumped = is_bumped(marker.transaction_version.into());
        let at = self.response.markers.len();
        let mut topics = Vec::with_capacity(marker.topics.len());
        let asked = marker.topics.into_iter().filter(|topic| !topic.partition_indexes.is_empty());
        for topic in asked {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for &index in &topic.partition_indexes {
                let error = match append(ctx, (&topic.name, index), &content, bumped) {
                    Ok(None) => ErrorCode::None,
                    Ok(Some((partition, end))) => {
                        let at = (at, topics.len(), partitions.len());
                        self.waits.push(Pending { partition, end, at });
                        ErrorCode::None
                    }
                    Err(error) => error,
                };
                partitions.push(WritableTxnMarkerPartitionResult {
                    partition_index: index,
                    error_code: error.code(),
                    ..WritableTxnMarkerPartitionResult::default()
                });
            }
            topics.push(WritableTxnMarkerTopicResult {
                name: topic.name,
                partitions,
                ..WritableTxnMarkerTopicResult::default()
            });
        }
        WritableTxnMarkerResult {
            producer_id: marker.producer_id,
            topics,
            ..WritableTxnMarkerResult::default()
        }
    }
}

/// Appends a marker. What it waits for, unless it is committed at once.
fn append(
    ctx: &Context<'_>,
    (topic, index): (&str, i32),
    marker: &TxnMarker,
    bumped: bool,
) -> Result<Option<(Arc<Partition>, Offset)>, ErrorCode> {
    // To a coordinator, a partition that is not here is one that it does not know where to find.
    let partition = ctx.partition(topic, index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    let outcome = ctx.broker.append_marker(&partition, marker, bumped);
    let outcome = outcome.map_err(|error| ErrorCode::from(&error))?;
    let end = outcome.appended.last_offset.plus(1);
    Ok((!outcome.committed).then_some((partition, end)))
}

impl Wait<WriteTxnMarkersResponse> for Replicate {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<WriteTxnMarkersResponse> {
        let response = &mut self.response;
        self.waits.retain(|wait| {
            wait.partition.on_commit(ctx.waiter);
            let error = match wait.partition.offsets(None) {
                Ok(offsets) if offsets.high_watermark >= wait.end => return false,
                Ok(_) if expired => ErrorCode::RequestTimedOut,
                Ok(_) => return true,
                Err(error) => ErrorCode::from(&error),
            };
            let (marker, topic, position) = wait.at;
            let topics = response.markers.get_mut(marker).map(|marker| &mut marker.topics);
            let topic = topics.and_then(|topics| topics.get_mut(topic));
            if let Some(slot) = topic.and_then(|topic| topic.partitions.get_mut(position)) {
                slot.error_code = error.code();
            }
            false
        });
        self.waits.is_empty().then(|| std::mem::take(response))
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}
