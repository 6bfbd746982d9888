//! The client: answers, and one sentence for everything that goes wrong.
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

use ottla_net::client::{Client, ClientError, ClientOptions};
use ottla_net::{MemoryBudget, Settings};
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_one_by_one_and_pipelined() {
    let (running, _) = start_echo(Settings::default());
    let port = running.address.port();
    let mut client = Client::connect("127.0.0.1", port, ClientOptions::default()).await.unwrap();
    let large = vec![3; 2_500_000];
    for body in [b"one".as_slice(), b"2", &large] {
        assert_eq!(client.request(body).await.unwrap(), body);
    }
    for i in 0..5 {
        client.send(&[i; 10]).await.unwrap();
    }
    for i in 0..5 {
        assert_eq!(client.receive().await.unwrap(), [i; 10].as_slice());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_name_the_peer_and_the_limit() {
    let (running, _) = start_scripted(Settings::default(), MemoryBudget::unlimited(), |c| {
        c.on_frame = |c, _| match c.frames.pop_front().unwrap().as_ref() {
            b"large" => c.answer(&[0; 101]),
            b"close" => c.close = Some(String::new()),
            _ => {}
        };
    });
    let port = running.address.port();
    let options = ClientOptions {
        request_timeout: Duration::from_millis(100),
        response_bytes_max: 100,
        ..ClientOptions::default()
    };
    let address = format!("127.0.0.1:{port}");
    for (request, want) in [
        ("large", format!("a frame of 101 bytes to or from {address}, allowed are 0 to 100")),
        ("silence", format!("no answer from {address} within 100ms")),
        ("close", format!("connection to {address}: ")),
    ] {
        let mut client = Client::connect("127.0.0.1", port, options.clone()).await.unwrap();
        let error = client.request(request.as_bytes()).await.unwrap_err().to_string();
        assert!(error.starts_with(&want), "{request}: {error}");
    }
    running.server.shutdown(Duration::ZERO).await;
    let error = Client::connect("127.0.0.1", port, options).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}
