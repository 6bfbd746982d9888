//! Rules between keys that a node applies when it starts, each with the sentence it fails with.

use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::key::Key;
use crate::keys;
use crate::value::first_repeated;

/// Checks a whole configuration.
pub(crate) fn check(config: &BrokerConfig) -> Result<(), ConfigError> {
    check_roles(config)?;
    check_directories(config)?;
    check_log(config)?;
    check_network(config)?;
    check_replication(config)?;
    check_groups(config)
}

fn fail<T>(sentence: String) -> Result<T, ConfigError> {
    Err(ConfigError::conflict(sentence))
}

fn check_roles(config: &BrokerConfig) -> Result<(), ConfigError> {
    let id = config.node_id();
    if id < 0 {
        return fail(format!("node.id={id}: at least 0 is expected"));
    }
    let broker_id = config.get(keys::BROKER_ID);
    if broker_id >= 0 && broker_id != id {
        return fail(format!("node.id={id} and broker.id={broker_id} disagree; keep node.id"));
    }
    let voters = config.quorum_voters();
    if voters.is_empty() && config.bootstrap_servers().is_empty() {
        return fail(
            "neither controller.quorum.bootstrap.servers nor controller.quorum.voters is set, so \
             the controllers cannot be found"
                .to_owned(),
        );
    }
    if voters.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<i32> = voters.iter().map(|voter| voter.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return fail("controller.quorum.voters has an id twice".to_owned());
    }
    match (config.is_controller(), ids.contains(&id)) {
        (true, false) => fail(format!(
            "node.id={id} has the controller role but is not among controller.quorum.voters"
        )),
        (false, true) => fail(format!(
            "node.id={id} is among controller.quorum.voters but has no controller role"
        )),
        _ => Ok(()),
    }
}

fn check_directories(config: &BrokerConfig) -> Result<(), ConfigError> {
    let dirs = config.log_dirs();
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        return fail("log.dirs has an empty entry: name at least one data directory".to_owned());
    }
    if let Some(twice) = first_repeated(dirs) {
        return fail(format!("log.dirs has {twice} twice"));
    }
    let cordoned = config.get(keys::CORDONED_LOG_DIRS);
    let known = |dir: &String| dir == "*" || dirs.contains(dir);
    match cordoned.iter().find(|dir| !known(dir)) {
        Some(dir) => fail(format!("cordoned.log.dirs has {dir}, which is not in log.dirs")),
        None => Ok(()),
    }
}

fn check_log(config: &BrokerConfig) -> Result<(), ConfigError> {
    let retention = config.log_retention_ms();
    if retention == 0 {
        return fail(
            "log.retention.ms (or minutes, or hours) is 0: at least 1, or -1 for ever, is expected"
                .to_owned(),
        );
    }
    if config.log_roll_ms() < 1 {
        return fail("log.roll.ms: at least 1 is expected".to_owned());
    }
    if config.log_roll_jitter_ms() < 0 {
        return fail("log.roll.jitter.ms: at least 0 is expected".to_owned());
    }
    let threads = i64::from(config.get(keys::LOG_CLEANER_THREADS));
    let buffer = config.get(keys::LOG_CLEANER_DEDUPE_BUFFER_SIZE);
    if threads > 0 && buffer / threads <= 1_048_576 {
        return fail(format!(
            "log.cleaner.dedupe.buffer.size={buffer}: more than 1 MiB for each of the {threads} \
             log.cleaner.threads is expected"
        ));
    }
    let (min, max) = (
        config.get(keys::LOG_CLEANER_MIN_COMPACTION_LAG_MS),
        config.get(keys::LOG_CLEANER_MAX_COMPACTION_LAG_MS),
    );
    if min > max {
        return fail(format!(
            "log.cleaner.min.compaction.lag.ms={min} is above log.cleaner.max.compaction.lag.ms={max}"
        ));
    }
    Ok(())
}

fn check_network(config: &BrokerConfig) -> Result<(), ConfigError> {
    let queued = config.get(keys::QUEUED_MAX_REQUEST_BYTES);
    let largest = i64::from(config.get(keys::SOCKET_REQUEST_MAX_BYTES));
    if queued > 0 && queued < largest {
        return fail(format!(
            "queued.max.request.bytes={queued} is below socket.request.max.bytes={largest}: the \
             largest request would never fit"
        ));
    }
    let overrides = config.get(keys::MAX_CONNECTIONS_PER_IP_OVERRIDES);
    if config.get(keys::MAX_CONNECTIONS_PER_IP) == 0 && overrides.is_empty() {
        return fail(
            "max.connections.per.ip=0 lets nobody connect: max.connections.per.ip.overrides has \
             to name exceptions"
                .to_owned(),
        );
    }
    for pair in overrides.split(',').filter(|pair| !pair.trim().is_empty()) {
        let count = pair.rsplit_once(':').and_then(|(_, count)| count.trim().parse::<u32>().ok());
        if count.is_none() {
            return fail(format!(
                "max.connections.per.ip.overrides has {pair}: host:count is expected"
            ));
        }
    }
    Ok(())
}

