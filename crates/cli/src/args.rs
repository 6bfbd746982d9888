//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use ottla_server::Options;

use crate::tool::cluster::ClusterArgs;
use crate::tool::config::ConfigArgs as ConfigurationArgs;
use crate::tool::doctor::{self, DoctorArgs};
use crate::tool::group::GroupArgs;
use crate::tool::log::LogArgs;
use crate::tool::quota::QuotaArgs;
use crate::tool::topic::TopicArgs;
use crate::tool::txn::TxnArgs;

/// The help of the whole command, by what people come for. A test compares it with the commands.
const HELP: &str = "\
A Kafka broker in one binary, and the command for people.

Usage: ottla <COMMAND>

Run a node:
  start        Start a broker; it runs until SIGTERM or SIGINT
  storage      Format data directories and show what they are
  health       Ask a broker whether it serves: ApiVersions and Metadata
  doctor       Look for what keeps clients, disks or limits from working

Work with a cluster, this or any other that speaks Kafka's protocol:
  topic        Topics: list, create, describe, alter, delete, produce, consume, tail
  group        Consumer groups: list, describe, lag, reset, delete
  config       Settings of topics, brokers, groups and client metrics
  quota        Quotas of users, client ids and addresses
  txn          Transactions: list, describe, producers, abort
  cluster      The cluster: info, health

Besides:
  log          Look into the files of a data directory
  completions  Print a script that completes commands in a shell
  kafka-topics, kafka-consumer-groups, kafka-configs, kafka-console-producer,
  kafka-console-consumer, kafka-storage, kafka-broker-api-versions, kafka-cluster
               Kafka's own tools, also by links with these names

Options:
  -h, --help     Print help; `ottla COMMAND --help` tells more
  -V, --version  Print the version

Everywhere: -b HOST:PORT (or OTTLA_BROKERS) says which cluster, -o json or yaml is for programs.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no broker reached, 4 what was named is not there; one
sentence on standard error says why.
";

/// A Kafka broker in one binary.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, about, override_help = HELP, subcommand_required = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker; it runs until SIGTERM or SIGINT
    ///
    /// Without --config this is a cluster of one node on port 9092 that keeps its data in
    /// $XDG_DATA_HOME/ottla, else ~/.local/share/ottla, formatted at the first start. With --config
    /// the directories must have been formatted with `ottla storage format`, unless --format is
    /// given.
    #[command(after_help = START_EXAMPLES)]
    Start(StartArgs),
    /// Format data directories and show what they are
    #[command(subcommand, arg_required_else_help = true)]
    Storage(StorageCommand),
    /// Ask a broker whether it serves: ApiVersions and Metadata
    ///
    /// Prints one line. For health checks of containers.
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(HealthArgs),
    /// Look for what keeps clients, disks or limits from working
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),
    /// Topics: list, create, describe, alter, delete, produce, consume, tail
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Topic(TopicArgs),
    /// Consumer groups: list, describe, lag, reset, delete
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Group(GroupArgs),
    /// Settings of topics, brokers, groups and client metrics
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Config(ConfigurationArgs),
    /// Quotas of users, client ids and addresses
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Quota(QuotaArgs),
    /// Transactions: list, describe, producers, abort
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Txn(TxnArgs),
    /// The cluster: info, health
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Cluster(ClusterArgs),
    /// Look into the files of a data directory
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Log(LogArgs),
    /// Print a script that completes commands in a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

const COMPLETION_EXAMPLES: &str = "Examples:
  source <(ottla completions bash)
  ottla completions zsh > ~/.zfunc/_ottla
  ottla completions fish > ~/.config/fish/completions/ottla.fish";

const START_EXAMPLES: &str = "Examples:
  ottla start
  ottla start --data-dir /tmp/ottla --set num.partitions=3
  ottla start --config /etc/kafka/server.properties

The first SIGTERM or SIGINT stops in order (exit code 0), a second one at once (143, 130).";

const HEALTH_EXAMPLES: &str = "Examples:
  ottla health
  ottla health -b broker-1:9092

