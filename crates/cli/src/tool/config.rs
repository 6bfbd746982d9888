//! `ottla config`, and configuration for the other commands.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use serde_json::{Value, json};

use super::{Common, pair, run as with_cluster};
use crate::client::Cluster;
use crate::failure::{Failure, Outcome, check};
use crate::output::Out;

const EXAMPLES: &str = "Examples:
  ottla config list topic orders              what is set on the topic
  ottla config list topic orders --all        with every default
  ottla config list broker 1
  ottla config get topic orders retention.ms
  ottla config set topic orders retention.ms=86400000 cleanup.policy=compact,delete
  ottla config set broker default log.cleaner.threads=2
  ottla config unset topic orders retention.ms
  ottla config list client-metrics            the names there are";

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show settings: what was set, or everything
    List {
        /// Of what
        #[arg(value_enum, value_name = "TYPE")]
        kind: Kind,
        /// Its name; without it, the names there are
        name: Option<String>,
        /// Defaults, too
        #[arg(short, long)]
        all: bool,
        /// What each setting means
        #[arg(short, long)]
        doc: bool,
    },
    /// Show the values of some settings
    Get {
        /// Of what
        #[arg(value_enum, value_name = "TYPE")]
        kind: Kind,
        /// Its name
        name: String,
        /// The settings
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Set settings
    Set {
        /// Of what
        #[arg(value_enum, value_name = "TYPE")]
        kind: Kind,
        /// Its name
        name: String,
        /// The settings
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        settings: Vec<(String, String)>,
    },
    /// Return settings to their defaults
    Unset {
        /// Of what
        #[arg(value_enum, value_name = "TYPE")]
        kind: Kind,
        /// Its name
        name: String,
        /// The settings
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

/// What has settings, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A topic
    Topic = 2,
    /// A broker by its id, or all of them by the name "default"
    Broker = 4,
    /// What a broker logs, by its id
    BrokerLogger = 8,
    /// A metrics subscription (KIP-714)
    ClientMetrics = 16,
    /// A group
    Group = 32,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::BrokerLogger => "loggers of broker",
            Self::ClientMetrics => "client metrics",
            Self::Group => "group",
        }
    }
}

/// One thing that has settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    /// Empty for the defaults of all brokers.
    pub(crate) name: String,
}

impl Resource {
    pub(crate) fn topic(name: &str) -> Self {
        Self { kind: Kind::Topic, name: name.to_owned() }
    }

    fn named(kind: Kind, name: &str) -> Self {
        let default = kind == Kind::Broker && name == "default";
        Self { kind, name: if default { String::new() } else { name.to_owned() } }
    }

    /// The broker that knows: a broker answers for itself.
    fn broker(&self) -> Option<i32> {
        match self.kind {
            Kind::Broker | Kind::BrokerLogger => self.name.parse().ok(),
            _ => None,
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.name.is_empty() { "default" } else { &self.name };
        write!(f, "{} {name}", self.kind.word())
    }
}

/// A change of one setting, by its operation on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set(String, String),
    Unset(String),
}

/// The source of a setting that nobody set.
const DEFAULT_CONFIG: i8 = 5;

/// The settings of one resource.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) entries: Vec<Entry>,
}

/// One setting.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// `None` for a secret.
    pub(crate) value: Option<String>,
    pub(crate) source: i8,
    pub(crate) read_only: bool,
    pub(crate) sensitive: bool,
    /// Where the value could come from, by precedence: source, name, value.
    pub(crate) synonyms: Vec<(i8, String, Option<String>)>,
    doc: Option<String>,
}

impl Entry {
    /// Whether nobody set it anywhere.
    pub(crate) const fn is_default(&self) -> bool {
        self.source == DEFAULT_CONFIG
    }

    /// Whether it was set for this resource, a broker's in its file or for all brokers included.
    pub(crate) const fn is_set(&self, kind: Kind) -> bool {
        match kind {
            Kind::Broker => !self.is_default(),
            _ => matches!(self.source, 1 | 6 | 7 | 8),
        }
    }

