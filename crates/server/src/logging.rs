//! The process log: one line per event, on standard output.

use std::io::IsTerminal;
use std::sync::OnceLock;

use ottla_config::{BrokerConfig, keys};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// The filter of the log that this process writes; `None` until [`init`] started it.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log as `ottla.log.level` and `ottla.log.format` say. Without effect if the process
/// has one already.
pub(crate) fn init(config: &BrokerConfig) {
    let level = config.get(keys::OTTLA_LOG_LEVEL);
    let (filter, problem) = match level.parse::<Targets>() {
        Ok(filter) => (filter, None),
        Err(error) => (Targets::new().with_default(LevelFilter::INFO), Some(error.to_string())),
    };
    let layer = tracing_subscriber::fmt::layer();
    let layer = match config.get(keys::OTTLA_LOG_FORMAT) {
        "json" => layer.json().flatten_event(true).boxed(),
        _ => layer.with_ansi(std::io::stdout().is_terminal()).with_target(false).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if started.is_ok() {
        // Set once: starting a second log is an error above.
        let _first = FILTER.set(handle);
    }
    if let (Ok(()), Some(problem)) = (started, problem) {
        tracing::warn!("ottla.log.level={level} is not understood, info is used: {problem}");
    }
}

/// Changes the levels, as a client asked for.
pub(crate) fn set_levels(directives: &str) {
    let filter = match directives.parse::<Targets>() {
        Ok(filter) => filter,
        Err(error) => return tracing::warn!("log levels {directives:?} are not used: {error}"),
    };
    if let Some(Err(error)) = FILTER.get().map(|handle| handle.reload(filter)) {
        tracing::warn!("log levels {directives:?} are not used: {error}");
    }
}