Exit codes: 0 it serves, 1 it does not, 2 wrong usage.";

const FORMAT_EXAMPLES: &str = "Examples:
  ottla storage format --standalone --config server.properties
  ottla storage format --cluster-id \"$(ottla storage random-uuid)\" --config server.properties
  ottla storage format --standalone --config server.properties --release-version 4.3";

/// Where the configuration comes from.
#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigArgs {
    /// The configuration, a server.properties as Kafka's
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that wins over the file; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    overrides: Vec<(String, String)>,
    /// The data directory; wins over log.dirs
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Format directories that are not formatted, as a single node
    #[arg(long)]
    format: bool,
    /// Write the log as JSON, one object per line (ottla.log.format)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Give the data directories of a node their identity, once
    #[command(after_help = FORMAT_EXAMPLES)]
    Format(FormatArgs),
    /// Show the identity of the data directories
    Info(ConfigArgs),
    /// Print a random id, for --cluster-id
    RandomUuid,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FormatArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The cluster's id, the same on all its nodes; a random one if it is not given
    #[arg(short = 't', long, value_name = "ID")]
    pub(crate) cluster_id: Option<String>,
    /// This node is the first controller of its cluster, the only voter until others are added
    #[arg(short, long)]
    pub(crate) standalone: bool,
    /// Leave directories as they are that are formatted
    #[arg(short = 'g', long)]
    pub(crate) ignore_formatted: bool,
    /// The metadata version to begin with, such as 4.3; the latest if it is not given
    #[arg(short, long, value_name = "VERSION")]
    pub(crate) release_version: Option<String>,
    /// The level of a feature to begin with; may be repeated
    #[arg(short, long = "feature", value_name = "NAME=LEVEL", value_parser = setting)]
    pub(crate) features: Vec<(String, String)>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HealthArgs {
    /// The broker
    #[arg(
        short,
        long,
        value_name = "HOST:PORT",
        default_value = "localhost:9092",
        env = "OTTLA_BROKERS",
        alias = "bootstrap-server"
    )]
    pub(crate) brokers: String,
    /// How long it may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub(crate) timeout_ms: u64,
}

impl StartArgs {
    pub(crate) fn options(self) -> Options {
        let mut options = self.config.options();
        options.format = self.format;
        if self.json {
            options.overrides.push(("ottla.log.format".to_owned(), "json".to_owned()));
        }
        options
    }
}

impl ConfigArgs {
    /// Whether the command line says which directories there are.
    pub(crate) fn names_directory(&self) -> bool {
        let keys = ["log.dirs", "log.dir"];
        self.config.is_some()
            || self.data_dir.is_some()
            || self.overrides.iter().any(|(key, _)| keys.contains(&key.as_str()))
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            config: self.config.clone(),
            overrides: self.overrides.clone(),
            data_dir: self.data_dir.clone(),
            format: false,
        }
    }
}

impl FormatArgs {
    pub(crate) fn options(&self) -> Options {
        self.config.options()
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = ottla_config::parse_override(text).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_shows_every_command_with_its_words_and_every_tool() {
        use clap::CommandFactory;
        for command in Args::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let line = format!("\n  {:<11}  {about}\n", command.get_name());
            assert!(HELP.contains(&line), "{line}");
        }
        for (tool, _) in crate::kafka::TOOLS {
            assert!(HELP.contains(tool), "{tool}");
        }
    }

    #[test]
    fn settings_and_the_data_directory_reach_the_options() {
        let args = ["ottla", "start", "--set", "a=b=c", "--data-dir", "/d", "--json"];
        let Command::Start(start) = Args::try_parse_from(args).unwrap().command else { panic!() };
        let options = start.options();
        assert_eq!(options.data_dir, Some("/d".into()));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(options.overrides, [pair("a", "b=c"), pair("ottla.log.format", "json")]);
        assert!(Args::try_parse_from(["ottla", "start", "--set", "a"]).is_err());
    }
}
