//! Tiered storage, which is not available: the keys are known so that files with them parse.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, NonEmpty, Ratio};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::boolean(
        "remote.log.storage.system.enable",
        Is("false"),
        "Whether old segments may be moved to remote storage. Not available: a node asked for it \
         does not start.",
    )
    .refused(),
    KeyDef::string(
        "remote.log.storage.manager.class.name",
        Null,
        "Java class that stores segments remotely. Classes cannot be loaded here.",
    )
    .valid(NonEmpty)
    .unused(),
    KeyDef::string(
        "remote.log.storage.manager.class.path",
        Null,
        "Where that class and its libraries are.",
    )
    .unused(),
    KeyDef::string(
        "remote.log.storage.manager.impl.prefix",
        Is("rsm.config."),
        "Prefix of the keys handed to that class.",
    )
    .valid(NonEmpty)
    .unused(),
    KeyDef::string(
        "remote.log.metadata.manager.class.name",
        Is("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"),
        "Java class that remembers what is stored remotely. Classes cannot be loaded here.",
    )
    .valid(NonEmpty)
    .unused(),
    KeyDef::string(
        "remote.log.metadata.manager.class.path",
        Null,
        "Where that class and its libraries are.",
    )
    .unused(),
    KeyDef::string(
        "remote.log.metadata.manager.impl.prefix",
        Is("rlmm.config."),
        "Prefix of the keys handed to that class.",
    )
    .valid(NonEmpty)
    .unused(),
    KeyDef::string(
        "remote.log.metadata.manager.listener.name",
        Null,
        "Listener that class connects to.",
    )
    .valid(NonEmpty)
    .unused(),
    KeyDef::int(
        "remote.log.metadata.custom.metadata.max.bytes",
        Is("128"),
        "Most bytes remote storage may remember per segment.",
    )
    .valid(AtLeast(0))
    .low()
    .unused(),
    KeyDef::long(
        "remote.log.index.file.cache.total.size.bytes",
        Is("1073741824"),
        "Disk space for indexes fetched from remote storage.",
    )
    .valid(AtLeast(1))
    .low()
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "remote.log.index.file.cache.ttl.ms",
        Is("900000"),
        "How long an unused index from remote storage is kept.",
    )
    .valid(AtLeast(-1))
    .low()
    .internal()
    .unused(),
    KeyDef::int(
        "remote.log.manager.thread.pool.size",
        Is("2"),
        "Threads of the remote log manager.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::int(
        "remote.log.manager.copier.thread.pool.size",
        Is("10"),
        "Threads that copy segments to remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "remote.log.manager.expiration.thread.pool.size",
        Is("10"),
        "Threads that delete expired segments from remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "remote.log.manager.follower.thread.pool.size",
        Is("2"),
        "Threads that follow remote state of partitions this node does not lead.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "remote.log.manager.task.interval.ms",
        Is("30000"),
        "How often the remote log manager looks for segments to copy and delete.",
    )
    .valid(AtLeast(1))
    .low()
    .unused(),
    KeyDef::long(
        "remote.log.manager.task.retry.backoff.ms",
        Is("500"),
        "First pause after a failed remote task.",
    )
    .valid(AtLeast(1))
    .low()
    .internal()
    .unused(),
    KeyDef::long(
        "remote.log.manager.task.retry.backoff.max.ms",
        Is("30000"),
        "Longest pause after a failed remote task.",
    )
    .valid(AtLeast(1))
    .low()
    .internal()
    .unused(),
    KeyDef::double(
        "remote.log.manager.task.retry.jitter",
        Is("0.2"),
        "Random part of those pauses.",
    )
    .valid(Ratio(0.0, 0.5))
    .low()
    .internal()
    .unused(),
    KeyDef::long(
        "remote.log.manager.copy.max.bytes.per.second",
        Is("9223372036854775807"),
        "Most bytes per second copied to remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "remote.log.manager.copy.quota.window.num",
        Is("11"),
        "Number of windows over which copying is measured.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::int(
        "remote.log.manager.copy.quota.window.size.seconds",
        Is("1"),
        "Length of one window of copying.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::long(
        "remote.log.manager.fetch.max.bytes.per.second",
        Is("9223372036854775807"),
        "Most bytes per second fetched from remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "remote.log.manager.fetch.quota.window.num",
        Is("11"),
        "Number of windows over which remote fetching is measured.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::int(
        "remote.log.manager.fetch.quota.window.size.seconds",
        Is("1"),
        "Length of one window of remote fetching.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::int(
        "remote.log.reader.threads",
        Is("10"),
        "Threads that read from remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "remote.log.reader.max.pending.tasks",
        Is("100"),
        "Remote reads that may wait.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::int(
        "remote.fetch.max.wait.ms",
        Is("500"),
        "How long a Fetch waits for remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "remote.list.offsets.request.timeout.ms",
        Is("30000"),
        "How long a ListOffsets waits for remote storage.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "log.local.retention.bytes",
        Is("-2"),
        "Bytes of a partition kept locally once they are stored remotely; -2 means \
         `log.retention.bytes`.",
    )
    .valid(AtLeast(-2))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "log.local.retention.ms",
        Is("-2"),
        "Time for which segments are kept locally once they are stored remotely; -2 means \
         `log.retention.ms`.",
    )
    .valid(AtLeast(-2))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "log.remote.copy.lag.bytes",
        Is("-1"),
        "Bytes a segment has to lie behind the end before it is copied to remote storage; -1 \
         means the local retention decides.",
    )
    .valid(AtLeast(-1))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "log.remote.copy.lag.ms",
        Is("0"),
        "Time a segment has to be old before it is copied to remote storage; -1 means the local \
         retention decides.",
    )
    .valid(AtLeast(-1))
    .cluster_wide()
    .unused(),
    KeyDef::boolean(
        "follower.fetch.last.tiered.offset.enable",
        Is("false"),
        "Whether a new follower starts at the last offset stored remotely instead of copying \
         everything.",
    )
    .cluster_wide()
    .unused(),
];
