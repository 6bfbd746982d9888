//! ControllerRegistration and UnregisterController.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::BrokerId;
use ottla_protocol::messages::{
    ControllerRegistrationRequest, ControllerRegistrationResponse, UnregisterControllerRecord,
    UnregisterControllerRequest, UnregisterControllerResponse,
};

use super::{Env, Run};
use crate::image::{ControllerRegistration, Listener, VersionRange};
use crate::record::VersionedRecord;

impl Run for ControllerRegistrationRequest {
    type Response = ControllerRegistrationResponse;

    /// Any id is accepted, as in Kafka: the voter set says who may vote.
    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, ControllerRegistrationResponse) {
        if !env.image.metadata_version().has_controller_registration() {
            let message = "controllers register from metadata.version 15 (3.7-IV0) on";
            let response = ControllerRegistrationResponse {
                error_code: ErrorCode::UnsupportedVersion.code(),
                error_message: Some(message.into()),
                ..Default::default()
            };
            return (Vec::new(), response);
        }
        let listeners = self.listeners.iter().map(|listener| Listener {
            name: listener.name.to_string(),
            host: listener.host.to_string(),
            port: listener.port,
            security_protocol: listener.security_protocol,
        });
        let features = self.features.iter().map(|f| {
            (
                f.name.to_string(),
                VersionRange { min: f.min_supported_version, max: f.max_supported_version },
            )
        });
        let controller = ControllerRegistration {
            id: BrokerId(self.controller_id),
            incarnation: self.incarnation_id,
            zk_migration_ready: self.zk_migration_ready,
            listeners: listeners.collect(),
            features: features.collect(),
        };
        let response = ControllerRegistrationResponse { error_message: None, ..Default::default() };
        (vec![VersionedRecord::v0(controller.to_record())], response)
    }
}

impl Run for UnregisterControllerRequest {
    type Response = UnregisterControllerResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, UnregisterControllerResponse) {
        let id = BrokerId(self.controller_id);
        let refused = if !env.image.metadata_version().has_controller_unregistration() {
            let message =
                "controllers can be unregistered from metadata.version 33 (4.4-IV2) on".to_owned();
            Some((ErrorCode::UnsupportedVersion, message))
        } else if id == env.config.node_id {
            Some((ErrorCode::InvalidRequest, format!("controller {id} is the active one")))
        } else if env.image.controller(id).is_none() {
            Some((
                ErrorCode::ControllerIdNotRegistered,
                format!("controller {id} is not registered"),
            ))
        } else {
            None
        };
        if let Some((code, message)) = refused {
            let response = UnregisterControllerResponse {
                error_code: code.code(),
                error_message: Some(message.into()),
                ..Default::default()
            };
            return (Vec::new(), response);
        }
        let record = UnregisterControllerRecord { controller_id: id.0, ..Default::default() };
        let response = UnregisterControllerResponse { error_message: None, ..Default::default() };
        (vec![VersionedRecord::v0(record)], response)
    }
}
