//! Indexes, producer snapshots and checkpoints.

use std::path::Path;

use ottla_protocol::ids::Offset;
use ottla_storage::inspect::{offset_index, producer_snapshot, time_index, txn_index};
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::output::{Format, Out};
use crate::time::show_millis;

/// The part of a name that says what the file is, without what marks it as deleted or unfinished.
pub(super) fn suffix(name: &str) -> &str {
    let name = [".deleted", ".cleaned", ".swap"]
        .iter()
        .fold(name, |name, mark| name.strip_suffix(mark).unwrap_or(name));
    name.rsplit_once('.').map_or("", |(_, suffix)| suffix)
}

/// Whether the file can be shown.
pub(super) fn is_known(name: &str) -> bool {
    let known = ["log", "index", "timeindex", "txnindex", "snapshot", "checkpoint", "metadata"];
    known.contains(&suffix(name)) || name.ends_with("-checkpoint") || name == "quorum-state"
}

/// Prints a file. Returns whether it is sound.
pub(super) fn dump((path, name): (&Path, &str), bytes: Vec<u8>, out: &mut Out) -> Outcome<bool> {
    let base = name.split('.').next().and_then(|base| base.parse().ok()).map(Offset);
    let rows = match (suffix(name), base) {
        ("index", Some(base)) => Ok((
            &["offset", "position"][..],
            offset_index(&bytes, base)
                .into_iter()
                .map(|(offset, position)| json!({"offset": offset.0, "position": position}))
                .collect(),
        )),
        ("timeindex", Some(base)) => Ok((
            &["timestamp", "time", "offset"][..],
            time_index(&bytes, base)
                .into_iter()
                .map(|(time, offset)| {
                    json!({"timestamp": time.0, "time": show_millis(time.0), "offset": offset.0})
                })
                .collect(),
        )),
        ("txnindex", _) => txn_index(&bytes, path).map_err(|error| error.to_string()).map(|entries| {
            let row = |txn: &ottla_storage::AbortedTxn| {
                json!({
                    "producer_id": txn.producer_id.0,
                    "first_offset": txn.first_offset.0,
                    "last_offset": txn.last_offset.0,
                    "last_stable_offset": txn.last_stable_offset.0,
                })
            };
            let columns = &["producer_id", "first_offset", "last_offset", "last_stable_offset"][..];
            (columns, entries.iter().map(row).collect())
        }),
        ("snapshot", _) => producer_snapshot(&bytes).map(|states| {
            let columns = &[
                "producer_id",
                "epoch",
                "last_sequence",
                "last_offset",
                "last_write",
                "coordinator_epoch",
                "txn_start_offset",
            ][..];
            (columns, states.iter().map(producer).collect())
        }),
        _ => return text(path, &bytes, out),
    };
    match rows {
        Ok((columns, rows)) => {
            print(path, columns, rows, out)?;
            Ok(true)
        }
        Err(why) => {
            eprintln!("ottla: {}: {why}", path.display());
            Ok(false)
        }
    }
}

fn producer(state: &ottla_storage::ProducerState) -> Value {
    json!({
        "producer_id": state.producer_id.0,
        "epoch": state.epoch.0,
        "last_sequence": state.last_sequence(),
        "last_offset": state.last_batch().map(|batch| batch.last_offset.0),
        "last_write": show_millis(state.last_timestamp.0),
        "coordinator_epoch": state.coordinator_epoch,
        "txn_start_offset": state.txn_first_offset.map(|offset| offset.0),
    })
}

fn print(path: &Path, columns: &[&str], rows: Vec<Value>, out: &mut Out) -> Outcome {
    if out.format == Format::Table {
        return out.rows(columns, rows);
    }
    for mut row in rows {
        if let Some(members) = row.as_object_mut() {
            members.insert("file".into(), path.display().to_string().into());
        }
        out.item(&row)?;
    }
    Ok(())
}

/// Checkpoints and their kin are text as it is.
fn text(path: &Path, bytes: &[u8], out: &mut Out) -> Outcome<bool> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        eprintln!("ottla: {} is no file of a log that this command knows", path.display());
        return Ok(false);
    };
    if out.format == Format::Table {
        out.text(text)?;
    } else {
        out.item(&json!({"file": path.display().to_string(), "text": text}))?;
    }
    Ok(true)
}
