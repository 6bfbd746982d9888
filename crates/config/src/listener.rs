//! Listeners, voters and servers as configuration writes them.

use std::fmt;

/// How a listener talks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SecurityProtocol {
    /// No encryption, no authentication.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// The id in metadata records.
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of a name, in any case.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A host and a port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Server {
    /// Name or address, without the brackets of IPv6. Empty means all interfaces for a listener,
    /// and the name of this host for an advertised one.
    pub host: String,
    /// TCP port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A voter of a fixed quorum: `id@host:port`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Voter {
    /// Node id.
    pub id: i32,
    /// Where it listens.
    pub server: Server,
}

/// A named address, with the protocol spoken there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// Name, upper case.
    pub name: String,
    /// Address.
    pub server: Server,
    /// Protocol, from `listener.security.protocol.map`.
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.server)
    }
}

/// `host:port`, IPv6 addresses in brackets; the host may be empty.
pub(crate) fn host_port(text: &str) -> Option<Server> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let valid = |c: char| c.is_ascii_alphanumeric() || "-%._".contains(c) || c == ':';
    if !host.chars().all(valid) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Without brackets it is unclear which colon starts the port, but Kafka takes the last one.
    Some(Server { host: host.to_owned(), port: port.parse().ok()? })
}

/// `host:port` with a host.
pub(crate) fn server(text: &str) -> Option<Server> {
    host_port(text.trim()).filter(|server| !server.host.is_empty())
}

/// `id@host:port`.
pub(crate) fn voter(text: &str) -> Option<Voter> {
    let (id, rest) = text.trim().split_once('@')?;
    let id = id.parse::<i32>().ok().filter(|id| *id >= 0)?;
    Some(Voter { id, server: server(rest)? })
}

/// `NAME://host:port`; the name in upper case.
pub(crate) fn endpoint(text: &str) -> Option<(String, Server)> {
    let (name, rest) = text.trim().split_once("://")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(valid) {
        return None;
    }
    Some((name.to_ascii_uppercase(), host_port(rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_name_host_port() {
        let at = |host: &str, port| Server { host: host.to_owned(), port };
        for (text, want) in [
            ("PLAINTEXT://:9092", Some(("PLAINTEXT", at("", 9092)))),
            ("internal://h-1.example:0", Some(("INTERNAL", at("h-1.example", 0)))),
            ("A://[::1]:9", Some(("A", at("::1", 9)))),
            ("A://::1:9", Some(("A", at("::1", 9)))),
            ("A://h", None),
            ("A://h:", None),
            ("A://h:65536", None),
            ("A://h:-1", None),
            ("A://h/x:1", None),
            ("://h:1", None),
            ("h:1", None),
        ] {
            assert_eq!(endpoint(text), want.map(|(n, s)| (n.to_owned(), s)), "{text}");
        }
    }

    #[test]
    fn voters_are_id_host_port() {
        assert_eq!(voter("3@h:1").map(|v| (v.id, v.server.to_string())), Some((3, "h:1".into())));
        for text in ["h:1", "-1@h:1", "x@h:1", "1@:1", "1@h"] {
            assert_eq!(voter(text), None, "{text}");
        }
    }
}
