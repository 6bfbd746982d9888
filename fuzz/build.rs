//! Names every message, as the build script of `ottla-protocol` does for that crate's tests.

#[path = "../crates/protocol/codegen/mod.rs"]
#[allow(dead_code, reason = "only the list of messages is used")]
mod codegen;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let schemas = Path::new("../crates/protocol/schemas");
    println!("cargo::rerun-if-changed={}", schemas.display());
    println!("cargo::rerun-if-changed=../crates/protocol/codegen");
    let mut all = Vec::new();
    for entry in fs::read_dir(schemas)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "schema") {
            let text = fs::read_to_string(&path)?;
            all.extend(
                codegen::schema::parse(&path.to_string_lossy(), &text)
                    .map_err(|e| e.to_string())?,
            );
        }
    }
    let out = std::env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("every_message.rs"), codegen::emit::every_message(&all))?;
    Ok(())
}