fn check_replication(config: &BrokerConfig) -> Result<(), ConfigError> {
    let wait = i64::from(config.get(keys::REPLICA_FETCH_WAIT_MAX_MS));
    let bounds = [
        ("replica.socket.timeout.ms", i64::from(config.get(keys::REPLICA_SOCKET_TIMEOUT_MS))),
        ("replica.lag.time.max.ms", config.get(keys::REPLICA_LAG_TIME_MAX_MS)),
    ];
    for (key, bound) in bounds {
        if wait > bound {
            return fail(format!("replica.fetch.wait.max.ms={wait} is above {key}={bound}"));
        }
    }
    let heartbeat = i64::from(config.get(keys::BROKER_HEARTBEAT_INTERVAL_MS));
    let session = i64::from(config.get(keys::BROKER_SESSION_TIMEOUT_MS));
    if heartbeat * 2 > session {
        return fail(format!(
            "broker.heartbeat.interval.ms={heartbeat} is more than half of \
             broker.session.timeout.ms={session}: one lost heartbeat would fence the broker"
        ));
    }
    Ok(())
}

/// `min <= value <= max`, by name and handle.
type Bounds = [(&'static str, Key<i32>); 3];

const GROUP_BOUNDS: [Bounds; 12] = [
    [
        ("group.consumer.min.session.timeout.ms", keys::GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS),
        ("group.consumer.session.timeout.ms", keys::GROUP_CONSUMER_SESSION_TIMEOUT_MS),
        ("group.consumer.max.session.timeout.ms", keys::GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS),
    ],
    [
        (
            "group.consumer.min.heartbeat.interval.ms",
            keys::GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS,
        ),
        ("group.consumer.heartbeat.interval.ms", keys::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS),
        (
            "group.consumer.max.heartbeat.interval.ms",
            keys::GROUP_CONSUMER_MAX_HEARTBEAT_INTERVAL_MS,
        ),
    ],
    [
        (
            "group.consumer.min.assignment.interval.ms",
            keys::GROUP_CONSUMER_MIN_ASSIGNMENT_INTERVAL_MS,
        ),
        ("group.consumer.assignment.interval.ms", keys::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS),
        (
            "group.consumer.max.assignment.interval.ms",
            keys::GROUP_CONSUMER_MAX_ASSIGNMENT_INTERVAL_MS,
        ),
    ],
    [
        ("group.share.min.session.timeout.ms", keys::GROUP_SHARE_MIN_SESSION_TIMEOUT_MS),
        ("group.share.session.timeout.ms", keys::GROUP_SHARE_SESSION_TIMEOUT_MS),
        ("group.share.max.session.timeout.ms", keys::GROUP_SHARE_MAX_SESSION_TIMEOUT_MS),
    ],
    [
        ("group.share.min.heartbeat.interval.ms", keys::GROUP_SHARE_MIN_HEARTBEAT_INTERVAL_MS),
        ("group.share.heartbeat.interval.ms", keys::GROUP_SHARE_HEARTBEAT_INTERVAL_MS),
        ("group.share.max.heartbeat.interval.ms", keys::GROUP_SHARE_MAX_HEARTBEAT_INTERVAL_MS),
    ],
    [
        ("group.share.min.assignment.interval.ms", keys::GROUP_SHARE_MIN_ASSIGNMENT_INTERVAL_MS),
        ("group.share.assignment.interval.ms", keys::GROUP_SHARE_ASSIGNMENT_INTERVAL_MS),
        ("group.share.max.assignment.interval.ms", keys::GROUP_SHARE_MAX_ASSIGNMENT_INTERVAL_MS),
    ],
    [
        ("group.share.min.record.lock.duration.ms", keys::GROUP_SHARE_MIN_RECORD_LOCK_DURATION_MS),
        ("group.share.record.lock.duration.ms", keys::GROUP_SHARE_RECORD_LOCK_DURATION_MS),
        ("group.share.max.record.lock.duration.ms", keys::GROUP_SHARE_MAX_RECORD_LOCK_DURATION_MS),
    ],
    [
        ("group.share.min.delivery.count.limit", keys::GROUP_SHARE_MIN_DELIVERY_COUNT_LIMIT),
        ("group.share.delivery.count.limit", keys::GROUP_SHARE_DELIVERY_COUNT_LIMIT),
        ("group.share.max.delivery.count.limit", keys::GROUP_SHARE_MAX_DELIVERY_COUNT_LIMIT),
    ],
    [
        (
            "group.share.min.partition.max.record.locks",
            keys::GROUP_SHARE_MIN_PARTITION_MAX_RECORD_LOCKS,
        ),
        ("group.share.partition.max.record.locks", keys::GROUP_SHARE_PARTITION_MAX_RECORD_LOCKS),
        (
            "group.share.max.partition.max.record.locks",
            keys::GROUP_SHARE_MAX_PARTITION_MAX_RECORD_LOCKS,
        ),
    ],
    [
        ("group.streams.min.session.timeout.ms", keys::GROUP_STREAMS_MIN_SESSION_TIMEOUT_MS),
        ("group.streams.session.timeout.ms", keys::GROUP_STREAMS_SESSION_TIMEOUT_MS),
        ("group.streams.max.session.timeout.ms", keys::GROUP_STREAMS_MAX_SESSION_TIMEOUT_MS),
    ],
    [
        ("group.streams.min.heartbeat.interval.ms", keys::GROUP_STREAMS_MIN_HEARTBEAT_INTERVAL_MS),
        ("group.streams.heartbeat.interval.ms", keys::GROUP_STREAMS_HEARTBEAT_INTERVAL_MS),
        ("group.streams.max.heartbeat.interval.ms", keys::GROUP_STREAMS_MAX_HEARTBEAT_INTERVAL_MS),
    ],
    [
        (
            "group.streams.min.assignment.interval.ms",
            keys::GROUP_STREAMS_MIN_ASSIGNMENT_INTERVAL_MS,
        ),
        ("group.streams.assignment.interval.ms", keys::GROUP_STREAMS_ASSIGNMENT_INTERVAL_MS),
        (
            "group.streams.max.assignment.interval.ms",
            keys::GROUP_STREAMS_MAX_ASSIGNMENT_INTERVAL_MS,
        ),
    ],
];

/// `lesser < greater`: a member has to be able to heartbeat before its session ends.
const HEARTBEAT_BELOW_SESSION: [[(&str, Key<i32>); 2]; 3] = [
    [
        ("group.consumer.heartbeat.interval.ms", keys::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS),
        ("group.consumer.session.timeout.ms", keys::GROUP_CONSUMER_SESSION_TIMEOUT_MS),
    ],
    [
        ("group.share.heartbeat.interval.ms", keys::GROUP_SHARE_HEARTBEAT_INTERVAL_MS),
        ("group.share.session.timeout.ms", keys::GROUP_SHARE_SESSION_TIMEOUT_MS),
    ],
    [
        ("group.streams.heartbeat.interval.ms", keys::GROUP_STREAMS_HEARTBEAT_INTERVAL_MS),
        ("group.streams.session.timeout.ms", keys::GROUP_STREAMS_SESSION_TIMEOUT_MS),
    ],
];

fn check_groups(config: &BrokerConfig) -> Result<(), ConfigError> {
    for [(min_name, min), (name, key), (max_name, max)] in GROUP_BOUNDS {
        let (min, value, max) = (config.get(min), config.get(key), config.get(max));
        if min > max {
            return fail(format!("{min_name}={min} is above {max_name}={max}"));
        }
        if !(min..=max).contains(&value) {
            return fail(format!(
                "{name}={value} is not between {min_name}={min} and {max_name}={max}"
            ));
        }
    }
    for [(heartbeat_name, heartbeat), (session_name, session)] in HEARTBEAT_BELOW_SESSION {
        let (heartbeat, session) = (config.get(heartbeat), config.get(session));
        if heartbeat >= session {
            return fail(format!(
                "{heartbeat_name}={heartbeat} is not below {session_name}={session}"
            ));
        }
    }
    let (sessions, size) =
        (config.get(keys::GROUP_SHARE_MAX_SHARE_SESSIONS), config.get(keys::GROUP_SHARE_MAX_SIZE));
    if sessions < size {
        return fail(format!(
            "group.share.max.share.sessions={sessions} is below group.share.max.size={size}"
        ));
    }
    let (standby, most) = (
        config.get(keys::GROUP_STREAMS_NUM_STANDBY_REPLICAS),
        config.get(keys::GROUP_STREAMS_MAX_STANDBY_REPLICAS),
    );
    if standby > most {
        return fail(format!(
            "group.streams.num.standby.replicas={standby} is above \
             group.streams.max.standby.replicas={most}"
        ));
    }
    let (min, max) = (
        config.get(keys::GROUP_MIN_SESSION_TIMEOUT_MS),
        config.get(keys::GROUP_MAX_SESSION_TIMEOUT_MS),
    );
    if min > max {
        return fail(format!(
            "group.min.session.timeout.ms={min} is above group.max.session.timeout.ms={max}"
        ));
    }
    let codec = config.get(keys::OFFSETS_TOPIC_COMPRESSION_CODEC);
    if !(0..=4).contains(&codec) {
        return fail(format!(
            "offsets.topic.compression.codec={codec}: 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 \
             (zstd) is expected"
        ));
    }
    Ok(())
}