    /// Kafka's name of a source.
    pub(crate) const fn source_name(source: i8) -> &'static str {
        match source {
            1 => "DYNAMIC_TOPIC_CONFIG",
            2 => "DYNAMIC_BROKER_CONFIG",
            3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            4 => "STATIC_BROKER_CONFIG",
            5 => "DEFAULT_CONFIG",
            6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
            7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
            8 => "DYNAMIC_GROUP_CONFIG",
            _ => "UNKNOWN",
        }
    }

    fn row(&self) -> Value {
        let source = match self.source {
            1 | 7 | 8 => "set",
            2 | 6 => "set on this broker",
            3 => "set for all brokers",
            4 => "server.properties",
            5 => "default",
            _ => "unknown",
        };
        let mut row = json!({
            "key": self.name,
            "value": if self.sensitive { Some("(secret)") } else { self.value.as_deref() },
            "source": source,
            "read_only": self.read_only,
        });
        if let (Some(doc), Some(members)) = (&self.doc, row.as_object_mut()) {
            members.insert("doc".into(), doc.as_str().into());
        }
        row
    }
}

pub(crate) fn run(args: ConfigArgs) -> Outcome {
    with_cluster(&args.common, async |cluster, out| match args.command {
        Command::List { kind, name: None, .. } => names_of(kind, cluster, out).await,
        Command::List { kind, name: Some(name), all, doc } => {
            let resource = Resource::named(kind, &name);
            let described = describe(cluster, &resource, doc).await?;
            let wanted = |entry: &&Entry| all || entry.is_set(kind);
            let rows: Vec<_> = described.entries.iter().filter(wanted).map(Entry::row).collect();
            if doc {
                out.rows(&["key", "value", "source", "read_only", "doc"], rows)
            } else {
                out.rows(&["key", "value", "source", "read_only"], rows)
            }
        }
        Command::Get { kind, name, keys } => get((kind, &name), &keys, cluster, out).await,
        Command::Set { kind, name, settings } => {
            let changes: Vec<_> =
                settings.into_iter().map(|(key, value)| Change::Set(key, value)).collect();
            change((kind, &name), &changes, cluster, out).await
        }
        Command::Unset { kind, name, keys } => {
            let changes: Vec<_> = keys.into_iter().map(Change::Unset).collect();
            change((kind, &name), &changes, cluster, out).await
        }
    })
}

async fn get(
    (kind, name): (Kind, &str),
    keys: &[String],
    cluster: &mut Cluster,
    out: &mut Out,
) -> Outcome {
    let resource = Resource::named(kind, name);
    let described = describe(cluster, &resource, false).await?;
    let mut rows = Vec::new();
    for key in keys {
        let entry = described.entries.iter().find(|entry| entry.name == *key);
        let entry = entry.ok_or_else(|| {
            Failure::NotFound(format!(
                "{resource} has no setting {key}; `ottla config list --all` shows what there is"
            ))
        })?;
        rows.push(entry.row());
    }
    out.rows(&["key", "value", "source", "read_only"], rows)
}

async fn change(
    (kind, name): (Kind, &str),
    changes: &[Change],
    cluster: &mut Cluster,
    out: &mut Out,
) -> Outcome {
    let resource = Resource::named(kind, name);
    if resource.kind == Kind::Topic {
        // The error of this says what there is; a broker's does not.
        cluster.topic(name).await?;
    }
    alter(cluster, &resource, changes).await?;
    let value = json!({"type": kind.word(), "name": name, "settings": changes.len()});
    out.report(&value, || format!("{} setting(s) of {resource} changed.", changes.len()))
}

async fn names_of(kind: Kind, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let rows = names(cluster, kind).await?.into_iter().map(|name| json!({"name": name}));
    out.rows(&["name"], rows.collect())
}

