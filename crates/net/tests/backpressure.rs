//! Clients that read nothing, send too much or stop halfway, and the memory they may use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(clippy::disallowed_methods, reason = "a test drives real sockets")]

mod support;

use std::time::Duration;

use ottla_net::{MemoryBudget, Settings};
use support::*;
use tokio::io::AsyncWriteExt;

/// Socket buffers small enough that a client that does not read is noticed soon.
fn small_buffers() -> Settings {
    Settings {
        send_buffer_bytes: Some(32 << 10),
        receive_buffer_bytes: Some(32 << 10),
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_not_read_either_and_closed_in_the_end() {
    let settings = Settings { write_stall: Duration::from_millis(300), ..small_buffers() };
    let (running, log) = start_echo(settings);
    let mut deaf = connect(running.address).await;
    let frame = framed(&[1; 50_000]);
    let flood = tokio::spawn(async move {
        let mut sent = 0;
        while deaf.write_all(&frame).await.is_ok() {
            sent += frame.len();
        }
        sent
    });
    let mut other = connect(running.address).await;
    while log.closed.lock().is_empty() {
        send(&mut other, &framed(b"still served")).await;
        assert_eq!(receive(&mut other).await, b"still served".as_slice());
        let used = running.budget.used();
        assert!(used < 1 << 20, "{used} bytes of frames are kept for a client that does not read");
    }
    assert_eq!(log.wait_closed(1).await, ["the client did not read its answers for 300ms"]);
    let sent = flood.await.unwrap();
    // What the kernel buffers on both sides, the outbox, and nothing more.
    assert!(sent < 16 << 20, "the client could send {sent} bytes");
    until(|| running.budget.used() == 0).await;
    assert_eq!(running.metrics.read().closed_stalled, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_wait_in_order_for_the_memory_budget() {
    const LEN: usize = 300_000;
    let (running, log) = start_scripted(Settings::default(), MemoryBudget::new(3 * LEN), |c| {
        // Frames are kept until the test wakes the connection.
        c.on_poll = |c, _| {
            if let Some(frame) = c.frames.pop_front() {
                c.answer(&frame[..1]);
            }
        };
        let waker = c.waker.clone();
        WAKERS.lock().push(waker);
    });
    static WAKERS: parking_lot::Mutex<Vec<ottla_net::Waker>> = parking_lot::Mutex::new(Vec::new());
    let mut clients = Vec::new();
    for i in 0..5_u8 {
        let mut stream = connect(running.address).await;
        let frame = framed(&vec![i; LEN]);
        clients.push(tokio::spawn(async move {
            send(&mut stream, &frame).await;
            receive(&mut stream).await
        }));
        let (frames, waits) = (u64::from(i.min(2) + 1), u64::from(i.saturating_sub(2)));
        until(|| {
            let counters = running.metrics.read();
            (counters.frames_in, counters.budget_waits) == (frames, waits)
        })
        .await;
        assert!(running.budget.used() <= running.budget.total());
    }
    assert_eq!(running.budget.used(), 3 * LEN, "three frames fit");
    for served in 1..=3 {
        WAKERS.lock()[served - 1].wake();
        let frames = (3 + served).min(5) as u64;
        until(|| running.metrics.read().frames_in == frames).await;
    }
    WAKERS.lock().iter().for_each(ottla_net::Waker::wake);
    for (i, client) in clients.into_iter().enumerate() {
        assert_eq!(client.await.unwrap(), [i as u8].as_slice());
    }
    until(|| running.budget.used() == 0).await;
    drop(log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_larger_than_the_budget_is_read_when_it_is_alone() {
    let (running, _) = start_scripted(Settings::default(), MemoryBudget::new(1000), |c| {
        c.on_frame = |c, _| {
            let frame = c.frames.pop_front().unwrap();
            c.answer(&frame[frame.len() - 1..]);
        };
    });
    let mut stream = connect(running.address).await;
    for i in 0..3 {
        send(&mut stream, &framed(&vec![i; 500_000])).await;
        assert_eq!(receive(&mut stream).await, [i].as_slice());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_frame_is_dropped_at_its_deadline_and_its_memory_given_back() {
    let settings = Settings {
        frame_stall: Duration::from_millis(50),
        frame_bytes_per_s_min: 1 << 30,
        ..Settings::default()
    };
    let (running, log) = start_echo(settings);
    let starts: [(&[u8], &str); 3] = [
        (&[0, 0], "frame of 0 bytes unfinished after 50ms, 2 bytes received"),
        (&[0, 0, 0, 9, 1], "frame of 9 bytes unfinished after 50ms, 1 bytes received"),
        (&[0, 9, 0, 0, 1, 2], "frame of 589824 bytes unfinished after 50ms, 2 bytes received"),
    ];
    for (i, (start, want)) in starts.into_iter().enumerate() {
        let mut stream = connect(running.address).await;
        send(&mut stream, start).await;
        assert_eq!(receive_all(&mut stream).await, b"");
        assert_eq!(log.wait_closed(i + 1).await[i], want);
        until(|| running.budget.used() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_pause_while_the_connection_is_not_ready_for_it() {
    let settings = Settings { frame_stall: Duration::from_millis(50), ..Settings::default() };
    let (running, _) = start_scripted(settings, MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, now| c.deadline = Some(now + Duration::from_millis(200));
        c.on_poll = |c, now| {
            if c.deadline.take_if(|at| *at <= now).is_some() {
                let frame = c.frames.pop_front().unwrap();
                c.answer(&frame);
            }
        };
    });
    let mut stream = connect(running.address).await;
    let second = framed(b"second");
    send(&mut stream, &[framed(b"first"), second[..6].to_vec()].concat()).await;
    assert_eq!(receive(&mut stream).await, b"first".as_slice());
    send(&mut stream, &second[6..]).await;
    assert_eq!(receive(&mut stream).await, b"second".as_slice());
}
