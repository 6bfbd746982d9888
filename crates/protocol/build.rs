//! Generates the wire messages from `schemas/*.schema`.
#![allow(clippy::disallowed_methods, reason = "a build script reads and writes files")]
#![allow(clippy::indexing_slicing, reason = "a wrong index stops the build, never a broker")]

#[path = "codegen/mod.rs"]
mod codegen;

use std::error::Error;
use std::fs;
use std::path::Path;

use codegen::schema::{self, Message};
use codegen::{emit, enums};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=codegen");
    let out = std::env::var("OUT_DIR")?;
    let out = Path::new(&out);

    let mut all = Vec::new();
    let mut load = |file: &str| -> Result<Vec<Message>, Box<dyn Error>> {
        let messages = schema::parse(file, &fs::read_to_string(Path::new("schemas").join(file))?)
            .map_err(|error| error.to_string())?;
        all.extend(messages.clone());
        Ok(messages)
    };
    let rpc = load("rpc.schema")?;
    let metadata = load("metadata-log.schema")?;
    let offsets = load("consumer-offsets-log.schema")?;
    let transactions = load("transaction-state-log.schema")?;
    let share = load("share-group-state-log.schema")?;
    for file in [
        "headers-and-data.schema",
        "quorum-state.schema",
        "storage.schema",
        "remote-log-metadata.schema",
    ] {
        load(file)?;
    }

    fs::write(out.join("messages.rs"), emit::messages(&all))?;
    fs::write(out.join("every_message.rs"), emit::every_message(&all))?;
    fs::write(out.join("api_keys.rs"), enums::api_keys(&rpc))?;
    fs::write(out.join("metadata_records.rs"), enums::metadata_records(&metadata))?;
    let coordinator = enums::coordinator_records(&offsets, "ConsumerOffsets", "__consumer_offsets")
        + &enums::coordinator_records(&transactions, "TransactionState", "__transaction_state")
        + &enums::coordinator_records(&share, "ShareGroupState", "__share_group_state");
    fs::write(out.join("coordinator_records.rs"), coordinator)?;
    Ok(())
}
