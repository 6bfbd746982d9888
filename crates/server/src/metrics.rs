//! `/metrics`: Prometheus text under the names that dashboards for Kafka's JMX exporter use.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use ottla_broker::Broker;
use ottla_broker::metrics::Counter;
use ottla_broker::quotas::{Quota, Usage};
use ottla_broker::telemetry::SampleKind;
use ottla_protocol::ApiKey;
use ottla_protocol::ids::Timestamp;

use crate::latency;
use crate::server::Observed;

/// Text in Prometheus' exposition format.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, (name, kind, help): (&str, &str, &str), value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// The page now.
pub(crate) fn render(observed: &Observed) -> String {
    let mut page = Page::default();
    requests(&mut page, &observed.broker);
    latency::render(&mut page, &observed.broker, &mut observed.recent.lock());
    listeners(&mut page, observed);
    partitions(&mut page, observed);
    transactions(&mut page, &observed.broker);
    quotas(&mut page, &observed.broker);
    clients(&mut page, &observed.broker);
    process(&mut page);
    page.0
}

/// Most topics whose traffic is shown by name.
const TOPICS_MAX: usize = 2000;

/// Records in, bytes in and bytes out of every topic that had any.
fn topics(broker: &Broker) -> BTreeMap<String, [u64; 3]> {
    let mut topics: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for partition in broker.partitions.all() {
        let traffic = &partition.traffic;
        let counts =
            [&traffic.messages_in, &traffic.bytes_in, &traffic.bytes_out].map(Counter::get);
        if counts != [0; 3] {
            let sums = topics.entry(partition.name.topic.to_string()).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    topics
}

fn requests(page: &mut Page, broker: &Broker) {
    let metrics = &broker.metrics;
    let topics = topics(broker);
    for (index, (name, help, counter)) in [
        ("messagesin", "Records appended for producers.", &metrics.messages_in),
        ("bytesin", "Bytes appended for producers.", &metrics.bytes_in),
        ("bytesout", "Bytes of records in fetch responses.", &metrics.bytes_out),
        ("failedproducerequests", "Batches refused.", &metrics.failed_produce),
        ("failedfetchrequests", "Partitions that could not be read.", &metrics.failed_fetch),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        page.one((&name, "counter", help), counter.get());
        for (topic, counts) in topics.iter().take(TOPICS_MAX) {
            if let Some(count) = counts.get(index) {
                page.sample(&name, &[("topic", topic)], count);
            }
        }
    }
    let left_out = topics.len().saturating_sub(TOPICS_MAX);
    let help = "Topics whose traffic is not shown by name, because there are too many.";
    page.one(("ottla_topics_not_shown", "gauge", help), left_out);
    let (mut produce, mut fetch) = (0, 0);
    let name = "kafka_network_requestmetrics_requests_total";
    page.head(name, "counter", "Requests started.");
    for (key, count) in metrics.requests() {
        page.sample(name, &[("request", key.name())], count);
        match key {
            ApiKey::Produce => produce = count,
            ApiKey::Fetch => fetch = count,
            _ => {}
        }
    }
    let help = "Produce requests.";
    page.one(
        ("kafka_server_brokertopicmetrics_totalproducerequests_total", "counter", help),
        produce,
    );
    let help = "Fetch requests.";
    page.one(("kafka_server_brokertopicmetrics_totalfetchrequests_total", "counter", help), fetch);
}

fn listeners(page: &mut Page, observed: &Observed) {
    let readings: Vec<_> =
        observed.listeners.iter().map(|(name, metrics)| (name.as_str(), metrics.read())).collect();
    type Read = fn(&ottla_net::NetCounters) -> u64;
    let rows: [(&str, &str, &str, Read); 9] = [
        (
            "kafka_server_socketservermetrics_connection_count",
            "gauge",
            "Connections open now.",
            |c| c.open(),
        ),
        (
            "kafka_server_socketservermetrics_connection_creation_total",
            "counter",
            "Connections accepted.",
            |c| c.accepted,
        ),
        (
            "kafka_server_socketservermetrics_connection_close_total",
            "counter",
            "Connections closed.",
            |c| c.closed,
        ),
        (
            "kafka_server_socketservermetrics_incoming_byte_total",
            "counter",
            "Bytes received.",
            |c| c.bytes_in,
        ),
        ("kafka_server_socketservermetrics_outgoing_byte_total", "counter", "Bytes sent.", |c| {
            c.bytes_out
        }),
        ("kafka_server_socketservermetrics_request_total", "counter", "Requests received.", |c| {
            c.frames_in
        }),
        ("kafka_server_socketservermetrics_response_total", "counter", "Responses sent.", |c| {
            c.responses_out
        }),
        (
            "ottla_connections_refused_total",
            "counter",
            "Connections closed when they were accepted.",
            |c| c.refused,
        ),
        ("ottla_connection_panics_total", "counter", "Connections ended by a defect.", |c| {
            c.panics
        }),
    ];
    for (name, kind, help, read) in rows {
        page.head(name, kind, help);
        for (listener, counters) in &readings {
            page.sample(name, &[("listener", listener)], read(counters));
        }
    }
    let open = observed.connections.connections();
    page.one(("ottla_connections", "gauge", "Connections of all listeners."), open);
}

fn partitions(page: &mut Page, observed: &Observed) {
    let broker = &observed.broker;
    let all = broker.partitions.all();
    let count = all.len();
    page.one(("kafka_server_replicamanager_partitioncount", "gauge", "Partitions here."), count);
    // This release has one replica of every partition, and it leads.
    page.one(("kafka_server_replicamanager_leadercount", "gauge", "Partitions led here."), count);
    let offline = broker.directories().iter().filter(|dir| dir.offline().is_some()).count();
    page.one(
        ("kafka_log_logmanager_offlinelogdirectorycount", "gauge", "Directories out of use."),
        offline,
    );
    page.one(
        ("kafka_controller_kafkacontroller_activecontrollercount", "gauge", "1 on the controller."),
        1,
    );
    let topics = broker.image().topics().count();
    page.one(("kafka_controller_kafkacontroller_globaltopiccount", "gauge", "Topics."), topics);
}

/// What the clients that are under a quota use of it, and how they are throttled.
fn quotas(page: &mut Page, broker: &Broker) {
    let usage = broker.quotas.usage(broker.env().monotonic());
    let of = |one: &Usage| match one.quota {
        Quota::Produce | Quota::Fetch => "kafka_server_quota_byte_rate",
        Quota::Request => "kafka_server_quota_request_time",
        Quota::Mutation => "kafka_server_quota_mutation_rate",
    };
    let mut family = |(name, help): (&str, &str), value: &dyn Fn(&Usage) -> Option<f64>| {
        page.head(name, "gauge", help);
        for (one, value) in usage.iter().filter_map(|one| Some((one, value(one)?))) {
            let mut labels = vec![("resource", one.quota.name())];
            labels.extend(one.user.as_deref().map(|user| ("user", user)));
            labels.extend(one.client.as_deref().map(|client| ("clientId", client)));
            page.sample(name, &labels, value);
        }
    };
    for (name, help) in [
        ("kafka_server_quota_byte_rate", "Bytes per second of clients under a quota."),
        (
            "kafka_server_quota_request_time",
            "Handler time of such clients, in percent of a thread.",
        ),
        ("kafka_server_quota_mutation_rate", "Partitions per second they create and delete."),
    ] {
        family((name, help), &|one| (of(one) == name).then_some(one.rate));
    }
    let help = "Average pause of their throttled requests, in milliseconds.";
    family(("kafka_server_quota_throttle_time", help), &|one| Some(one.throttle_ms));
}

/// How long a transaction may be open beyond the longest timeout before it counts as late.
const LATE_MS: i64 = 5 * 60 * 1000;

fn transactions(page: &mut Page, broker: &Broker) {
    let timeout = broker.config().get(ottla_config::keys::TRANSACTION_MAX_TIMEOUT_MS);
    let now = broker.env().now().wall;
    let before = Timestamp(now.0 - i64::from(timeout) - LATE_MS);
    let (mut producers, mut late) = (0, 0);
    for partition in broker.partitions.all() {
        let looked = partition
            .with_log(None, |log, _| (log.producer_count(), log.has_transaction_since(before)));
        let (count, is_late) = looked.unwrap_or_default();
        producers += count;
        late += usize::from(is_late);
    }
    let help = "Producers that partitions remember.";
    page.one(("kafka_server_replicamanager_produceridcount", "gauge", help), producers);
    page.one(
        (
            "kafka_server_replicamanager_partitionswithlatetransactionscount",
            "gauge",
            "Partitions with a transaction that is open for longer than any timeout.",
        ),
        late,
    );
    page.one(
        (
            "kafka_server_addpartitionstotxnmanager_verificationfailurerate_total",
            "counter",
            "Transactions that their coordinator did not confirm to a partition.",
        ),
        broker.metrics.failed_verification.get(),
    );
    let name = "ottla_transactional_ids";
    page.head(name, "gauge", "Transactional ids coordinated here, by state.");
    for (state, count) in broker.transactional_ids() {
        page.sample(name, &[("state", state)], count);
    }
}

/// What clients push of their own metrics (KIP-714): `org.apache.kafka.producer.record.send.total`
/// is `kafka_client_producer_record_send_total`.
fn clients(page: &mut Page, broker: &Broker) {
    const OWN: [&str; 5] = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
    ];
    let mut families: BTreeMap<String, (SampleKind, Page)> = BTreeMap::new();
    broker.telemetry.samples(broker.env().monotonic(), &mut |sample| {
        let short = sample.name.strip_prefix("org.apache.kafka.").unwrap_or(sample.name);
        let name = format!("kafka_client_{}", word(short));
        let (id, facts) = (sample.client.to_string(), sample.facts);
        let address = facts.address.ip().to_string();
        let values =
            [&id, &facts.client_id, &facts.software_name, &facts.software_version, &address];
        let mut labels: Vec<(String, &str)> = OWN
            .into_iter()
            .zip(values)
            .map(|(own, value)| (own.to_owned(), value.as_str()))
            .collect();
        for (attribute, value) in sample.attributes {
            let attribute = word(attribute);
            if labels.iter().all(|(label, _)| *label != attribute) {
                labels.push((attribute, value));
            }
        }
        let labels: Vec<_> = labels.iter().map(|(label, value)| (label.as_str(), *value)).collect();
        let (_, lines) =
            families.entry(name.clone()).or_insert_with(|| (sample.kind, Page::default()));
        lines.sample(&name, &labels, sample.value);
    });
    for (name, (kind, lines)) in families {
        let kind = if kind == SampleKind::Counter { "counter" } else { "gauge" };
        page.head(&name, kind, "Pushed by clients.");
        page.0.push_str(&lines.0);
    }
    let (known, series, dropped) = broker.telemetry.counts();
    let help = "Clients that ask what to push, or push.";
    page.one(("ottla_telemetry_clients", "gauge", help), known);
    page.one(("ottla_telemetry_series", "gauge", "Numbers kept of what clients push."), series);
    let help = "Numbers that clients pushed and that were too many, or had too long names.";
    page.one(("ottla_telemetry_dropped_total", "counter", help), dropped);
}

/// A name that Prometheus takes.
fn word(text: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let word: String = text.chars().map(letter).collect();
    if word.starts_with(|first: char| first.is_ascii_digit()) || word.is_empty() {
        return format!("_{word}");
    }
    word
}

/// What Prometheus' client libraries say about a process, from `/proc`.
fn process(page: &mut Page) {
    let page_size = rustix::param::page_size() as u64;
    let ticks = rustix::param::clock_ticks_per_second();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold spaces; what follows its parenthesis is numbers from field 3 on.
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let field = |number: usize| -> u64 {
        fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let cpu = (field(14) + field(15)) as f64 / ticks.max(1) as f64;
    page.one(("process_cpu_seconds_total", "counter", "CPU time used, in seconds."), cpu);
    let resident = field(24) * page_size;
    page.one(("process_resident_memory_bytes", "gauge", "Memory resident, in bytes."), resident);
    page.one(("process_virtual_memory_bytes", "gauge", "Address space, in bytes."), field(23));
    page.one(("process_threads", "gauge", "Threads."), field(20));
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    page.one(("process_open_fds", "gauge", "Descriptors open."), descriptors);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    page.one(("process_max_fds", "gauge", "Most descriptors."), limit.unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_prometheus_text() {
        let mut page = Page::default();
        page.one(("a_total", "counter", "A."), 1);
        page.sample("b", &[("x", "say \"hi\"\\"), ("y", "2")], 0.5);
        assert_eq!(
            page.0,
            "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n\
             b{x=\"say \\\"hi\\\"\\\\\",y=\"2\"} 0.5\n"
        );
    }
}
