//! `kafka-console-producer`.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};

use ottla_protocol::ids::{Offset, Timestamp};
use ottla_protocol::records::{Compression, Record, RecordHeader};

use super::options::{Options, Spec};
use super::{exit, parse, usage, with_cluster};
use crate::client::Cluster;
use crate::client::produce::{Produce, Producer};
use crate::failure::{Failure, Outcome};
use crate::time::now_millis;
use crate::tool::topic::find;

const SPEC: Spec = Spec {
    about: "Writes lines of standard input to a topic.",
    flags: &["sync"],
    values: &[
        "batch-size",
        "bootstrap-server",
        "command-config",
        "command-property",
        "line-reader",
        "max-block-ms",
        "max-memory-bytes",
        "max-partition-memory-bytes",
        "message-send-max-retries",
        "metadata-expiry-ms",
        "producer-property",
        "producer.config",
        "property",
        "reader-config",
        "reader-property",
        "request-required-acks",
        "request-timeout-ms",
        "retry-backoff-ms",
        "socket-buffer-size",
        "timeout",
        "topic",
    ],
    optional: &["compression-codec"],
};

/// A line longer than this is refused: no broker takes it.
const LINE_BYTES_MAX: u64 = 1 << 30;

pub(super) fn main(arguments: &[String]) -> u8 {
    let options = match parse(&SPEC, arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if !options.has("topic") {
        return usage(&SPEC, "Missing required argument \"[topic]\"");
    }
    if !options.has("bootstrap-server") {
        return usage(&SPEC, "Error while validating the bootstrap address\n");
    }
    if options.has("line-reader") {
        return usage(&SPEC, "--line-reader names a Java class: only the usual reader is there");
    }
    let how = match how(&options) {
        Ok(how) => how,
        Err(error) => return usage(&SPEC, &error),
    };
    let reader = match Reader::new(&options) {
        Ok(reader) => reader,
        Err(failure) => return exit(Err(failure)),
    };
    exit(with_cluster(&options, async |cluster, _| {
        let topic = options.value("topic").unwrap_or_default();
        cluster.topic_or_create(topic).await?;
        let mut producer = Producer::new(cluster, how).await?;
        let done = lines(&reader, topic, cluster, &mut producer).await;
        // What was read before a wrong line is sent.
        producer.flush(cluster).await.and(done)
    }))
}

fn how(options: &Options) -> Result<Produce, String> {
    let properties = options.pairs(&["producer-property", "command-property"]);
    let property = |name: &str| {
        properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let codec = match options.has("compression-codec") {
        true => options.value("compression-codec").unwrap_or("gzip"),
        false => property("compression.type").unwrap_or("none"),
    };
    let compression = Compression::ALL.into_iter().find(|known| known.name() == codec);
    let compression = compression.ok_or_else(|| format!("Unknown compression name: {codec}"))?;
    let acks = options.value("request-required-acks").or(property("acks")).unwrap_or("all");
    let acks = match acks {
        "all" | "-1" => -1,
        "1" => 1,
        "0" => 0,
        other => return Err(format!("Invalid value {other} for configuration acks")),
    };
    Ok(Produce { compression, acks })
}

/// Makes records of lines, as Kafka's `LineMessageReader`.
struct Reader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
}

impl Reader {
    fn new(options: &Options) -> Outcome<Self> {
        let mut pairs = Vec::new();
        if let Some(path) = options.value("reader-config") {
            pairs.extend(super::properties::read(path)?);
        }
        pairs.extend(options.pairs(&["property", "reader-property"]));
        let get = |name: &str, default: &str| {
            let found = pairs.iter().rev().find(|(key, _)| key == name);
            unescape(found.map_or(default, |(_, value)| value))
        };
        let yes = |name: &str| get(name, "false").eq_ignore_ascii_case("true");
        let null_marker = pairs.iter().rev().find(|(key, _)| key == "null.marker");
        Ok(Self {
            parse_key: yes("parse.key"),
            parse_headers: yes("parse.headers"),
            ignore_error: yes("ignore.error"),
            key_separator: get("key.separator", "\t"),
            headers_delimiter: get("headers.delimiter", "\t"),
            headers_separator: get("headers.separator", ","),
            headers_key_separator: get("headers.key.separator", ":"),
            null_marker: null_marker.map(|(_, value)| value.clone()),
        })
    }

    fn record(&self, number: u64, line: &[u8]) -> Outcome<Record<'static>> {
        let mut rest = line;
        let mut headers = Vec::new();
        if self.parse_headers {
            let part =
                self.part(&mut rest, ("headers delimiter", &self.headers_delimiter), number)?;
            if let Some(part) = part {
                headers = self.headers(part, number)?;
            }
        }
        let key = match self.parse_key {
            true => self.part(&mut rest, ("key separator", &self.key_separator), number)?,
            false => None,
        };
        let marked = |bytes: &[u8]| {
            self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == bytes)
        };
        let owned = |bytes: &[u8]| (!marked(bytes)).then(|| Cow::Owned(bytes.to_vec()));
        Ok(Record {
            offset: Offset::ZERO,
            timestamp: Timestamp(now_millis()),
            key: key.and_then(owned),
            value: owned(rest),
            headers,
        })
    }

    /// What stands before a separator; `None` if there is none and that is no error.
    fn part<'a>(
        &self,
        rest: &mut &'a [u8],
        (what, separator): (&str, &str),
        number: u64,
    ) -> Outcome<Option<&'a [u8]>> {
        match find(rest, separator.as_bytes()) {
            Some(at) => {
                let (part, tail) = rest.split_at(at);
                *rest = tail.get(separator.len()..).unwrap_or_default();
                Ok(Some(part))
            }
            None if self.ignore_error => Ok(None),
            None => Err(Failure::Failed(format!(
                "org.apache.kafka.common.KafkaException: No {what} found on line number {number}: \
                 '{}'",
                String::from_utf8_lossy(rest)
            ))),
        }
    }

    fn headers(&self, part: &[u8], number: u64) -> Outcome<Vec<RecordHeader<'static>>> {
        let text = String::from_utf8_lossy(part);
        if self.null_marker.as_deref() == Some(&*text) {
            return Ok(Vec::new());
        }
        let header = |pair: &str| {
            let (key, value) = pair.split_once(&self.headers_key_separator).ok_or_else(|| {
                Failure::Failed(format!(
                    "org.apache.kafka.common.KafkaException: No header key separator found in pair \
                     '{pair}' on line number {number}"
                ))
            })?;
            let null = self.null_marker.as_deref() == Some(value);
            Ok(RecordHeader {
                key: Cow::Owned(key.as_bytes().to_vec()),
                value: (!null).then(|| Cow::Owned(value.as_bytes().to_vec())),
            })
        };
        text.split(&self.headers_separator).map(header).collect()
    }
}

