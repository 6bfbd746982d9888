//! `kafka-configs`.

use super::options::{Options, Spec};
use super::{error, exit, parse, properties, quotas, usage, with_cluster};
use crate::client::Cluster;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::tool::config::{Change, Entry, Kind, Resource, alter, describe, names};

const SPEC: Spec = Spec {
    about: "Describes and changes the settings of topics, brokers, groups, client metrics, users, \
            clients and addresses.",
    flags: &[
        "all",
        "alter",
        "client-defaults",
        "describe",
        "entity-default",
        "broker-defaults",
        "force",
        "ip-defaults",
        "user-defaults",
    ],
    values: &[
        "add-config",
        "add-config-file",
        "bootstrap-controller",
        "bootstrap-server",
        "broker",
        "broker-logger",
        "client",
        "client-metrics",
        "command-config",
        "delete-config",
        "entity-name",
        "entity-type",
        "group",
        "ip",
        "topic",
        "user",
    ],
    optional: &[],
};

/// What the command is about: its type, and a name, `Some("")` for the default, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) kind: &'static str,
    pub(super) name: Option<String>,
}

const TYPES: [&str; 8] =
    ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];

pub(super) fn main(arguments: &[String]) -> u8 {
    let options = match parse(&SPEC, arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let action = match options.action(&["describe", "alter"]) {
        Ok(action) => action,
        Err(error) => return usage(&SPEC, &error),
    };
    let entities = match checked(&options, action) {
        Ok(entities) => entities,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let done = with_cluster(&options, async |cluster, out| {
        let quota = entities.iter().any(|e| ["users", "clients", "ips"].contains(&e.kind));
        match (action, quota) {
            ("describe", true) => quotas::describe(&entities, cluster, out).await,
            ("describe", false) => {
                let entity = entities.first().ok_or_else(none)?;
                show(entity, options.has("all"), cluster, out).await
            }
            (_, true) => {
                quotas::alter(&entities, (added(&options)?, removed(&options)), cluster).await?;
                out.line(&done_line(&entities))
            }
            (_, false) => {
                change(entities.first().ok_or_else(none)?, &options, cluster).await?;
                out.line(&done_line(&entities))
            }
        }
    });
    if done.is_err() {
        let words = arguments.join(" ");
        eprintln!("Error while executing config command with args '{words}'");
    }
    exit(done.map_err(wrapped))
}

fn none() -> Failure {
    Failure::Usage("At least one entity type must be specified".to_owned())
}

/// As Java's futures wrap what a broker refused.
fn wrapped(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(_) => Failure::Failed(format!(
            "java.util.concurrent.ExecutionException: {}",
            error::with_class(&failure)
        )),
        other => other,
    }
}

fn checked(options: &Options, action: &str) -> Result<Vec<Entity>, String> {
    if options.has("bootstrap-controller") {
        return Err("this command speaks with brokers: use --bootstrap-server".into());
    }
    if !options.has("bootstrap-server") {
        return Err("Either --bootstrap-server or --bootstrap-controller must be specified.".into());
    }
    let entities = entities(options)?;
    if entities.is_empty() {
        return Err("At least one entity type must be specified".to_owned());
    }
    let changes = ["add-config", "add-config-file", "delete-config"];
    if action == "alter" && !changes.iter().any(|name| options.has(name)) {
        return Err("At least one of --add-config, --add-config-file, or --delete-config must be \
                    specified with --alter"
            .to_owned());
    }
    if action == "alter" && entities.iter().any(|entity| entity.name.is_none()) {
        return Err("An entity-name or default entity must be specified with --alter of users, \
                    clients, brokers or ips"
            .to_owned());
    }
    Ok(entities)
}

/// The entities in their order: `--entity-type T --entity-name N` or `--topic N`.
fn entities(options: &Options) -> Result<Vec<Entity>, String> {
    let mut found: Vec<Entity> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let named = |kind, name: Option<&str>| Entity { kind, name: name.map(str::to_owned) };
    for (option, value) in options.in_order() {
        let entity = match option {
            "entity-type" => {
                let value = value.unwrap_or_default();
                let kind = TYPES.iter().find(|kind| **kind == value).ok_or_else(|| {
                    format!(
                        "Invalid entity type {value}, the entity type must be one of {} with a \
                         --bootstrap-server or --bootstrap-controller argument",
                        TYPES.join(", ")
                    )
                })?;
                named(kind, None)
            }
            "entity-name" => {
                names.push(value.unwrap_or_default().to_owned());
                continue;
            }
            "entity-default" => {
                names.push(String::new());
                continue;
            }
            "topic" => named("topics", value),
            "broker" => named("brokers", value),
            "broker-logger" => named("broker-loggers", value),
            "client-metrics" => named("client-metrics", value),
            "group" => named("groups", value),
            "user" => named("users", value),
            "client" => named("clients", value),
            "ip" => named("ips", value),
            "broker-defaults" => named("brokers", Some("")),
            "user-defaults" => named("users", Some("")),
            "client-defaults" => named("clients", Some("")),
            "ip-defaults" => named("ips", Some("")),
            _ => continue,
        };
        found.push(entity);
    }
    let mut names = names.into_iter();
    for entity in found.iter_mut().filter(|entity| entity.name.is_none()) {
        entity.name = names.next();
    }
    Ok(found)
}

/// What `--add-config` and `--add-config-file` set. Square brackets keep commas together.
fn added(options: &Options) -> Outcome<Vec<(String, String)>> {
    let mut all = Vec::new();
    for path in options.values("add-config-file") {
        all.extend(properties::read(path)?);
    }
    for list in options.values("add-config") {
        for part in split(list) {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                Failure::Usage(format!("Invalid entity config: {part} is not KEY=VALUE"))
            })?;
            let value = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value);
            all.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(all)
}

