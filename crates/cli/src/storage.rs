//! `ottla storage`.

use std::path::Path;

use ottla_metadata::features::{self, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use ottla_server::{Format, RealDisk};
use ottla_storage::dirs::MetaProperties;

use crate::args::{ConfigArgs, FormatArgs, StorageCommand};
use crate::text;

pub(crate) fn run(command: StorageCommand) -> Result<(), String> {
    match command {
        StorageCommand::Format(args) => format(&args),
        StorageCommand::Info(args) => info(&args),
        StorageCommand::RandomUuid => {
            println!("{}", ottla_server::random_uuid());
            Ok(())
        }
    }
}

fn format(args: &FormatArgs) -> Result<(), String> {
    let levels = levels(args.release_version.as_deref(), &args.features)?;
    let loaded = args.options().load().map_err(text)?;
    let what = Format {
        cluster_id: args.cluster_id.clone(),
        standalone: args.standalone,
        ignore_formatted: args.ignore_formatted,
        levels,
        controller: None,
    };
    let (cluster_id, done) =
        ottla_server::format(&RealDisk::default(), &loaded.config, &what).map_err(text)?;
    for path in &done.new {
        println!("Formatted {} for cluster {cluster_id}.", path.display());
    }
    for path in &done.old {
        println!("Left {} as it is: already formatted.", path.display());
    }
    Ok(())
}

/// Feature levels asked for: `--release-version` and `--feature`.
pub(crate) fn levels(
    release: Option<&str>,
    asked: &[(String, String)],
) -> Result<Vec<(String, i16)>, String> {
    let mut levels = Vec::new();
    if let Some(release) = release {
        let version = MetadataVersion::from_name(release).ok_or_else(|| {
            let (oldest, latest) =
                (MetadataVersion::MINIMUM.name(), MetadataVersion::LATEST.name());
            format!("--release-version {release} is not known; {oldest} to {latest} are")
        })?;
        levels.push((METADATA_VERSION.to_owned(), version.0));
        if version != MetadataVersion::LATEST {
            // What later releases switched on by default is newer than the version asked for.
            let others = features::FEATURES.iter().map(|feature| feature.name);
            let others = others.filter(|name| ![METADATA_VERSION, KRAFT_VERSION].contains(name));
            levels.extend(others.map(|name| (name.to_owned(), default_level(name, version))));
        }
    }
    for (name, level) in asked {
        let feature = features::find(name).ok_or_else(|| {
            let known: Vec<_> = features::FEATURES.iter().map(|feature| feature.name).collect();
            format!("--feature {name} is not known; there are {}", known.join(", "))
        })?;
        let range = feature.min..=feature.max;
        let level = level.parse().ok().filter(|level| *level == 0 || range.contains(level));
        let level = level.ok_or_else(|| {
            format!("--feature {name}: a level of {} to {} is expected", feature.min, feature.max)
        })?;
        if name == METADATA_VERSION && release.is_some() {
            return Err(
                "--release-version and --feature metadata.version exclude each other".into()
            );
        }
        levels.retain(|(known, _)| known != name);
        levels.push((name.clone(), level));
    }
    Ok(levels)
}

/// The level of a feature in a new cluster of a metadata version, that of the voters among them.
pub(crate) fn level_of(name: &str, version: MetadataVersion) -> i16 {
    if name == KRAFT_VERSION {
        i16::from(MetadataVersion::from_name("3.9").is_some_and(|since| version >= since))
    } else {
        default_level(name, version)
    }
}

/// The level a feature has by default in a cluster that starts with a metadata version.
fn default_level(name: &str, version: MetadataVersion) -> i16 {
    let since = |name| MetadataVersion::from_name(name).is_some_and(|since| version >= since);
    match name {
        features::GROUP_VERSION => i16::from(since("4.0-IV0")),
        features::TRANSACTION_VERSION => 2 * i16::from(since("4.0-IV2")),
        features::ELR_VERSION => i16::from(since("4.1-IV0")),
        features::SHARE_VERSION => i16::from(since("4.2-IV0")) + i16::from(since("4.4-IV0")),
        features::STREAMS_VERSION => i16::from(since("4.2-IV1")),
        _ => 0,
    }
}

fn info(args: &ConfigArgs) -> Result<(), String> {
    let loaded = args.options().load().map_err(text)?;
    let mut problems = Vec::new();
    for dir in loaded.config.log_dirs() {
        match MetaProperties::read(&RealDisk::default(), Path::new(dir)) {
            Ok(Some(meta)) => {
                let id = meta.directory_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
                println!(
                    "{dir}: node {}, cluster {}, directory id {id}",
                    meta.node_id, meta.cluster_id
                );
            }
            Ok(None) => problems.push(format!("{dir} is not formatted")),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_the_feature_levels_that_kafka_gives_it() {
        // As `kafka-storage format --release-version` of 4.4.0 writes them:
        // eligible leader replicas, group, share, streams, transaction.
        for (release, want) in [
            ("3.9", [0, 0, 0, 0, 0]),
            ("4.0-IV0", [0, 1, 0, 0, 0]),
            ("4.0", [0, 1, 0, 0, 2]),
            ("4.1", [1, 1, 0, 0, 2]),
            ("4.2-IV0", [1, 1, 1, 0, 2]),
            ("4.3", [1, 1, 1, 1, 2]),
            ("4.4-IV0", [1, 1, 2, 1, 2]),
            ("4.4", [1, 1, 2, 1, 2]),
        ] {
            let version = MetadataVersion::from_name(release).unwrap();
            let levels = features::FEATURES.iter().map(|feature| feature.name);
            let levels = levels.filter(|name| ![METADATA_VERSION, KRAFT_VERSION].contains(name));
            let levels: Vec<_> = levels.map(|name| default_level(name, version)).collect();
            assert_eq!(levels, want, "{release}");
        }
    }
}
