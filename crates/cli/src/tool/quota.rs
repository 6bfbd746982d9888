//! `ottla quota`, and quotas for `kafka-configs`.

use clap::{Args as ClapArgs, Subcommand};
use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};
use serde_json::{Map, Value, json};

use super::{Common, pair, run as with_cluster};
use crate::client::Cluster;
use crate::failure::{Failure, Outcome, check};
use crate::output::Out;

const EXAMPLES: &str = "Quotas: producer_byte_rate and consumer_byte_rate in bytes a second,
request_percentage of one thread, controller_mutation_rate; of an address connection_creation_rate.

The name \"default\" stands for everybody who has no quota of his own. Examples:
  ottla quota list
  ottla quota list --user alice
  ottla quota set --user alice producer_byte_rate=1048576
  ottla quota set --user default --client-id batch request_percentage=50
  ottla quota unset --user alice producer_byte_rate";

/// How a component is matched.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct QuotaArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show quotas
    List(EntityArgs),
    /// Set quotas of a user, a client id, both together, or an address
    Set {
        #[command(flatten)]
        entity: EntityArgs,
        /// The quotas
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        quotas: Vec<(String, String)>,
    },
    /// Remove quotas
    Unset {
        #[command(flatten)]
        entity: EntityArgs,
        /// The quotas
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

#[derive(Debug, ClapArgs)]
struct EntityArgs {
    /// A user
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// A client id
    #[arg(short, long, value_name = "ID")]
    client_id: Option<String>,
    /// An address
    #[arg(short, long, value_name = "ADDRESS", conflicts_with_all = ["user", "client_id"])]
    ip: Option<String>,
}

/// A part of what a quota is for: its type, and its name or `None` for the default.
pub(crate) type Component = (&'static str, Option<String>);

/// The quotas of one entity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quotas {
    pub(crate) entity: Vec<(String, Option<String>)>,
    pub(crate) values: Vec<(String, f64)>,
}

impl EntityArgs {
    fn components(&self) -> Vec<Component> {
        let parts = [("user", &self.user), ("client-id", &self.client_id), ("ip", &self.ip)];
        let part = |(kind, name): (&'static str, &Option<String>)| {
            let name = name.as_ref()?;
            Some((kind, (name != "default").then(|| name.clone())))
        };
        parts.into_iter().filter_map(part).collect()
    }

    fn required(&self) -> Outcome<Vec<Component>> {
        let components = self.components();
        if components.is_empty() {
            return Err(Failure::Usage("say whose: --user, --client-id or --ip".to_owned()));
        }
        Ok(components)
    }
}

pub(crate) fn run(args: QuotaArgs) -> Outcome {
    with_cluster(&args.common, async |cluster, out| match args.command {
        Command::List(entity) => list(&entity.components(), cluster, out).await,
        Command::Set { entity, quotas } => {
            let entity = entity.required()?;
            let mut changes = Vec::new();
            for (key, value) in quotas {
                let number = value.parse().map_err(|_| {
                    Failure::Usage(format!("{key}={value}: the value must be a number"))
                })?;
                changes.push((key, Some(number)));
            }
            alter(cluster, &entity, &changes).await?;
            done(changes.len(), out)
        }
        Command::Unset { entity, keys } => {
            let entity = entity.required()?;
            let changes: Vec<_> = keys.into_iter().map(|key| (key, None)).collect();
            alter(cluster, &entity, &changes).await?;
            done(changes.len(), out)
        }
    })
}

fn done(count: usize, out: &mut Out) -> Outcome {
    out.report(&json!({"quotas": count}), || format!("{count} quota(s) changed."))
}

async fn list(entity: &[Component], cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut rows = Vec::new();
    let filter = entity.iter().map(|(kind, name)| (*kind, Some(name.clone()))).collect::<Vec<_>>();
    for quotas in describe(cluster, &filter, false).await? {
        let name = |kind: &str| {
            let found = quotas.entity.iter().find(|(found, _)| found == kind);
            found.map(|(_, name)| name.clone().unwrap_or_else(|| "default".to_owned()))
        };
        let values: Map<String, Value> =
            quotas.values.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        rows.push(json!({
            "user": name("user"),
            "client_id": name("client-id"),
            "ip": name("ip"),
            "quotas": values,
        }));
    }
    out.rows(&["user", "client_id", "ip", "quotas"], rows)
}

/// Quotas that match: a name, `Some(None)` for the default, `None` for any.
pub(crate) async fn describe(
    cluster: &mut Cluster,
    filter: &[(&str, Option<Option<String>>)],
    strict: bool,
) -> Outcome<Vec<Quotas>> {
    let component = |(kind, name): &(&str, Option<Option<String>>)| ComponentData {
        entity_type: (*kind).into(),
        match_type: match name {
            Some(Some(_)) => EXACT,
            Some(None) => DEFAULT,
            None => ANY,
        },
        match_: name.as_ref().and_then(|name| Some(name.as_deref()?.into())),
        ..Default::default()
    };
    let request = DescribeClientQuotasRequest {
        components: filter.iter().map(component).collect(),
        strict,
        ..Default::default()
    };
    let answer = cluster.any(&request).await?;
    check("DescribeClientQuotas", answer.error_code, answer.error_message.as_deref())?;
    let entries = answer.entries.unwrap_or_default().into_iter().map(|entry| {
        let part =
            |part: &ottla_protocol::messages::describe_client_quotas_response::EntityData| {
                let name = part.entity_name.as_ref().map(ToString::to_string);
                (part.entity_type.to_string(), name)
            };
        let mut values: Vec<_> =
            entry.values.iter().map(|value| (value.key.to_string(), value.value)).collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        Quotas { entity: entry.entity.iter().map(part).collect(), values }
    });
    let mut all: Vec<_> = entries.collect();
    all.sort_by(|a, b| a.entity.cmp(&b.entity));
    Ok(all)
}

/// Sets quotas, or removes them with `None`.
pub(crate) async fn alter(
    cluster: &mut Cluster,
    entity: &[Component],
    changes: &[(String, Option<f64>)],
) -> Outcome {
    let part = |(kind, name): &Component| EntityData {
        entity_type: (*kind).into(),
        entity_name: name.as_deref().map(Into::into),
        ..Default::default()
    };
    let op = |(key, value): &(String, Option<f64>)| OpData {
        key: key.as_str().into(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
        ..Default::default()
    };
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: entity.iter().map(part).collect(),
            ops: changes.iter().map(op).collect(),
            ..Default::default()
        }],
        validate_only: false,
        ..Default::default()
    };
    let answer = cluster.controller(&request, i16::MAX).await?;
    for entry in &answer.entries {
        check("the quotas", entry.error_code, entry.error_message.as_deref())?;
    }
    Ok(())
}
