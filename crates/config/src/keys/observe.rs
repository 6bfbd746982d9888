//! Metrics, and Ottla's own keys.

use crate::def::Default::Is;
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, OneOf};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::list(
        "metric.reporters",
        Is("org.apache.kafka.common.metrics.JmxReporter"),
        "Java classes that receive metrics. Classes cannot be loaded here; metrics are served by \
         the admin listener.",
    )
    .low()
    .cluster_wide()
    .unused(),
    KeyDef::int(
        "metrics.num.samples",
        Is("2"),
        "Samples kept per metric in the JVM broker.",
    )
    .valid(AtLeast(1))
    .low()
    .unused(),
    KeyDef::string(
        "metrics.recording.level",
        Is("INFO"),
        "How detailed metrics of the JVM broker are.",
    )
    .low()
    .unused(),
    KeyDef::long(
        "metrics.sample.window.ms",
        Is("30000"),
        "Length of one sample of metrics in the JVM broker.",
    )
    .valid(AtLeast(1))
    .low()
    .unused(),
    KeyDef::int(
        "kafka.metrics.polling.interval.secs",
        Is("10"),
        "How often the JVM broker's older metrics reporters are polled.",
    )
    .valid(AtLeast(1))
    .low()
    .unused(),
    KeyDef::list(
        "kafka.metrics.reporters",
        Is(""),
        "Java classes that receive the JVM broker's older metrics. Classes cannot be loaded here.",
    )
    .low()
    .unused(),
    KeyDef::int(
        "telemetry.max.bytes",
        Is("1048576"),
        "Largest metrics a client may push in one PushTelemetry request, after decompression.",
    )
    .valid(AtLeast(1))
    .low()
    .read(),
    KeyDef::string(
        "ottla.admin.listener",
        Is("127.0.0.1:9644"),
        "Address of the HTTP listener for health, metrics and administration, as `host:port`; empty \
         for none. It has no authentication, so keep it off public interfaces. Where the default is \
         taken by another process and nothing else is set, there is none.",
    )
    .read(),
    KeyDef::long(
        "ottla.log.background.flush.ms",
        Is("10000"),
        "Age at which written records are synced to the disk though nobody asked for it, so that a \
         start after a crash reads only what is younger; -1 leaves it to the operating system.",
    )
    .valid(AtLeast(-1))
    .cluster_wide()
    .read(),
    KeyDef::int(
        "ottla.log.open.files.max",
        Is("-1"),
        "Files that logs hold open at most; those not used for longest are closed, and opened again \
         when they are needed. -1 is three eighths of what the process may have open (`ulimit -Hn`).",
    )
    .valid(AtLeast(-1))
    .read(),
    KeyDef::string(
        "ottla.log.format",
        Is("human"),
        "How the process log is written: `human` for a terminal, `json` with one object per line for \
         a collector.",
    )
    .valid(OneOf(&["human", "json"]))
    .read(),
    KeyDef::string(
        "ottla.log.level",
        Is("info"),
        "Which events the process log shows: `error`, `warn`, `info`, `debug` or `trace`, or \
         directives for single modules such as `info,ottla_raft=debug`.",
    )
    .cluster_wide()
    .read(),
];
