//! Keys of a topic.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, Between, GzipLevel, ListOf, OneOf, Ratio, ThrottledReplicas};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::list(
        "cleanup.policy",
        Is("delete"),
        "What happens to old segments: `delete` by age and size, `compact` to the last record per \
         key, both, or nothing.",
    )
    .valid(ListOf(&["compact", "delete"]))
    .per_resource()
    .synonyms(&["log.cleanup.policy"])
    .read(),
    KeyDef::string(
        "compression.type",
        Is("producer"),
        "Codec of stored batches. `producer` keeps what the producer chose, without \
         recompression.",
    )
    .valid(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
    .per_resource()
    .synonyms(&["compression.type"])
    .read(),
    KeyDef::int(
        "compression.gzip.level",
        Is("-1"),
        "Level used when the broker itself compresses with gzip.",
    )
    .valid(GzipLevel)
    .per_resource()
    .synonyms(&["compression.gzip.level"])
    .read(),
    KeyDef::int(
        "compression.lz4.level",
        Is("9"),
        "Level used when the broker itself compresses with lz4.",
    )
    .valid(Between(1, 17))
    .per_resource()
    .synonyms(&["compression.lz4.level"])
    .read(),
    KeyDef::int(
        "compression.zstd.level",
        Is("3"),
        "Level used when the broker itself compresses with zstd.",
    )
    .valid(Between(-131_072, 22))
    .per_resource()
    .synonyms(&["compression.zstd.level"])
    .read(),
    KeyDef::long(
        "delete.retention.ms",
        Is("86400000"),
        "How long tombstones and transaction markers stay after compaction. A reader that starts \
         from the beginning has this long to reach the end.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.cleaner.delete.retention.ms"])
    .read(),
    KeyDef::boolean(
        "errors.deadletterqueue.group.enable",
        Is("false"),
        "Whether share groups may write records they give up to this topic.",
    )
    .per_resource(),
    KeyDef::long(
        "file.delete.delay.ms",
        Is("60000"),
        "How long the files of a deleted segment stay, so that reads in progress finish.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.segment.delete.delay.ms"])
    .read(),
    KeyDef::long(
        "flush.messages",
        Is("9223372036854775807"),
        "Records after which a partition is flushed to disk. 1 makes every acknowledged record \
         durable.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["log.flush.interval.messages"])
    .read(),
    KeyDef::long(
        "flush.ms",
        Is("9223372036854775807"),
        "Time after which unflushed records are flushed to disk.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.flush.interval.ms", "log.flush.scheduler.interval.ms"])
    .read(),
    KeyDef::list(
        "follower.replication.throttled.replicas",
        Is(""),
        "Replicas whose fetching counts against the follower's replication quota, as \
         `partition:broker` pairs, or `*`.",
    )
    .valid(ThrottledReplicas)
    .per_resource(),
    KeyDef::list(
        "leader.replication.throttled.replicas",
        Is(""),
        "Replicas whose serving counts against the leader's replication quota, as \
         `partition:broker` pairs, or `*`.",
    )
    .valid(ThrottledReplicas)
    .per_resource(),
    KeyDef::int("index.interval.bytes", Is("4096"), "Bytes of records between two index entries.")
        .valid(AtLeast(0))
        .per_resource()
        .synonyms(&["log.index.interval.bytes"])
        .read(),
    KeyDef::int(
        "internal.segment.bytes",
        Null,
        "Replaces `segment.bytes` in tests that need segments smaller than its minimum.",
    )
    .per_resource()
    .internal()
    .read(),
    KeyDef::long(
        "local.retention.bytes",
        Is("-2"),
        "Bytes of a partition kept locally once they are stored remotely; -2 means \
         `retention.bytes`.",
    )
    .valid(AtLeast(-2))
    .per_resource()
    .synonyms(&["log.local.retention.bytes"])
    .unused(),
    KeyDef::long(
        "local.retention.ms",
        Is("-2"),
        "Time for which segments are kept locally once they are stored remotely; -2 means \
         `retention.ms`.",
    )
    .valid(AtLeast(-2))
    .per_resource()
    .synonyms(&["log.local.retention.ms"])
    .unused(),
    KeyDef::long(
        "max.compaction.lag.ms",
        Is("9223372036854775807"),
        "Time after which a record has to be considered by compaction.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["log.cleaner.max.compaction.lag.ms"])
    .read(),
    KeyDef::long(
        "min.compaction.lag.ms",
        Is("0"),
        "Time for which a record is safe from compaction.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.cleaner.min.compaction.lag.ms"])
    .read(),
    KeyDef::int(
        "max.decompressed.message.bytes",
        Is("2147483639"),
        "Largest size to which one compressed batch may unfold when the broker has to read it.",
    )
    .valid(Between(1, 2_147_483_639))
    .per_resource()
    .synonyms(&["max.decompressed.message.bytes"])
    .read(),
    KeyDef::int(
        "max.message.bytes",
        Is("1048588"),
        "Largest batch of records the topic accepts, compressed if it is.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["message.max.bytes"])
    .read(),
    KeyDef::long(
        "message.timestamp.after.max.ms",
        Is("3600000"),
        "How far in the future a producer's timestamp may be; later ones are refused. Applies to \
         `CreateTime`.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.message.timestamp.after.max.ms"])
    .read(),
    KeyDef::long(
        "message.timestamp.before.max.ms",
        Is("9223372036854775807"),
        "How far in the past a producer's timestamp may be; older ones are refused. Applies to \
         `CreateTime`.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.message.timestamp.before.max.ms"])
    .read(),
    KeyDef::string(
        "message.timestamp.type",
        Is("CreateTime"),
        "Whether a record keeps the producer's timestamp (`CreateTime`) or gets the broker's \
         (`LogAppendTime`).",
    )
    .valid(OneOf(&["CreateTime", "LogAppendTime"]))
    .per_resource()
    .synonyms(&["log.message.timestamp.type"])
    .read(),
    KeyDef::double(
        "min.cleanable.dirty.ratio",
        Is("0.5"),
        "Part of a partition that has to be uncompacted before it is compacted.",
    )
    .valid(Ratio(0.0, 1.0))
    .per_resource()
    .synonyms(&["log.cleaner.min.cleanable.ratio"])
    .read(),
    KeyDef::int(
        "min.insync.replicas",
        Is("1"),
        "Replicas that must be in sync for a write with acks=all to be accepted.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["min.insync.replicas"])
    .read(),
    KeyDef::boolean(
        "preallocate",
        Is("false"),
        "Whether a new segment's file gets its full size at once.",
    )
    .per_resource()
    .synonyms(&["log.preallocate"])
    .read(),
    KeyDef::long(
        "remote.copy.lag.bytes",
        Is("-1"),
        "Bytes a segment has to lie behind the end before it is copied to remote storage.",
    )
    .valid(AtLeast(-1))
    .per_resource()
    .synonyms(&["log.remote.copy.lag.bytes"])
    .unused(),
    KeyDef::long(
        "remote.copy.lag.ms",
        Is("0"),
        "Time a segment has to be old before it is copied to remote storage.",
    )
    .valid(AtLeast(-1))
    .per_resource()
    .synonyms(&["log.remote.copy.lag.ms"])
    .unused(),
    KeyDef::boolean(
        "remote.log.copy.disable",
        Is("false"),
        "Whether no more segments are copied to remote storage, while those there are still read.",
    )
    .per_resource()
    .unused(),
    KeyDef::boolean(
        "remote.log.delete.on.disable",
        Is("false"),
        "Whether turning remote storage off deletes what is stored there.",
    )
    .per_resource()
    .unused(),
    KeyDef::boolean(
        "remote.storage.enable",
        Is("false"),
        "Whether old segments move to remote storage. Not available: a topic that asks for it is \
         refused.",
    )
    .per_resource()
    .refused(),
    KeyDef::long(
        "retention.bytes",
        Is("-1"),
        "Size of a partition above which its oldest segments are deleted; -1 has no bound.",
    )
    .per_resource()
    .synonyms(&["log.retention.bytes"])
    .read(),
    KeyDef::long(
        "retention.ms",
        Is("604800000"),
        "Age of the newest record of a segment at which it is deleted; -1 keeps it for ever.",
    )
    .valid(AtLeast(-1))
    .per_resource()
    .synonyms(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"])
    .read(),
    KeyDef::int(
        "segment.bytes",
        Is("1073741824"),
        "Size at which the active segment is rolled. Retention and compaction work on whole \
         segments.",
    )
    .valid(AtLeast(1_048_576))
    .per_resource()
    .synonyms(&["log.segment.bytes"])
    .read(),
    KeyDef::int(
        "segment.index.bytes",
        Is("10485760"),
        "Largest offset or time index of a segment; a full index rolls the segment.",
    )
    .valid(AtLeast(4))
    .per_resource()
    .synonyms(&["log.index.size.max.bytes"])
    .read(),
    KeyDef::long(
        "segment.jitter.ms",
        Is("0"),
        "Random time taken off the roll age, so that partitions do not all roll at once.",
    )
    .valid(AtLeast(0))
    .per_resource()
    .synonyms(&["log.roll.jitter.ms", "log.roll.jitter.hours"])
    .read(),
    KeyDef::long(
        "segment.ms",
        Is("604800000"),
        "Age at which the active segment is rolled even if it is not full.",
    )
    .valid(AtLeast(1))
    .per_resource()
    .synonyms(&["log.roll.ms", "log.roll.hours"])
    .read(),
    KeyDef::boolean(
        "unclean.leader.election.enable",
        Is("false"),
        "Whether a replica that is not in sync may lead when no other is left, at the price of \
         acknowledged records.",
    )
    .per_resource()
    .synonyms(&["unclean.leader.election.enable"])
    .read(),
];
