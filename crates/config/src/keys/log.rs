//! The log: segments, retention, flush, compaction.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, Between, GzipLevel, ListOf, OneOf, Ratio};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::list(
        "log.dir",
        Is("/tmp/kafka-logs"),
        "One data directory, for nodes that have one. `log.dirs` wins over it.",
    )
    .high()
    .read(),
    KeyDef::list(
        "log.dirs",
        Null,
        "Data directories, separated by commas. New partitions go to the one with the fewest; a \
         directory that fails goes offline alone.",
    )
    .high()
    .read(),
    KeyDef::list(
        "cordoned.log.dirs",
        Is(""),
        "Data directories, or `*` for all, that get no new partitions. Those they hold stay and \
         are served.",
    )
    .per_broker()
    .read(),
    KeyDef::long(
        "log.dir.failure.timeout.ms",
        Is("30000"),
        "How long a broker may fail to tell the controller about a failed directory that holds \
         leaders before it stops.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::int(
        "log.segment.bytes",
        Is("1073741824"),
        "Size at which the active segment of a partition is rolled. Retention deletes whole \
         segments, so smaller ones expire sooner.",
    )
    .valid(AtLeast(1_048_576))
    .high()
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.roll.ms",
        Null,
        "Age at which the active segment is rolled even if it is not full.",
    )
    .high()
    .cluster_wide()
    .synonyms(&["log.roll.ms", "log.roll.hours"])
    .read(),
    KeyDef::int(
        "log.roll.hours",
        Is("168"),
        "`log.roll.ms` in hours; applies where that is not set.",
    )
    .valid(AtLeast(1))
    .high()
    .synonyms(&["log.roll.ms", "log.roll.hours"])
    .read(),
    KeyDef::long(
        "log.roll.jitter.ms",
        Null,
        "Random time taken off the roll age, so that partitions do not all roll at once.",
    )
    .high()
    .cluster_wide()
    .synonyms(&["log.roll.jitter.ms", "log.roll.jitter.hours"])
    .read(),
    KeyDef::int(
        "log.roll.jitter.hours",
        Is("0"),
        "`log.roll.jitter.ms` in hours; applies where that is not set.",
    )
    .valid(AtLeast(0))
    .high()
    .synonyms(&["log.roll.jitter.ms", "log.roll.jitter.hours"])
    .read(),
    KeyDef::long(
        "log.retention.ms",
        Null,
        "Age of the newest record of a segment at which it is deleted; -1 keeps it for ever.",
    )
    .high()
    .cluster_wide()
    .synonyms(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"])
    .read(),
    KeyDef::int(
        "log.retention.minutes",
        Null,
        "`log.retention.ms` in minutes; applies where that is not set.",
    )
    .high()
    .synonyms(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"])
    .read(),
    KeyDef::int(
        "log.retention.hours",
        Is("168"),
        "`log.retention.ms` in hours; applies where neither milliseconds nor minutes are set.",
    )
    .high()
    .synonyms(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"])
    .read(),
    KeyDef::long(
        "log.retention.bytes",
        Is("-1"),
        "Size of a partition above which its oldest segments are deleted; -1 has no bound. A \
         topic needs this much per partition.",
    )
    .high()
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.retention.check.interval.ms",
        Is("300000"),
        "How often segments are checked against retention.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::list(
        "log.cleanup.policy",
        Is("delete"),
        "What happens to old segments: `delete` by age and size, `compact` to the last record per \
         key, both, or nothing.",
    )
    .valid(ListOf(&["compact", "delete"]))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.segment.delete.delay.ms",
        Is("60000"),
        "How long the files of a deleted segment stay, so that reads in progress finish.",
    )
    .valid(AtLeast(0))
    .high()
    .cluster_wide()
    .read(),
    KeyDef::int(
        "log.index.size.max.bytes",
        Is("10485760"),
        "Largest offset or time index of a segment; a full index rolls the segment.",
    )
    .valid(AtLeast(4))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "log.index.interval.bytes",
        Is("4096"),
        "Bytes of records between two index entries. Smaller finds offsets with less reading and \
         makes indexes larger.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.flush.interval.messages",
        Is("9223372036854775807"),
        "Records after which a partition is flushed to disk. 1 makes every acknowledged record \
         durable; left alone, replication is what makes records safe.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.flush.interval.ms",
        Null,
        "Time after which unflushed records are flushed to disk.",
    )
    .high()
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.flush.scheduler.interval.ms",
        Is("9223372036854775807"),
        "Applies as `log.flush.interval.ms` where that is not set.",
    )
    .high()
    .read(),
    KeyDef::int(
        "log.flush.offset.checkpoint.interval.ms",
        Is("60000"),
        "How often the offsets up to which logs are flushed are written down. Recovery after a \
         crash starts there.",
    )
    .valid(AtLeast(0))
    .high()
    .read(),
    KeyDef::int(
        "log.flush.start.offset.checkpoint.interval.ms",
        Is("60000"),
        "How often the first readable offsets are written down, so that deleted records stay \
         deleted after a restart.",
    )
    .valid(AtLeast(0))
    .high()
    .unused(),
    KeyDef::boolean(
        "log.preallocate",
        Is("false"),
        "Whether a new segment's file gets its full size at once.",
    )
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.initial.task.delay.ms",
        Is("30000"),
        "How long after the start retention, flush and checkpoints begin.",
    )
    .valid(AtLeast(0))
    .low()
    .internal()
    .read(),
    KeyDef::string(
        "log.message.timestamp.type",
        Is("CreateTime"),
        "Whether a record keeps the producer's timestamp (`CreateTime`) or gets the broker's \
         (`LogAppendTime`).",
    )
    .valid(OneOf(&["CreateTime", "LogAppendTime"]))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.message.timestamp.before.max.ms",
        Is("9223372036854775807"),
        "How far in the past a producer's timestamp may be; older ones are refused. Applies to \
         `CreateTime`.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.message.timestamp.after.max.ms",
        Is("3600000"),
        "How far in the future a producer's timestamp may be; later ones are refused. Applies to \
         `CreateTime`.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "message.max.bytes",
        Is("1048588"),
        "Largest batch of records a partition accepts, compressed if it is.",
    )
    .valid(AtLeast(0))
    .high()
    .cluster_wide()
    .read(),
    KeyDef::int(
        "max.decompressed.message.bytes",
        Is("2147483639"),
        "Largest size to which one compressed batch may unfold when the broker has to read it.",
    )
    .valid(Between(1, 2_147_483_639))
    .cluster_wide()
    .read(),
    KeyDef::string(
        "compression.type",
        Is("producer"),
        "Codec of stored batches. `producer` keeps what the producer chose, without \
         recompression.",
    )
    .valid(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
    .high()
    .cluster_wide()
    .read(),
    KeyDef::int(
        "compression.gzip.level",
        Is("-1"),
        "Level used when the broker itself compresses with gzip.",
    )
    .valid(GzipLevel)
    .cluster_wide()
    .read(),
    KeyDef::int(
        "compression.lz4.level",
        Is("9"),
        "Level used when the broker itself compresses with lz4.",
    )
    .valid(Between(1, 17))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "compression.zstd.level",
        Is("3"),
        "Level used when the broker itself compresses with zstd.",
    )
    .valid(Between(-131_072, 22))
    .cluster_wide()
    .read(),
    KeyDef::boolean(
        "log.cleaner.enable",
        Is("true"),
        "Whether compacted topics are compacted. Off lets them, `__consumer_offsets` first, grow \
         without bound.",
    )
    .read(),
    KeyDef::int(
        "log.cleaner.threads",
        Is("1"),
        "Number of partitions that may be compacted at the same time.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .unused(),
    KeyDef::long(
        "log.cleaner.dedupe.buffer.size",
        Is("134217728"),
        "Bytes for the map of keys, all compactions together. A larger map compacts more per \
         pass.",
    )
    .cluster_wide()
    .read(),
    KeyDef::int(
        "log.cleaner.io.buffer.size",
        Is("524288"),
        "Bytes of read and write buffers, all compactions together.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .unused(),
    KeyDef::double(
        "log.cleaner.io.buffer.load.factor",
        Is("0.9"),
        "How full the map of keys may get. Fuller takes more keys per pass and finds them slower.",
    )
    .cluster_wide()
    .read(),
    KeyDef::double(
        "log.cleaner.io.max.bytes.per.second",
        Is("1.7976931348623157E308"),
        "Most bytes per second that compaction reads and writes, so that it does not disturb \
         clients.",
    )
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.cleaner.backoff.ms",
        Is("15000"),
        "Pause of compaction when there is nothing to compact.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::double(
        "log.cleaner.min.cleanable.ratio",
        Is("0.5"),
        "Part of a log that has to be uncompacted before it is compacted. Smaller wastes less \
         space and works more.",
    )
    .valid(Ratio(0.0, 1.0))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.cleaner.min.compaction.lag.ms",
        Is("0"),
        "Time for which a record is safe from compaction.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.cleaner.max.compaction.lag.ms",
        Is("9223372036854775807"),
        "Time after which a record has to be considered by compaction even if the ratio is not \
         reached.",
    )
    .valid(AtLeast(1))
    .cluster_wide()
    .read(),
    KeyDef::long(
        "log.cleaner.delete.retention.ms",
        Is("86400000"),
        "How long tombstones and transaction markers stay after compaction, so that a slow reader \
         still sees them.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "num.recovery.threads.per.data.dir",
        Is("2"),
        "Partitions per data directory that are recovered at the same time at start, and flushed \
         at stop.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide()
    .read(),
];
