//! The listeners a broker is reached at, and the address it tells clients.

use std::net::IpAddr;

/// Whom a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// Clients and other brokers.
    Broker,
    /// Brokers and other controllers, and tools that are given `--bootstrap-controller`.
    Controller,
}

/// A listener as the broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name in `listeners`.
    pub name: String,
    /// Decides which APIs are served.
    pub kind: ListenerKind,
    /// The explicit `advertised.listeners` address.
    pub advertised: Option<Endpoint>,
    /// The port it is bound to.
    pub port: u16,
}

/// A host and port that clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Listener {
    /// The address a client of this listener is told: the advertised one, or the address the client
    /// reached us at (so that a node without configuration works from other hosts and containers).
    #[must_use]
    pub fn endpoint_for(&self, local: IpAddr) -> Endpoint {
        match &self.advertised {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint { host: local.to_canonical().to_string(), port: self.port },
        }
    }
}
