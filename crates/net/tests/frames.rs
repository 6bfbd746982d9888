//! Frames in, answers out: order, every split, every bad size.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(clippy::disallowed_methods, reason = "a test drives real sockets")]

mod support;

use ottla_net::Settings;
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_frames_of_all_sizes_are_answered_in_order() {
    let (running, _) = start_echo(Settings::default());
    let sizes = [1, 3, 100, 4092, 4096, 5000, 65_536, 65_537, 7, 300_000, 1, 3_000_000, 70_000, 9];
    let bodies: Vec<Vec<u8>> = (0..6)
        .flat_map(|_| sizes)
        .enumerate()
        .map(|(i, size)| (0..size).map(|at| (i * 31 + at * 7 + at / 251) as u8).collect())
        .collect();
    let (mut read, mut write) = connect(running.address).await.into_split();
    let all: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
    let expected = all.clone();
    let sender = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &all).await.unwrap();
        write
    });
    let mut got = vec![0; expected.len()];
    tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_exact(&mut read, &mut got))
        .await
        .expect("all answers come")
        .unwrap();
    assert!(got == expected, "answers differ from the requests");
    drop(sender.await.unwrap());
    let counters = running.metrics.read();
    assert_eq!(counters.frames_in, bodies.len() as u64);
    assert_eq!(counters.bytes_out, expected.len() as u64);
    assert_eq!(counters.bytes_in, expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_arrive_split_at_every_byte() {
    let (running, _) = start_echo(Settings::default());
    let frames = [framed(b"first frame"), framed(b"2"), framed(b"the third")].concat();
    let mut stream = connect(running.address).await;
    for split in 1..frames.len() {
        let (head, tail) = frames.split_at(split);
        send(&mut stream, head).await;
        // Until the complete frames of the head are answered, the tail is not sent.
        let mut left = 3;
        for end in [15, 20] {
            if split >= end {
                receive(&mut stream).await;
                left -= 1;
            }
        }
        send(&mut stream, tail).await;
        for _ in 0..left {
            receive(&mut stream).await;
        }
    }
    for byte in &frames {
        send(&mut stream, &[*byte]).await;
    }
    for want in [b"first frame".as_slice(), b"2", b"the third"] {
        assert_eq!(receive(&mut stream).await, want);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_size_closes_the_connection_after_the_answers_before_it() {
    let settings = Settings { frame_bytes_max: 1000, ..Settings::default() };
    let (running, log) = start_echo(settings);
    for (i, size) in [0, -1, i32::MIN, i32::MAX, 1001].into_iter().enumerate() {
        let mut stream = connect(running.address).await;
        send(&mut stream, &framed(&[7; 1000])).await;
        assert_eq!(receive(&mut stream).await, [7; 1000].as_slice());
        send(&mut stream, &size.to_be_bytes()).await;
        assert_eq!(receive_all(&mut stream).await, b"", "size {size}");
        let reasons = log.wait_closed(i + 1).await;
        assert_eq!(reasons[i], format!("frame size {size} is not within 1 and 1000"));
    }
    assert_eq!(running.metrics.read().bad_frames, 5);
}
