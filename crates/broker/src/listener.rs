//! The listeners a broker is reached at, and the address it tells clients.

use std::net::IpAddr;

/// A listener as the broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name in `listeners`.
    pub name: String,
    /// Whether the client APIs are served here (a controller listener serves its own).
    pub serves_clients: bool,
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
