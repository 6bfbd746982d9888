//! UnregisterBroker: forgets a broker, alive or not. It may register again.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::BrokerId;
use ottla_protocol::messages::{
    UnregisterBrokerRecord, UnregisterBrokerRequest, UnregisterBrokerResponse,
};

use super::shutdown::{Kind, partitions_without};
use super::{Env, Run};
use crate::record::VersionedRecord;

impl Run for UnregisterBrokerRequest {
    type Response = UnregisterBrokerResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, UnregisterBrokerResponse) {
        let id = BrokerId(self.broker_id);
        let Some(broker) = env.image.broker(id) else {
            let message = format!("broker {id} is not registered");
            let response = UnregisterBrokerResponse {
                error_code: ErrorCode::BrokerIdNotRegistered.code(),
                error_message: Some(message.into()),
                ..Default::default()
            };
            return (Vec::new(), response);
        };
        let mut records = partitions_without(env, id, Kind::Clean);
        records.push(VersionedRecord::v0(UnregisterBrokerRecord {
            broker_id: id.0,
            broker_epoch: broker.epoch,
            ..Default::default()
        }));
        env.beats.forget(id);
        (records, UnregisterBrokerResponse { error_message: None, ..Default::default() })
    }
}
