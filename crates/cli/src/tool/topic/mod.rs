//! `ottla topic`.

mod alter;
mod consume;
mod create;
mod delete;
mod describe;
mod list;
mod produce;

use clap::{Args as ClapArgs, Subcommand};

use super::{Common, run as with_cluster};
use crate::failure::Outcome;

pub(crate) use alter::add_partitions;
pub(crate) use consume::{Reading, Start, Stop, read_topics};
pub(crate) use create::{NewTopic, create as create_topic};
pub(crate) use delete::delete as delete_topics;
pub(crate) use describe::{Elr, elr};
pub(crate) use list::whole;
pub(crate) use produce::find;

#[derive(Debug, ClapArgs)]
pub(crate) struct TopicArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List topics
    List(list::Args),
    /// Create a topic
    #[command(after_help = create::EXAMPLES)]
    Create(create::Args),
    /// Show topics with their partitions and settings
    Describe(describe::Args),
    /// Add partitions, change settings
    #[command(after_help = alter::EXAMPLES)]
    Alter(alter::Args),
    /// Delete topics with their records
    Delete(delete::Args),
    /// Write records from arguments or standard input
    #[command(after_help = produce::EXAMPLES)]
    Produce(produce::Args),
    /// Print records, up to the ends found at the start
    #[command(after_help = consume::EXAMPLES)]
    Consume(consume::Args),
    /// Print the latest records and follow
    Tail(consume::TailArgs),
}

pub(crate) fn run(args: TopicArgs) -> Outcome {
    with_cluster(&args.common, async |cluster, out| match args.command {
        Command::List(args) => list::run(&args, cluster, out).await,
        Command::Create(args) => create::run(&args, cluster, out).await,
        Command::Describe(args) => describe::run(&args, cluster, out).await,
        Command::Alter(args) => alter::run(&args, cluster, out).await,
        Command::Delete(args) => delete::run(&args, cluster, out).await,
        Command::Produce(args) => produce::run(&args, cluster, out).await,
        Command::Consume(args) => consume::run(args, cluster, out).await,
        Command::Tail(args) => consume::tail(args, cluster, out).await,
    })
}
