//! `ottla topic produce`.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, IsTerminal, Read};

use clap::ValueEnum;
use ottla_protocol::ids::{Offset, Timestamp};
use ottla_protocol::records::{Compression, Record, RecordHeader};
use serde_json::json;

use crate::client::Cluster;
use crate::client::produce::{Produce, Producer};
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::progress::Progress;
use crate::record::{Line, from_json};
use crate::time::now_millis;
use crate::tool::pair;

pub(crate) const EXAMPLES: &str = "Examples:
  ottla topic produce orders hello world          two records
  ottla topic produce orders -k 42 -H kind=new '{\"id\":42}'
  ottla topic produce orders < lines.txt          a record a line
  ottla topic produce orders -s : < pairs.txt     KEY:VALUE a line
  ottla topic consume a -o json | ottla topic produce b -i json

A line of JSON is an object with key, value, headers, timestamp and partition, all optional; bytes
that are no text are written {\"base64\": \"...\"}.";

/// A line longer than this is refused: no broker takes it.
const LINE_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Values to write; without any, standard input is read
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// The form of standard input
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    input: Input,
    /// The key of every record
    #[arg(short, long)]
    key: Option<String>,
    /// In text: what separates key and value of a line
    #[arg(short = 's', long, value_name = "TEXT", conflicts_with = "key")]
    key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// The partition; without it the key's hash decides, and without a key it changes by batch
    #[arg(short, long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t, value_name = "CODEC")]
    compression: Codec,
    /// Who must have a record before it counts: all in-sync replicas, the leader, or nobody
    #[arg(long, value_enum, default_value_t, value_name = "WHO")]
    acks: Acks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Input {
    /// A value a line
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// A codec by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Acks {
    #[default]
    All,
    #[value(name = "1")]
    Leader,
    #[value(name = "0")]
    Nobody,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    cluster.topic(&args.topic).await?;
    let acks = match args.acks {
        Acks::All => -1,
        Acks::Leader => 1,
        Acks::Nobody => 0,
    };
    let how = Produce { compression: args.compression.into(), acks };
    let mut producer = Producer::new(cluster, how).await?;
    let added = read(args, cluster, &mut producer).await;
    // What stands before a wrong line is written all the same.
    producer.flush(cluster).await.and(added)?;
    let sent = producer.sent;
    let value = json!({"topic": args.topic, "records": sent});
    out.report(&value, || format!("{sent} record(s) written to {}.", args.topic))
}

/// Adds what the command line or standard input holds.
async fn read(args: &Args, cluster: &mut Cluster, producer: &mut Producer) -> Outcome {
    if args.values.is_empty() {
        return lines(args, cluster, producer).await;
    }
    for value in &args.values {
        add(args, cluster, producer, args.text(value.as_bytes())?).await?;
    }
    Ok(())
}

/// Reads standard input. What is there is sent before more is waited for.
async fn lines(args: &Args, cluster: &mut Cluster, producer: &mut Producer) -> Outcome {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("ottla: a record a line; Ctrl-D ends");
    }
    let mut input = BufReader::with_capacity(1 << 20, stdin.lock());
    let mut progress = Progress::of_input();
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(|error| Failure::Failed(format!("standard input: {error}")))?;
        if read == 0 {
            progress.finish();
            return Ok(());
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let wrong = |why: String| Failure::Failed(format!("line {number}: {why}"));
        let parsed = match args.input {
            Input::Text => args.text(text)?,
            Input::Json if text.is_empty() => continue,
            Input::Json => {
                let text = std::str::from_utf8(text).map_err(|error| wrong(error.to_string()))?;
                args.json(from_json(text).map_err(wrong)?)
            }
        };
        add(args, cluster, producer, parsed).await?;
        if !input.buffer().contains(&b'\n') {
            producer.flush(cluster).await?;
        }
        progress.add(read as u64);
    }
}

async fn add(args: &Args, cluster: &mut Cluster, producer: &mut Producer, line: Line) -> Outcome {
    producer.add(cluster, (&args.topic, line.partition), line.record).await
}

impl Args {
    /// A record from a line of text.
    fn text(&self, line: &[u8]) -> Outcome<Line> {
        let (key, value) = match &self.key_separator {
            None => (self.key.as_ref().map(|key| key.as_bytes()), line),
            Some(separator) => {
                let at = find(line, separator.as_bytes()).ok_or_else(|| {
                    let line = String::from_utf8_lossy(line);
                    Failure::Failed(format!("there is no {separator:?} in the line {line:?}"))
                })?;
                let (key, rest) = line.split_at(at);
                (Some(key), rest.get(separator.len()..).unwrap_or_default())
            }
        };
        let owned = |bytes: &[u8]| Cow::Owned(bytes.to_vec());
        let record = Record {
            offset: Offset::ZERO,
            timestamp: Timestamp(now_millis()),
            key: key.map(owned),
            value: Some(owned(value)),
            headers: self.headers(),
        };
        Ok(Line { partition: self.partition, record, timed: true })
    }

    /// A record from a line of JSON, with what the command line adds.
    fn json(&self, mut line: Line) -> Line {
        if !line.timed {
            line.record.timestamp = Timestamp(now_millis());
        }
        if let Some(key) = &self.key {
            line.record.key = Some(Cow::Owned(key.clone().into_bytes()));
        }
        line.partition = self.partition.or(line.partition);
        line.record.headers.extend(self.headers());
        line
    }

    fn headers(&self) -> Vec<RecordHeader<'static>> {
        let header = |(name, value): &(String, String)| RecordHeader {
            key: Cow::Owned(name.clone().into_bytes()),
            value: Some(Cow::Owned(value.clone().into_bytes())),
        };
        self.headers.iter().map(header).collect()
    }
}

/// Where `part` begins in `whole`.
pub(crate) fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    whole.windows(part.len()).position(|window| window == part)
}
