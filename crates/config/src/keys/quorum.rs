//! The metadata quorum and its log.

use crate::def::Default::{Is, Null, Required};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, Servers, Voters};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::list(
        "controller.listener.names",
        Required,
        "Names of the listeners controllers use, in order of preference. The first one that a \
         controller has is where other nodes reach it.",
    )
    .high()
    .read(),
    KeyDef::list(
        "controller.quorum.voters",
        Is(""),
        "The fixed set of voters, each `id@host:port`. Leave it empty and set \
         `controller.quorum.bootstrap.servers` for a quorum whose members can change.",
    )
    .valid(Voters)
    .high()
    .read(),
    KeyDef::list(
        "controller.quorum.bootstrap.servers",
        Is(""),
        "Controllers, each `host:port`, that a node asks for the current leader and voters when \
         it starts.",
    )
    .valid(Servers)
    .high()
    .read(),
    KeyDef::boolean(
        "controller.quorum.auto.join.enable",
        Is("false"),
        "Whether a controller that is not a voter asks the leader to become one. Needs a quorum \
         whose members can change.",
    )
    .low(),
    KeyDef::int(
        "controller.quorum.election.timeout.ms",
        Is("1000"),
        "How long a candidate waits for votes before it starts a new election.",
    )
    .valid(AtLeast(0))
    .high(),
    KeyDef::int(
        "controller.quorum.election.backoff.max.ms",
        Is("1000"),
        "Longest pause before the next election after one without a winner. Pauses grow and are \
         random, so that candidates do not collide for ever.",
    )
    .valid(AtLeast(0))
    .high(),
    KeyDef::int(
        "controller.quorum.fetch.timeout.ms",
        Is("2000"),
        "How long a voter goes without a successful fetch from the leader before it starts an \
         election, and how long a leader goes without hearing from a majority before it resigns.",
    )
    .valid(AtLeast(0))
    .high(),
    KeyDef::int(
        "controller.quorum.fetch.max.bytes",
        Is("1048576"),
        "Most metadata bytes in one Fetch answer between controllers and brokers; one batch is \
         always sent whole.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::int(
        "controller.quorum.fetch.snapshot.max.bytes",
        Is("1048576"),
        "Most bytes of a metadata snapshot in one FetchSnapshot answer.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::int(
        "controller.quorum.request.timeout.ms",
        Is("2000"),
        "How long a quorum request may wait for its answer before it is sent again.",
    )
    .valid(AtLeast(0)),
    KeyDef::int(
        "controller.quorum.retry.backoff.ms",
        Is("20"),
        "Pause before a quorum request that failed is sent again.",
    )
    .valid(AtLeast(0))
    .low(),
    KeyDef::int(
        "controller.quorum.append.linger.ms",
        Is("25"),
        "How long the leader may collect metadata records before it writes and flushes them \
         together.",
    )
    .valid(AtLeast(0))
    .unused(),
    KeyDef::int(
        "controller.socket.timeout.ms",
        Is("30000"),
        "Socket timeout of connections from brokers to the controller.",
    ),
    KeyDef::string(
        "metadata.log.dir",
        Null,
        "Directory of the metadata log. Without it, the first of `log.dirs` holds it.",
    )
    .high()
    .read(),
    KeyDef::int(
        "metadata.log.segment.bytes",
        Is("1073741824"),
        "Size at which a segment of the metadata log is rolled.",
    )
    .valid(AtLeast(8_388_608))
    .high()
    .read(),
    KeyDef::long(
        "metadata.log.segment.ms",
        Is("604800000"),
        "Age at which a segment of the metadata log is rolled.",
    )
    .high()
    .read(),
    KeyDef::long(
        "metadata.log.max.record.bytes.between.snapshots",
        Is("20971520"),
        "Metadata bytes written since the last snapshot that cause the next one.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::long(
        "metadata.log.max.snapshot.interval.ms",
        Is("3600000"),
        "Time since the last snapshot that causes the next one if there are records it lacks. 0 \
         turns this cause off.",
    )
    .valid(AtLeast(0))
    .high()
    .read(),
    KeyDef::int(
        "metadata.max.idle.interval.ms",
        Is("500"),
        "How often an idle active controller writes a no-op record, so that the high watermark \
         proves the quorum works. 0 writes none.",
    )
    .valid(AtLeast(0))
    .low()
    .read(),
    KeyDef::long(
        "metadata.max.retention.bytes",
        Is("104857600"),
        "Size of metadata log and snapshots together above which the oldest are deleted once a \
         newer snapshot covers them.",
    )
    .high(),
    KeyDef::long(
        "metadata.max.retention.ms",
        Is("604800000"),
        "Age above which old metadata segments and snapshots are deleted once a newer snapshot \
         covers them.",
    )
    .high(),
    KeyDef::int(
        "internal.metadata.log.segment.bytes",
        Null,
        "Replaces `metadata.log.segment.bytes` in tests that need segments smaller than its \
         minimum.",
    )
    .low()
    .internal(),
    KeyDef::int(
        "internal.metadata.max.batch.size.in.bytes",
        Is("8388608"),
        "Largest batch of metadata records the leader writes, for tests.",
    )
    .low()
    .internal(),
    KeyDef::long(
        "internal.metadata.delete.delay.millis",
        Is("60000"),
        "How long deleted metadata segments keep their files, for tests.",
    )
    .low()
    .internal(),
];
