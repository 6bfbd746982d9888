//! `kafka-consumer-groups`.

mod describe;

use std::path::PathBuf;

use ottla_protocol::ErrorCode;

use super::options::{Options, Spec};
use super::{error, parse, usage, with_cluster};
use crate::client::Cluster;
use crate::failure::{Failure, Outcome, Refusal};
use crate::output::Out;
use crate::time::{parse_duration, parse_time};
use crate::tool::group::reset::{Move, Scope, To, apply, partitions, plan};

const SPEC: Spec = Spec {
    about: "Lists, describes and deletes consumer groups, and resets their offsets.",
    flags: &[
        "all-groups",
        "all-topics",
        "delete",
        "delete-offsets",
        "describe",
        "dry-run",
        "execute",
        "export",
        "list",
        "members",
        "offsets",
        "reset-offsets",
        "to-current",
        "to-earliest",
        "to-latest",
        "verbose",
    ],
    values: &[
        "bootstrap-server",
        "by-duration",
        "command-config",
        "from-file",
        "group",
        "shift-by",
        "timeout",
        "to-datetime",
        "to-offset",
        "topic",
    ],
    optional: &["state", "type"],
};

const NO_EXECUTE: &str = "WARN: No action will be performed as the --execute option is missing. In \
    version 5.0, this command will require either --dry-run or --execute to be specified. You \
    should add the --dry-run option explicitly if you are scripting this command and want to keep \
    the current default behavior without prompting.";

