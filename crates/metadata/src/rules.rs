//! What may be configured: the tables of the configuration crate, with what the log says.

use ottla_config::{BrokerConfig, ConfigError};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::BrokerId;

use crate::command::ApiError;
use crate::image::{ConfigMap, ConfigResource, Image};

/// A node's configuration as of `image`: `file`, the default of all brokers and the node's own values.
#[must_use]
pub fn effective_broker(file: &BrokerConfig, image: &Image, id: BrokerId) -> BrokerConfig {
    let values = |resource| image.config(&resource).cloned().unwrap_or_default();
    let (effective, _) = file
        .with_dynamic(values(ConfigResource::default_broker()), values(ConfigResource::broker(id)));
    effective
}

/// The values of a resource, empty if it has none.
pub(crate) fn values(image: &Image, resource: &ConfigResource) -> ConfigMap {
    image.config(resource).cloned().unwrap_or_default()
}

impl From<ottla_config::AlterError> for ApiError {
    fn from(error: ottla_config::AlterError) -> Self {
        let code = match error {
            ottla_config::AlterError::InvalidConfig(_) => ErrorCode::InvalidConfig,
            ottla_config::AlterError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}
