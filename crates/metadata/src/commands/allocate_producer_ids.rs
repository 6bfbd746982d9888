//! AllocateProducerIds: blocks of producer ids for brokers.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerIdsRecord,
};

use super::{Env, Run};
use crate::record::VersionedRecord;

/// Ids in one block, as in Kafka.
const BLOCK: i32 = 1000;

impl Run for AllocateProducerIdsRequest {
    type Response = AllocateProducerIdsResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, AllocateProducerIdsResponse) {
        let refuse = |code: ErrorCode| {
            (
                Vec::new(),
                AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() },
            )
        };
        if let Err(code) = env.broker(self.broker_id, self.broker_epoch) {
            return refuse(code);
        }
        let start = env.image.producer_id_block().map_or(0, |block| block.next);
        let Some(next) = start.checked_add(i64::from(BLOCK)) else {
            return refuse(ErrorCode::UnknownServerError);
        };
        let record = ProducerIdsRecord {
            broker_id: self.broker_id,
            broker_epoch: self.broker_epoch,
            next_producer_id: next,
            ..Default::default()
        };
        let response = AllocateProducerIdsResponse {
            producer_id_start: start,
            producer_id_len: BLOCK,
            ..Default::default()
        };
        (vec![VersionedRecord::v0(record)], response)
    }
}
