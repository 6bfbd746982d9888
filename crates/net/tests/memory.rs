//! What connections cost, by counting what is allocated.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(clippy::disallowed_methods, reason = "a test drives real sockets")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_net::Settings;
use support::*;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One test, for the counter belongs to the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claimed_sizes_and_idle_connections_cost_little() {
    let (running, _) = start_echo(Settings::default());
    let mut warm = connect(running.address).await;
    send(&mut warm, &framed(b"warm")).await;
    receive(&mut warm).await;

    let before = LIVE.load(Ordering::Relaxed);
    let mut claiming = connect(running.address).await;
    send(&mut claiming, &[&(100_u32 << 20).to_be_bytes()[..], &[1; 10]].concat()).await;
    until(|| running.budget.used() > 0).await;
    let reserved = running.budget.used();
    assert!(reserved < 1 << 20, "10 bytes of a frame of 100 MiB reserve {reserved}");
    // Others are served meanwhile; the round trip lets the server's order of things settle.
    send(&mut warm, &framed(b"settle")).await;
    receive(&mut warm).await;
    let cost = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    assert!(cost < 3 << 20, "10 bytes of a frame of 100 MiB cost {cost} bytes");
    drop(claiming);
    until(|| running.budget.used() == 0).await;

    let mut streams = Vec::with_capacity(1000);
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 0..1000 {
        streams.push(connect(running.address).await);
    }
    for stream in &mut streams {
        send(stream, &framed(&[1; 2000])).await;
        receive(stream).await;
    }
    // The last one gives its buffer back once it finds nothing more to read.
    until(|| LIVE.load(Ordering::Relaxed).saturating_sub(before) / 1000 < 4096).await;
    let each = LIVE.load(Ordering::Relaxed).saturating_sub(before) / 1000;
    println!("{each} bytes per idle connection, both ends together");
}
