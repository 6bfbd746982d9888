//! `ottla-bench`: what a transaction costs a broker, beside another broker in the same run.
//!
//! One producer commits small transactions as fast as it is answered, or on a clock. The broker is
//! judged by the CPU seconds of its processes per committed transaction and by the time between
//! EndTxn and its answer; with `--versus` two brokers take turns, so that a noisy machine disturbs
//! both alike.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks and /proc")]

mod call;
mod meter;
mod producer;
mod report;
mod txn;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::report::Figures;
use crate::txn::{Cadence, Plan};

#[derive(Debug, Parser)]
#[command(name = "ottla-bench", about = "Measures Kafka-compatible brokers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Transactions: CPU per commit, latency of a commit.
    Txn(TxnArgs),
}

#[derive(Debug, Args)]
struct TxnArgs {
    /// Address of the broker, HOST:PORT.
    #[arg(long)]
    broker: String,
    /// Its process ids, with commas; without them CPU is not measured.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Address of the broker to compare with.
    #[arg(long)]
    versus: Option<String>,
    /// The process ids of that one.
    #[arg(long, value_delimiter = ',')]
    versus_pid: Vec<u32>,
    /// Rounds, in each of which every broker has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of one turn, after a second that is not counted.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Partitions that a transaction writes to.
    #[arg(long, default_value_t = 3)]
    partitions: i32,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
}

fn main() -> ExitCode {
    let Command::Txn(args) = Cli::parse().command;
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &TxnArgs) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let mut sides = vec![("broker", &args.broker, &args.pid)];
    sides.extend(args.versus.as_ref().map(|address| ("versus", address, &args.versus_pid)));
    for cadence in [Cadence::Records(100), Cadence::Millis(10)] {
        let mut rows: Vec<(&str, Vec<Figures>)> =
            sides.iter().map(|(name, ..)| (*name, Vec::new())).collect();
        for round in 0..args.rounds {
            for ((name, address, pids), (_, figures)) in sides.iter().zip(&mut rows) {
                let plan = Plan {
                    address,
                    pids,
                    cadence,
                    seconds: args.seconds,
                    partitions: args.partitions,
                    record_bytes: args.record_bytes,
                };
                let taken = runtime
                    .block_on(txn::run(&plan))
                    .map_err(|error| format!("{name} {address}: {error}"))?;
                println!("round {} {cadence} {name}: {taken}", round + 1);
                figures.push(taken);
            }
        }
        print!("{}", report::table(&cadence.to_string(), &rows));
    }
    Ok(())
}
