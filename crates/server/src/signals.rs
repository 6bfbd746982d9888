//! Signals: the first SIGTERM or SIGINT stops in order, a second one at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::StartError;

/// Signals of this process, received from when this value is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM, and ignores SIGHUP. Within a tokio runtime.
    pub(crate) fn new() -> Result<Self, StartError> {
        let take = |kind| signal(kind).map_err(StartError::system("handle signals"));
        // Received and never looked at: a terminal that goes away does not end the node.
        drop(take(SignalKind::hangup())?);
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal and returns the exit code that says so (128 and its number).
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }

    /// Resolves with the first signal once `ready` is set; before that, and from the second one on,
    /// the process ends at once: nothing was acknowledged yet, or somebody is in a hurry.
    pub(crate) fn stop(mut self, ready: Arc<AtomicBool>) -> tokio::sync::oneshot::Receiver<()> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let code = self.next().await;
            if !ready.load(Ordering::Acquire) {
                tracing::info!("stopped while starting");
                std::process::exit(code);
            }
            // The receiver is gone only when the process ends anyway.
            let _ = stop.send(());
            let code = self.next().await;
            tracing::warn!("stopped at once: the next start recovers the logs");
            std::process::exit(code);
        });
        stopped
    }
}
