//! Replication.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::AtLeast;

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::int(
        "min.insync.replicas",
        Is("1"),
        "Replicas that must be in sync for a write with acks=all to be accepted. With a \
         replication factor of 3, 2 survives the loss of any one broker.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide()
    .read(),
    KeyDef::boolean(
        "unclean.leader.election.enable",
        Is("false"),
        "Whether a replica that is not in sync may lead when no other is left. On trades \
         acknowledged records for availability.",
    )
    .high()
    .cluster_wide()
    .read(),
    KeyDef::int(
        "num.replica.fetchers",
        Is("1"),
        "Connections with which a broker fetches from each other broker.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide(),
    KeyDef::int(
        "num.replica.alter.log.dirs.threads",
        Null,
        "Threads that move replicas between data directories of one broker.",
    )
    .high(),
    KeyDef::long(
        "replica.lag.time.max.ms",
        Is("30000"),
        "A follower that has not caught up with the leader's end for this long leaves the in-sync \
         replicas.",
    )
    .high()
    .read(),
    KeyDef::int(
        "replica.fetch.wait.max.ms",
        Is("500"),
        "How long the leader may hold a follower's fetch that finds nothing new. Must not exceed \
         `replica.lag.time.max.ms`.",
    )
    .high()
    .read(),
    KeyDef::int(
        "replica.fetch.min.bytes",
        Is("1"),
        "Bytes that end the wait of a follower's fetch.",
    )
    .high(),
    KeyDef::int(
        "replica.fetch.max.bytes",
        Is("1048576"),
        "Bytes a follower asks of one partition; the first batch comes whole even if it is \
         larger.",
    )
    .valid(AtLeast(0)),
    KeyDef::int(
        "replica.fetch.response.max.bytes",
        Is("10485760"),
        "Bytes a follower asks of one Fetch; the first batch comes whole even if it is larger.",
    )
    .valid(AtLeast(0)),
    KeyDef::int(
        "replica.fetch.backoff.ms",
        Is("1000"),
        "Pause before a follower fetches a partition again after an error.",
    )
    .valid(AtLeast(0)),
    KeyDef::int(
        "replica.socket.timeout.ms",
        Is("30000"),
        "How long a follower waits for the answer to a fetch. Must not be below \
         `replica.fetch.wait.max.ms`.",
    )
    .high()
    .read(),
    KeyDef::int(
        "replica.socket.receive.buffer.bytes",
        Is("65536"),
        "SO_RCVBUF of connections to leaders.",
    )
    .high(),
    KeyDef::long(
        "replica.high.watermark.checkpoint.interval.ms",
        Is("5000"),
        "How often high watermarks are written down.",
    )
    .high()
    .read(),
    KeyDef::string(
        "replica.selector.class",
        Null,
        "How a consumer's replica is chosen. The name ending in `RackAwareReplicaSelector` sends \
         it to a replica of its rack, anything else to the leader.",
    ),
];
