//! Configuration text of any kind: a configuration or one sentence.

use ottla_config::{
    BrokerConfig, ClientMetricsConfig, GroupConfig, Kind, PACKAGED, Settings, TopicConfig,
    describe_broker, parse_override, properties, refuse_unsafe, validate_group, validate_topic,
};

/// `mode, text`: bit 0 of the mode puts the packaged settings below the text.
pub fn config(data: &[u8]) {
    let Some((&mode, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    if let Ok((key, _)) = parse_override(&text) {
        assert!(!key.is_empty());
    }
    let Ok(properties) = properties::parse(&text) else { return };
    let pairs: Vec<_> = properties.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
    let again = properties::parse(&properties::render(pairs.iter().copied()));
    let again = again.expect("what was rendered is readable");
    let again: Vec<_> = again.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
    assert_eq!(again, pairs);
    let loaded = match mode & 1 {
        0 => BrokerConfig::load(Some(&text), &[]),
        _ => BrokerConfig::load(None, &pairs),
    };
    let Ok((broker, _)) = loaded else { return };
    let _ = refuse_unsafe(&broker);
    let _ = describe_broker(&broker);
    let _ = (broker.quorum_voters(), broker.bootstrap_servers(), broker.log_retention_ms());
    let _ = (broker.log_roll_ms(), broker.log_roll_jitter_ms(), broker.log_flush_interval_ms());
    let settings: Settings =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (dynamic, _) = broker.with_dynamic(settings.clone(), settings.clone());
    let _ = describe_broker(&dynamic);
    let _ = TopicConfig::defaults(&dynamic).with(&settings);
    let _ = validate_topic(&settings, &broker);
    let _ = validate_group(&settings, &broker);
    let _ = GroupConfig::new(&settings, &broker);
    let _ = ClientMetricsConfig::new(&settings);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut packaged = vec![0];
    packaged.extend(properties::render(PACKAGED.iter().copied()).into_bytes());
    seeds.push(packaged);
    for kind in [Kind::Broker, Kind::Topic, Kind::Group, Kind::ClientMetrics] {
        for row in kind.keys() {
            let value = row.default_value().text().filter(|value| !value.is_empty());
            let value = value.unwrap_or_else(|| "1".to_owned());
            seeds.push([&[1][..], format!("{}={value}\n", row.name).as_bytes()].concat());
        }
    }
    for text in [
        "listeners=A://h:1,B://:2,C://[::1]:3\nlistener.security.protocol.map=A:PLAINTEXT,B:SSL,C:SASL_SSL,CONTROLLER:PLAINTEXT\n",
        "controller.quorum.voters=1@h:1,2@[::1]:2,3@x:3\ncontroller.quorum.bootstrap.servers=\n",
        "log.dirs=/a, /b ,/c\nmetadata.log.dir=/b\n",
        "leader.replication.throttled.replicas=0:1,3:2\ncleanup.policy=compact, delete\n",
        "listener.name.a.ssl.keystore.type = PEM\nkey\\ with\\:\\u00e9 : value \\\n   continued\n! note\n# note\n",
    ] {
        seeds.push([&[1][..], text.as_bytes()].concat());
    }
    seeds
}