/// The names of what has, or may have, settings.
pub(crate) async fn names(cluster: &mut Cluster, kind: Kind) -> Outcome<Vec<String>> {
    if kind == Kind::Topic {
        let topics = cluster.all_topics().await?;
        let names = topics.iter().filter_map(|topic| topic.name.as_ref());
        return Ok(names.map(ToString::to_string).collect());
    }
    if matches!(kind, Kind::Broker | Kind::BrokerLogger) {
        return Ok(cluster.nodes.keys().map(ToString::to_string).collect());
    }
    let number = kind as i8;
    // Version 0 knows client metrics only, and takes no types.
    let older = number == Kind::ClientMetrics as i8;
    let types = if older { Vec::new() } else { vec![number] };
    let request = ListConfigResourcesRequest { resource_types: types, ..Default::default() };
    let answer = cluster.any_max(&request, if older { 0 } else { i16::MAX }).await?;
    check("ListConfigResources", answer.error_code, None)?;
    let of_kind = answer.config_resources.iter().filter(|found| found.resource_type == number);
    Ok(of_kind.map(|found| found.resource_name.to_string()).collect())
}

/// The settings of one resource.
pub(crate) async fn describe(
    cluster: &mut Cluster,
    resource: &Resource,
    doc: bool,
) -> Outcome<Described> {
    let mut found = describe_many(cluster, std::slice::from_ref(resource), doc).await?;
    found.pop().ok_or_else(|| Failure::Failed(format!("the broker does not tell of {resource}")))
}

/// The settings of resources, in their order.
pub(crate) async fn describe_many(
    cluster: &mut Cluster,
    resources: &[Resource],
    doc: bool,
) -> Outcome<Vec<Described>> {
    let mut described = Vec::new();
    for resource in resources {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.kind as i8,
                resource_name: resource.name.as_str().into(),
                configuration_keys: None,
                ..Default::default()
            }],
            include_synonyms: true,
            include_documentation: doc,
            ..Default::default()
        };
        let answer = match resource.broker() {
            Some(id) => cluster.broker(id, &request, i16::MAX).await?,
            None => cluster.any(&request).await?,
        };
        for result in answer.results {
            let message = result.error_message.as_deref();
            check(format_args!("{resource}"), result.error_code, message)?;
            described.push(read(result));
        }
    }
    Ok(described)
}

fn read(result: DescribeConfigsResult) -> Described {
    let entry = |config: DescribeConfigsResourceResult| Entry {
        name: config.name.to_string(),
        value: config.value.map(|value| value.to_string()),
        source: config.config_source,
        read_only: config.read_only,
        sensitive: config.is_sensitive,
        synonyms: config
            .synonyms
            .into_iter()
            .map(|s| (s.source, s.name.to_string(), s.value.map(|value| value.to_string())))
            .collect(),
        doc: config.documentation.map(|doc| doc.to_string()),
    };
    let mut entries: Vec<_> = result.configs.into_iter().map(entry).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Described { entries }
}

/// Changes settings of one resource; all of them or none.
pub(crate) async fn alter(
    cluster: &mut Cluster,
    resource: &Resource,
    changes: &[Change],
) -> Outcome {
    let config = |change: &Change| {
        let (operation, name, value) = match change {
            Change::Set(name, value) => (0, name, Some(value)),
            Change::Unset(name) => (1, name, None),
        };
        AlterableConfig {
            name: name.as_str().into(),
            config_operation: operation,
            value: value.map(|value| value.as_str().into()),
            ..Default::default()
        }
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: resource.kind as i8,
            resource_name: resource.name.as_str().into(),
            configs: changes.iter().map(config).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = match resource.broker() {
        Some(id) => cluster.broker(id, &request, i16::MAX).await?,
        None => cluster.controller(&request, i16::MAX).await?,
    };
    for response in &answer.responses {
        let message = response.error_message.as_deref();
        check(format_args!("{resource}"), response.error_code, message)?;
    }
    Ok(())
}
