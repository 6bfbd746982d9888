//! File slices: exactly the bytes asked for, whatever the socket accepts at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(clippy::disallowed_methods, reason = "a test drives real sockets and files")]

mod support;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_net::{FileSlice, FileSource, MemoryBudget, Part, Settings};
use support::*;
use tokio::io::AsyncReadExt;

const FILE_BYTES: usize = 5 << 20;

struct Source {
    file: File,
    has_fd: bool,
}

impl FileSource for Source {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.has_fd.then(|| self.file.as_fd())
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }
}

fn byte_at(position: usize) -> u8 {
    (position ^ (position >> 8) ^ (position >> 16).wrapping_mul(31)) as u8
}

/// A file without a name, so that nothing is left behind.
fn source(has_fd: bool) -> Arc<dyn FileSource> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ottla-net-{}-{count}", std::process::id()));
    let options = File::options().read(true).write(true).create_new(true).open(&path);
    let mut file = options.unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(&(0..FILE_BYTES).map(byte_at).collect::<Vec<u8>>()).unwrap();
    file.sync_all().unwrap();
    // On file systems that support it, the first read finds the pages gone.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    Arc::new(Source { file, has_fd })
}

/// A request is a list of (position, length); the answer has for each its position, then the bytes.
fn serve(file: Arc<dyn FileSource>, settings: Settings) -> (Running, Arc<Log>) {
    start_scripted(settings, MemoryBudget::unlimited(), move |c| {
        c.file = Some(file.clone());
        c.on_frame = |c, _| {
            let file = c.file.clone().unwrap();
            let frame = c.frames.pop_front().unwrap();
            let mut parts = Vec::new();
            let mut total = 0;
            for row in frame.chunks(16) {
                let position = u64::from_be_bytes(row[..8].try_into().unwrap());
                let len = u64::from_be_bytes(row[8..].try_into().unwrap());
                parts.push(Part::Bytes(Bytes::copy_from_slice(&row[..8])));
                parts.push(Part::File(FileSlice { file: file.clone(), position, len }));
                total += 8 + len;
            }
            let size = Bytes::copy_from_slice(&(total as u32).to_be_bytes());
            parts.insert(0, Part::Bytes(size));
            c.answers.push_back(parts);
        };
    })
}

fn request(slices: &[(u64, u64)]) -> Vec<u8> {
    let rows = slices.iter().flat_map(|(at, len)| [at.to_be_bytes(), len.to_be_bytes()]);
    framed(&rows.flatten().collect::<Vec<u8>>())
}

fn answer(slices: &[(u64, u64)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, len) in slices {
        body.extend_from_slice(&at.to_be_bytes());
        body.extend((*at..at + len).map(|at| byte_at(at as usize)));
    }
    framed(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_arrive_exactly_by_every_way_of_sending() {
    let end = FILE_BYTES as u64;
    let requests: [&[(u64, u64)]; 8] = [
        &[(0, 1)],
        &[(4095, 2), (0, 0), (end - 1, 1)],
        &[(1, end - 1)],
        &[(0, end), (0, end)],
        &[(123_457, 1_048_576), (1_048_575, 65_537), (2_000_000, 1)],
        &[(end, 0)],
        // Around the size up to which a slice travels with the bytes before it.
        &[(77, 16_384), (99, 16_385), (5, 16_383), (1, 16_384), (3, 16_385)],
        &[(0, 1000); 200],
    ];
    for has_fd in [true, false] {
        for buffer in [None, Some(64 << 10)] {
            let settings = Settings { send_buffer_bytes: buffer, ..Settings::default() };
            let (running, _) = serve(source(has_fd), settings);
            let mut stream = connect(running.address).await;
            for slices in requests {
                let want = answer(slices);
                send(&mut stream, &request(slices)).await;
                let mut got = vec![0; want.len()];
                // Odd pieces, so that the sender sees a full socket at odd places.
                for piece in got.chunks_mut(37_911) {
                    stream.read_exact(piece).await.unwrap();
                }
                assert!(got == want, "fd {has_fd}, buffer {buffer:?}, slices {slices:?}");
            }
        }
    }
}

/// A file that is truncated while it is read for the first time: from then on it has no descriptor,
/// and reading it is an error.
struct Truncated {
    file: File,
    asked: std::sync::atomic::AtomicU32,
}

impl FileSource for Truncated {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        let first = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        first.then(|| self.file.as_fd())
    }
    fn read_at(&self, _buf: &mut [u8], _position: u64) -> io::Result<usize> {
        Err(io::Error::other("truncated"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_slice_truncated_while_it_is_read_is_not_sent() {
    let path = std::env::temp_dir().join(format!("ottla-net-truncated-{}", std::process::id()));
    std::fs::write(&path, [7; 4096]).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let source = Arc::new(Truncated { file, asked: 0.into() });
    let (running, log) = serve(source, Settings::default());
    let mut stream = connect(running.address).await;
    send(&mut stream, &request(&[(10, 100)])).await;
    let got = receive_all(&mut stream).await;
    assert!(!got.contains(&7), "no byte of the slice: {got:?}");
    assert_eq!(log.wait_closed(1).await, ["cannot read a file to send: truncated"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_shorter_than_its_slice_closes_the_connection() {
    let end = FILE_BYTES as u64;
    for has_fd in [true, false] {
        let (running, log) = serve(source(has_fd), Settings::default());
        let mut stream = connect(running.address).await;
        send(&mut stream, &request(&[(end - 10, 11)])).await;
        let want = [&19_u32.to_be_bytes()[..], &(end - 10).to_be_bytes()].concat();
        let mut want_all = want;
        want_all.extend((FILE_BYTES - 10..FILE_BYTES).map(byte_at));
        assert_eq!(receive_all(&mut stream).await, want_all, "no byte that is not the file's");
        let reason = format!("a file ended at {end}, 1 bytes before the end of the slice to send");
        assert_eq!(log.wait_closed(1).await, [reason]);
    }
}
