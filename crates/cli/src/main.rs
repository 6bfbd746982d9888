//! The `ottla` binary: starts a broker, and is the tool for people.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 70 a defect of the program, 130 and 143 stopped at
//! once by SIGINT and SIGTERM.
#![allow(clippy::disallowed_methods, reason = "a command reads clocks and files")]

mod args;
mod health;
mod storage;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let started = Instant::now();
    let done = match Args::parse().command {
        Command::Start(args) => ottla_server::run(&args.options(), started).map_err(text),
        Command::Storage(command) => storage::run(command),
        Command::Health(args) => health::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("ottla: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// An error as one sentence.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
