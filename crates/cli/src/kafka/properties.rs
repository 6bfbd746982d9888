//! Files of client properties, as `--command-config` names them.

use std::path::Path;

use crate::failure::{Failure, Outcome, file_error};

/// The pairs of a file.
pub(super) fn read(path: &str) -> Outcome<Vec<(String, String)>> {
    let path = Path::new(path);
    let text = std::fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
    let parsed = ottla_config::properties::parse(&text)
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    Ok(parsed.into_iter().map(|property| (property.key, property.value)).collect())
}

/// Refuses client properties that ask for what is not there: it would be less safe without them.
pub(super) fn check_client(path: &str) -> Outcome {
    let pairs = read(path)?;
    let protocol = pairs.iter().find(|(key, _)| key == "security.protocol");
    match protocol {
        Some((_, protocol)) if protocol != "PLAINTEXT" => Err(Failure::Failed(format!(
            "{path}: security.protocol={protocol} is not there yet: this command speaks PLAINTEXT"
        ))),
        _ => Ok(()),
    }
}
