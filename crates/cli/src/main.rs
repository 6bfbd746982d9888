//! The `ottla` binary: starts a broker, and is the command for people.
//!
//! Exit codes are in docs/COMMAND.md: 0 done, 1 failed, 2 wrong usage, 3 no broker reached, 4 not
//! there, 70 a defect of the program, 128 and a signal's number when one ended it.
#![allow(clippy::disallowed_methods, reason = "a command reads clocks and files")]

mod args;
mod client;
mod failure;
mod health;
mod kafka;
mod output;
mod progress;
mod record;
mod storage;
mod time;
mod tool;

use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};
use crate::failure::{Failure, Outcome};

fn main() -> ExitCode {
    let started = Instant::now();
    let arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    if let Some(code) = kafka::run(&arguments) {
        return ExitCode::from(code);
    }
    match run(Args::parse().command, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::OutputClosed | Failure::Signal(_)) {
                eprintln!("ottla: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command, started: Instant) -> Outcome {
    match command {
        Command::Start(args) => ottla_server::run(&args.options(), started).map_err(failed),
        Command::Storage(command) => storage::run(command).map_err(Failure::Failed),
        Command::Health(args) => health::run(&args),
        Command::Doctor(args) => tool::doctor::run(&args),
        Command::Topic(args) => tool::topic::run(args),
        Command::Group(args) => tool::group::run(args),
        Command::Config(args) => tool::config::run(args),
        Command::Quota(args) => tool::quota::run(args),
        Command::Txn(args) => tool::txn::run(args),
        Command::Cluster(args) => tool::cluster::run(args),
        Command::Log(args) => tool::log::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "ottla", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

/// An error as one sentence.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
