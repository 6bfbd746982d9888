//! Refusing to start where ignoring a key would be less safe than what was asked for.

use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::keys;
use crate::listener::SecurityProtocol;

/// Something Kafka does for safety that a configuration may ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Feature {
    /// Access rules, `StandardAuthorizer`.
    Authorizer,
    /// TLS listeners.
    Tls,
    /// SASL listeners.
    Sasl,
    /// Tiered storage.
    TieredStorage,
}

/// What is implemented. A feature that gets done is added here, and its refusal is gone.
pub const IMPLEMENTED: &[Feature] = &[];

const STANDARD_AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
const DEFAULT_PRINCIPAL_BUILDER: &str =
    "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder";

/// Refuses a configuration that asks for protection this build does not have.
///
/// # Errors
/// One sentence with the key and what to do.
pub fn refuse_unsafe(config: &BrokerConfig) -> Result<(), ConfigError> {
    refuse_without(config, IMPLEMENTED)
}

fn refuse_without(config: &BrokerConfig, implemented: &[Feature]) -> Result<(), ConfigError> {
    let has = |feature: Feature| implemented.contains(&feature);
    let refuse = |sentence: String| Err(ConfigError::Unsafe(sentence));
    let authorizer = config.get(keys::AUTHORIZER_CLASS_NAME).trim();
    if !authorizer.is_empty() && authorizer != STANDARD_AUTHORIZER {
        return refuse(format!(
            "authorizer.class.name={authorizer}: Java classes cannot be loaded; use \
             {STANDARD_AUTHORIZER}, or remove the key to let everyone do everything"
        ));
    }
    if !authorizer.is_empty() && !has(Feature::Authorizer) {
        return refuse(format!(
            "authorizer.class.name={authorizer}: access rules are not enforced yet; remove the key \
             only if everyone who can connect may do everything"
        ));
    }
    for (name, protocol) in protocols_in_use(config) {
        let (tls, sasl) = match protocol {
            SecurityProtocol::Plaintext => (false, false),
            SecurityProtocol::Ssl => (true, false),
            SecurityProtocol::SaslPlaintext => (false, true),
            SecurityProtocol::SaslSsl => (true, true),
        };
        if (tls && !has(Feature::Tls)) || (sasl && !has(Feature::Sasl)) {
            return refuse(format!(
                "the listener {name} is {protocol}, which is not available yet; map it to PLAINTEXT \
                 in listener.security.protocol.map only on a network that is trusted"
            ));
        }
    }
    if config.get(keys::REMOTE_LOG_STORAGE_SYSTEM_ENABLE) && !has(Feature::TieredStorage) {
        return refuse(
            "remote.log.storage.system.enable=true: tiered storage is not available; records that \
             are only in remote storage could not be served, so keep this node on Kafka"
                .to_owned(),
        );
    }
    refuse_classes(config)
}

/// Java classes that protect something and cannot be loaded.
fn refuse_classes(config: &BrokerConfig) -> Result<(), ConfigError> {
    let providers = config.get(keys::CONFIG_PROVIDERS).join(",");
    let classes = [
        ("config.providers", Some(providers.as_str())),
        ("create.topic.policy.class.name", config.get(keys::CREATE_TOPIC_POLICY_CLASS_NAME)),
        ("alter.config.policy.class.name", config.get(keys::ALTER_CONFIG_POLICY_CLASS_NAME)),
        ("client.quota.callback.class", config.get(keys::CLIENT_QUOTA_CALLBACK_CLASS)),
        (
            "principal.builder.class",
            Some(config.get(keys::PRINCIPAL_BUILDER_CLASS))
                .filter(|class| *class != DEFAULT_PRINCIPAL_BUILDER),
        ),
    ];
    match classes.into_iter().find_map(|(key, class)| Some((key, class.filter(|c| !c.is_empty())?)))
    {
        Some((key, class)) => Err(ConfigError::Unsafe(format!(
            "{key}={class}: Java classes cannot be loaded; remove the key if you can do without it"
        ))),
        None => Ok(()),
    }
}

/// Listeners this node opens or connects to.
fn protocols_in_use(config: &BrokerConfig) -> Vec<(String, SecurityProtocol)> {
    let bound = config.broker_listeners().iter().chain(config.controller_listeners());
    let mut all: Vec<_> = bound.map(|l| (l.name.clone(), l.protocol)).collect();
    // Nodes connect to controllers by the first name that is mapped.
    let controllers = config.controller_listener_names().first();
    let peers = controllers.into_iter().map(String::as_str);
    for name in peers.chain([config.inter_broker_listener()]) {
        all.extend(config.protocol(name).map(|protocol| (name.to_owned(), protocol)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&str, &str)], implemented: &[Feature]) -> Option<String> {
        let (config, _) = BrokerConfig::load(None, pairs).unwrap();
        refuse_without(&config, implemented).err().map(|e| e.to_string())
    }

    #[test]
    fn what_would_be_less_safe_if_ignored_does_not_start() {
        let ssl = "CONTROLLER:PLAINTEXT,PLAINTEXT:SSL";
        let sasl = "CONTROLLER:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT";
        for (pair, feature) in [
            (("authorizer.class.name", STANDARD_AUTHORIZER), Some(Feature::Authorizer)),
            (("authorizer.class.name", "com.example.Mine"), None),
            (("listener.security.protocol.map", ssl), Some(Feature::Tls)),
            (("listener.security.protocol.map", sasl), Some(Feature::Sasl)),
            (("remote.log.storage.system.enable", "true"), Some(Feature::TieredStorage)),
            (("create.topic.policy.class.name", "com.example.Mine"), None),
            (("alter.config.policy.class.name", "com.example.Mine"), None),
            (("client.quota.callback.class", "com.example.Mine"), None),
            (("principal.builder.class", "com.example.Mine"), None),
            (("config.providers", "file"), None),
        ] {
            let sentence = refused(&[pair], &[]).unwrap_or_else(|| panic!("{pair:?} starts"));
            assert!(sentence.len() > 60, "{sentence}");
            let with = feature.map(|feature| vec![feature]).unwrap_or_default();
            assert_eq!(refused(&[pair], &with).is_none(), feature.is_some(), "{pair:?}");
        }
    }

    #[test]
    fn the_packaged_configuration_starts() {
        assert_eq!(refused(&[], &[]), None);
        assert_eq!(refused(&[("authorizer.class.name", "")], &[]), None);
    }
}
