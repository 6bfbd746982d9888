//! What receiving and sending costs over loopback: CPU seconds of the server's threads per GB and
//! per million frames, beside the floor (the bare system calls in a loop with one hot buffer).
//!
//! `cargo run --release -p ottla-net --example loopback [seconds per row [part of a row's name]]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement"
)]
#![allow(clippy::disallowed_methods, reason = "a measurement needs clocks, threads and files")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_net::{
    Acceptor, BoundListener, CloseReason, Connection, ConnectionInfo, FileSlice, FileSource,
    MemoryBudget, NetServer, Part, Settings, Waker,
};

const ANSWER: u64 = 1 << 20;
const FILE_BYTES: u64 = 64 << 20;

struct Source(File);

impl FileSource for Source {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buf, position)
    }
}

/// Answers a frame of one byte with 1 MiB (0: file, 1: memory), any other with 8 bytes.
struct Service {
    file: Arc<dyn FileSource>,
    hot: Bytes,
    position: u64,
    answers: VecDeque<u8>,
}

impl Connection for Service {
    fn ready_for_frame(&self) -> bool {
        self.answers.len() < 64
    }
    fn frame(&mut self, frame: Bytes, _now: Instant) {
        self.answers.push_back(if frame.len() == 1 { frame[0] } else { 2 });
    }
    fn poll(&mut self, _now: Instant) {}
    fn take_response(&mut self, parts: &mut VecDeque<Part>) -> bool {
        let Some(kind) = self.answers.pop_front() else { return false };
        let header = |len: u64| Part::Bytes(Bytes::copy_from_slice(&(len as u32).to_be_bytes()));
        match kind {
            0 => {
                parts.push_back(header(ANSWER));
                let (file, position) = (self.file.clone(), self.position);
                parts.push_back(Part::File(FileSlice { file, position, len: ANSWER }));
                self.position = (position + ANSWER) % FILE_BYTES;
            }
            1 => {
                parts.push_back(header(ANSWER));
                parts.push_back(Part::Bytes(self.hot.clone()));
            }
            _ => parts.push_back(Part::Bytes(Bytes::from_static(&[0, 0, 0, 4, 1, 2, 3, 4]))),
        }
        true
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn should_close(&self) -> Option<String> {
        None
    }
    fn closed(&mut self, _reason: &CloseReason) {}
}

struct Services(Arc<dyn FileSource>, Bytes);

impl Acceptor for Services {
    fn accept(&self, _info: &ConnectionInfo, _waker: Waker) -> Box<dyn Connection> {
        let (file, hot) = (self.0.clone(), self.1.clone());
        Box::new(Service { file, hot, position: 0, answers: VecDeque::new() })
    }
}

/// CPU seconds of the threads whose name starts with `name`.
fn cpu(name: &str) -> f64 {
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").starts_with(name) {
            let nanos = read("schedstat");
            total +=
                nanos.split(' ').next().unwrap_or_default().parse::<f64>().unwrap_or(0.0) / 1e9;
        }
    }
    total
}

/// A frame sent again and again with `depth` of them unanswered; returns bytes and frames moved.
fn drive(address: SocketAddr, body: &[u8], depth: usize, until: Instant) -> (u64, u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    // Small frames leave in one write per window, as a client's batch of requests would.
    let batch = (64_usize << 10).div_ceil(frame.len()).min(depth).max(1);
    let frames = frame.repeat(batch);
    let mut buf = vec![0; 2 << 20];
    let (mut bytes, mut count) = (0_u64, 0_u64);
    let mut open = 0;
    while Instant::now() < until {
        while open + batch <= depth {
            stream.write_all(&frames).unwrap();
            bytes += frames.len() as u64;
            open += batch;
        }
        for _ in 0..batch {
            let mut size = [0; 4];
            stream.read_exact(&mut size).unwrap();
            let len = u32::from_be_bytes(size) as usize;
            stream.read_exact(&mut buf[..len]).unwrap();
            bytes += if body.len() == 1 { len as u64 } else { 0 };
            count += 1;
        }
        open -= batch;
    }
    (bytes, count)
}

fn row(name: &str, threads: &str, run: impl FnOnce() -> (u64, u64)) {
    if std::env::args().nth(2).is_some_and(|part| !name.contains(&part)) {
        return;
    }
    let (cpu_before, start) = (cpu(threads), Instant::now());
    let (bytes, frames) = run();
    let (used, took) = (cpu(threads) - cpu_before, start.elapsed().as_secs_f64());
    println!(
        "{name:44} {:7.0} MB/s  {:6.3} CPU-s/GB  {:8.2} CPU-s/M frames",
        bytes as f64 / 1e6 / took,
        used / (bytes as f64 / 1e9),
        used / (frames as f64 / 1e6),
    );
}

