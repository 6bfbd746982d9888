//! Listeners: bound early, so that a port in use ends the start at once and clients that come
//! before the node is ready wait in the kernel's backlog; served once it is ready.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::quotas::IpRates;
use ottla_broker::{Endpoint, Listener, ListenerKind};
use ottla_config::{BrokerConfig, keys};
use ottla_net::{
    BoundListener, ConnectionLimits, ConnectionRate, ListenerLimits, MemoryBudget, Settings,
};

use crate::error::StartError;
use crate::format::host_name;

/// Most bytes of requests that the controller's listeners hold, where `queued.max.request.bytes` does
/// not say: what brokers and tools send is small.
const CONTROLLER_BYTES_MAX: usize = 64 << 20;

/// A listener that is bound and not served yet.
pub(crate) struct Bound {
    pub(crate) listener: Arc<Listener>,
    pub(crate) socket: BoundListener,
    pub(crate) settings: Settings,
}

/// The listeners of a node.
pub(crate) struct AllBound {
    pub(crate) broker: Vec<Bound>,
    pub(crate) controller: Vec<Bound>,
}

/// Binds the listeners of both roles. `reached`: clients are told the address they reached.
pub(crate) fn bind(config: &BrokerConfig, reached: bool) -> Result<AllBound, StartError> {
    let told = |name: &str| {
        let told = config.advertised_listeners().iter().find(|told| told.name == *name);
        told.filter(|told| !reached && !told.server.host.is_empty())
    };
    let mut broker = Vec::new();
    for listener in config.broker_listeners() {
        let (socket, settings) = bind_one(config, listener)?;
        let port = socket.local_addr().port();
        let advertised = told(&listener.name).map(|told| Endpoint {
            host: told.server.host.clone(),
            port: if told.server.port == 0 { port } else { told.server.port },
        });
        let name = listener.name.clone();
        let kind = ListenerKind::Broker;
        let listener = Arc::new(Listener { name, kind, advertised, port });
        broker.push(Bound { listener, socket, settings });
    }
    let mut controller = Vec::new();
    for listener in config.controller_listeners() {
        let (socket, settings) = bind_one(config, listener)?;
        let port = socket.local_addr().port();
        let name = listener.name.clone();
        let kind = ListenerKind::Controller;
        let listener = Arc::new(Listener { name, kind, advertised: None, port });
        controller.push(Bound { listener, socket, settings });
    }
    Ok(AllBound { broker, controller })
}

fn bind_one(
    config: &BrokerConfig,
    listener: &ottla_config::Listener,
) -> Result<(BoundListener, Settings), StartError> {
    let settings = settings(config, &listener.name);
    let server = &listener.server;
    let socket = BoundListener::bind(&server.host, server.port, &settings)
        .map_err(|error| StartError::Listen { listener: listener.name.clone(), error })?;
    Ok((socket, settings))
}

impl AllBound {
    /// What other brokers and clients are told, with the host names and ports that the configuration
    /// leaves open.
    pub(crate) fn advertised(&self, config: &BrokerConfig) -> Vec<ottla_config::Listener> {
        complete(config.advertised_listeners(), &self.broker)
    }

    /// What other nodes and tools are told of the controller.
    pub(crate) fn advertised_controller(
        &self,
        config: &BrokerConfig,
    ) -> Vec<ottla_config::Listener> {
        complete(config.advertised_controller_listeners(), &self.controller)
    }
}

fn complete(told: &[ottla_config::Listener], bound: &[Bound]) -> Vec<ottla_config::Listener> {
    let mut told = told.to_vec();
    for listener in &mut told {
        let bound = bound.iter().find(|bound| bound.listener.name == listener.name);
        match bound.map(|bound| bound.listener.port) {
            Some(port) if listener.server.port == 0 => listener.server.port = port,
            _ => {}
        }
        if listener.server.host.is_empty() {
            listener.server.host = host_name();
        }
    }
    told
}

/// The bound on the memory of received frames.
pub(crate) fn budget(config: &BrokerConfig) -> MemoryBudget {
    match usize::try_from(config.get(keys::QUEUED_MAX_REQUEST_BYTES)) {
        Ok(bytes) if bytes > 0 => MemoryBudget::new(bytes),
        _ => MemoryBudget::unlimited(),
    }
}

/// The same for the listeners of the controller: clients that fill the brokers' budget do not keep
/// brokers from their heartbeats.
pub(crate) fn controller_budget(config: &BrokerConfig) -> MemoryBudget {
    match usize::try_from(config.get(keys::QUEUED_MAX_REQUEST_BYTES)) {
        Ok(bytes) if bytes > 0 => MemoryBudget::new(bytes),
        _ => MemoryBudget::new(CONTROLLER_BYTES_MAX),
    }
}

