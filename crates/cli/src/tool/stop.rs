//! Work that runs until a signal.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Outcome};

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Does `work` until it ends or a signal comes. What `work` borrowed is usable afterwards, so that
/// what it began can be ended in order.
pub(crate) async fn until_signal<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let take = |kind| {
        signal(kind).map_err(|error| Failure::Failed(format!("cannot handle signals: {error}")))
    };
    let (mut interrupt, mut terminate) =
        (take(SignalKind::interrupt())?, take(SignalKind::terminate())?);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err(Failure::Signal(SIGINT)),
        _ = terminate.recv() => Err(Failure::Signal(SIGTERM)),
    }
}
