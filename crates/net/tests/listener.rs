//! Binding: which addresses, which options, which words when it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]
#![allow(clippy::disallowed_methods, reason = "a test drives real sockets")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use ottla_net::{BoundListener, MemoryBudget, NetServer, Settings};
use parking_lot::Mutex;
use support::*;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    bind(&Settings::default()).local_addr().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_host_takes_ipv4_clients_and_names_them_as_such() {
    let peers: Arc<Mutex<Vec<(SocketAddr, SocketAddr, String)>>> = Arc::default();
    let seen = peers.clone();
    let log = Arc::new(Log::default());
    let make: Make = Box::new(move |info, waker| {
        seen.lock().push((info.peer, info.local, info.listener.to_string()));
        Box::new(Scripted::new(waker, log.clone()))
    });
    let settings = Settings::default();
    let listener = BoundListener::bind("", free_port(), &settings).unwrap();
    let port = listener.local_addr().port();
    let server = NetServer::new();
    let budget = MemoryBudget::unlimited();
    server.serve("PLAINTEXT", listener, (settings, budget), Arc::new(By(make))).unwrap();
    let client = connect(([127, 0, 0, 1], port).into()).await;
    until(|| !peers.lock().is_empty()).await;
    let (peer, local, name) = peers.lock()[0].clone();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(local, SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(name, "PLAINTEXT");
}

#[test]
fn a_name_is_resolved_to_its_ipv4_address() {
    let port = free_port();
    let listener = BoundListener::bind("localhost", port, &Settings::default()).unwrap();
    assert_eq!(listener.local_addr(), SocketAddr::from(([127, 0, 0, 1], port)));
}

#[test]
fn failures_to_bind_name_host_and_port() {
    let settings = Settings::default();
    let taken = bind(&settings);
    let port = taken.local_addr().port();
    for host in ["127.0.0.1", "localhost", "does-not-exist.invalid", "192.0.2.1"] {
        let error = BoundListener::bind(host, port, &settings).unwrap_err().to_string();
        let start = format!("cannot listen on {host}, port {port}: ");
        assert!(error.starts_with(&start) && error.len() > start.len(), "{error}");
    }
}

#[test]
fn accepted_sockets_inherit_the_options_of_the_listener() {
    // `NetServer` sets no options on accepted sockets: this is what it relies on.
    let settings = Settings { send_buffer_bytes: Some(50_000), ..Settings::default() };
    let listener = bind(&settings);
    let address = listener.local_addr();
    let _client = std::net::TcpStream::connect(address).unwrap();
    let listening = listener.into_std();
    listening.set_nonblocking(false).unwrap();
    let (accepted, _) = listening.accept().unwrap();
    let socket = socket2::SockRef::from(&accepted);
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.send_buffer_size().unwrap(), 100_000, "Linux doubles it");
}
