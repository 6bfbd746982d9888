//! `ottla group`.

mod delete;
mod describe;
mod lag;
mod list;
pub(crate) mod reset;

use clap::{Args as ClapArgs, Subcommand};

use super::{Common, run as with_cluster};
use crate::failure::Outcome;

pub(crate) use lag::{Row as LagRow, rows as lag_rows};

#[derive(Debug, ClapArgs)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List groups
    List(list::Args),
    /// Show a group's state and members
    Describe(describe::Args),
    /// Show how far a group is behind, by partition
    #[command(after_help = lag::EXAMPLES)]
    Lag(lag::Args),
    /// Move what a group has committed
    #[command(after_help = reset::EXAMPLES)]
    Reset(reset::Args),
    /// Delete groups, or some of their offsets
    Delete(delete::Args),
}

pub(crate) fn run(args: GroupArgs) -> Outcome {
    with_cluster(&args.common, async |cluster, out| match args.command {
        Command::List(args) => list::run(&args, cluster, out).await,
        Command::Describe(args) => describe::run(&args, cluster, out).await,
        Command::Lag(args) => lag::run(&args, cluster, out).await,
        Command::Reset(args) => reset::run(&args, cluster, out).await,
        Command::Delete(args) => delete::run(&args, cluster, out).await,
    })
}

/// The failure for a group that is not there.
pub(crate) fn no_group(name: &str) -> crate::failure::Failure {
    crate::failure::Failure::NotFound(format!(
        "there is no group {name}; `ottla group list` shows what there is"
    ))
}
