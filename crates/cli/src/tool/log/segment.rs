//! Segments and metadata snapshots: batches, and the records in them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use ottla_protocol::records::{
    BatchHeader, BatchView, LegacyMessage, MAGIC_END, Record, entry_bounds, records,
};
use serde_json::{Map, Value, json};

use super::{Decode, Look, decode};
use crate::client::consume::LIMITS;
use crate::failure::{Outcome, file_error};
use crate::output::{Format, Out};
use crate::progress::Progress;
use crate::time::show_millis;

/// Where an entry lies in its file.
struct Place<'a> {
    path: &'a Path,
    position: u64,
}

/// Prints a segment. Returns whether it is sound up to its end.
pub(super) fn dump(
    path: &Path,
    (decode, look): (Decode, Look),
    progress: &mut Progress,
    out: &mut Out,
) -> Outcome<bool> {
    let file = File::open(path).map_err(|error| file_error(path, &error))?;
    let len = file.metadata().map_err(|error| file_error(path, &error))?.len();
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut position = 0;
    let mut shown = 0;
    while position < len {
        if look.count.is_some_and(|count| shown >= count) {
            return Ok(true);
        }
        let place = Place { path, position };
        let entry = match read_entry(&mut input, len - position) {
            Ok(entry) => entry,
            Err(why) => return damaged(&place, &why, out),
        };
        let size = entry.len() as u64;
        match show(&place, entry, (decode, look), out)? {
            Ok(true) => shown += 1,
            Ok(false) => {}
            Err(why) => return damaged(&place, &why, out),
        }
        position += size;
        progress.add(size);
    }
    Ok(true)
}

fn damaged(place: &Place<'_>, why: &str, out: &mut Out) -> Outcome<bool> {
    out.flush()?;
    eprintln!("ottla: {}: at position {}: {why}", place.path.display(), place.position);
    Ok(false)
}

/// The bytes of the next batch, or message of an old format.
fn read_entry(input: &mut impl Read, left: u64) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    let mut take = |bytes: &mut Vec<u8>, count: u64| {
        input.take(count).read_to_end(bytes).map_err(|error| error.to_string())
    };
    take(&mut bytes, MAGIC_END as u64)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(format!("zeros, as a preallocated file has them: {left} bytes are left"));
    }
    let bounds = entry_bounds(&bytes).map_err(|error| error.to_string())?;
    let bounds = bounds.ok_or_else(|| format!("the file ends after {left} bytes of an entry"))?;
    if bounds.size as u64 > left {
        return Err(format!("an entry of {} bytes, but only {left} are left", bounds.size));
    }
    take(&mut bytes, (bounds.size - MAGIC_END) as u64)?;
    Ok(bytes.into())
}

/// Prints an entry, unless it lies before what is wanted. The inner error is damage.
fn show(
    place: &Place<'_>,
    entry: Bytes,
    (decode, look): (Decode, Look),
    out: &mut Out,
) -> Outcome<Result<bool, String>> {
    let batch = match BatchView::parse(&entry) {
        Ok(batch) => batch,
        Err(_) => {
            return match LegacyMessage::parse(&entry) {
                Ok(message) => legacy(place, &message, out).map(|()| Ok(true)),
                Err(error) => Ok(Err(error.to_string())),
            };
        }
    };
    let header = batch.header();
    if header.last_offset().0 < look.from {
        return Ok(Ok(false));
    }
    let crc = batch.verify_crc();
    if out.format == Format::Table {
        out.line(&batch_line(place, header))?;
    } else if !look.records {
        out.item(&batch_value(place, header))?;
    }
    if let Err(error) = crc {
        return Ok(Err(error.to_string()));
    }
    if !look.records {
        return Ok(Ok(true));
    }
    let iter = match records(&batch, &LIMITS) {
        Ok(iter) => iter,
        Err(error) => return Ok(Err(error.to_string())),
    };
    for record in iter {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if record.offset.0 >= look.from {
            show_record(place, (header, &record), decode, out)?;
        }
    }
    Ok(Ok(true))
}

