//! Which listeners a node has: the rules that tie together `listeners`, `advertised.listeners`,
//! `listener.security.protocol.map`, the controller's names and the roles.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::ConfigError;
use crate::listener::{self, Listener, SecurityProtocol, Server};
use crate::value::split_list;

/// What the rules read, as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) broker: bool,
    pub(crate) controller: bool,
    pub(crate) listeners: &'a [String],
    pub(crate) advertised: Option<&'a [String]>,
    pub(crate) map: &'a str,
    /// Whether the map was configured; the default one is extended by the controller's names.
    pub(crate) map_is_set: bool,
    pub(crate) controller_names: &'a [String],
    pub(crate) inter_broker_name: Option<&'a str>,
    /// `security.inter.broker.protocol`, if configured.
    pub(crate) inter_broker_protocol: Option<&'a str>,
}

/// The listeners of a node, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Network {
    pub(crate) broker: Vec<Listener>,
    pub(crate) controller: Vec<Listener>,
    pub(crate) advertised_broker: Vec<Listener>,
    pub(crate) advertised_controller: Vec<Listener>,
    pub(crate) inter_broker: String,
    pub(crate) controller_names: Vec<String>,
    pub(crate) protocols: Vec<(String, SecurityProtocol)>,
}

impl Network {
    /// Applies the rules.
    pub(crate) fn new(input: &Input<'_>) -> Result<Self, ConfigError> {
        if !input.broker && !input.controller {
            return Err(ConfigError::conflict(
                "process.roles is empty: set broker, controller or both".to_owned(),
            ));
        }
        let controller_names: Vec<String> =
            input.controller_names.iter().map(|name| name.to_ascii_uppercase()).collect();
        if controller_names.iter().all(String::is_empty) {
            return Err(ConfigError::Missing {
                key: "controller.listener.names".to_owned(),
                allowed: "name at least one listener of the controllers, such as CONTROLLER"
                    .to_owned(),
            });
        }
        let protocols = protocols(input, &controller_names)?;
        let all = parse("listeners", input.listeners, &protocols)?;
        check_distinct(&all)?;
        let is_controller = |l: &Listener| controller_names.contains(&l.name);
        let (controller, broker): (Vec<_>, Vec<_>) = all.into_iter().partition(is_controller);
        check_roles(input, &broker, &controller, &controller_names)?;
        let (advertised_broker, advertised_controller) = match input.advertised {
            Some(texts) => {
                let all = parse("advertised.listeners", texts, &protocols)?;
                all.into_iter().partition(|l| !is_controller(l))
            }
            None => (broker.clone(), Vec::new()),
        };
        let advertised_controller = replace_advertised(&controller, &advertised_controller);
        let inter_broker = inter_broker_name(input)?;
        let network = Self {
            broker,
            controller,
            advertised_broker,
            advertised_controller,
            inter_broker,
            controller_names,
            protocols,
        };
        if input.broker {
            network.check_broker()?;
            network.check_reachable()?;
        }
        Ok(network)
    }

    fn check_broker(&self) -> Result<(), ConfigError> {
        let has = |all: &[Listener], name: &str| all.iter().any(|l| l.name == name);
        let names =
            |all: &[Listener]| all.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(one) = self.advertised_broker.iter().find(|l| !has(&self.broker, &l.name)) {
            return Err(ConfigError::conflict(format!(
                "advertised.listeners names {}, which is not in listeners ({})",
                one.name,
                names(&self.broker)
            )));
        }
        if self.controller_names.contains(&self.inter_broker) {
            return Err(ConfigError::conflict(format!(
                "inter.broker.listener.name is {}, which controller.listener.names has too; brokers \
                 need a listener of their own",
                self.inter_broker
            )));
        }
        if !has(&self.advertised_broker, &self.inter_broker) {
            return Err(ConfigError::conflict(format!(
                "inter.broker.listener.name is {}, which is not an advertised listener ({})",
                self.inter_broker,
                names(&self.advertised_broker)
            )));
        }
        Ok(())
    }

    /// Nobody can connect to the address that stands for all interfaces.
    fn check_reachable(&self) -> Result<(), ConfigError> {
        match self.advertised_broker.iter().find(|l| l.server.host == "0.0.0.0") {
            Some(one) => Err(ConfigError::conflict(format!(
                "clients would be told to connect to {one}: set advertised.listeners to an address \
                 they can reach"
            ))),
            None => Ok(()),
        }
    }
}