/// The floor: `act` in a thread on an accepted socket, against a client thread.
fn floor(
    name: &str,
    seconds: u64,
    act: impl Fn(&mut TcpStream, &mut [u8]) -> io::Result<usize> + Send + 'static,
    client: impl FnOnce(TcpStream, Instant) + Send + 'static,
) {
    let listener = TcpListener::bind("127.0.0.1:21990").unwrap();
    let address = listener.local_addr().unwrap();
    // A thread of the row before may still live.
    let thread = format!("floor{}", name.len());
    row(name, &thread.clone(), move || {
        let until = Instant::now() + Duration::from_secs(seconds);
        let client =
            std::thread::spawn(move || client(TcpStream::connect(address).unwrap(), until));
        let (mut stream, _) = listener.accept().unwrap();
        let (done, counted) = std::sync::mpsc::channel();
        let (leave, left) = std::sync::mpsc::channel::<()>();
        std::thread::Builder::new()
            .name(thread)
            .spawn(move || {
                let mut buf = vec![1; 1 << 20];
                let mut bytes = 0;
                while Instant::now() < until {
                    match act(&mut stream, &mut buf) {
                        Ok(count) if count > 0 => bytes += count as u64,
                        _ => break,
                    }
                }
                drop(stream);
                done.send(bytes).unwrap();
                // Its CPU time can be read as long as it lives.
                let _ = left.recv_timeout(Duration::from_millis(200));
            })
            .unwrap();
        let bytes = counted.recv().unwrap();
        client.join().unwrap();
        std::mem::forget(leave);
        (bytes, bytes >> 20)
    });
}

fn read_all(mut stream: TcpStream, until: Instant) {
    let mut buf = vec![0; 2 << 20];
    while Instant::now() < until && stream.read(&mut buf).is_ok_and(|count| count > 0) {}
}

fn write_all(mut stream: TcpStream, until: Instant) {
    let buf = vec![1; 1 << 20];
    while Instant::now() < until && stream.write_all(&buf).is_ok() {}
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(3);
    let path = std::env::temp_dir().join(format!("ottla-loopback-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(&vec![1; FILE_BYTES as usize]).unwrap();
    let sendable = file.try_clone().unwrap();

    floor("floor: read into one 1 MiB buffer", seconds, |s, buf| s.read(buf), write_all);
    floor("floor: write from one 1 MiB buffer", seconds, |s, buf| s.write(buf), read_all);
    let position = std::sync::atomic::AtomicU64::new(0);
    let send = move |stream: &mut TcpStream, _: &mut [u8]| {
        let mut from = position.load(std::sync::atomic::Ordering::Relaxed) % FILE_BYTES;
        let sent = rustix::fs::sendfile(stream, &sendable, Some(&mut from), 1 << 20)?;
        position.store(from, std::sync::atomic::Ordering::Relaxed);
        Ok(sent)
    };
    floor("floor: sendfile, 1 MiB steps", seconds, send, read_all);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("server")
        .enable_all()
        .build()
        .unwrap();
    let file: Arc<dyn FileSource> = Arc::new(Source(file));
    let hot = Bytes::from(vec![1; ANSWER as usize]);
    let server = NetServer::new();
    for (port, buffers, note) in [(21991, None, ""), (21992, Some(102_400), ", 100 KiB buffers")] {
        let settings = Settings {
            send_buffer_bytes: buffers,
            receive_buffer_bytes: buffers,
            ..Settings::default()
        };
        let listener = BoundListener::bind("127.0.0.1", port, &settings).unwrap();
        let address = listener.local_addr();
        let _guard = runtime.enter();
        let services = Arc::new(Services(file.clone(), hot.clone()));
        let budget = MemoryBudget::new(64 << 20);
        server.serve("BENCH", listener, (settings, budget), services).unwrap();
        let rows: [(&str, Vec<u8>, usize); 6] = [
            ("receive 1 MiB frames, 5 in flight", vec![1; 1 << 20], 5),
            ("receive 1 MiB frames, 1 in flight", vec![1; 1 << 20], 1),
            ("receive 16 KiB frames, 5 in flight", vec![1; 16 << 10], 5),
            ("receive 100 B frames, 1 in flight", vec![1; 100], 1),
            ("send 1 MiB by sendfile, 2 in flight", vec![0], 2),
            ("send 1 MiB from memory, 2 in flight", vec![1], 2),
        ];
        for (name, body, depth) in rows {
            row(&format!("{name}{note}"), "server", || {
                drive(address, &body, depth, Instant::now() + Duration::from_secs(seconds))
            });
        }
    }
    runtime.block_on(server.shutdown(Duration::from_secs(1)));
}