/// The limits on the connections of `listeners`, which are those of one role; dynamic settings and
/// quotas of addresses included.
pub(crate) fn limits(
    config: &BrokerConfig,
    ip_rates: &IpRates,
    listeners: &[ottla_config::Listener],
) -> ConnectionLimits {
    let windows = config.get(keys::QUOTA_WINDOW_NUM) - 1;
    let seconds = config.get(keys::QUOTA_WINDOW_SIZE_SECONDS);
    let rate = |per_second: f64| ConnectionRate {
        // What Kafka answers a rate of 0 with: nobody gets in.
        per_second: per_second.max(1e-9),
        burst_seconds: f64::from(windows) * f64::from(seconds),
    };
    // The default is no limit.
    let limited = |per_second: &i32| *per_second != i32::MAX;
    let creation = |per_second: i32| Some(per_second).filter(limited).map(f64::from).map(rate);
    let own = |listener: &str, key: &str| -> Option<i32> {
        let name = format!("listener.name.{}.{key}", listener.to_ascii_lowercase());
        config.text(&name).and_then(|text| text.trim().parse().ok())
    };
    let of_listener = |listener: &ottla_config::Listener| {
        let max = own(&listener.name, "max.connections");
        let rate = own(&listener.name, "max.connection.creation.rate").and_then(creation);
        let limits = ListenerLimits { max: max.and_then(|max| u32::try_from(max).ok()), rate };
        (listener.name.clone(), limits)
    };
    let count = |value: i32| u32::try_from(value).unwrap_or(u32::MAX);
    ConnectionLimits {
        max: count(config.get(keys::MAX_CONNECTIONS)),
        per_ip: count(config.get(keys::MAX_CONNECTIONS_PER_IP)),
        per_ip_overrides: per_ip_overrides(config),
        rate: creation(config.get(keys::MAX_CONNECTION_CREATION_RATE)),
        ip_rate: ip_rates.default.map(rate),
        ip_rates: ip_rates.by_ip.iter().map(|(ip, per_second)| (*ip, rate(*per_second))).collect(),
        listeners: listeners.iter().map(of_listener).collect(),
    }
}

fn per_ip_overrides(config: &BrokerConfig) -> BTreeMap<IpAddr, u32> {
    let overrides = config.get(keys::MAX_CONNECTIONS_PER_IP_OVERRIDES);
    let mut per_ip_overrides = BTreeMap::new();
    for pair in overrides.split(',').filter(|pair| !pair.trim().is_empty()) {
        let Some((host, count)) = pair.rsplit_once(':') else { continue };
        let host = host.trim().trim_start_matches('[').trim_end_matches(']');
        match (host.parse::<IpAddr>(), count.trim().parse()) {
            (Ok(ip), Ok(count)) => {
                per_ip_overrides.insert(ip, count);
            }
            _ => tracing::warn!(
                "max.connections.per.ip.overrides: {pair} is ignored; write the host as an address"
            ),
        }
    }
    per_ip_overrides
}

fn settings(config: &BrokerConfig, listener: &str) -> Settings {
    let own = |key: &str| config.listener_text(listener, key).and_then(|text| text.parse().ok());
    // -1 leaves a socket buffer to the kernel.
    let buffer = |key: &str, general: i32| u32::try_from(own(key).unwrap_or(general)).ok();
    let idle = own("connections.max.idle.ms")
        .map_or_else(|| config.get(keys::CONNECTIONS_MAX_IDLE_MS), i64::from);
    let defaults = Settings::default();
    Settings {
        frame_bytes_max: u32::try_from(config.get(keys::SOCKET_REQUEST_MAX_BYTES))
            .unwrap_or(defaults.frame_bytes_max),
        idle: u64::try_from(idle).map_or(Duration::MAX, Duration::from_millis),
        send_buffer_bytes: buffer(
            "socket.send.buffer.bytes",
            config.get(keys::SOCKET_SEND_BUFFER_BYTES),
        ),
        receive_buffer_bytes: buffer(
            "socket.receive.buffer.bytes",
            config.get(keys::SOCKET_RECEIVE_BUFFER_BYTES),
        ),
        backlog: u32::try_from(config.get(keys::SOCKET_LISTEN_BACKLOG_SIZE))
            .unwrap_or(defaults.backlog),
        is_exempt: listener == config.inter_broker_listener()
            && config.broker_listeners().len() > 1,
        ..defaults
    }
}
