//! Keys of a group.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, OffsetReset, OneOf};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::int(
        "consumer.assignment.interval.ms",
        Is("1000"),
        "Least time between two assignments of this consumer group.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["group.consumer.assignment.interval.ms"])
    .read(),
    KeyDef::boolean(
        "consumer.assignor.offload.enable",
        Is("true"),
        "Whether the JVM broker computes this group's assignments on a background thread.",
    )
    .per_resource()
    .internal()
    .synonyms(&["group.consumer.assignor.offload.enable"])
    .unused(),
    KeyDef::int(
        "consumer.heartbeat.interval.ms",
        Is("5000"),
        "How often members of this consumer group are told to heartbeat.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["group.consumer.heartbeat.interval.ms"])
    .read(),
    KeyDef::int(
        "consumer.session.timeout.ms",
        Is("45000"),
        "Silence after which a member of this consumer group is removed.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["group.consumer.session.timeout.ms"])
    .read(),
    KeyDef::boolean(
        "errors.deadletterqueue.copy.record.enable",
        Is("false"),
        "Whether key and value of a given-up record are copied to the dead letter topic, or only \
         headers that say where it is.",
    )
    .per_resource(),
    KeyDef::string(
        "errors.deadletterqueue.topic.name",
        Is(""),
        "Topic that receives the records this share group gives up; empty for none.",
    )
    .per_resource(),
    KeyDef::int(
        "share.assignment.interval.ms",
        Is("1000"),
        "Least time between two assignments of this share group.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["group.share.assignment.interval.ms"])
    .read(),
    KeyDef::boolean(
        "share.assignor.offload.enable",
        Is("true"),
        "Whether the JVM broker computes this group's assignments on a background thread.",
    )
    .per_resource()
    .internal()
    .synonyms(&["group.share.assignor.offload.enable"])
    .unused(),
    KeyDef::string(
        "share.auto.offset.reset",
        Is("latest"),
        "Where this share group starts in a partition it has no state for: `latest`, `earliest`, \
         or a time ago as `by_duration:P1D`.",
    )
    .valid(OffsetReset)
    .per_resource()
    .read(),
    KeyDef::int(
        "share.delivery.count.limit",
        Is("5"),
        "Deliveries of a record before this share group gives it up.",
    )
    .valid(AtLeast(2))
    .per_resource()
    .synonyms(&["group.share.delivery.count.limit"])
    .read(),
    KeyDef::int(
        "share.heartbeat.interval.ms",
        Is("5000"),
        "How often members of this share group are told to heartbeat.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["group.share.heartbeat.interval.ms"])
    .read(),
    KeyDef::string(
        "share.isolation.level",
        Is("read_uncommitted"),
        "Whether this share group sees records of open and aborted transactions \
         (`read_uncommitted`) or not.",
    )
    .valid(OneOf(&["read_committed", "read_uncommitted"]))
    .per_resource()
    .read(),
    KeyDef::int(
        "share.partition.max.record.locks",
        Is("2000"),
        "Records of one partition that may be out with members of this share group at a time.",
    )
    .valid(AtLeast(100))
    .per_resource()
    .synonyms(&["group.share.partition.max.record.locks"])
    .read(),
    KeyDef::int(
        "share.record.lock.duration.ms",
        Is("30000"),
        "How long a member of this share group may keep a record before it goes to another one.",
    )
    .valid(AtLeast(1000))
    .per_resource()
    .synonyms(&["group.share.record.lock.duration.ms"])
    .read(),
    KeyDef::boolean(
        "share.renew.acknowledge.enable",
        Is("true"),
        "Whether members may ask for more time with a record they hold.",
    )
    .per_resource()
    .read(),
    KeyDef::int(
        "share.session.timeout.ms",
        Is("45000"),
        "Silence after which a member of this share group is removed.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["group.share.session.timeout.ms"])
    .read(),
    KeyDef::long(
        "streams.acceptable.recovery.lag",
        Is("10000"),
        "Offsets by which a copy of state may lag and still take over its task.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .internal()
    .synonyms(&["group.streams.acceptable.recovery.lag"]),
    KeyDef::int(
        "streams.assignment.interval.ms",
        Is("1000"),
        "Least time between two assignments of this streams group.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["group.streams.assignment.interval.ms"])
    .read(),
    KeyDef::string(
        "streams.assignor.name",
        Null,
        "Task assignor of this streams group; without it the first of `group.streams.assignors`.",
    )
    .per_resource()
    .synonyms(&["group.streams.assignors"])
    .read(),
    KeyDef::boolean(
        "streams.assignor.offload.enable",
        Is("true"),
        "Whether the JVM broker computes this group's assignments on a background thread.",
    )
    .per_resource()
    .internal()
    .synonyms(&["group.streams.assignor.offload.enable"])
    .unused(),
    KeyDef::int(
        "streams.heartbeat.interval.ms",
        Is("5000"),
        "How often members of this streams group are told to heartbeat.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["group.streams.heartbeat.interval.ms"])
    .read(),
    KeyDef::int(
        "streams.initial.rebalance.delay.ms",
        Is("3000"),
        "How long this streams group waits for more members when it was empty.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["group.streams.initial.rebalance.delay.ms"])
    .read(),
    KeyDef::int(
        "streams.num.standby.replicas",
        Is("0"),
        "Copies of each stateful task's state kept on other members.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["group.streams.num.standby.replicas"])
    .read(),
    KeyDef::int(
        "streams.num.warmup.replicas",
        Is("2"),
        "Additional copies of state that may be built at a time before a task moves.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .internal()
    .synonyms(&["group.streams.num.warmup.replicas"]),
    KeyDef::list(
        "streams.rack.aware.assignment.tags",
        Is(""),
        "Client tags over whose values standby copies are spread.",
    )
    .low()
    .per_resource()
    .synonyms(&["group.streams.rack.aware.assignment.tags"]),
    KeyDef::int(
        "streams.session.timeout.ms",
        Is("45000"),
        "Silence after which a member of this streams group is removed.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["group.streams.session.timeout.ms"])
    .read(),
    KeyDef::int(
        "streams.task.offset.interval.ms",
        Is("60000"),
        "How often members of this streams group report how far their state is.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .internal()
    .synonyms(&["group.streams.task.offset.interval.ms"]),
];