/// The map of names to protocols. Without a configured one, controller names speak PLAINTEXT unless
/// TLS or SASL is in use anywhere.
fn protocols(
    input: &Input<'_>,
    controller_names: &[String],
) -> Result<Vec<(String, SecurityProtocol)>, ConfigError> {
    let mut map = Vec::new();
    for pair in split_list(input.map) {
        let parsed = pair.rsplit_once(':').and_then(|(name, protocol)| {
            Some((name.trim().to_ascii_uppercase(), SecurityProtocol::of(protocol.trim())?))
        });
        let Some((name, protocol)) = parsed.filter(|(name, _)| !name.is_empty()) else {
            return Err(ConfigError::conflict(format!(
                "listener.security.protocol.map has {pair}: NAME:PROTOCOL is expected, the protocol \
                 one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            )));
        };
        if map.iter().any(|(known, _)| *known == name) {
            return Err(ConfigError::conflict(format!(
                "listener.security.protocol.map has {name} twice"
            )));
        }
        map.push((name, protocol));
    }
    let secured = |name: &str| SecurityProtocol::of(name).is_some_and(|p| p.id() != 0);
    let listener_name = |text: &str| text.split_once("://").map_or("", |(name, _)| name).to_owned();
    let any_secured = controller_names.iter().any(|name| secured(name))
        || input.listeners.iter().any(|text| secured(&listener_name(text)));
    if !input.map_is_set && !any_secured {
        for name in controller_names {
            if !map.iter().any(|(known, _)| known == name) {
                map.push((name.clone(), SecurityProtocol::Plaintext));
            }
        }
    }
    Ok(map)
}

fn parse(
    key: &str,
    texts: &[String],
    protocols: &[(String, SecurityProtocol)],
) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners = Vec::with_capacity(texts.len());
    for text in texts {
        let Some((name, server)) = listener::endpoint(text) else {
            return Err(ConfigError::conflict(format!(
                "{key} has {text}: NAME://host:port is expected"
            )));
        };
        let Some((_, protocol)) = protocols.iter().find(|(known, _)| *known == name) else {
            return Err(ConfigError::conflict(format!(
                "{key} has {name}, which listener.security.protocol.map does not map to a protocol"
            )));
        };
        listeners.push(Listener { name, server, protocol: *protocol });
    }
    Ok(listeners)
}

/// Ports and names are distinct, but one IPv4 and one IPv6 address may share both.
fn check_distinct(listeners: &[Listener]) -> Result<(), ConfigError> {
    for (at, one) in listeners.iter().enumerate() {
        for other in listeners.iter().skip(at + 1) {
            let both_families = one.server.port == other.server.port && families_differ(one, other);
            if both_families {
                continue;
            }
            if one.name == other.name {
                return Err(ConfigError::conflict(format!(
                    "listeners has the name {} twice",
                    one.name
                )));
            }
            if one.server.port == other.server.port && one.server.port != 0 {
                return Err(ConfigError::conflict(format!(
                    "listeners has port {} twice, in {one} and {other}",
                    one.server.port
                )));
            }
        }
    }
    Ok(())
}

fn families_differ(one: &Listener, other: &Listener) -> bool {
    let v4 = |server: &Server| server.host.parse::<Ipv4Addr>().is_ok();
    let v6 = |server: &Server| server.host.parse::<Ipv6Addr>().is_ok();
    let (one, other) = (&one.server, &other.server);
    (v4(one) && v6(other)) || (v6(one) && v4(other))
}

fn check_roles(
    input: &Input<'_>,
    broker: &[Listener],
    controller: &[Listener],
    controller_names: &[String],
) -> Result<(), ConfigError> {
    let names = controller_names.join(", ");
    if input.controller && controller.is_empty() {
        return Err(ConfigError::conflict(format!(
            "listeners has none of controller.listener.names ({names}), so the controller role has \
             no address"
        )));
    }
    if let (false, Some(one)) = (input.controller, controller.first()) {
        return Err(ConfigError::conflict(format!(
            "listeners has {one}, a controller's listener, but process.roles has no controller"
        )));
    }
    if let (false, Some(one)) = (input.broker, broker.first()) {
        return Err(ConfigError::conflict(format!(
            "listeners has {one}, which controller.listener.names lacks, but process.roles has no \
             broker"
        )));
    }
    if input.broker && broker.is_empty() {
        return Err(ConfigError::conflict(
            "listeners has no listener for the broker role beside the controller's".to_owned(),
        ));
    }
    Ok(())
}

/// A controller's listener is advertised as it is bound, unless `advertised.listeners` has its name.
fn replace_advertised(bound: &[Listener], advertised: &[Listener]) -> Vec<Listener> {
    bound
        .iter()
        .map(|one| advertised.iter().find(|other| other.name == one.name).unwrap_or(one).clone())
        .collect()
}

fn inter_broker_name(input: &Input<'_>) -> Result<String, ConfigError> {
    match (input.inter_broker_name, input.inter_broker_protocol) {
        (Some(name), Some(protocol)) => Err(ConfigError::conflict(format!(
            "inter.broker.listener.name={name} and security.inter.broker.protocol={protocol} \
             exclude each other; keep the first"
        ))),
        (Some(name), None) => Ok(name.to_ascii_uppercase()),
        (None, protocol) => Ok(protocol.unwrap_or("PLAINTEXT").to_owned()),
    }
}
