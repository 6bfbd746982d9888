//! Listeners, sockets, requests and quotas.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, OneOf};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::list(
        "listeners",
        Is("PLAINTEXT://:9092"),
        "Addresses this node accepts connections on, each `NAME://host:port`. An empty host means \
         all interfaces; port 0 lets the system choose.",
    )
    .high()
    .per_broker()
    .read(),
    KeyDef::list(
        "advertised.listeners",
        Null,
        "Addresses told to clients and other nodes, where they differ from `listeners`: behind \
         NAT, in containers, in clouds.",
    )
    .high()
    .read(),
    KeyDef::string(
        "listener.security.protocol.map",
        Is("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        "Which security protocol each listener name speaks, as `NAME:PROTOCOL` pairs. Without it \
         a name is its own protocol, and controller listeners are PLAINTEXT.",
    )
    .low()
    .per_broker()
    .read(),
    KeyDef::string(
        "inter.broker.listener.name",
        Null,
        "The listener brokers use to reach each other. Not to be combined with \
         `security.inter.broker.protocol`.",
    )
    .read(),
    KeyDef::string(
        "security.inter.broker.protocol",
        Is("PLAINTEXT"),
        "Security protocol between brokers, for setups that name listeners after protocols. \
         Prefer `inter.broker.listener.name`.",
    )
    .valid(OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]))
    .read(),
    KeyDef::int(
        "num.network.threads",
        Is("3"),
        "Threads per listener that read and write sockets. Accepted and reported; the runtime \
         here sizes itself by the number of cores.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "num.io.threads",
        Is("8"),
        "Threads that handle requests. Accepted and reported; the runtime here sizes itself by \
         the number of cores.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "queued.max.requests",
        Is("500"),
        "Requests that may wait for a handler before sockets are no longer read.",
    )
    .valid(AtLeast(1))
    .high()
    .unused(),
    KeyDef::long(
        "queued.max.request.bytes",
        Is("-1"),
        "Bytes of requests that may be in memory before sockets are no longer read. -1 leaves the \
         bound to the broker.",
    )
    .read(),
    KeyDef::int(
        "socket.send.buffer.bytes",
        Is("102400"),
        "SO_SNDBUF of accepted sockets; -1 leaves it to the system.",
    )
    .high()
    .read(),
    KeyDef::int(
        "socket.receive.buffer.bytes",
        Is("102400"),
        "SO_RCVBUF of accepted sockets; -1 leaves it to the system.",
    )
    .high()
    .read(),
    KeyDef::int(
        "socket.request.max.bytes",
        Is("104857600"),
        "Largest request a socket accepts. A client that announces more is disconnected before \
         memory is spent on it.",
    )
    .valid(AtLeast(1))
    .high()
    .read(),
    KeyDef::int(
        "socket.listen.backlog.size",
        Is("50"),
        "Connections the system may hold that are not accepted yet. The kernel may bound it \
         lower.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::long(
        "socket.connection.setup.timeout.ms",
        Is("10000"),
        "How long a connection to another node may take to open before it is given up. Doubles \
         per failure up to `socket.connection.setup.timeout.max.ms`.",
    ),
    KeyDef::long(
        "socket.connection.setup.timeout.max.ms",
        Is("30000"),
        "Upper end of the connection setup timeout.",
    ),
    KeyDef::long(
        "connections.max.idle.ms",
        Is("600000"),
        "A connection without traffic for this long is closed.",
    )
    .read(),
    KeyDef::long(
        "connections.max.reauth.ms",
        Is("0"),
        "How long a SASL session may live before the client has to authenticate again; 0 means \
         for ever.",
    ),
    KeyDef::int(
        "connection.failed.authentication.delay.ms",
        Is("100"),
        "How long the answer to a failed authentication is held back, to slow down guessing. Must \
         be below `connections.max.idle.ms`.",
    )
    .valid(AtLeast(0))
    .low(),
    KeyDef::int(
        "max.connections",
        Is("2147483647"),
        "Most connections of a broker at a time. At the bound the listener that is not for \
         brokers waits, and the connection idle for longest is closed for a broker's.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "max.connections.per.ip",
        Is("2147483647"),
        "Most connections from one address. 0 needs exceptions in \
         `max.connections.per.ip.overrides`.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::string(
        "max.connections.per.ip.overrides",
        Is(""),
        "Exceptions from `max.connections.per.ip`, as `host:count` separated by commas.",
    )
    .cluster_wide()
    .read(),
    KeyDef::int(
        "max.connection.creation.rate",
        Is("2147483647"),
        "Most new connections per second of a broker; further ones wait to be accepted.",
    )
    .valid(AtLeast(0))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "fetch.max.bytes",
        Is("57671680"),
        "Most bytes in the answer to one Fetch, whatever the client asks for; the first batch is \
         always sent whole.",
    )
    .valid(AtLeast(1024))
    .read(),
    KeyDef::int(
        "max.incremental.fetch.session.cache.slots",
        Is("1000"),
        "How many fetch sessions a broker remembers. At the bound the oldest small or idle one \
         makes room.",
    )
    .valid(AtLeast(0))
    .read(),
    KeyDef::int(
        "max.request.partition.size.limit",
        Is("2000"),
        "Most partitions described in one DescribeTopicPartitions answer.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "fetch.purgatory.purge.interval.requests",
        Is("1000"),
        "Garbage interval of waiting Fetch requests in the JVM broker. Waiting requests here are \
         removed when they end.",
    )
    .unused(),
    KeyDef::int(
        "producer.purgatory.purge.interval.requests",
        Is("1000"),
        "Garbage interval of waiting Produce requests in the JVM broker. Waiting requests here \
         are removed when they end.",
    )
    .unused(),
    KeyDef::int(
        "delete.records.purgatory.purge.interval.requests",
        Is("1"),
        "Garbage interval of waiting DeleteRecords requests in the JVM broker. Waiting requests \
         here are removed when they end.",
    )
    .unused(),
    KeyDef::int(
        "share.fetch.purgatory.purge.interval.requests",
        Is("1000"),
        "Garbage interval of waiting ShareFetch requests in the JVM broker. Waiting requests here \
         are removed when they end.",
    )
    .unused(),
    KeyDef::int(
        "quota.window.num",
        Is("11"),
        "Number of windows over which client quotas are measured.",
    )
    .valid(AtLeast(1))
    .low()
    .read(),
    KeyDef::int("quota.window.size.seconds", Is("1"), "Length of one window of client quotas.")
        .valid(AtLeast(1))
        .low()
        .read(),
    KeyDef::int(
        "controller.quota.window.num",
        Is("11"),
        "Number of windows over which the quota of topic and partition changes is measured.",
    )
    .valid(AtLeast(1))
    .low()
    .read(),
    KeyDef::int(
        "controller.quota.window.size.seconds",
        Is("1"),
        "Length of one window of the quota of topic and partition changes.",
    )
    .valid(AtLeast(1))
    .low()
    .read(),
    KeyDef::int(
        "replication.quota.window.num",
        Is("11"),
        "Number of windows over which throttled replication is measured.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::int(
        "replication.quota.window.size.seconds",
        Is("1"),
        "Length of one window of throttled replication.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::int(
        "alter.log.dirs.replication.quota.window.num",
        Is("11"),
        "Number of windows over which moves between log directories are measured.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::int(
        "alter.log.dirs.replication.quota.window.size.seconds",
        Is("1"),
        "Length of one window of moves between log directories.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::class(
        "client.quota.callback.class",
        Null,
        "Java class that decides client quotas. Classes cannot be loaded here; quotas set with \
         the tools apply.",
    )
    .low()
    .refused(),
];
