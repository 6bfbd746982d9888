//! `ottla log`: looks into the files of a data directory.

mod decode;
mod files;
mod segment;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use ottla_storage::dirs::parse_dir_name;

use crate::failure::{Failure, Outcome, file_error};
use crate::output::{Format, Out, show_bytes};
use crate::progress::Progress;

const EXAMPLES: &str =
    "Files: segments (.log) and metadata snapshots (.checkpoint), indexes (.index, .timeindex,
.txnindex), producer snapshots (.snapshot), and the checkpoints in text. A directory stands for the
files in it; a running broker may be writing to them. Examples:
  ottla log dump /data/orders-0
  ottla log dump /data/orders-0/00000000000000000000.log -r --from 4711 -n 10
  ottla log dump /data/__consumer_offsets-12 -r       keys and values decoded
  ottla log dump /data/__cluster_metadata-0 -r -o json | jq .";

#[derive(Debug, ClapArgs)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what segments, indexes, snapshots and checkpoints hold
    #[command(after_help = EXAMPLES)]
    Dump(DumpArgs),
}

#[derive(Debug, ClapArgs)]
struct DumpArgs {
    /// Files, or directories of partitions
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Records, too; without it, only their batches
    #[arg(short, long)]
    records: bool,
    /// How keys and values are decoded; by the name of the directory if not given
    #[arg(long = "as", value_enum, value_name = "WHAT")]
    decode: Option<Decode>,
    /// Leave out what lies before this offset
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: i64,
    /// Stop after so many batches of a segment
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Format,
}

/// What the records of a log are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decode {
    /// Text, or bytes
    Plain,
    /// `__consumer_offsets`
    Offsets,
    /// `__transaction_state`
    Transactions,
    /// `__share_group_state`
    ShareState,
    /// `__cluster_metadata` and its snapshots
    Metadata,
}

/// What to print of segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    records: bool,
    from: i64,
    count: Option<u64>,
}

pub(crate) fn run(args: LogArgs) -> Outcome {
    let Command::Dump(args) = args.command;
    let mut out = Out::new(args.output);
    let done = dump(&args, &mut out);
    out.flush()?;
    done
}

fn dump(args: &DumpArgs, out: &mut Out) -> Outcome {
    let mut files = Vec::new();
    for path in &args.paths {
        let meta = std::fs::metadata(path).map_err(|error| file_error(path, &error))?;
        if meta.is_dir() {
            files.extend(list(path)?);
        } else {
            files.push((path.clone(), meta.len()));
        }
    }
    let mut progress = if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        Progress::none()
    } else {
        Progress::of_bytes(files.iter().map(|(_, len)| len).sum())
    };
    let look = Look { records: args.records, from: args.from, count: args.count };
    let mut damaged = 0;
    for (place, (path, len)) in files.iter().enumerate() {
        if out.format == Format::Table {
            let gap = if place > 0 { "\n" } else { "" };
            out.line(&format!("{gap}{}  {}", path.display(), show_bytes(*len)))?;
        }
        let decode = args.decode.unwrap_or_else(|| decode_of(path));
        if !one(path, (decode, look), &mut progress, out)? {
            damaged += 1;
        }
    }
    progress.finish();
    match damaged {
        0 => Ok(()),
        1 => Err(Failure::Failed("a file is damaged, see above".to_owned())),
        count => Err(Failure::Failed(format!("{count} files are damaged, see above"))),
    }
}

/// Prints one file. Returns whether it is sound.
fn one(
    path: &Path,
    (decode, look): (Decode, Look),
    progress: &mut Progress,
    out: &mut Out,
) -> Outcome<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let suffix = files::suffix(name);
    match suffix {
        "log" => segment::dump(path, (decode, look), progress, out),
        "checkpoint" if name.len() > 20 && name.starts_with('0') => {
            let decode = if decode == Decode::Plain { Decode::Metadata } else { decode };
            segment::dump(path, (decode, look), progress, out)
        }
        _ => {
            let bytes = std::fs::read(path).map_err(|error| file_error(path, &error))?;
            progress.add(bytes.len() as u64);
            files::dump((path, name), bytes, out)
        }
    }
}

/// The files of a partition's directory that can be shown, in the order of their names.
fn list(dir: &Path) -> Outcome<Vec<(PathBuf, u64)>> {
    let failed = |error: std::io::Error| file_error(dir, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let known = name.to_str().is_some_and(files::is_known);
        let meta = entry.metadata().map_err(failed)?;
        if known && meta.is_file() {
            found.push((entry.path(), meta.len()));
        }
    }
    if found.is_empty() {
        return Err(Failure::NotFound(format!(
            "{} holds no file of a log; name the directory of a partition, such as {}",
            dir.display(),
            dir.join("orders-0").display()
        )));
    }
    found.sort();
    Ok(found)
}

/// What the log is, by the name of its directory.
fn decode_of(path: &Path) -> Decode {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parent = absolute.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let Some(parent) = parent else { return Decode::Plain };
    let topic = parse_dir_name(parent).map(|log| log.topic);
    match topic.as_deref().unwrap_or_else(|| parent.trim_end_matches("-0")) {
        "__consumer_offsets" => Decode::Offsets,
        "__transaction_state" => Decode::Transactions,
        "__share_group_state" => Decode::ShareState,
        "__cluster_metadata" => Decode::Metadata,
        _ => Decode::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_decoded_by_the_name_of_its_directory() {
        for (path, want) in [
            ("/d/__consumer_offsets-12/00000000000000000000.log", Decode::Offsets),
            ("/d/__cluster_metadata-0/00000000000000000000.log", Decode::Metadata),
            ("/d/__transaction_state-0/x.log", Decode::Transactions),
            ("/d/orders-0/x.log", Decode::Plain),
            ("x.log", Decode::Plain),
        ] {
            assert_eq!(decode_of(Path::new(path)), want, "{path}");
        }
    }
}
