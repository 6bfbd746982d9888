//! The admin listener: health and metrics over HTTP, on a thread and a runtime of its own, so that
//! it answers while data threads are busy.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ottla_config::{BrokerConfig, keys};

use crate::error::StartError;
use crate::metrics;
use crate::server::Observed;

/// The admin listener while it runs. It stops when this is dropped.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Starts the listener of `ottla.admin.listener`; none if it is empty, or if nobody asked for the
/// default address and it is taken: a second node of this host serves its clients all the same.
pub(crate) fn start(
    config: &BrokerConfig,
    observed: Observed,
) -> Result<Option<Admin>, StartError> {
    let address = config.get(keys::OTTLA_ADMIN_LISTENER).trim();
    if address.is_empty() {
        return Ok(None);
    }
    let fail =
        |error| StartError::Listen { listener: format!("ottla.admin.listener={address}"), error };
    let socket = match std::net::TcpListener::bind(address) {
        Err(error)
            if error.kind() == ErrorKind::AddrInUse && !config.is_set("ottla.admin.listener") =>
        {
            tracing::warn!(
                "no health checks and metrics over HTTP: {address} is in use; set \
                 ottla.admin.listener to another address, or to nothing"
            );
            return Ok(None);
        }
        bound => bound.map_err(fail)?,
    };
    socket.set_nonblocking(true).map_err(fail)?;
    let local = socket.local_addr().map_err(fail)?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let builder = thread::Builder::new().name("ottla-admin".to_owned()).stack_size(1 << 20);
    let serve = move || {
        if let Err(error) = run(socket, observed, stopped) {
            tracing::error!("the admin listener ended: {error}");
        }
    };
    builder.spawn(serve).map_err(StartError::system("start threads"))?;
    Ok(Some(Admin { address: local, _stop: stop }))
}

fn run(
    socket: std::net::TcpListener,
    observed: Observed,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let router = Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(show_metrics))
            .with_state(Arc::new(observed));
        tokio::select! {
            ended = axum::serve(socket, router).into_future() => ended,
            _ = stopped => Ok(()),
        }
    })
}

/// 200 once clients are served and every directory is online; else 503 and why.
async fn readyz(State(observed): State<Arc<Observed>>) -> Response {
    if !observed.is_ready.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    }
    let offline: String = observed
        .broker
        .directories()
        .iter()
        .filter_map(|dir| Some(format!("{} is offline: {}\n", dir.path.display(), dir.offline()?)))
        .collect();
    match offline.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, offline).into_response(),
    }
}

async fn show_metrics(State(observed): State<Arc<Observed>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::render(&observed)).into_response()
}
