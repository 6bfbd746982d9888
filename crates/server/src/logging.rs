//! The process log: one line per event, on standard output.

use std::io::IsTerminal;

use ottla_config::{BrokerConfig, keys};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if let (Ok(()), Some(problem)) = (started, problem) {
        tracing::warn!("ottla.log.level={level} is not understood, info is used: {problem}");
    }
}
