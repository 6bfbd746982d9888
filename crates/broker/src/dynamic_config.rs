//! Dynamic configuration: the settings that the metadata image holds for this node.

use ottla_config::{BrokerConfig, Settings};
use ottla_metadata::{ConfigResource, Image};

/// The node's configuration with the dynamic settings of an image. Settings that cannot be used are
/// left out with a warning.
#[must_use]
pub(crate) fn with_dynamic(config: &BrokerConfig, image: &Image) -> BrokerConfig {
    let settings = |resource: ConfigResource| -> Settings {
        image.config(&resource).cloned().unwrap_or_default()
    };
    let own = settings(ConfigResource::new(ConfigResource::BROKER, &config.node_id().to_string()));
    let cluster = settings(ConfigResource::default_broker());
    let (config, warnings) = config.with_dynamic(cluster, own);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    config
}
