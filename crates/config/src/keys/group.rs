//! Groups and committed offsets.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, ListOf, OneOfAnyCase};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::int(
        "group.min.session.timeout.ms",
        Is("6000"),
        "Shortest session timeout a classic member may ask for.",
    )
    .read(),
    KeyDef::int(
        "group.max.session.timeout.ms",
        Is("1800000"),
        "Longest session timeout a classic member may ask for.",
    )
    .read(),
    KeyDef::int(
        "group.initial.rebalance.delay.ms",
        Is("3000"),
        "How long an empty classic group waits for more members before its first rebalance, so \
         that a starting application rebalances once.",
    )
    .read(),
    KeyDef::int(
        "group.max.size",
        Is("2147483647"),
        "Most members of a classic group; further ones are refused with GROUP_MAX_SIZE_REACHED.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::list(
        "group.coordinator.rebalance.protocols",
        Is("classic,consumer,streams"),
        "Group protocols this broker serves.",
    )
    .valid(ListOf(&["consumer", "classic", "share", "streams"]))
    .read(),
    KeyDef::int(
        "group.coordinator.threads",
        Is("4"),
        "Threads of the group coordinator in the JVM broker. Coordinators here run on the thread \
         that handles the request.",
    )
    .valid(AtLeast(1))
    .high()
    .unused(),
    KeyDef::int(
        "group.coordinator.background.threads",
        Is("2"),
        "Threads for assignments and regular expressions of the group coordinator in the JVM \
         broker.",
    )
    .valid(AtLeast(1))
    .high()
    .unused(),
    KeyDef::int(
        "group.coordinator.append.linger.ms",
        Is("-1"),
        "How long a group coordinator may collect records before it writes them together; -1 lets \
         it decide.",
    )
    .valid(AtLeast(-1)),
    KeyDef::int(
        "group.coordinator.cached.buffer.max.bytes",
        Is("1048588"),
        "Largest buffer the JVM broker's group coordinator keeps for reuse.",
    )
    .valid(AtLeast(524_288))
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "group.consumer.session.timeout.ms",
        Is("45000"),
        "Silence after which a member of a consumer group is removed, unless the group sets its \
         own.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.consumer.min.session.timeout.ms",
        Is("45000"),
        "Smallest session timeout a consumer group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.consumer.max.session.timeout.ms",
        Is("60000"),
        "Largest session timeout a consumer group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.consumer.heartbeat.interval.ms",
        Is("5000"),
        "How often members of a consumer group are told to heartbeat, unless the group sets its \
         own.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.consumer.min.heartbeat.interval.ms",
        Is("5000"),
        "Smallest heartbeat interval a consumer group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.consumer.max.heartbeat.interval.ms",
        Is("15000"),
        "Largest heartbeat interval a consumer group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.consumer.assignment.interval.ms",
        Is("1000"),
        "Least time between two assignments of a consumer group, so that members that arrive \
         together are assigned together.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "group.consumer.min.assignment.interval.ms",
        Is("0"),
        "Smallest assignment interval a consumer group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "group.consumer.max.assignment.interval.ms",
        Is("15000"),
        "Largest assignment interval a consumer group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::boolean(
        "group.consumer.assignor.offload.enable",
        Is("true"),
        "Whether the JVM broker computes assignments of consumer groups on a background thread.",
    )
    .cluster_wide()
    .internal()
    .unused(),
    KeyDef::int(
        "group.consumer.max.size",
        Is("2147483647"),
        "Most members of a consumer group; further ones are refused with GROUP_MAX_SIZE_REACHED.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::list(
        "group.consumer.assignors",
        Is("uniform,range"),
        "Server-side assignors, the default first. `uniform` balances and keeps partitions in \
         place, `range` puts equal partitions of several topics together.",
    )
    .read(),
    KeyDef::string(
        "group.consumer.migration.policy",
        Is("bidirectional"),
        "Whether a group may change between the classic and the consumer protocol while it has \
         members: up, down, both ways or not.",
    )
    .valid(OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]))
    .read(),
    KeyDef::int(
        "group.consumer.regex.refresh.interval.ms",
        Is("600000"),
        "How often regular expressions of subscriptions are matched against new topics.",
    )
    .valid(AtLeast(10_000))
    .internal()
    .read(),
    KeyDef::int(
        "group.streams.session.timeout.ms",
        Is("45000"),
        "Silence after which a member of a streams group is removed, unless the group sets its \
         own.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.min.session.timeout.ms",
        Is("45000"),
        "Smallest session timeout a streams group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.max.session.timeout.ms",
        Is("60000"),
        "Largest session timeout a streams group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.heartbeat.interval.ms",
        Is("5000"),
        "How often members of a streams group are told to heartbeat, unless the group sets its \
         own.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.min.heartbeat.interval.ms",
        Is("5000"),
        "Smallest heartbeat interval a streams group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.max.heartbeat.interval.ms",
        Is("15000"),
        "Largest heartbeat interval a streams group may set for itself.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.assignment.interval.ms",
        Is("1000"),
        "Least time between two assignments of a streams group.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "group.streams.min.assignment.interval.ms",
        Is("0"),
        "Smallest assignment interval a streams group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "group.streams.max.assignment.interval.ms",
        Is("15000"),
        "Largest assignment interval a streams group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::boolean(
        "group.streams.assignor.offload.enable",
        Is("true"),
        "Whether the JVM broker computes assignments of streams groups on a background thread.",
    )
    .cluster_wide()
    .internal()
    .unused(),
    KeyDef::list(
        "group.streams.assignors",
        Is("sticky"),
        "Server-side task assignors of streams groups, the default first.",
    )
    .read(),
    KeyDef::int(
        "group.streams.max.size",
        Is("2147483647"),
        "Most members of a streams group; further ones are refused with GROUP_MAX_SIZE_REACHED.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "group.streams.initial.rebalance.delay.ms",
        Is("3000"),
        "How long an empty streams group waits for more members before tasks are assigned for the \
         first time.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "group.streams.num.standby.replicas",
        Is("0"),
        "Copies of each stateful task's state kept on other members, unless the group sets its \
         own number.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "group.streams.max.standby.replicas",
        Is("2"),
        "Largest number of standby copies a streams group may set for itself.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "group.streams.num.warmup.replicas",
        Is("2"),
        "Additional copies of state that may be built at a time before a task moves, unless the \
         group sets its own number.",
    )
    .valid(AtLeast(0))
    .internal(),
    KeyDef::int(
        "group.streams.max.warmup.replicas",
        Is("20"),
        "Largest number of warm-up copies a streams group may set for itself.",
    )
    .valid(AtLeast(0))
    .internal(),
    KeyDef::long(
        "group.streams.acceptable.recovery.lag",
        Is("10000"),
        "Offsets by which a copy of state may lag and still take over its task.",
    )
    .valid(AtLeast(0))
    .internal(),
    KeyDef::int(
        "group.streams.task.offset.interval.ms",
        Is("60000"),
        "How often members of a streams group report how far their state is.",
    )
    .valid(AtLeast(1))
    .internal(),
    KeyDef::int(
        "group.streams.min.task.offset.interval.ms",
        Is("15000"),
        "Smallest report interval a streams group may set for itself.",
    )
    .valid(AtLeast(1))
    .internal(),
    KeyDef::list(
        "group.streams.rack.aware.assignment.tags",
        Is(""),
        "Client tags over whose values standby copies are spread, so that they do not fail \
         together.",
    )
    .low(),
    KeyDef::class(
        "group.streams.topology.description.plugin.class",
        Null,
        "Java class that receives descriptions of streams topologies. Classes cannot be loaded \
         here.",
    ),
    KeyDef::int(
        "offset.metadata.max.bytes",
        Is("4096"),
        "Longest text a client may store beside a committed offset.",
    )
    .high()
    .read(),
    KeyDef::int(
        "offsets.commit.timeout.ms",
        Is("5000"),
        "How long a commit may wait until enough replicas of the offsets topic have it.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "offsets.load.buffer.size",
        Is("5242880"),
        "Bytes read at a time when a coordinator loads a partition of the offsets topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::long(
        "offsets.retention.check.interval.ms",
        Is("600000"),
        "How often expired offsets are looked for.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "offsets.retention.minutes",
        Is("10080"),
        "How long committed offsets outlive an empty group, or the last commit of a consumer \
         without group.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "offsets.topic.compression.codec",
        Is("0"),
        "Codec of batches in the offsets topic, by number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 \
         zstd.",
    )
    .high()
    .read(),
    KeyDef::int(
        "offsets.topic.num.partitions",
        Is("50"),
        "Partitions of the offsets topic. It must not change after the topic exists: it decides \
         which coordinator serves a group.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::short(
        "offsets.topic.replication.factor",
        Is("3"),
        "Replicas of the offsets topic. It is not created before that many brokers live.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "offsets.topic.segment.bytes",
        Is("104857600"),
        "Segment size of the offsets topic. Small segments are compacted and loaded sooner.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
];
