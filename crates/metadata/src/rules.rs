//! What may be configured: the seam to the tables of the configuration crate.

use crate::command::ApiError;
use crate::image::{ConfigMap, ConfigResource, Image};

/// One effective value of a topic, as CreateTopics answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfigValue {
    /// The key.
    pub name: String,
    /// `None` for sensitive or absent values.
    pub value: Option<String>,
    /// ConfigSource on the wire: 1 topic, 2 dynamic broker, 3 dynamic default, 4 file, 5 default.
    pub source: i8,
    /// Never shown.
    pub sensitive: bool,
}

/// Decides about configuration values. An implementation reads tables and the node's file; it keeps
/// no state.
pub trait ConfigRules {
    /// Checks the dynamic values `after` of `resource`, of which the keys in `changed` were touched
    /// (`before` are the values until now).
    ///
    /// # Errors
    /// INVALID_CONFIG or INVALID_REQUEST with a sentence.
    fn check(
        &self,
        resource: &ConfigResource,
        before: &ConfigMap,
        after: &ConfigMap,
        changed: &[&str],
    ) -> Result<(), ApiError>;

    /// The default items if the key is a list, to which APPEND and SUBTRACT apply; `None` if it is not.
    fn list_default(&self, resource: &ConfigResource, key: &str) -> Option<Vec<String>>;

    /// All values of a topic whose own values are `own`.
    fn describe_topic(&self, image: &Image, own: &ConfigMap) -> Vec<TopicConfigValue>;
}

/// Accepts everything; for tests of what is not configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyConfig;

impl ConfigRules for AnyConfig {
    fn check(
        &self,
        _: &ConfigResource,
        _: &ConfigMap,
        _: &ConfigMap,
        _: &[&str],
    ) -> Result<(), ApiError> {
        Ok(())
    }

    fn list_default(&self, _: &ConfigResource, key: &str) -> Option<Vec<String>> {
        (key == "cleanup.policy").then(|| vec!["delete".to_owned()])
    }

    fn describe_topic(&self, _: &Image, own: &ConfigMap) -> Vec<TopicConfigValue> {
        let value = |(name, value): (&String, &String)| TopicConfigValue {
            name: name.clone(),
            value: Some(value.clone()),
            source: 1,
            sensitive: false,
        };
        own.iter().map(value).collect()
    }
}
