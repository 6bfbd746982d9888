//! Why a node does not start: one sentence, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use ottla_config::ConfigError;
use ottla_storage::dirs::DirsError;

/// Why a node does not start, or a directory is not formatted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration file cannot be read.
    #[error("cannot read {path}: {error}; name the configuration file with --config", path = path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The configuration cannot be used.
    #[error("{place}: {error}")]
    Config {
        /// The file, or `configuration`.
        place: String,
        /// What is wrong.
        error: ConfigError,
    },
    /// There is no place for data by default.
    #[error("HOME is not set, so there is no default place for data; name one with --data-dir")]
    NoDataDir,
    /// A path that configuration cannot carry.
    #[error("{0:?} is not UTF-8; choose another path")]
    PathNotText(PathBuf),
    /// A role that does not run yet.
    #[error("{0}")]
    Unsupported(String),
    /// A data directory.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// A directory that is not formatted, with a configuration file.
    #[error(
        "{path} is not formatted: it holds no meta.properties. Run `ottla storage format \
         --standalone --config FILE` once for a new single node, or mount the right disk there",
        path = path.display()
    )]
    Unformatted {
        /// The directory.
        path: PathBuf,
    },
    /// What to format is not clear.
    #[error("{0}")]
    Format(String),
    /// The broker itself.
    #[error(transparent)]
    Broker(#[from] ottla_broker::StartError),
    /// A socket.
    #[error("{listener}: {error}")]
    Listen {
        /// The listener or the key.
        listener: String,
        /// What the system says.
        error: io::Error,
    },
    /// Threads, signals.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

impl StartError {
    pub(crate) fn config(file: Option<&Path>, error: ConfigError) -> Self {
        let place = file.map_or_else(|| "configuration".to_owned(), |p| p.display().to_string());
        Self::Config { place, error }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}
