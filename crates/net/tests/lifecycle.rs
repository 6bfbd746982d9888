//! Wakes, deadlines, idle connections, limits, stopping.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(clippy::disallowed_methods, reason = "a test drives real sockets")]

mod support;

use std::time::{Duration, Instant};

use ottla_net::{ConnectionLimits, ConnectionRate, ListenerLimits, MemoryBudget, Part, Settings};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_from_another_thread_lets_a_waiting_request_be_answered() {
    let (running, _) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, _| {
            let waker = c.waker.clone();
            std::thread::spawn(move || waker.wake());
        };
        c.on_poll = |c, _| {
            if let Some(frame) = c.frames.pop_front() {
                c.answer(&frame);
            }
        };
    });
    let mut stream = connect(running.address).await;
    for i in 0..100 {
        send(&mut stream, &framed(&[i])).await;
        assert_eq!(receive(&mut stream).await, [i].as_slice());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_request_is_polled_at_its_deadline_and_not_before() {
    let (running, _) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, now| c.deadline = Some(now + Duration::from_millis(30));
        c.on_poll = |c, now| {
            let at = c.deadline.take().unwrap();
            c.answer(if now >= at { b"on time" } else { b"too early" });
            c.frames.clear();
        };
    });
    let mut stream = connect(running.address).await;
    for _ in 0..3 {
        send(&mut stream, &framed(b"wait")).await;
        assert_eq!(receive(&mut stream).await, b"on time".as_slice());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_no_more_still_gets_its_answers() {
    let (running, log) = start_echo(Settings::default());
    let mut stream = connect(running.address).await;
    let frames = [framed(b"one"), framed(&[2; 100_000]), framed(b"three")].concat();
    send(&mut stream, &frames).await;
    stream.shutdown().await.unwrap();
    assert!(receive_all(&mut stream).await == frames);
    assert_eq!(log.wait_closed(1).await, ["closed by the client"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_protocol_side_closes_after_its_last_answer() {
    let (running, log) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.frames_max = 2;
        c.on_frame = |c, _| {
            c.answer(b"goodbye");
            c.close = Some("unsupported version".to_owned());
        };
    });
    let mut stream = connect(running.address).await;
    send(&mut stream, &framed(b"x")).await;
    assert_eq!(receive_all(&mut stream).await, framed(b"goodbye"));
    assert_eq!(log.wait_closed(1).await, ["unsupported version"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_and_waiting_ones_are_not() {
    let settings = Settings { idle: Duration::from_millis(50), ..Settings::default() };
    let (running, log) = start_scripted(settings, MemoryBudget::unlimited(), |c| {
        c.frames_max = 2;
        c.on_frame = |c, now| c.deadline = Some(now + Duration::from_millis(300));
        c.on_poll = |c, now| {
            if c.deadline.take_if(|at| *at <= now).is_some() {
                c.answer(b"late");
            }
        };
    });
    let mut waiting = connect(running.address).await;
    send(&mut waiting, &framed(b"wait")).await;
    let mut idle = connect(running.address).await;
    assert_eq!(receive_all(&mut idle).await, b"");
    assert_eq!(log.wait_closed(1).await, ["idle for 50ms"]);
    assert_eq!(receive_all(&mut waiting).await, framed(b"late"), "answered, idle after that");
    assert_eq!(running.metrics.read().closed_idle, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_are_served_at_once() {
    let (running, _) = start_echo(Settings::default());
    let mut streams = Vec::new();
    for _ in 0..1000 {
        streams.push(connect(running.address).await);
    }
    for round in 0..3_u32 {
        for (i, stream) in streams.iter_mut().enumerate() {
            send(stream, &framed(format!("{round} {i}").as_bytes())).await;
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            assert_eq!(receive(stream).await, format!("{round} {i}").as_bytes());
        }
    }
    assert_eq!(running.metrics.read().open(), 1000);
    drop(streams);
    until(|| running.server.connections() == 0).await;
    assert_eq!(running.metrics.read().open(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_refuse_per_address_and_delay_in_total() {
    let (running, _) = start_echo(Settings::default());
    let limits = ConnectionLimits { per_ip: 2, ..ConnectionLimits::default() };
    running.server.set_limits(limits.clone());
    let mut streams = vec![connect(running.address).await, connect(running.address).await];
    for stream in &mut streams {
        send(stream, &framed(b"in")).await;
        receive(stream).await;
    }
    let mut third = connect(running.address).await;
    assert_eq!(receive_all(&mut third).await, b"");
    assert_eq!(running.metrics.read().refused, 1);

    running.server.set_limits(ConnectionLimits { per_ip: 9, max: 2, ..limits });
    // The accept that was under way when the limit changed may let one more in.
    let mut more = vec![connect(running.address).await, connect(running.address).await];
    for stream in &mut more {
        send(stream, &framed(b"waits")).await;
    }
    until(|| running.server.connections() <= 3).await;
    assert!(running.server.connections() >= 2);
    streams.clear();
    for stream in &mut more {
        assert_eq!(receive(stream).await, b"waits".as_slice(), "served once there is room");
    }
}

/// Connects and asks once; `None` if the connection is closed without an answer.
async fn asked(running: &Running) -> Option<()> {
    let mut stream = connect(running.address).await;
    send(&mut stream, &framed(b"in")).await;
    stream.shutdown().await.unwrap();
    (receive_all(&mut stream).await == framed(b"in")).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_rate_of_a_listener_or_of_all_wait_to_be_served() {
    let rate = Some(ConnectionRate { per_second: 10.0, burst_seconds: 0.2 });
    let own = ListenerLimits { rate, ..ListenerLimits::default() };
    for limits in [
        ConnectionLimits { rate, ..ConnectionLimits::default() },
        ConnectionLimits {
            listeners: [("TEST".to_owned(), own)].into(),
            ..ConnectionLimits::default()
        },
    ] {
        let (running, _) = start_echo(Settings::default());
        running.server.set_limits(limits);
        let begun = Instant::now();
        for _ in 0..5 {
            assert_eq!(asked(&running).await, Some(()));
        }
        // Two at once, and three that come a tenth of a second apart.
        assert!(begun.elapsed() >= Duration::from_millis(299), "{:?}", begun.elapsed());
        running.server.set_limits(ConnectionLimits::default());
        for _ in 0..50 {
            assert_eq!(asked(&running).await, Some(()), "without a limit");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_connects_too_fast_is_closed_after_a_pause() {
    let (running, _) = start_echo(Settings::default());
    let slow = ConnectionRate { per_second: 4.0, burst_seconds: 0.5 };
    let set = |ip_rate| {
        running.server.set_limits(ConnectionLimits { ip_rate, ..ConnectionLimits::default() });
    };
    set(Some(slow));
    assert_eq!((asked(&running).await, asked(&running).await), (Some(()), Some(())));
    let begun = Instant::now();
    assert_eq!(asked(&running).await, None);
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(asked(&running).await, Some(()), "who comes again after the pause gets in");
    let own = [(running.address.ip(), ConnectionRate { per_second: 1e6, ..slow })];
    running.server.set_limits(ConnectionLimits {
        ip_rate: Some(slow),
        ip_rates: own.into(),
        ..ConnectionLimits::default()
    });
    for _ in 0..10 {
        assert_eq!(asked(&running).await, Some(()), "the address has a rate of its own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_writes_what_is_ready_and_refuses_the_rest() {
    let (running, log) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, _| {
            if c.frames.pop_front().unwrap() == b"now".as_slice() {
                c.answer(&[7; 3_000_000]);
            } else {
                c.frames.push_back(bytes::Bytes::new());
            }
        };
    });
    let mut parked = connect(running.address).await;
    send(&mut parked, &framed(b"later")).await;
    let mut ready = connect(running.address).await;
    send(&mut ready, &framed(b"now")).await;
    until(|| running.metrics.read().responses_out == 1).await;
    let server = running.server.clone();
    let stopping = tokio::spawn(async move { server.shutdown(PATIENCE).await });
    assert_eq!(receive_all(&mut ready).await.len(), 3_000_004);
    assert_eq!(receive_all(&mut parked).await, b"");
    assert_eq!(stopping.await.unwrap(), 0, "none had to be aborted");
    assert_eq!(log.wait_closed(2).await, ["the server is stopping"; 2]);
    assert!(TcpStream::connect(running.address).await.is_err(), "the port is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_aborted_after_the_grace_period() {
    let (running, log) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, _| c.answer(&vec![7; 50_000_000]);
    });
    let mut deaf = connect(running.address).await;
    send(&mut deaf, &framed(b"x")).await;
    until(|| running.metrics.read().responses_out == 1).await;
    assert_eq!(running.server.shutdown(Duration::from_millis(20)).await, 1);
    assert_eq!(log.wait_closed(1).await, ["aborted"]);
    assert_eq!(running.server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_one_connection_and_is_counted() {
    let (running, log) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, _| match c.frames.pop_front().unwrap() {
            frame if frame == b"panic".as_slice() => panic!("on purpose"),
            frame => c.answers.push_back(vec![Part::Bytes(framed(&frame).into())]),
        };
    });
    let mut other = connect(running.address).await;
    let mut stream = connect(running.address).await;
    send(&mut stream, &framed(b"panic")).await;
    assert_eq!(receive_all(&mut stream).await, b"");
    assert_eq!(log.wait_closed(1).await, ["aborted"]);
    send(&mut other, &framed(b"fine")).await;
    assert_eq!(receive(&mut other).await, b"fine".as_slice());
    until(|| running.server.connections() == 1).await;
    assert_eq!(running.metrics.read().panics, 1);
}
