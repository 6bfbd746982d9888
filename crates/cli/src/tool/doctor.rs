//! `ottla doctor`: looks for what keeps clients, disks or limits from working.

mod local;
mod network;

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::{Common, block_on};
use crate::args::ConfigArgs;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Out, table};

pub(crate) const EXAMPLES: &str = "It dials the brokers and every address that they advertise. Of this machine it looks at memory,
open files and the clock, and at the data directories that --config, --data-dir or a node without
configuration use: whether they can be written to, how full they are, how long an fsync takes (a
few small files are written and removed).

Exit code 1 if a check failed; warnings do not count. Examples:
  ottla doctor
  ottla doctor -b broker-1:9092
  ottla doctor --config /etc/kafka/server.properties";

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this machine; no broker is dialled
    #[arg(long)]
    local: bool,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
        }
    }
}

/// One check.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    /// What was found.
    found: String,
    /// What to do about it.
    advice: Option<&'static str>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, check, found: found.into(), advice: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { verdict: Verdict::Warning, check, found: found.into(), advice: Some(advice) }
    }

    fn failed(check: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { verdict: Verdict::Failed, check, found: found.into(), advice: Some(advice) }
    }

    fn value(&self) -> Value {
        json!({
            "result": self.verdict.word(),
            "check": self.check,
            "found": self.found,
            "advice": self.advice,
        })
    }
}

pub(crate) fn run(args: &DoctorArgs) -> Outcome {
    let mut out = Out::new(args.common.output);
    let mut findings = Vec::new();
    if !args.local {
        let target = args.common.target()?;
        findings.extend(block_on(network::look(target))?);
    }
    findings.extend(local::look(&directories(&args.config)?));
    show(&findings, &mut out)?;
    out.flush()?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} check(s) failed"))),
    }
}

/// The data directories of the node that the configuration describes. A machine without one has none.
fn directories(config: &ConfigArgs) -> Outcome<Vec<PathBuf>> {
    let loaded = config.options().load().map_err(|error| Failure::Failed(error.to_string()))?;
    let dirs = loaded.config.log_dirs().iter().map(PathBuf::from);
    let named = config.names_directory();
    Ok(dirs.filter(|dir| named || dir.exists()).collect())
}

fn show(findings: &[Finding], out: &mut Out) -> Outcome {
    let rows: Vec<_> = findings.iter().map(Finding::value).collect();
    if out.format != Format::Table {
        return out.report(&Value::Array(rows), String::new);
    }
    out.text(&table(&["result", "check", "found"], &rows))?;
    let advised: Vec<_> = findings
        .iter()
        .filter_map(|finding| Some(format!("{}: {}", finding.check, finding.advice?)))
        .collect();
    if advised.is_empty() {
        return out.line("\nEverything is well.");
    }
    out.line("")?;
    advised.iter().try_for_each(|line| out.line(line))
}
