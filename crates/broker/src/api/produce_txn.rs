//! The part of Produce that is about transactions: which parts of a request have to be verified, and
//! what became of it.

use std::collections::BTreeMap;

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{ProducerEpoch, ProducerId};
use ottla_protocol::messages::ProduceRequest;
use ottla_protocol::messages::produce_request::PartitionProduceData;
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::records::{BatchHeader, batches};
use ottla_storage::VerificationGuard;

use super::produce::{find, refused};
use super::verify::{Support, Verdict, Verification, Writer};
use crate::context::Context;

/// The first version with TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;
/// The first version that adds partitions to transactions by itself.
const IMPLICIT_FROM: i16 = 12;

/// A part's position in the request.
type Place = (usize, usize);

/// Guards, by the place of the part they are for, and errors instead of guards.
#[derive(Default)]
pub(super) struct Guards {
    by_place: BTreeMap<Place, Result<VerificationGuard, ErrorCode>>,
    /// The places whose verification is under way, in its order.
    verifying: Vec<Place>,
}

impl Guards {
    /// What the part at a place has to come with.
    pub(super) fn take(&mut self, place: Place) -> Result<Option<VerificationGuard>, ErrorCode> {
        self.by_place.remove(&place).transpose()
    }

    /// Takes in the verdict of the verification that [`begin`] began.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        let places = std::mem::take(&mut self.verifying);
        for (place, (guarded, result)) in places.into_iter().zip(verdict) {
            self.by_place.insert(place, result.map(|()| guarded.guard));
        }
    }
}

/// Whose transactional batches a request has, if any.
///
/// # Errors
/// TRANSACTIONAL_ID_AUTHORIZATION_FAILED without a transactional id, INVALID_PRODUCER_ID_MAPPING with
/// batches of several producers: the whole request is refused.
pub(super) fn transactional(
    request: &ProduceRequest,
) -> Result<Option<(ProducerId, ProducerEpoch)>, ErrorCode> {
    let mut found = None;
    for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        let Some(header) = transactional_header(data) else { continue };
        if request.transactional_id.is_none() {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        let producer = (header.producer_id, header.producer_epoch);
        if *found.get_or_insert(producer) != producer {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
    }
    Ok(found)
}

/// The header of the part's first batch, if that is transactional.
fn transactional_header(data: &PartitionProduceData) -> Option<BatchHeader> {
    let bytes = data.records.as_ref()?.as_bytes()?;
    let batch = batches(bytes).next()?.ok()?;
    Some(*batch.header()).filter(BatchHeader::is_transactional)
}

/// Begins the verification of those parts that need one.
pub(super) fn begin(
    ctx: &Context<'_>,
    request: &ProduceRequest,
    (producer_id, epoch): (ProducerId, ProducerEpoch),
) -> (Guards, Option<Verification>) {
    let writer = Writer {
        transactional_id: request.transactional_id.clone().unwrap_or_default(),
        producer_id,
        epoch,
        support: match ctx.version() {
            IMPLICIT_FROM.. => Support::Implicit,
            ABORTABLE_FROM => Support::Abortable,
            _ => Support::Old,
        },
    };
    let mut guards = Guards::default();
    let mut wanted = Vec::new();
    for (i, topic) in request.topic_data.iter().enumerate() {
        for (j, data) in topic.partition_data.iter().enumerate() {
            let Some(header) = transactional_header(data).filter(BatchHeader::has_producer_id)
            else {
                continue;
            };
            // What is wrong with the partition is said when the part is appended.
            let Ok(partition) = find(ctx, topic, data.index) else { continue };
            match writer.guard(ctx, &partition, header.base_sequence) {
                Ok(None) => {}
                Ok(Some(guarded)) => {
                    wanted.push(guarded);
                    guards.verifying.push((i, j));
                }
                Err(error) => drop(guards.by_place.insert((i, j), Err(error))),
            }
        }
    }
    let verification = (!wanted.is_empty()).then(|| Verification::begin(ctx, writer, wanted, true));
    (guards, verification)
}

/// The answer for a part that is not verified. Old clients take some of the coordinator's errors for
/// final: they are told NOT_ENOUGH_REPLICAS, upon which they only try again.
pub(super) fn unverified(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    let (error, message) = match error {
        ErrorCode::InvalidTxnState => {
            (error, Some("the partition was not added to the transaction".to_owned()))
        }
        ErrorCode::ConcurrentTransactions
        | ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => (
            ErrorCode::NotEnoughReplicas,
            Some(format!("the transaction cannot be verified with its coordinator: {error}")),
        ),
        error => (error, None),
    };
    PartitionProduceResponse {
        error_message: message.map(ByteString::from),
        ..refused(index, error)
    }
}
