//! `kafka-console-consumer`.

use std::time::Duration;

use ottla_protocol::records::{Record, TimestampType};

use super::options::{Options, Spec};
use super::{exit, parse, usage, with_cluster};
use crate::client::consume::{Next, Sink};
use crate::client::offsets::Isolation;
use crate::client::{Cluster, TopicPartition};
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::tool::topic::{Reading, Start, Stop, read_topics, whole};

const SPEC: Spec = Spec {
    about: "Prints records of topics.",
    flags: &["enable-systest-events", "from-beginning", "skip-message-on-error"],
    values: &[
        "bootstrap-server",
        "command-config",
        "command-property",
        "consumer-property",
        "consumer.config",
        "formatter",
        "formatter-config",
        "formatter-property",
        "group",
        "include",
        "isolation-level",
        "key-deserializer",
        "max-messages",
        "offset",
        "partition",
        "property",
        "timeout-ms",
        "topic",
        "value-deserializer",
        "whitelist",
    ],
    optional: &[],
};

pub(super) fn main(arguments: &[String]) -> u8 {
    let options = match parse(&SPEC, arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Some(error) = wrong(&options) {
        return usage(&SPEC, &error);
    }
    let reading = match reading(&options) {
        Ok(reading) => reading,
        Err(error) => return usage(&SPEC, &error),
    };
    let form = match Form::new(&options) {
        Ok(form) => form,
        Err(failure) => return exit(Err(failure)),
    };
    let left = match options.number("max-messages") {
        Ok(left) => left,
        Err(error) => return usage(&SPEC, &error),
    };
    exit(with_cluster(&options, async |cluster, out| {
        let reading = Reading { topics: topics(&options, cluster).await?, ..reading };
        let mut printer = Printer { out, form, left, count: 0 };
        let done = read_topics(cluster, &reading, &mut printer).await;
        eprintln!("Processed a total of {} messages", printer.count);
        done
    }))
}

fn wrong(options: &Options) -> Option<String> {
    let topics = ["topic", "include", "whitelist"].iter().filter(|name| options.has(name)).count();
    if topics != 1 {
        let text = "Exactly one of the following arguments is required: [topic], [include]";
        return Some(text.to_owned());
    }
    if !options.has("bootstrap-server") {
        return Some("Missing required argument \"[bootstrap-server]\"".to_owned());
    }
    if options.has("partition") && !options.has("topic") {
        return Some("The topic is required when partition is specified.".to_owned());
    }
    if options.has("offset") && !options.has("partition") {
        return Some("The partition is required when offset is specified.".to_owned());
    }
    if options.has("offset") && options.has("from-beginning") {
        return Some("Options from-beginning and offset cannot be specified together.".to_owned());
    }
    if options.has("group") && options.has("partition") {
        return Some("Options group and partition cannot be specified together.".to_owned());
    }
    for name in ["key-deserializer", "value-deserializer"] {
        let class = options.value(name).unwrap_or("StringDeserializer");
        if !class.ends_with("StringDeserializer") && !class.ends_with("ByteArrayDeserializer") {
            return Some(format!("--{name} {class}: only strings and byte arrays are there"));
        }
    }
    let formatter = options.value("formatter").unwrap_or("DefaultMessageFormatter");
    let known = formatter.ends_with("DefaultMessageFormatter");
    (!known).then(|| {
        format!(
            "--formatter {formatter}: only the default is there; of internal \
                              topics `ottla log dump` shows the records"
        )
    })
}

async fn topics(options: &Options, cluster: &mut Cluster) -> Outcome<Vec<String>> {
    if let Some(topic) = options.value("topic") {
        cluster.topic_or_create(topic).await?;
        return Ok(vec![topic.to_owned()]);
    }
    let pattern = options.value("include").or(options.value("whitelist")).unwrap_or_default();
    let matches = whole(&pattern.replace(',', "|"))?;
    let all = cluster.all_topics().await?;
    let names = all.iter().filter(|topic| !topic.is_internal);
    let names = names.filter_map(|topic| topic.name.as_ref().map(ToString::to_string));
    let found: Vec<_> = names.filter(|name| matches.is_match(name)).collect();
    if found.is_empty() {
        return Err(Failure::NotFound(format!("no topic matches {pattern}")));
    }
    Ok(found)
}

/// What to read; the topics come later.
fn reading(options: &Options) -> Result<Reading, String> {
    let properties = options.pairs(&["consumer-property", "command-property"]);
    let property = |name: &str| {
        properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    let isolation = options.value("isolation-level").map(str::to_owned);
    let isolation = match isolation.or_else(|| property("isolation.level")).as_deref() {
        None | Some("read_uncommitted") => Isolation::ReadUncommitted,
        Some("read_committed") => Isolation::ReadCommitted,
        Some(other) => return Err(format!("isolation level {other} is not known")),
    };
    let reset = property("auto.offset.reset");
    let from_beginning = options.has("from-beginning") || reset.as_deref() == Some("earliest");
    let start = match options.value("offset") {
        Some("earliest") => Start::Earliest,
        None if from_beginning => Start::Earliest,
        None | Some("latest") => Start::Latest,
        Some(text) => Start::Offset(text.parse().map_err(|_| {
            format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', \
                 'latest', or a non-negative long."
            )
        })?),
    };
    let partition = options.number("partition")?;
    let idle = options.number("timeout-ms")?;
    Ok(Reading {
        topics: Vec::new(),
        partitions: partition.into_iter().collect(),
        start,
        stop: idle.map_or(Stop::Never, |millis| Stop::Idle(Duration::from_millis(millis))),
        isolation,
        group: options.value("group").map(str::to_owned).or_else(|| property("group.id")),
    })
}

/// What of a record is printed, as Kafka's `DefaultMessageFormatter`.
struct Form {
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null: String,
}

impl Form {
    fn new(options: &Options) -> Outcome<Self> {
        let mut pairs = Vec::new();
        if let Some(path) = options.value("formatter-config") {
            pairs.extend(super::properties::read(path)?);
        }
        pairs.extend(options.pairs(&["property", "formatter-property"]));
        let get = |name: &str, default: &str| {
            let found = pairs.iter().rev().find(|(key, _)| key == name);
            found.map_or(default, |(_, value)| value).to_owned()
        };
        let yes = |name: &str, default| get(name, default).trim().eq_ignore_ascii_case("true");
        Ok(Self {
            timestamp: yes("print.timestamp", "false"),
            partition: yes("print.partition", "false"),
            offset: yes("print.offset", "false"),
            headers: yes("print.headers", "false"),
            key: yes("print.key", "false"),
            value: yes("print.value", "true"),
            key_separator: get("key.separator", "\t"),
            line_separator: get("line.separator", "\n"),
            headers_separator: get("headers.separator", ","),
            null: get("null.literal", "null"),
        })
    }

    fn line(
        &self,
        partition: &TopicPartition,
        record: &Record<'_>,
        kind: TimestampType,
    ) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let kind = match kind {
                _ if record.timestamp.0 < 0 => "NO_TIMESTAMP".to_owned(),
                TimestampType::CreateTime => format!("CreateTime:{}", record.timestamp),
                TimestampType::LogAppendTime => format!("LogAppendTime:{}", record.timestamp),
            };
            parts.push(kind.into_bytes());
        }
        if self.partition {
            parts.push(format!("Partition:{}", partition.partition).into_bytes());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into_bytes());
        }
        let bytes = |bytes: Option<&[u8]>| bytes.unwrap_or(self.null.as_bytes()).to_vec();
        if self.headers {
            let pair = |header: &ottla_protocol::records::RecordHeader<'_>| {
                [&header.key, &b":"[..], &bytes(header.value.as_deref())].concat()
            };
            let all: Vec<_> = record.headers.iter().map(pair).collect();
            parts.push(match all.is_empty() {
                true => b"NO_HEADERS".to_vec(),
                false => all.join(self.headers_separator.as_bytes()),
            });
        }
        if self.key {
            parts.push(bytes(record.key.as_deref()));
        }
        if self.value {
            parts.push(bytes(record.value.as_deref()));
        }
        let mut line = parts.join(self.key_separator.as_bytes());
        line.extend_from_slice(self.line_separator.as_bytes());
        line
    }
}

struct Printer<'a> {
    out: &'a mut Out,
    form: Form,
    left: Option<u64>,
    count: u64,
}

impl Sink for Printer<'_> {
    fn record(
        &mut self,
        partition: &TopicPartition,
        record: &Record<'_>,
        kind: TimestampType,
    ) -> Outcome<Next> {
        if self.left == Some(0) {
            return Ok(Next::Enough);
        }
        self.out.raw(&self.form.line(partition, record, kind))?;
        self.out.end_line()?;
        self.count += 1;
        self.left = self.left.map(|left| left - 1);
        Ok(if self.left == Some(0) { Next::Enough } else { Next::More })
    }

    fn flush(&mut self) -> Outcome {
        self.out.flush()
    }
}
