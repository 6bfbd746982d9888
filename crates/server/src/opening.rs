//! Opening the logs at start, on several threads, with a word about the progress.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ottla_broker::{Broker, OpenTask};

use crate::lanes::die;

/// At most this often a line says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Stack of a thread that opens logs.
const STACK_BYTES: usize = 1 << 20;

/// Opens all logs on `threads` threads. Errors are the broker's business: it takes the directory
/// offline.
pub(crate) fn open_logs(broker: &Arc<Broker>, tasks: &[OpenTask], threads: usize) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (next, done) = (&next, &done);
    let started = Instant::now();
    let work = move || {
        let mut said = started;
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| broker.open_log(task))).is_err() {
                die(&format!("a defect in this program ended the opening of {task:?}"));
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                tracing::info!("opening logs: {done} of {}", tasks.len());
            }
        }
    };
    // The calling thread works, too: an empty node starts no thread for this.
    let others = threads.min(tasks.len()).saturating_sub(1);
    thread::scope(|scope| {
        for _ in 0..others {
            let builder = thread::Builder::new().name("ottla-open".into()).stack_size(STACK_BYTES);
            if let Err(error) = builder.spawn_scoped(scope, work) {
                tracing::warn!("fewer threads open logs than configured: {error}");
                break;
            }
        }
        work();
    });
    if !tasks.is_empty() {
        tracing::info!("opened {} logs in {} ms", tasks.len(), started.elapsed().as_millis());
    }
}