fn show_record(
    place: &Place<'_>,
    (header, record): (&BatchHeader, &Record<'_>),
    decode: Decode,
    out: &mut Out,
) -> Outcome {
    let own = |bytes: &Option<std::borrow::Cow<'_, [u8]>>| {
        bytes.as_ref().map(|bytes| Bytes::copy_from_slice(bytes))
    };
    let (key, value) = (own(&record.key), own(&record.value));
    let (key, value) = if header.is_control() {
        decode::control(key, value)
    } else {
        decode::record(decode, key, value)
    };
    if out.format == Format::Table {
        let mut line =
            format!("  {}  {}  {key}  {value}", record.offset, show_millis(record.timestamp.0));
        for header in &record.headers {
            let (name, value) =
                (decode::plain(Some(&header.key)), decode::plain(header.value.as_deref()));
            line.push_str(&format!("  {name}={value}"));
        }
        return out.line(&line);
    }
    let headers = record.headers.iter().map(|header| {
        let (key, value) =
            (decode::plain(Some(&header.key)), decode::plain(header.value.as_deref()));
        json!({"key": key, "value": value})
    });
    out.item(&json!({
        "offset": record.offset.0,
        "timestamp": record.timestamp.0,
        "key": key,
        "value": value,
        "headers": headers.collect::<Vec<_>>(),
        "control": header.is_control(),
        "file": place.path.display().to_string(),
    }))
}

fn batch_value(place: &Place<'_>, header: &BatchHeader) -> Value {
    let mut value = Map::new();
    let mut put = |name: &str, item: Value| value.insert(name.to_owned(), item);
    put("base_offset", header.base_offset.0.into());
    put("last_offset", header.last_offset().0.into());
    put("count", header.records_count.into());
    put("position", place.position.into());
    put("size", header.size_in_bytes().into());
    put("compression", codec(header).into());
    put("timestamp_type", format!("{:?}", header.timestamp_type()).into());
    put("base_timestamp", header.base_timestamp.0.into());
    put("max_timestamp", header.max_timestamp.0.into());
    put("leader_epoch", header.partition_leader_epoch.0.into());
    put("producer_id", header.producer_id.0.into());
    put("producer_epoch", header.producer_epoch.0.into());
    put("base_sequence", header.base_sequence.into());
    put("transactional", header.is_transactional().into());
    put("control", header.is_control().into());
    put("delete_horizon", header.delete_horizon().map(|time| time.0).into());
    put("crc", header.crc.into());
    put("magic", header.magic.into());
    put("file", place.path.display().to_string().into());
    Value::Object(value)
}

fn batch_line(place: &Place<'_>, header: &BatchHeader) -> String {
    let mut line = format!(
        "{}-{}  {} record(s)  at {}  {} B  {}  {}  epoch {}",
        header.base_offset,
        header.last_offset(),
        header.records_count,
        place.position,
        header.size_in_bytes(),
        show_millis(header.max_timestamp.0),
        codec(header),
        header.partition_leader_epoch,
    );
    if header.has_producer_id() {
        line.push_str(&format!(
            "  producer {} epoch {} sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        ));
    }
    for (set, word) in [
        (header.is_transactional(), "transactional"),
        (header.is_control(), "control"),
        (header.has_delete_horizon(), "delete-horizon"),
    ] {
        if set {
            line.push_str("  ");
            line.push_str(word);
        }
    }
    line
}

fn codec(header: &BatchHeader) -> String {
    header.compression().map_or_else(|error| error.to_string(), |codec| codec.name().to_owned())
}

fn legacy(place: &Place<'_>, message: &LegacyMessage<'_>, out: &mut Out) -> Outcome {
    let time = message.timestamp.map_or(-1, |time| time.0);
    if out.format == Format::Table {
        return out.line(&format!(
            "{}  a message of format {}  at {}  {} B  {}  {}",
            message.offset,
            message.magic,
            place.position,
            message.bytes.len(),
            show_millis(time),
            message.compression.name()
        ));
    }
    out.item(&json!({
        "offset": message.offset.0,
        "position": place.position,
        "size": message.bytes.len(),
        "compression": message.compression.name(),
        "timestamp": time,
        "magic": message.magic,
        "file": place.path.display().to_string(),
    }))
}