/// A shell does not make a tab of `\t`; neither do Kafka's tools, but people write it.
fn unescape(text: &str) -> String {
    if text == "\\t" { "\t".to_owned() } else { text.to_owned() }
}

async fn lines(
    reader: &Reader,
    topic: &str,
    cluster: &mut Cluster,
    producer: &mut Producer,
) -> Outcome {
    let stdin = std::io::stdin();
    let prompt = stdin.is_terminal();
    let mut input = BufReader::with_capacity(1 << 20, stdin.lock());
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        if prompt {
            print!(">");
            // A prompt that cannot be shown is no reason to stop.
            let _ = std::io::stdout().flush();
        }
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::Failed(format!("standard input: {error}")))? == 0 {
            return Ok(());
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        producer.add(cluster, (topic, None), reader.record(number, text)?).await?;
        if !input.buffer().contains(&b'\n') {
            producer.flush(cluster).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(line: &str) -> Reader {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Reader::new(&Options::parse(&SPEC, &words).unwrap()).unwrap()
    }

    #[test]
    fn headers_key_and_value_are_parted() {
        let reader = reader("--property parse.key=true --reader-property parse.headers=true");
        let record = reader.record(1, b"h:1,g:2\tk\tv\tw").unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"v\tw"[..]));
        assert_eq!(record.headers.len(), 2);
        let error = reader.record(2, b"h:1\tnokey").unwrap_err().to_string();
        assert!(error.ends_with("No key separator found on line number 2: 'nokey'"), "{error}");
    }

    #[test]
    fn the_marker_stands_for_null() {
        let reader = reader("--property parse.key=true --property null.marker=NIL");
        let record = reader.record(1, b"NIL\tNIL").unwrap();
        assert_eq!((record.key, record.value), (None, None));
    }
}
