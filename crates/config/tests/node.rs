//! A node's configuration, as an operator meets it: files in, listeners and sentences out.

use proptest::prelude::*;

use ottla_config::{BrokerConfig, SecurityProtocol, Settings, Source, keys, refuse_unsafe};

const BASE: &str = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=C\n\
    controller.quorum.bootstrap.servers=h:2\nlisteners=PLAINTEXT://h:1,C://h:2\n";

fn load(lines: &str) -> Result<BrokerConfig, String> {
    BrokerConfig::load(Some(&format!("{BASE}{lines}")), &[])
        .map(|(config, _)| config)
        .map_err(|e| e.to_string())
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn without_a_file_a_node_is_a_cluster_of_one_on_localhost() {
    let (config, warnings) = BrokerConfig::load(None, &[]).unwrap();
    assert_eq!(warnings, []);
    assert!(config.is_broker() && config.is_controller());
    assert_eq!(config.node_id(), 1);
    let listeners = |all: &[ottla_config::Listener]| {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    assert_eq!(listeners(config.broker_listeners()), "PLAINTEXT://:9092");
    assert_eq!(listeners(config.controller_listeners()), "CONTROLLER://:9093");
    assert_eq!(listeners(config.advertised_listeners()), "PLAINTEXT://localhost:9092");
    assert_eq!(listeners(config.advertised_controller_listeners()), "CONTROLLER://localhost:9093");
    assert_eq!(config.inter_broker_listener(), "PLAINTEXT");
    assert_eq!(config.bootstrap_servers().len(), 1);
    assert_eq!(config.get(keys::OFFSETS_TOPIC_REPLICATION_FACTOR), 1);
    assert_eq!(config.get(keys::TRANSACTION_STATE_LOG_MIN_ISR), 1);
    assert_eq!(config.log_retention_ms(), 604_800_000);
    assert_eq!(refuse_unsafe(&config), Ok(()));
}

#[test]
fn the_command_line_wins_over_the_file_and_unknown_keys_warn() {
    let file = format!("{BASE}num.partitions=3\nnum.partition=9\n");
    let (config, warnings) =
        BrokerConfig::load(Some(&file), &[("num.partitions", "5"), ("super.users", "User:a")])
            .unwrap();
    assert_eq!(config.get(keys::NUM_PARTITIONS), 5);
    assert_eq!(config.text("super.users"), Some("User:a"));
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["num.partition is not a broker configuration key; ignored"]);
}

#[test]
fn the_node_id_has_two_spellings() {
    let lines = "process.roles=broker\nbroker.id=7\ncontroller.listener.names=C\n\
        controller.quorum.bootstrap.servers=h:2";
    let (config, _) = BrokerConfig::load(Some(lines), &[]).unwrap();
    assert_eq!(config.node_id(), 7);
}

#[test]
fn a_node_that_cannot_run_says_why_in_one_sentence() {
    for (lines, want) in [
        ("node.id=-1", "node.id=-1: at least 0 is expected"),
        ("broker.id=2", "node.id=1 and broker.id=2 disagree; keep node.id"),
        ("process.roles=", "process.roles is empty: set broker, controller or both"),
        ("process.roles=zoo", "process.roles=zoo: a list of broker, controller is expected"),
        ("controller.quorum.bootstrap.servers=", "neither controller.quorum.bootstrap.servers nor"),
        (
            "controller.quorum.voters=1:h:1",
            "controller.quorum.voters=1:h:1: id@host:port is expected",
        ),
        ("controller.quorum.voters=2@h:1", "node.id=1 has the controller role but is not among"),
        ("controller.quorum.voters=1@h:1,1@h:2", "controller.quorum.voters has an id twice"),
        ("log.dirs=a,,b", "log.dirs has an empty entry"),
        ("log.dirs=a,a", "log.dirs has a twice"),
        ("cordoned.log.dirs=z", "cordoned.log.dirs has z, which is not in log.dirs"),
        ("log.retention.ms=0", "log.retention.ms (or minutes, or hours) is 0"),
        ("log.cleaner.threads=200", "log.cleaner.dedupe.buffer.size=134217728: more than 1 MiB"),
        (
            "queued.max.request.bytes=5",
            "queued.max.request.bytes=5 is below socket.request.max.bytes",
        ),
        ("max.connections.per.ip=0", "max.connections.per.ip=0 lets nobody connect"),
        (
            "max.connections.per.ip.overrides=h",
            "max.connections.per.ip.overrides has h: host:count",
        ),
        ("replica.fetch.wait.max.ms=40000", "replica.fetch.wait.max.ms=40000 is above"),
        ("broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=2000 is more than half"),
        (
            "group.consumer.session.timeout.ms=1",
            "group.consumer.session.timeout.ms=1 is not between",
        ),
        (
            "group.share.max.size=1000\ngroup.share.max.share.sessions=9",
            "group.share.max.share.sess",
        ),
        (
            "offsets.topic.compression.codec=5",
            "offsets.topic.compression.codec=5: 0 (none), 1 (gzip), 2",
        ),
        ("log.segment.bytes=\\u12", "line 6: four hexadecimal digits are expected"),
    ] {
        let got = load(lines).err().unwrap_or_else(|| panic!("{lines} starts"));
        assert!(got.starts_with(want), "{lines}: {got}");
    }
    let zookeeper = BrokerConfig::load(Some("zookeeper.connect=h:1"), &[]).unwrap_err().to_string();
    assert!(zookeeper.contains("migrated to KRaft"), "{zookeeper}");
}

#[test]
fn listeners_that_contradict_each_other_are_refused() {
    for (lines, want) in [
        ("listeners=PLAINTEXT://h:1,C://h:1", "listeners has port 1 twice"),
        (
            "listeners=PLAINTEXT://h:1,PLAINTEXT://h:3,C://h:2",
            "listeners has the name PLAINTEXT twice",
        ),
        ("listeners=PLAINTEXT://h,C://h:2", "listeners has PLAINTEXT://h: NAME://host:port"),
        ("listeners=X://h:1,C://h:2", "listeners has X, which listener.security.protocol.map does"),
        ("listeners=PLAINTEXT://h:1", "listeners has none of controller.listener.names (C)"),
        ("listeners=C://h:1", "listeners has no listener for the broker role"),
        ("process.roles=broker", "listeners has C://h:2, a controller's listener, but"),
        (
            "process.roles=controller",
            "listeners has PLAINTEXT://h:1, which controller.listener.names",
        ),
        ("controller.listener.names=", "controller.listener.names is not set"),
        ("listeners=PLAINTEXT://0.0.0.0:1,C://h:2", "clients would be told to connect to"),
        (
            "advertised.listeners=SSL://h:1",
            "advertised.listeners names SSL, which is not in listeners",
        ),
        (
            "inter.broker.listener.name=C",
            "inter.broker.listener.name is C, which controller.listener",
        ),
        ("inter.broker.listener.name=SSL", "inter.broker.listener.name is SSL, which is not an"),
        (
            "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
            "inter.broker.listener.name=PLAINTEXT and security.inter.broker.protocol=PLAINTEXT exclude",
        ),
        (
            "listener.security.protocol.map=C:PLAINTEXT,C:SSL",
            "listener.security.protocol.map has C twice",
        ),
        (
            "listener.security.protocol.map=C=X",
            "listener.security.protocol.map has C=X: NAME:PROTOCOL",
        ),
        (
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT",
            "listeners has C, which listener.security.protocol.map does not map",
        ),
    ] {
        let got = load(lines).err().unwrap_or_else(|| panic!("{lines} starts"));
        assert!(got.starts_with(want), "{lines}: {got}");
    }
}

#[test]
fn listeners_that_kafka_accepts_are_accepted() {
    for lines in [
        "listeners=PLAINTEXT://:0,C://:0",
        "listeners=PLAINTEXT://127.0.0.1:1,PLAINTEXT://[::1]:1,C://h:2",
        "listeners=plaintext://h:1,c://h:2",
        "listeners=PLAINTEXT://0.0.0.0:1,C://0.0.0.0:2\nadvertised.listeners=PLAINTEXT://h:1",
        "listener.security.protocol.map=C:PLAINTEXT,IN:PLAINTEXT,OUT:SSL\n\
         listeners=IN://h:1,OUT://h:3,C://h:2\ninter.broker.listener.name=IN",
    ] {
        assert_eq!(load(lines).err(), None, "{lines}");
    }
    let config = load("").unwrap();
    assert_eq!(config.protocol("c"), Some(SecurityProtocol::Plaintext));
    assert_eq!(config.advertised_listeners(), config.broker_listeners());
}

#[test]
fn dynamic_settings_win_one_broker_over_all_over_the_file() {
    let config = load("log.retention.ms=1\nlog.segment.bytes=2000000").unwrap();
    let (config, warnings) = config.with_dynamic(
        settings(&[("log.retention.ms", "2"), ("log.segment.bytes", "3000000")]),
        settings(&[("log.retention.ms", "3"), ("plugin.key", "x")]),
    );
    assert_eq!(warnings, []);
    assert_eq!(config.log_retention_ms(), 3);
    assert_eq!(config.get(keys::LOG_SEGMENT_BYTES), 3_000_000);
    assert_eq!(config.layer(Source::DynamicBroker).map(Settings::len), Some(2));
    let (config, _) = config.with_dynamic(Settings::new(), Settings::new());
    assert_eq!((config.log_retention_ms(), config.get(keys::LOG_SEGMENT_BYTES)), (1, 2_000_000));
}

#[test]
fn a_dynamic_setting_that_cannot_be_used_is_left_out_with_a_warning() {
    for (cluster, own) in [
        (&[("log.segment.bytes", "x")][..], &[][..]),
        (&[], &[("node.id", "5")]),
        (&[("ssl.keystore.type", "PEM")], &[]),
        (&[], &[("listeners", "PLAINTEXT://h:1,PLAINTEXT://h:3,C://h:2")]),
    ] {
        let config = load("").unwrap();
        let (after, warnings) = config.with_dynamic(settings(cluster), settings(own));
        assert_eq!(warnings.len(), 1, "{cluster:?} {own:?}");
        assert_eq!(after.get(keys::LOG_SEGMENT_BYTES), 1 << 30);
        assert_eq!(after.node_id(), 1);
        assert_eq!(after.broker_listeners(), config.broker_listeners());
    }
}

#[test]
fn a_key_for_one_listener_wins_over_the_general_one() {
    let config =
        load("ssl.keystore.type=JKS\nlistener.name.plaintext.ssl.keystore.type=PEM").unwrap();
    assert_eq!(config.listener_text("PLAINTEXT", "ssl.keystore.type"), Some("PEM"));
    assert_eq!(config.listener_text("C", "ssl.keystore.type"), Some("JKS"));
    assert_eq!(config.listener_text("C", "ssl.keystore.location"), None);
}

#[test]
fn passwords_are_in_no_error_and_no_description() {
    let config =
        load("ssl.key.password=hunter2\nlistener.name.x.ssl.key.password=hunter2").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for entry in ottla_config::describe_broker(&config) {
        assert!(!format!("{entry:?}").contains("hunter2"), "{}", entry.name);
    }
}

proptest! {
    #[test]
    fn no_file_and_no_dynamic_setting_panics(
        row in 0..400_usize,
        value in "[ -~]{0,20}|-?[0-9]{1,20}|[A-Z]{1,4}://[a-z]{0,3}:[0-9]{1,5}",
    ) {
        let row = ottla_config::Kind::Broker.keys().nth(row % 382).unwrap();
        let base = load("").unwrap();
        let _ = load(&format!("{}={value}", row.name));
        let one = settings(&[(row.name, value.as_str())]);
        let (config, _) = base.with_dynamic(one.clone(), one.clone());
        let _ = ottla_config::describe_broker(&config);
        let defaults = ottla_config::TopicConfig::defaults(&config);
        let _ = defaults.with(&one);
        let _ = ottla_config::GroupConfig::new(&one, &config);
    }
}
