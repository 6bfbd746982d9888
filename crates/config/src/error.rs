//! Errors of configuration, each one sentence with the key, the value and what is allowed.

use crate::def::KeyDef;

/// A configuration that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A line of a properties file is malformed.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A value is of the wrong type or out of range.
    #[error("{key}={value}: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value, `[hidden]` for passwords.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key without default is absent.
    #[error("{key} is not set: {allowed}")]
    Missing {
        /// The key.
        key: String,
        /// What to set.
        allowed: String,
    },
    /// Nobody declared the key.
    #[error("{key} is not a {kind} configuration key")]
    Unknown {
        /// The key.
        key: String,
        /// `topic`, `group`, ...
        kind: &'static str,
    },
    /// Two keys contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// Honouring the key is not implemented and ignoring it would be less safe.
    #[error("{0}")]
    Unsafe(String),
}

impl ConfigError {
    /// A bad value of a declared key; hides what must not be shown.
    pub(crate) fn value(def: &KeyDef, value: &str, allowed: impl Into<String>) -> Self {
        let value = if def.sensitive() { "[hidden]".to_owned() } else { shorten(value) };
        Self::Value { key: def.name.to_owned(), value, allowed: allowed.into() }
    }

    /// A contradiction between keys.
    pub(crate) fn conflict(sentence: impl Into<String>) -> Self {
        Self::Conflict(sentence.into())
    }
}

/// Why a request to change configuration is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AlterError {
    /// Answered with `INVALID_CONFIG`.
    #[error("{0}")]
    InvalidConfig(String),
    /// Answered with `INVALID_REQUEST`.
    #[error("{0}")]
    InvalidRequest(String),
}

impl AlterError {
    /// The error code on the wire.
    pub const fn code(&self) -> i16 {
        match self {
            Self::InvalidConfig(_) => 40,
            Self::InvalidRequest(_) => 42,
        }
    }
}

impl From<ConfigError> for AlterError {
    fn from(error: ConfigError) -> Self {
        Self::InvalidConfig(error.to_string())
    }
}

/// Something to tell the operator that does not stop the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning(pub String);

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message must not grow with what a client sent.
fn shorten(value: &str) -> String {
    const CHARS_MAX: usize = 200;
    match value.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
