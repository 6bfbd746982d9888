//! Quotas and SCRAM users in `kafka-configs`.

use super::configs::Entity;
use super::scram;
use crate::client::Cluster;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::tool::quota::{Component, Quotas, alter as alter_quotas, describe as describe_quotas};

/// The name of an entity's type on the wire.
fn wire(entity: &Entity) -> &'static str {
    match entity.kind {
        "clients" => "client-id",
        "ips" => "ip",
        _ => "user",
    }
}

pub(super) async fn describe(entities: &[Entity], cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let name = |entity: &Entity| {
        let name = entity.name.as_ref()?;
        Some((!name.is_empty()).then(|| name.clone()))
    };
    let filter: Vec<_> = entities.iter().map(|entity| (wire(entity), name(entity))).collect();
    for quotas in describe_quotas(cluster, &filter, true).await? {
        let values: Vec<_> =
            quotas.values.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        out.line(&format!("Quota configs for {} are {}", words(&quotas), values.join(", ")))?;
    }
    match entities {
        [entity] if entity.kind == "users" => {
            let user = entity.name.as_deref();
            for (name, credentials) in scram::describe(cluster, user).await? {
                out.line(&format!(
                    "SCRAM credential configs for user-principal '{name}' are {credentials}"
                ))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whose quotas these are.
fn words(quotas: &Quotas) -> String {
    let word = |(kind, name): &(String, Option<String>)| {
        let kind = if kind == "user" { "user-principal" } else { kind };
        match name {
            Some(name) => format!("{kind} '{name}'"),
            None => format!("the default {kind}"),
        }
    };
    // A user comes before his client.
    let mut parts: Vec<_> = quotas.entity.iter().collect();
    parts.sort_by_key(|(kind, _)| kind != "user");
    parts.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

pub(super) async fn alter(
    entities: &[Entity],
    (added, removed): (Vec<(String, String)>, Vec<String>),
    cluster: &mut Cluster,
) -> Outcome {
    let (users, quotas): (Vec<_>, Vec<_>) =
        added.into_iter().partition(|(key, _)| scram::is_mechanism(key));
    let (users_gone, quotas_gone): (Vec<_>, Vec<_>) =
        removed.into_iter().partition(|key| scram::is_mechanism(key));
    if !users.is_empty() || !users_gone.is_empty() {
        match entities {
            [entity]
                if entity.kind == "users"
                    && entity.name.as_ref().is_some_and(|n| !n.is_empty()) =>
            {
                let user = entity.name.clone().unwrap_or_default();
                scram::alter(cluster, &user, (&users, &users_gone)).await?;
            }
            _ => {
                let text =
                    "SCRAM credentials belong to one user: --entity-type users --entity-name";
                return Err(Failure::Usage(text.to_owned()));
            }
        }
    }
    let mut changes = Vec::new();
    for (key, value) in quotas {
        let number = value.parse().map_err(|_| {
            Failure::Usage(format!("Cannot parse quota configuration value for {key}: {value}"))
        })?;
        changes.push((key, Some(number)));
    }
    changes.extend(quotas_gone.into_iter().map(|key| (key, None)));
    if changes.is_empty() {
        return Ok(());
    }
    let component = |entity: &Entity| -> Component {
        (wire(entity), entity.name.clone().filter(|name| !name.is_empty()))
    };
    let entity: Vec<_> = entities.iter().map(component).collect();
    alter_quotas(cluster, &entity, &changes).await
}
