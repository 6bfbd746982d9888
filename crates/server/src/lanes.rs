//! Threads that run the broker's slow work.
//!
//! One thread for the metadata log, several for partitions, one for what nobody waits for. The jobs
//! of one partition run in order on one thread; a partition whose disk is slow delays only those
//! that share its thread. A thread is started with its first job.
//!
//! The queues have no bound of their own, because those who fill them have one: a partition has at
//! most one flush queued or running, the metadata log one flush and one snapshot, a coordinator
//! partition one load, every periodic job is one entry, and there is one removal per deleted
//! segment or directory.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use ottla_broker::Broker;
use ottla_broker::jobs::{Job, Lane};
use parking_lot::{Condvar, Mutex};

/// Threads for partitions: enough for one stalled disk call not to be the only one in flight.
const DATA_THREADS: usize = 4;

/// Stack of a thread that runs jobs; pages that are not touched cost nothing.
const STACK_BYTES: usize = 1 << 20;

/// The threads, and what waits for them.
pub(crate) struct Lanes {
    broker: OnceLock<Weak<Broker>>,
    metadata: Worker,
    data: [Worker; DATA_THREADS],
    background: Worker,
}

/// A queue and its thread.
struct Worker {
    name: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    is_started: bool,
    is_stopped: bool,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            broker: OnceLock::new(),
            metadata: Worker::new("ottla-metadata"),
            data: std::array::from_fn(|_| Worker::new("ottla-data")),
            background: Worker::new("ottla-back"),
        }
    }

    /// Starts to run jobs; those submitted before have waited.
    pub(crate) fn attach(&self, broker: &Arc<Broker>) {
        if self.broker.set(Arc::downgrade(broker)).is_ok() {
            self.all().for_each(|worker| worker.start_if_needed(&self.broker));
        }
    }

    /// Queues a job.
    pub(crate) fn submit(&self, job: Job) {
        let worker = match job.lane() {
            Lane::Metadata => &self.metadata,
            Lane::Background => &self.background,
            Lane::Data => self.data_worker(&job),
        };
        worker.shared.state.lock().queue.push_back(job);
        worker.shared.changed.notify_one();
        worker.start_if_needed(&self.broker);
    }

    /// Runs what is queued and ends the threads. Jobs submitted later are not run.
    pub(crate) fn stop(&self) {
        for worker in self.all() {
            worker.shared.state.lock().is_stopped = true;
            worker.shared.changed.notify_all();
        }
        for worker in self.all() {
            let thread = worker.shared.state.lock().thread.take();
            if let Some(thread) = thread {
                // It cannot have panicked: that ends the process.
                let _ = thread.join();
            }
        }
    }

    fn data_worker(&self, job: &Job) -> &Worker {
        let mut hasher = DefaultHasher::new();
        match job {
            Job::Flush(partition) | Job::LoadShard(partition) => {
                (partition.name.topic_id, partition.name.index).hash(&mut hasher);
            }
            _ => {}
        }
        let [first, ..] = &self.data;
        let index = usize::try_from(hasher.finish() % DATA_THREADS as u64).unwrap_or(0);
        self.data.get(index).unwrap_or(first)
    }

    fn all(&self) -> impl Iterator<Item = &Worker> {
        [&self.metadata, &self.background].into_iter().chain(&self.data)
    }
}

impl Worker {
    fn new(name: &'static str) -> Self {
        Self { name, shared: Arc::default() }
    }

    fn start_if_needed(&self, broker: &OnceLock<Weak<Broker>>) {
        let Some(broker) = broker.get() else { return };
        let mut state = self.shared.state.lock();
        if state.is_started || state.is_stopped || state.queue.is_empty() {
            return;
        }
        state.is_started = true;
        let (shared, broker) = (Arc::clone(&self.shared), Weak::clone(broker));
        let builder = thread::Builder::new().name(self.name.to_owned()).stack_size(STACK_BYTES);
        match builder.spawn(move || shared.run(&broker)) {
            Ok(thread) => state.thread = Some(thread),
            // Acknowledgements would wait for ever: better the next start.
            Err(error) => die(&format!("a thread cannot be started: {error}")),
        }
    }
}

impl Shared {
    fn run(&self, broker: &Weak<Broker>) {
        while let Some(job) = self.next() {
            let Some(broker) = broker.upgrade() else { return };
            let what = format!("{job:?}");
            if catch_unwind(AssertUnwindSafe(|| broker.run(job))).is_err() {
                die(&format!("a defect in this program ended the job \"{what}\""));
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.is_stopped {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

/// Ends the process: what is in memory may no longer agree with the disk, and going on could
/// acknowledge what is lost. The next start recovers from the disk.
pub(crate) fn die(why: &str) -> ! {
    tracing::error!("{why}; the process ends, because its state may be inconsistent");
    std::process::exit(70)
}
