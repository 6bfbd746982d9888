//! Accepting connections, and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::budget::MemoryBudget;
use crate::connection::{Acceptor, ConnectionInfo, Refusal};
use crate::driver::{Driver, Shared};
use crate::limits::{ConnectionLimits, Place, Registry};
use crate::listener::{BoundListener, Settings};
use crate::log_limit::LogLimit;
use crate::metrics::{NetMetrics, add};
use crate::wake::Waker;

/// Pause after a failure to accept for lack of descriptors or memory: the error would come back
/// at once otherwise.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most connections of a listener that are kept unanswered before they are closed. Beyond it they are
/// closed at once.
const ENDING_MAX: usize = 1000;
/// How long aborted tasks may take to be dropped.
const ABORT_WAIT: Duration = Duration::from_secs(2);

/// The listeners of a process and their connections. Clones are the same server.
#[derive(Clone, Default)]
pub struct NetServer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    registry: Arc<Registry>,
    accepting: Mutex<Vec<JoinHandle<()>>>,
}

/// One listener's accept loop.
struct Accepting {
    place: Place,
    socket: TcpListener,
    /// Connections that wait for their end, because their address connects too fast.
    ending: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    acceptor: Arc<dyn Acceptor>,
    registry: Arc<Registry>,
    log: LogLimit,
}

impl NetServer {
    /// A server without listeners or limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the limits; connections that are open stay.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.0.registry.set_limits(limits);
    }

    /// Number of connections of all listeners.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.registry.len()
    }

    /// Starts accepting on `listener`, called `name`, on the current tokio runtime. Returns the
    /// counters of the listener.
    ///
    /// # Errors
    /// The socket cannot be registered with the runtime.
    pub fn serve(
        &self,
        name: &str,
        listener: BoundListener,
        (settings, budget): (Settings, MemoryBudget),
        acceptor: Arc<dyn Acceptor>,
    ) -> io::Result<Arc<NetMetrics>> {
        let metrics = Arc::new(NetMetrics::default());
        let socket = TcpListener::from_std(listener.into_std())?;
        let mut accepting = self.0.accepting.lock();
        let registry = self.0.registry.clone();
        let number = accepting.len();
        let place = Place { number, name: name.into(), is_exempt: settings.is_exempt };
        let shared = Shared {
            settings,
            budget,
            metrics: metrics.clone(),
            stopping: registry.stopping.clone(),
            log: LogLimit::new(Duration::from_secs(10)),
        };
        let task = Accepting {
            place,
            socket,
            ending: Arc::default(),
            shared: Arc::new(shared),
            acceptor,
            registry,
            log: LogLimit::new(Duration::from_secs(1)),
        };
        accepting.push(tokio::spawn(task.run()));
        Ok(metrics)
    }

    /// Stops: no more connections are accepted; those open write the answers that are ready and
    /// close; those that have not done so after `grace` are aborted. Returns how many were.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let registry = &self.0.registry;
        registry.stopping.store(true, Ordering::Release);
        let accepting = std::mem::take(&mut *self.0.accepting.lock());
        for task in accepting {
            task.abort();
            // An error is the abort itself.
            let _ = task.await;
        }
        registry.wake_all();
        let gone = || registry.until(|| registry.len() == 0);
        if tokio::time::timeout(grace, gone()).await.is_ok() {
            return 0;
        }
        let aborted = registry.abort_all();
        if tokio::time::timeout(ABORT_WAIT, gone()).await.is_err() {
            tracing::warn!("{} connections do not end", registry.len());
        }
        aborted
    }
}

impl Accepting {
    async fn run(self) {
        loop {
            self.wait_for_room().await;
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    self.pace().await;
                    self.accepted(stream, peer);
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn wait_for_room(&self) {
        let has_room = || self.registry.has_room(&self.place);
        if has_room() {
            return;
        }
        if let Some(left_out) = self.log.allow(Instant::now()) {
            tracing::warn!(
                listener = &*self.place.name,
                left_out,
                "max.connections is reached: not accepting until a connection is closed"
            );
        }
        self.registry.until(has_room).await;
    }

    /// Waits until a connection that was accepted keeps to `max.connection.creation.rate`.
    async fn pace(&self) {
        while let Err(pause) = self.registry.pace(&self.place, Instant::now()) {
            self.registry.changed_within(pause).await;
        }
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        let waker = Waker::default();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let from = (self.place.number, peer.ip());
        let slot = match self.registry.admit(from, &waker, Instant::now()) {
            Ok(slot) => slot,
            Err(why) => return self.refuse(stream, peer, why),
        };
        // Fails only if the peer is gone already; the first read says so.
        let local = stream.local_addr().unwrap_or(peer);
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let id = slot.id;
        let info = ConnectionInfo { id, peer, local, listener: self.place.name.clone() };
        let connection = self.acceptor.accept(&info, waker.clone());
        add(&self.shared.metrics.accepted, 1);
        let driver = Driver::new((stream, waker), (connection, info), self.shared.clone(), slot);
        self.registry.set_abort(id, tokio::spawn(driver).abort_handle());
    }

    fn refuse(&self, stream: TcpStream, peer: SocketAddr, why: Refusal) {
        add(&self.shared.metrics.refused, 1);
        if let Some(left_out) = self.log.allow(Instant::now()) {
            tracing::warn!(listener = &*self.place.name, %peer, left_out, ?why, "refused");
        }
        self.acceptor.refused(peer, why);
        let Refusal::TooFast { pause } = why else { return };
        // A client that is closed at once would come again at once.
        if self.ending.fetch_add(1, Ordering::Relaxed) < ENDING_MAX {
            let ending = Arc::clone(&self.ending);
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                drop(stream);
                ending.fetch_sub(1, Ordering::Relaxed);
            });
        } else {
            self.ending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn failed(&self, error: &io::Error) {
        add(&self.shared.metrics.accept_errors, 1);
        if let Some(left_out) = self.log.allow(Instant::now()) {
            tracing::warn!(listener = &*self.place.name, left_out, "cannot accept: {error}");
        }
        // The peer went away while it waited: no reason to pause.
        let of_peer = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
        if !of_peer.contains(&error.kind()) {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}
