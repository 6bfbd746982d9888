//! `kafka-storage`.

use std::path::{Path, PathBuf};

use ottla_metadata::features::{self, METADATA_VERSION, MetadataVersion};
use ottla_server::{Format, Options as Configuration, RealDisk};
use ottla_storage::dirs::MetaProperties;

use super::options::{Options, Spec};
use super::{exit, usage};
use crate::failure::{Failure, Outcome};
use crate::storage::{level_of, levels};

const SPEC: Spec = Spec {
    about: "usage: kafka-storage {info,format,version-mapping,random-uuid} ...",
    flags: &["ignore-formatted", "standalone"],
    values: &[
        "add-scram",
        "cluster-id",
        "config",
        "feature",
        "initial-controllers",
        "release-version",
    ],
    optional: &["no-initial-controllers"],
};

pub(super) fn main(arguments: &[String]) -> u8 {
    let arguments: Vec<_> = arguments.iter().map(|word| long(word)).collect();
    let options = match super::parse(&SPEC, &arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let wrong = |text: &str| usage(&SPEC, &format!("kafka-storage: error: {text}"));
    let Some(command) = options.words.first() else { return wrong("too few arguments") };
    match command.as_str() {
        "random-uuid" => {
            println!("{}", ottla_server::random_uuid());
            0
        }
        "info" | "format" if !options.has("config") => wrong("argument --config/-c is required"),
        "info" => info(&options),
        "format" if !options.has("cluster-id") => wrong("argument --cluster-id/-t is required"),
        "format" => exit(format(&options)),
        "version-mapping" => exit(version_mapping(&options)),
        other => wrong(&format!(
            "invalid choice: '{other}' (choose from info, format, version-mapping, random-uuid)"
        )),
    }
}

/// The long name of a short option.
fn long(word: &str) -> String {
    match word {
        "-c" => "--config",
        "-t" => "--cluster-id",
        "-g" => "--ignore-formatted",
        "-r" => "--release-version",
        "-f" => "--feature",
        "-s" => "--standalone",
        "-S" => "--add-scram",
        "-I" => "--initial-controllers",
        "-N" => "--no-initial-controllers",
        "-h" => "--help",
        other => other,
    }
    .to_owned()
}

fn configuration(options: &Options) -> Configuration {
    Configuration { config: options.value("config").map(PathBuf::from), ..Default::default() }
}

fn info(options: &Options) -> u8 {
    let loaded = match configuration(options).load() {
        Ok(loaded) => loaded,
        Err(error) => return exit(Err(Failure::Failed(error.to_string()))),
    };
    let (mut found, mut problems, mut meta) = (Vec::new(), Vec::new(), None);
    for dir in loaded.config.log_dirs() {
        match MetaProperties::read(&RealDisk::default(), Path::new(dir)) {
            _ if !Path::new(dir).exists() => problems.push(format!("{dir} does not exist")),
            Ok(Some(read)) => {
                found.push(dir.clone());
                meta = Some(read);
            }
            Ok(None) => problems.push(format!("{dir} is not formatted.")),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let list = |one: &str, several: &str, items: &[String]| {
        let head = if items.len() == 1 { one } else { several };
        println!("{head}:\n  {}\n", items.join("\n  "));
    };
    if !found.is_empty() {
        found.sort();
        list("Found log directory", "Found log directories", &found);
    }
    if let Some(meta) = meta {
        let directory = meta.directory_id.map(|id| format!("directory.id={id}, "));
        println!(
            "Found metadata: {{cluster.id={}, {}node.id={}, version=1}}\n",
            meta.cluster_id,
            directory.unwrap_or_default(),
            meta.node_id
        );
    }
    if problems.is_empty() {
        return 0;
    }
    list("Found problem", "Found problems", &problems);
    1
}

fn format(options: &Options) -> Outcome {
    for name in ["add-scram", "initial-controllers", "no-initial-controllers"] {
        if options.has(name) {
            return Err(Failure::Usage(format!("--{name} is not there yet: use --standalone")));
        }
    }
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let loaded = configuration(options).load().map_err(|error| failed(&error))?;
    let pairs = options.pairs(&["feature"]);
    let levels =
        levels(options.value("release-version"), &pairs).map_err(|error| failed(&error))?;
    let what = Format {
        cluster_id: options.value("cluster-id").map(str::to_owned),
        standalone: options.has("standalone"),
        ignore_formatted: options.has("ignore-formatted"),
        levels: levels.clone(),
        controller: None,
    };
    let done = ottla_server::format(&RealDisk::default(), &loaded.config, &what);
    let (_, done) = done.map_err(|error| failed(&error))?;
    if done.new.is_empty() {
        println!("All of the log directories are already formatted.");
        return Ok(());
    }
    let level = levels.iter().find(|(name, _)| name == METADATA_VERSION).map(|(_, level)| *level);
    let version = level.map_or(MetadataVersion::LATEST, MetadataVersion);
    let kind = if what.standalone { "dynamic metadata voter" } else { "metadata" };
    for path in &done.new {
        println!(
            "Formatting {kind} directory {} with metadata.version {}.",
            path.display(),
            version.name()
        );
    }
    Ok(())
}

fn version_mapping(options: &Options) -> Outcome {
    let version = match options.value("release-version") {
        None => MetadataVersion::LATEST,
        Some(name) => MetadataVersion::from_name(name)
            .ok_or_else(|| Failure::Usage(format!("Unknown release version '{name}'.")))?,
    };
    let shown = options.value("release-version").unwrap_or_else(|| version.name());
    println!("{METADATA_VERSION}={} ({shown})", version.0);
    // The order of Kafka's own list.
    for name in [
        features::KRAFT_VERSION,
        features::TRANSACTION_VERSION,
        features::GROUP_VERSION,
        features::ELR_VERSION,
        features::SHARE_VERSION,
        features::STREAMS_VERSION,
    ] {
        println!("{name}={}", level_of(name, version));
    }
    Ok(())
}
