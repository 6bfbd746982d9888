//! Connections, ports and clients for the tests of this crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(dead_code, unreachable_pub, reason = "a module that each test file uses a part of")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla_net::{
    Acceptor, BoundListener, CloseReason, Connection, ConnectionInfo, FileSource, MemoryBudget,
    NetMetrics, NetServer, Part, Settings, Waker,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Any test that waits longer for an event has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Binds a free port between 21000 and 21999: below the range that outgoing connections use.
pub fn bind(settings: &Settings) -> BoundListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() * 37;
    for _ in 0..1000 {
        let port = 21000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 1000;
        if let Ok(listener) = BoundListener::bind("127.0.0.1", port as u16, settings) {
            return listener;
        }
    }
    panic!("no free port between 21000 and 21999");
}

/// Frame and answer for the wire.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

pub type Make = Box<dyn Fn(&ConnectionInfo, Waker) -> Box<dyn Connection> + Send + Sync>;

/// Makes connections by a closure.
pub struct By(pub Make);

impl Acceptor for By {
    fn accept(&self, info: &ConnectionInfo, waker: Waker) -> Box<dyn Connection> {
        (self.0)(info, waker)
    }
}

/// A running server with one listener.
pub struct Running {
    pub server: NetServer,
    pub address: SocketAddr,
    pub budget: MemoryBudget,
    pub metrics: Arc<NetMetrics>,
}

pub fn start(
    settings: Settings,
    budget: MemoryBudget,
    make: impl Fn(&ConnectionInfo, Waker) -> Box<dyn Connection> + Send + Sync + 'static,
) -> Running {
    let listener = bind(&settings);
    let address = listener.local_addr();
    let server = NetServer::new();
    let acceptor = Arc::new(By(Box::new(make)));
    let metrics = server.serve("TEST", listener, (settings, budget.clone()), acceptor).unwrap();
    Running { server, address, budget, metrics }
}

pub fn start_echo(settings: Settings) -> (Running, Arc<Log>) {
    let log = Arc::new(Log::default());
    let for_each = log.clone();
    let running = start(settings, MemoryBudget::new(64 << 20), move |_, _| {
        Box::new(Echo { log: for_each.clone(), answers: VecDeque::new() })
    });
    (running, log)
}

/// What the connections of a test saw.
#[derive(Default)]
pub struct Log {
    pub closed: Mutex<Vec<String>>,
    pub changed: tokio::sync::Notify,
}

impl Log {
    pub fn closed(&self, reason: &CloseReason) {
        self.closed.lock().push(reason.to_string());
        self.changed.notify_waiters();
    }

    /// Waits until `count` connections were closed; returns the reasons.
    pub async fn wait_closed(&self, count: usize) -> Vec<String> {
        wait(&self.changed, || self.closed.lock().len() >= count).await;
        self.closed.lock().clone()
    }
}

/// Waits until `ready` is true, asking whenever `changed` is notified.
pub async fn wait(changed: &tokio::sync::Notify, ready: impl Fn() -> bool) {
    let waiting = async {
        loop {
            let notified = changed.notified();
            if ready() {
                return;
            }
            notified.await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the event does not come");
}

/// Answers every frame with itself.
pub struct Echo {
    pub log: Arc<Log>,
    pub answers: VecDeque<Bytes>,
}

impl Connection for Echo {
    fn ready_for_frame(&self) -> bool {
        self.answers.len() < 8
    }
    fn frame(&mut self, frame: Bytes, _now: Instant) {
        self.answers.push_back(frame);
    }
    fn poll(&mut self, _now: Instant) {}
    fn take_response(&mut self, parts: &mut VecDeque<Part>) -> bool {
        let Some(frame) = self.answers.pop_front() else { return false };
        parts.push_back(Part::Bytes(Bytes::copy_from_slice(&(frame.len() as u32).to_be_bytes())));
        parts.push_back(Part::Bytes(frame));
        true
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn should_close(&self) -> Option<String> {
        None
    }
    fn closed(&mut self, reason: &CloseReason) {
        self.log.closed(reason);
    }
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let sent = tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await;
    sent.expect("the server does not read").unwrap();
}

pub async fn receive(stream: &mut TcpStream) -> Bytes {
    let read = async {
        let len = stream.read_u32().await.unwrap() as usize;
        let mut body = BytesMut::zeroed(len);
        stream.read_exact(&mut body).await.unwrap();
        body.freeze()
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server does not answer")
}

/// Everything until the server closes the connection, by an end or a reset.
pub async fn receive_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = async { while stream.read_buf(&mut all).await.is_ok_and(|count| count > 0) {} };
    tokio::time::timeout(PATIENCE, read).await.expect("the server does not close");
    all
}

/// Waits for a condition that nothing announces.
pub async fn until(ready: impl Fn() -> bool) {
    let spin = async {
        while !ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, spin).await.expect("the condition does not come true");
}

/// A connection whose behaviour is given by closures over its state.
pub struct Scripted {
    pub waker: Waker,
    pub log: Arc<Log>,
    pub frames: VecDeque<Bytes>,
    pub answers: VecDeque<Vec<Part>>,
    pub frames_max: usize,
    pub deadline: Option<Instant>,
    pub close: Option<String>,
    pub file: Option<Arc<dyn FileSource>>,
    pub on_frame: fn(&mut Scripted, Instant),
    pub on_poll: fn(&mut Scripted, Instant),
}

impl Scripted {
    pub fn new(waker: Waker, log: Arc<Log>) -> Self {
        let nothing: fn(&mut Scripted, Instant) = |_, _| {};
        Self {
            waker,
            log,
            frames: VecDeque::new(),
            answers: VecDeque::new(),
            frames_max: 1,
            deadline: None,
            close: None,
            file: None,
            on_frame: nothing,
            on_poll: nothing,
        }
    }

    pub fn answer(&mut self, body: &[u8]) {
        self.answers.push_back(vec![Part::Bytes(Bytes::from(framed(body)))]);
    }
}

impl Connection for Scripted {
    fn ready_for_frame(&self) -> bool {
        self.frames.len() < self.frames_max
    }
    fn frame(&mut self, frame: Bytes, now: Instant) {
        self.frames.push_back(frame);
        (self.on_frame)(self, now);
        self.log.changed.notify_waiters();
    }
    fn poll(&mut self, now: Instant) {
        (self.on_poll)(self, now);
    }
    fn take_response(&mut self, parts: &mut VecDeque<Part>) -> bool {
        let Some(answer) = self.answers.pop_front() else { return false };
        parts.extend(answer);
        true
    }
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn should_close(&self) -> Option<String> {
        self.close.clone()
    }
    fn closed(&mut self, reason: &CloseReason) {
        self.log.closed(reason);
    }
}

/// A server whose connections are scripted by `script`.
pub fn start_scripted(
    settings: Settings,
    budget: MemoryBudget,
    script: impl Fn(&mut Scripted) + Send + Sync + 'static,
) -> (Running, Arc<Log>) {
    let log = Arc::new(Log::default());
    let for_each = log.clone();
    let running = start(settings, budget, move |_, waker| {
        let mut connection = Scripted::new(waker, for_each.clone());
        script(&mut connection);
        Box::new(connection)
    });
    (running, log)
}
