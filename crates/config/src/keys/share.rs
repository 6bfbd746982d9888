//! Share groups and their state.

use crate::def::Default::Is;
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, Between};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::int(
        "group.share.session.timeout.ms",
        Is("45000"),
        "Silence after which a member of a share group is removed, unless the group sets its own.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.min.session.timeout.ms",
        Is("45000"),
        "Smallest session timeout a share group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.max.session.timeout.ms",
        Is("60000"),
        "Largest session timeout a share group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.heartbeat.interval.ms",
        Is("5000"),
        "How often members of a share group are told to heartbeat, unless the group sets its own.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.min.heartbeat.interval.ms",
        Is("5000"),
        "Smallest heartbeat interval a share group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.max.heartbeat.interval.ms",
        Is("15000"),
        "Largest heartbeat interval a share group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.assignment.interval.ms",
        Is("1000"),
        "Least time between two assignments of a share group.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "group.share.min.assignment.interval.ms",
        Is("0"),
        "Smallest assignment interval a share group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "group.share.max.assignment.interval.ms",
        Is("15000"),
        "Largest assignment interval a share group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::boolean(
        "group.share.assignor.offload.enable",
        Is("true"),
        "Whether the JVM broker computes assignments of share groups on a background thread.",
    )
    .cluster_wide()
    .internal()
    .unused(),
    KeyDef::list("group.share.assignors", Is("simple"), "Server-side assignors of share groups.")
        .read(),
    KeyDef::int(
        "group.share.max.size",
        Is("200"),
        "Most members of a share group; further ones are refused with GROUP_MAX_SIZE_REACHED.",
    )
    .valid(Between(1, 1000))
    .read(),
    KeyDef::int(
        "group.share.max.share.sessions",
        Is("2000"),
        "Share sessions a broker keeps. Must not be below `group.share.max.size`.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.share.delivery.count.limit",
        Is("5"),
        "Deliveries of a record before it is given up as poison, unless the group sets its own \
         limit.",
    )
    .valid(Between(2, 10))
    .read(),
    KeyDef::int(
        "group.share.min.delivery.count.limit",
        Is("2"),
        "Smallest delivery limit a share group may set for itself.",
    )
    .valid(Between(2, 5))
    .read(),
    KeyDef::int(
        "group.share.max.delivery.count.limit",
        Is("10"),
        "Largest delivery limit a share group may set for itself.",
    )
    .valid(Between(5, 25))
    .read(),
    KeyDef::int(
        "group.share.partition.max.record.locks",
        Is("2000"),
        "Records of one partition that may be out with members of a share group at a time, unless \
         the group sets its own number.",
    )
    .valid(Between(100, 10_000))
    .read(),
    KeyDef::int(
        "group.share.min.partition.max.record.locks",
        Is("100"),
        "Smallest number of locked records a share group may set for itself.",
    )
    .valid(Between(100, 2000))
    .read(),
    KeyDef::int(
        "group.share.max.partition.max.record.locks",
        Is("4000"),
        "Largest number of locked records a share group may set for itself.",
    )
    .valid(Between(2000, 10_000))
    .read(),
    KeyDef::int(
        "group.share.record.lock.duration.ms",
        Is("30000"),
        "How long a member may keep a record before it goes to another one, unless the group sets \
         its own time.",
    )
    .valid(Between(1000, 3_600_000))
    .read(),
    KeyDef::int(
        "group.share.min.record.lock.duration.ms",
        Is("15000"),
        "Shortest lock a share group may set for itself.",
    )
    .valid(Between(1000, 30_000))
    .read(),
    KeyDef::int(
        "group.share.max.record.lock.duration.ms",
        Is("60000"),
        "Longest lock a share group may set for itself.",
    )
    .valid(Between(30_000, 3_600_000))
    .read(),
    KeyDef::int(
        "group.share.initialize.retry.interval.ms",
        Is("30000"),
        "Pause before the state of a share partition is initialised again after a failure.",
    )
    .valid(AtLeast(1))
    .low()
    .internal(),
    KeyDef::string(
        "group.share.persister.class.name",
        Is("org.apache.kafka.server.share.persister.DefaultStatePersister"),
        "Java class that keeps the state of share groups. Classes cannot be loaded here; state is \
         kept in `__share_group_state`.",
    )
    .internal()
    .unused(),
    KeyDef::string(
        "group.share.dlq.manager.class.name",
        Is("org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager"),
        "Java class that writes given-up records to a dead letter topic. Classes cannot be loaded \
         here.",
    )
    .internal()
    .unused(),
    KeyDef::boolean(
        "errors.deadletterqueue.auto.create.topics.enable",
        Is("false"),
        "Whether a dead letter topic of a share group is created when it is first needed.",
    )
    .cluster_wide(),
    KeyDef::string(
        "errors.deadletterqueue.topic.name.prefix",
        Is("dlq."),
        "What the name of every dead letter topic has to start with.",
    )
    .cluster_wide(),
    KeyDef::int(
        "share.coordinator.append.linger.ms",
        Is("-1"),
        "How long a share coordinator may collect records before it writes them together; -1 lets \
         it decide.",
    )
    .valid(AtLeast(-1)),
    KeyDef::int(
        "share.coordinator.cached.buffer.max.bytes",
        Is("1048588"),
        "Largest buffer the JVM broker's share coordinator keeps for reuse.",
    )
    .valid(AtLeast(524_288))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "share.coordinator.cold.partition.snapshot.interval.ms",
        Is("300000"),
        "Age of the newest snapshot of an idle share partition at which a new one is written.",
    )
    .valid(AtLeast(1))
    .low()
    .internal(),
    KeyDef::int(
        "share.coordinator.load.buffer.size",
        Is("5242880"),
        "Bytes read at a time when a coordinator loads a partition of the share state topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "share.coordinator.snapshot.update.records.per.snapshot",
        Is("500"),
        "Updates of a share partition between two snapshots. More makes writes smaller and \
         loading longer.",
    )
    .valid(Between(0, 500))
    .read(),
    KeyDef::int(
        "share.coordinator.state.topic.compression.codec",
        Is("0"),
        "Codec of batches in the share state topic, by number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 \
         zstd.",
    )
    .high()
    .read(),
    KeyDef::short(
        "share.coordinator.state.topic.min.isr",
        Is("2"),
        "`min.insync.replicas` of the share state topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "share.coordinator.state.topic.num.partitions",
        Is("50"),
        "Partitions of the share state topic. It must not change after the topic exists.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "share.coordinator.state.topic.prune.interval.ms",
        Is("300000"),
        "How often records of the share state topic that newer ones replace are deleted.",
    )
    .valid(AtLeast(1))
    .low()
    .internal(),
    KeyDef::short(
        "share.coordinator.state.topic.replication.factor",
        Is("3"),
        "Replicas of the share state topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "share.coordinator.state.topic.segment.bytes",
        Is("104857600"),
        "Segment size of the share state topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "share.coordinator.threads",
        Is("1"),
        "Threads of the share coordinator in the JVM broker. Coordinators here run on the thread \
         that handles the request.",
    )
    .valid(AtLeast(1))
    .unused(),
    KeyDef::int(
        "share.coordinator.write.timeout.ms",
        Is("5000"),
        "How long a write of share state may wait until enough replicas have it.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
];