pub(super) fn main(arguments: &[String]) -> u8 {
    let options = match parse(&SPEC, arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
    let action = match options.action(&actions) {
        Ok(action) => action,
        Err(error) => return usage(&SPEC, &error),
    };
    if let Some(error) = missing(&options, action) {
        return usage(&SPEC, &error);
    }
    let done = with_cluster(&options, async |cluster, out| match action {
        "list" => list(&options, cluster, out).await,
        "describe" => describe::run(&options, cluster, out).await,
        "delete" => delete(&options, cluster, out).await,
        "reset-offsets" => reset(&options, cluster, out).await,
        _ => delete_offsets(&options, cluster, out).await,
    });
    match done {
        // As Kafka's tool: what a broker refuses is printed, and the exit code is 0.
        Err(failure @ (Failure::Refused(_) | Failure::Failed(_) | Failure::NotFound(_))) => {
            println!(
                "\nError: Executing consumer group command failed due to {}",
                error::with_class(&failure)
            );
            0
        }
        done => super::exit(done),
    }
}

fn missing(options: &Options, action: &str) -> Option<String> {
    if !options.has("bootstrap-server") {
        return Some("Missing required argument \"[bootstrap-server]\"".to_owned());
    }
    let some_group = options.has("group") || options.has("all-groups");
    match action {
        "describe" | "delete" | "reset-offsets" if !some_group => {
            Some(format!("Option [{action}] takes one of these options: [group], [all-groups]"))
        }
        "delete-offsets" if !options.has("group") || !options.has("topic") => {
            Some("Option [delete-offsets] takes the following options: [topic], [group]".into())
        }
        "reset-offsets" if scope_missing(options) => {
            let text = "Option [reset-offsets] takes one of these options: [all-topics], [topic], \
                        [from-file]";
            Some(text.to_owned())
        }
        "reset-offsets" if options.has("execute") && options.has("dry-run") => {
            Some("Option [reset-offsets] only accepts one of [execute], [dry-run]".to_owned())
        }
        _ => None,
    }
}

fn scope_missing(options: &Options) -> bool {
    !["all-topics", "topic", "from-file"].iter().any(|name| options.has(name))
}

/// The groups that the options name.
async fn groups(options: &Options, cluster: &mut Cluster) -> Outcome<Vec<String>> {
    if options.has("all-groups") {
        let all = cluster.list_groups().await?;
        return Ok(all.iter().map(|group| group.group_id.to_string()).collect());
    }
    Ok(options.values("group").into_iter().map(str::to_owned).collect())
}

async fn list(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let lower = |name| {
        let list = options.value(name).unwrap_or_default().to_ascii_lowercase();
        list.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>()
    };
    let (states, types) = (lower("state"), lower("type"));
    let wanted = |list: &[String], word: &str| {
        list.iter().all(String::is_empty) || list.contains(&word.to_ascii_lowercase())
    };
    let all = cluster.list_groups().await?;
    // Share and streams groups have tools of their own.
    let found: Vec<_> = all
        .iter()
        .filter(|group| matches!(&*group.protocol_type, "consumer" | ""))
        .filter(|group| wanted(&states, &group.group_state) && wanted(&types, &group.group_type))
        .collect();
    let (with_state, with_type) = (options.has("state"), options.has("type"));
    if !with_state && !with_type {
        return found.iter().try_for_each(|group| out.line(&group.group_id));
    }
    let width = found.iter().map(|group| group.group_id.len()).max().unwrap_or(0).max(15) + 10;
    let mut line = |group: &str, kind: &str, state: &str| {
        let mut line = format!("{group:<width$} ");
        if with_type {
            line.push_str(&format!("{kind:<20}"));
        }
        if with_type && with_state {
            line.push(' ');
        }
        if with_state {
            line.push_str(&format!("{state:<20}"));
        }
        out.line(&line)
    };
    line("GROUP", "TYPE", "STATE")?;
    found.iter().try_for_each(|group| {
        line(&group.group_id, &capital(&group.group_type), &group.group_state)
    })
}

/// With a capital: types come in lower case.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

async fn delete(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for group in groups(options, cluster).await? {
        match cluster.delete_group(&group).await {
            Ok(()) => good.push(format!("'{group}'")),
            Err(failure @ Failure::Refused(_)) => bad.push(format!(
                "* Group '{group}' could not be deleted due to: {}",
                error::with_class(&failure)
            )),
            Err(failure) => return Err(failure),
        }
    }
    let good = good.join(", ");
    if bad.is_empty() {
        return out
            .line(&format!("Deletion of requested consumer groups ({good}) was successful."));
    }
    out.line("\nError: Deletion of some consumer groups failed:")?;
    bad.iter().try_for_each(|line| out.line(line))?;
    if good.is_empty() {
        return Ok(());
    }
    out.line(&format!("\nThese consumer groups were deleted successfully: {good}"))
}

fn scopes(options: &Options) -> Outcome<Vec<Scope>> {
    let scope = |text: &str| text.parse().map_err(Failure::Usage);
    options.values("topic").into_iter().map(scope).collect()
}

async fn delete_offsets(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let group = options.value("group").unwrap_or_default();
    let partitions = partitions(cluster, group, &scopes(options)?).await?;
    let done = match cluster.delete_offsets(group, &partitions).await {
        Err(Failure::Refused(Refusal { code, .. }))
            if code == ErrorCode::GroupIdNotFound as i16 =>
        {
            return out.line(&format!(
                "Encounter some unknown error: The group id {group} does not exist."
            ));
        }
        other => other?,
    };
    let failed = done.values().any(|code| *code != 0);
    out.line(&match failed {
        false => format!("Request succeeded for deleting offsets from group {group}."),
        true => "Encountered some partition level error, see the follow-up details.".to_owned(),
    })?;
    out.line("")?;
    let width = done.keys().map(|partition| partition.topic.len()).max().unwrap_or(0).max(15);
    let mut line = |topic: &str, partition: &str, status: &str| {
        out.line(&format!("{topic:<width$} {partition:<10} {status:<15}"))
    };
    line("TOPIC", "PARTITION", "STATUS")?;
    for (partition, code) in done {
        let status = match crate::failure::check("", code, None) {
            Ok(()) => "Successful".to_owned(),
            Err(failure) => format!("Error: {}", error::message_of(&failure)),
        };
        line(&partition.topic, &partition.partition.to_string(), &status)?;
    }
    Ok(())
}

async fn reset(options: &Options, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let to = to(options)?;
    let scopes = scopes(options)?;
    if !options.has("execute") && !options.has("dry-run") {
        eprintln!("{NO_EXECUTE}");
    }
    let names = groups(options, cluster).await?;
    let several = names.len() > 1 || options.has("all-groups");
    let mut all = Vec::new();
    for name in &names {
        let group = cluster.describe_group_or_none(name).await?;
        if let Some(group) = group.filter(|group| !["Empty", "Dead"].contains(&&*group.state)) {
            out.line(&format!(
                "\nError: Assignments can only be reset if the group '{name}' is inactive, but the \
                 current state is {}.",
                group.state
            ))?;
            continue;
        }
        let moves = plan(cluster, name, (&scopes, &to)).await?;
        told(&moves, out)?;
        if options.has("execute") {
            apply(cluster, name, &moves).await?;
        }
        all.extend(moves.into_iter().map(|one| (name.clone(), one)));
    }
    if options.has("export") {
        for (group, one) in &all {
            let topic = csv(&one.partition.topic);
            let row = format!("{topic},{},{}", one.partition.partition, one.to);
            out.line(&if several { format!("{},{row}", csv(group)) } else { row })?;
        }
        return out.line("");
    }
    table(&all, &names, out)
}

/// A text as the library of Kafka's tool writes it: in quotes if it is long or may need them.
fn csv(text: &str) -> String {
    const LONG: usize = 24;
    if text.len() > LONG || text.contains(|c: char| c <= ',') {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

/// What Kafka's tool says of offsets that are not there.
fn told(moves: &[Move], out: &mut Out) -> Outcome {
    for one in moves {
        if let Some(asked) = one.outside {
            let (what, end) =
                if asked > one.to { ("higher", "latest") } else { ("lower", "earliest") };
            eprintln!(
                "WARN New offset ({asked}) is {what} than {end} offset for topic partition {}. Value \
                 will be set to {}",
                one.partition, one.to
            );
        }
        if one.nothing_since {
            out.line(&format!(
                "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
                one.partition.partition, one.partition.topic
            ))?;
        }
    }
    Ok(())
}

fn table(all: &[(String, Move)], names: &[String], out: &mut Out) -> Outcome {
    let groups = names.iter().map(String::len).max().unwrap_or(0).max(15);
    let topics = all.iter().map(|(_, one)| one.partition.topic.len()).max().unwrap_or(0).max(15);
    out.line(&format!(
        "\n{:<groups$} {:<topics$} {:<10} {}",
        "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"
    ))?;
    for (group, one) in all {
        out.line(&format!(
            "{group:<groups$} {:<topics$} {:<10} {}",
            one.partition.topic, one.partition.partition, one.to
        ))?;
    }
    Ok(())
}

/// The place that the options name.
fn to(options: &Options) -> Outcome<To> {
    let number = |name| {
        let number = options.number::<i64>(name).map_err(Failure::Usage)?;
        number.ok_or_else(|| Failure::Usage(format!("Option {name} requires an argument")))
    };
    let text = |name| options.value(name).unwrap_or_default();
    let mut given: Vec<Outcome<To>> = Vec::new();
    for (name, _) in options.in_order() {
        given.push(match name {
            "to-earliest" => Ok(To::Earliest),
            "to-latest" => Ok(To::Latest),
            "to-current" => Ok(To::Current),
            "to-offset" => number(name).map(To::Offset),
            "shift-by" => number(name).map(To::Shift),
            "to-datetime" => parse_time(text(name)).map(To::Time).map_err(Failure::Usage),
            "by-duration" => parse_duration(text(name)).map(To::Duration).map_err(Failure::Usage),
            "from-file" => Ok(To::File(PathBuf::from(text(name)))),
            _ => continue,
        });
    }
    match given.len() {
        1 => given.remove(0),
        _ => Err(Failure::Usage(
            "Option [reset-offsets] takes exactly one of: [to-offset], [shift-by], [to-datetime], \
             [by-duration], [to-earliest], [to-latest], [to-current], [from-file]"
                .to_owned(),
        )),
    }
}