fn removed(options: &Options) -> Vec<String> {
    let lists = options.values("delete-config");
    let keys = lists.iter().flat_map(|list| list.split(','));
    keys.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect()
}

/// The parts between commas that are not within brackets.
fn split(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in list.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn kind_of(entity: &Entity) -> Kind {
    match entity.kind {
        "brokers" => Kind::Broker,
        "broker-loggers" => Kind::BrokerLogger,
        "client-metrics" => Kind::ClientMetrics,
        "groups" => Kind::Group,
        _ => Kind::Topic,
    }
}

/// `topics` as in "config for topic t".
fn singular(entity: &Entity) -> &str {
    entity.kind.strip_suffix('s').unwrap_or(entity.kind)
}

fn done_line(entities: &[Entity]) -> String {
    let Some(entity) = entities.first() else { return String::new() };
    match entity.name.as_deref() {
        Some("") | None => {
            format!("Completed updating default config for {} in the cluster.", entity.kind)
        }
        Some(name) => format!("Completed updating config for {} {name}.", singular(entity)),
    }
}

async fn change(entity: &Entity, options: &Options, cluster: &mut Cluster) -> Outcome {
    let set = added(options)?.into_iter().map(|(key, value)| Change::Set(key, value));
    let unset = removed(options).into_iter().map(Change::Unset);
    let changes: Vec<_> = set.chain(unset).collect();
    let name = entity.name.clone().unwrap_or_default();
    alter(cluster, &Resource { kind: kind_of(entity), name }, &changes).await
}

async fn show(entity: &Entity, all: bool, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let kind = kind_of(entity);
    let known = known(cluster, kind).await?;
    let wanted = match &entity.name {
        Some(name) if !known.contains(name) => {
            return out.line(&format!(
                "The {} '{name}' doesn't exist and doesn't have dynamic config.",
                singular(entity)
            ));
        }
        Some(name) => vec![name.clone()],
        None => known,
    };
    for name in wanted {
        let entries = describe(cluster, &Resource { kind, name: name.clone() }, false).await?;
        let own = |entry: &&Entry| all || dynamic(kind, &name, entry);
        out.line(&match (name.as_str(), all) {
            ("", _) => format!("Default configs for {} in the cluster are:", entity.kind),
            (name, true) => format!("All configs for {} {name} are:", singular(entity)),
            (name, false) => format!("Dynamic configs for {} {name} are:", singular(entity)),
        })?;
        for entry in entries.entries.iter().filter(own) {
            out.line(&line(entry))?;
        }
    }
    Ok(())
}

/// The names there are; of brokers also the default, which is empty.
async fn known(cluster: &mut Cluster, kind: Kind) -> Outcome<Vec<String>> {
    let mut found = names(cluster, kind).await?;
    match kind {
        Kind::Broker => found.push(String::new()),
        Kind::Group => {
            let groups = cluster.list_groups().await?;
            found.extend(groups.iter().map(|group| group.group_id.to_string()));
            found.sort_unstable();
            found.dedup();
        }
        _ => {}
    }
    Ok(found)
}

/// Whether a setting was made by this tool.
fn dynamic(kind: Kind, name: &str, entry: &Entry) -> bool {
    match kind {
        Kind::Topic => entry.source == 1,
        Kind::Broker if name.is_empty() => entry.source == 3,
        Kind::Broker => entry.source == 2,
        Kind::BrokerLogger => true,
        Kind::ClientMetrics => entry.source == 7,
        Kind::Group => entry.source == 8,
    }
}

fn line(entry: &Entry) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<_> = entry
        .synonyms
        .iter()
        .map(|(source, name, text)| {
            format!("{}:{name}={}", Entry::source_name(*source), value(text))
        })
        .collect();
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        value(&entry.value),
        entry.sensitive,
        synonyms.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_commas_together() {
        assert_eq!(split("a=1,b=[x,y],c=2"), ["a=1", "b=[x,y]", "c=2"]);
        assert_eq!(split(""), Vec::<String>::new());
    }

    #[test]
    fn names_belong_to_the_types_in_their_order() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let of = |line| entities(&Options::parse(&SPEC, &words(line)).unwrap());
        let entity = |kind, name: Option<&str>| Entity { kind, name: name.map(str::to_owned) };
        let pair = of("--entity-type users --entity-type clients --entity-name u --entity-name c");
        assert_eq!(pair.unwrap(), [entity("users", Some("u")), entity("clients", Some("c"))]);
        assert_eq!(of("--user-defaults").unwrap(), [entity("users", Some(""))]);
        assert_eq!(of("--entity-type topics").unwrap(), [entity("topics", None)]);
        assert!(of("--entity-type foo").unwrap_err().starts_with("Invalid entity type foo"));
    }
}
