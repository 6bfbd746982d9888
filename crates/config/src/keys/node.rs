//! The node: identity, life in the cluster, topics by default.

use crate::def::Default::{Is, Null, Required};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, ListOf};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::list(
        "process.roles",
        Required,
        "What this node is: `broker`, `controller` or both. A node with both roles is a cluster \
         of its own or a member of a small one.",
    )
    .valid(ListOf(&["broker", "controller"]))
    .high()
    .read(),
    KeyDef::int(
        "node.id",
        Required,
        "Number of this node, unique among all brokers and controllers of the cluster. It must \
         never change once the data directory is formatted.",
    )
    .valid(AtLeast(0))
    .high()
    .read(),
    KeyDef::int(
        "broker.id",
        Is("-1"),
        "Old spelling of `node.id`. When both are set they must agree.",
    )
    .high()
    .read(),
    KeyDef::string(
        "broker.rack",
        Null,
        "Name of the rack or zone this broker stands in. Replicas are spread over racks, and \
         consumers that name their rack can be sent to a replica beside them.",
    )
    .read(),
    KeyDef::int(
        "broker.heartbeat.interval.ms",
        Is("2000"),
        "How often a broker tells the active controller that it lives. Half of \
         `broker.session.timeout.ms` at most, so that one lost heartbeat does not fence the \
         broker.",
    )
    .read(),
    KeyDef::int(
        "broker.session.timeout.ms",
        Is("9000"),
        "A broker whose heartbeats are missing for this long is fenced and loses its leaderships.",
    )
    .read(),
    KeyDef::int(
        "initial.broker.registration.timeout.ms",
        Is("60000"),
        "How long a starting broker tries to register with the controller before it gives up and \
         stops.",
    ),
    KeyDef::long(
        "server.max.startup.time.ms",
        Is("9223372036854775807"),
        "How long a node may take from exec to being ready before it stops itself.",
    )
    .valid(AtLeast(0))
    .internal(),
    KeyDef::boolean(
        "controlled.shutdown.enable",
        Is("true"),
        "Whether a broker that is asked to stop first hands its leaderships to other replicas, so \
         that clients notice nothing.",
    )
    .read(),
    KeyDef::boolean(
        "auto.create.topics.enable",
        Is("true"),
        "Whether a Metadata request for an unknown topic creates it with the default number of \
         partitions and replicas.",
    )
    .high()
    .read(),
    KeyDef::int(
        "num.partitions",
        Is("1"),
        "Partitions of a topic that is created without saying how many.",
    )
    .valid(AtLeast(1))
    .read(),
    KeyDef::int(
        "default.replication.factor",
        Is("1"),
        "Replicas of a topic that is created without saying how many.",
    )
    .read(),
    KeyDef::boolean(
        "delete.topic.enable",
        Is("true"),
        "Whether topics may be deleted. Where it is off, DeleteTopics answers \
         TOPIC_DELETION_DISABLED.",
    )
    .high()
    .read(),
    KeyDef::class(
        "create.topic.policy.class.name",
        Null,
        "Java class that judges topics before they are created. Classes cannot be loaded here.",
    )
    .low()
    .refused(),
    KeyDef::class(
        "alter.config.policy.class.name",
        Null,
        "Java class that judges configuration changes before they are made. Classes cannot be \
         loaded here.",
    )
    .low()
    .refused(),
    KeyDef::list(
        "config.providers",
        Is(""),
        "Names of Java classes that replace variables such as `${file:...}` in values. Classes \
         cannot be loaded here; write the values themselves.",
    )
    .low()
    .cluster_wide()
    .refused(),
    KeyDef::list(
        "early.start.listeners",
        Null,
        "Listeners that accept connections before the authorizer has loaded its rules, for \
         clusters whose rules live behind their own listeners.",
    )
    .high(),
    KeyDef::int(
        "request.timeout.ms",
        Is("30000"),
        "How long this node waits for the answer to a request it sends to another node.",
    )
    .high()
    .read(),
    KeyDef::int(
        "background.threads",
        Is("10"),
        "Threads for housekeeping in the JVM broker. Housekeeping here has no pool of its own.",
    )
    .valid(AtLeast(1))
    .high()
    .cluster_wide()
    .unused(),
    KeyDef::boolean(
        "unstable.api.versions.enable",
        Is("false"),
        "Whether API versions still being designed are advertised and answered. For development \
         only.",
    )
    .high()
    .internal(),
    KeyDef::boolean(
        "unstable.feature.versions.enable",
        Is("false"),
        "Whether feature levels still being designed may be set. For development only.",
    )
    .high()
    .internal(),
    KeyDef::long(
        "leader.imbalance.check.interval.seconds",
        Is("300"),
        "How often the controller looks for partitions that are not led by their preferred \
         replica.",
    )
    .valid(AtLeast(1))
    .high(),
    KeyDef::boolean(
        "auto.leader.rebalance.enable",
        Is("true"),
        "Whether the controller moves leadership back to preferred replicas by itself.",
    )
    .high(),
    KeyDef::long(
        "unclean.leader.election.interval.ms",
        Is("300000"),
        "How often the controller looks for leaderless partitions of topics that allow unclean \
         election.",
    )
    .valid(AtLeast(1))
    .internal(),
    KeyDef::long(
        "controller.performance.always.log.threshold.ms",
        Is("2000"),
        "Controller events that take at least this long are always logged.",
    )
    .valid(AtLeast(0))
    .internal(),
    KeyDef::long(
        "controller.performance.sample.period.ms",
        Is("60000"),
        "Length of the period over which the controller's slow events are summed up for the log.",
    )
    .valid(AtLeast(100))
    .internal(),
];
