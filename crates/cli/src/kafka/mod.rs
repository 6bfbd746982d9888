//! Kafka's own tools by their names: their usual arguments, what scripts read from their output, and
//! their exit codes.
//!
//! Chosen by the name of the program (a link called `kafka-topics` or `kafka-topics.sh`), or as the
//! first argument: `ottla kafka-topics ...`. Arguments that only tune a JVM client are taken and have no
//! effect; those that would change what happens and are not there are refused.

mod api_versions;
mod cluster;
mod configs;
mod console_consumer;
mod console_producer;
mod error;
mod groups;
mod options;
mod properties;
mod quotas;
mod scram;
mod storage;
mod topics;

use std::time::Duration;

use crate::client::{Cluster, Target};
use crate::failure::{Failure, Outcome};
use crate::kafka::options::Options;
use crate::output::{Format, Out};
use crate::tool::block_on;

/// What a JVM client gives a request before it gives up: `default.api.timeout.ms`.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A tool: its name and what it does with its arguments.
type Tool = (&'static str, fn(&[String]) -> u8);

/// The tools, by name.
pub(crate) const TOOLS: [Tool; 8] = [
    ("kafka-broker-api-versions", api_versions::main),
    ("kafka-cluster", cluster::main),
    ("kafka-configs", configs::main),
    ("kafka-console-consumer", console_consumer::main),
    ("kafka-console-producer", console_producer::main),
    ("kafka-consumer-groups", groups::main),
    ("kafka-storage", storage::main),
    ("kafka-topics", topics::main),
];

/// The exit code of the tool that the arguments call, if they do.
pub(crate) fn run(arguments: &[String]) -> Option<u8> {
    let (program, rest) = arguments.split_first()?;
    if let Some(tool) = find(program) {
        return Some(tool(rest));
    }
    let (first, rest) = rest.split_first()?;
    Some(find(first)?(rest))
}

fn find(name: &str) -> Option<fn(&[String]) -> u8> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.strip_suffix(".sh").unwrap_or(name);
    TOOLS.iter().find(|(tool, _)| *tool == name).map(|(_, run)| *run)
}

/// Where `--bootstrap-server` points, with what `--command-config` says.
fn target(options: &Options) -> Outcome<Target> {
    let list = options.value("bootstrap-server").unwrap_or_default();
    if let Some(path) = options.value("command-config") {
        properties::check_client(path)?;
    }
    let millis = options.value("timeout").and_then(|text| text.parse().ok());
    let timeout = millis.map_or(TIMEOUT, Duration::from_millis);
    Target::parse(list, timeout).map_err(Failure::Usage)
}

/// Connects and works.
fn with_cluster(
    options: &Options,
    work: impl AsyncFnOnce(&mut Cluster, &mut Out) -> Outcome,
) -> Outcome {
    let target = target(options)?;
    let mut out = Out::new(Format::Table);
    block_on(async {
        let mut cluster = Cluster::connect(target).await?;
        let done = work(&mut cluster, &mut out).await;
        out.flush()?;
        done
    })?
}

/// Parses the arguments; usage errors, `--help` and `--version` end here, with an exit code.
fn parse(spec: &options::Spec, arguments: &[String]) -> Result<Options, u8> {
    let options = Options::parse(spec, arguments).map_err(|error| usage(spec, &error))?;
    if options.has("help") {
        println!("{}", spec.help());
        return Err(0);
    }
    if options.has("version") {
        println!("{} (ottla {})", KAFKA_VERSION, env!("CARGO_PKG_VERSION"));
        return Err(0);
    }
    Ok(options)
}

/// The Kafka release whose tools these are like.
const KAFKA_VERSION: &str = "4.4.0";

/// Tells a usage error. Kafka's tools exit with 1 then.
fn usage(spec: &options::Spec, error: &str) -> u8 {
    eprintln!("{error}\n{}", spec.help());
    1
}

/// The exit code of what was done, after the failure was told on standard error.
fn exit(done: Outcome) -> u8 {
    match done {
        Ok(()) | Err(Failure::OutputClosed) => 0,
        Err(failure @ Failure::Signal(_)) => failure.exit_code(),
        Err(failure) => {
            eprintln!("{}", error::with_class(&failure));
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_called_by_a_link_or_as_the_first_argument() {
        for name in ["kafka-topics", "/usr/bin/kafka-topics", "./kafka-topics.sh"] {
            assert!(find(name).is_some(), "{name}");
        }
        assert!(find("kafka-topicss").is_none());
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(run(&words(&["ottla", "kafka-topics", "--version"])), Some(0));
        assert_eq!(run(&words(&["kafka-topics.sh", "--version"])), Some(0));
        assert_eq!(run(&words(&["ottla", "topic"])), None);
        assert_eq!(run(&words(&["ottla"])), None);
    }
}
