//! Transactions and producers.

use crate::def::Default::Is;
use crate::def::KeyDef;
use crate::def::Valid::AtLeast;

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::int(
        "transaction.max.timeout.ms",
        Is("900000"),
        "Longest transaction a producer may ask for. Longer ones are refused, because readers of \
         committed records wait for them.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::short(
        "transaction.state.log.replication.factor",
        Is("3"),
        "Replicas of the transaction topic. It is not created before that many brokers live.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "transaction.state.log.min.isr",
        Is("2"),
        "`min.insync.replicas` of the transaction topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "transaction.state.log.num.partitions",
        Is("50"),
        "Partitions of the transaction topic. It must not change after the topic exists: it \
         decides which coordinator serves a transactional id.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "transaction.state.log.segment.bytes",
        Is("104857600"),
        "Segment size of the transaction topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "transaction.state.log.load.buffer.size",
        Is("5242880"),
        "Bytes read at a time when a coordinator loads a partition of the transaction topic.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Is("10000"),
        "How often transactions that outlived their timeout are looked for and aborted.",
    )
    .valid(AtLeast(1))
    .low()
    .read(),
    KeyDef::int(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Is("3600000"),
        "How often transactional ids that nobody uses any more are looked for.",
    )
    .valid(AtLeast(1))
    .low()
    .read(),
    KeyDef::boolean(
        "transaction.partition.verification.enable",
        Is("true"),
        "Whether a partition asks the coordinator if a transaction is really open before it takes \
         a producer's first record of it. Off allows hanging transactions.",
    )
    .low()
    .cluster_wide()
    .read(),
    KeyDef::boolean(
        "transaction.two.phase.commit.enable",
        Is("false"),
        "Whether producers may keep a transaction open without a timeout, for an outside \
         coordinator that decides about it.",
    )
    .low()
    .read(),
    KeyDef::int(
        "transactional.id.expiration.ms",
        Is("604800000"),
        "Time without use after which a transactional id is forgotten.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "producer.id.expiration.ms",
        Is("86400000"),
        "Time without writes after which a partition forgets a producer's sequence numbers.",
    )
    .valid(AtLeast(1))
    .low()
    .cluster_wide()
    .read(),
    KeyDef::int(
        "producer.id.expiration.check.interval.ms",
        Is("600000"),
        "How often partitions look for producers to forget.",
    )
    .valid(AtLeast(1))
    .low()
    .internal()
    .read(),
    KeyDef::int(
        "add.partitions.to.txn.retry.backoff.ms",
        Is("20"),
        "Pause before a partition is added again to a transaction whose predecessor is still \
         being completed.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "add.partitions.to.txn.retry.backoff.max.ms",
        Is("100"),
        "Longest time over which such an addition is tried again before the producer is told to.",
    )
    .valid(AtLeast(0))
    .high()
    .read(),
];
