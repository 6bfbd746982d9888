//! One connection: versions negotiated, requests out, answers in.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use ottla_net::client::{Client, ClientOptions};
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::messages::ApiVersionsRequest;
use ottla_protocol::{ApiKey, ByteString};

use crate::failure::{Failure, Outcome, check};

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 9092;
/// What this client calls itself in the broker's logs and in `ottla group describe`.
pub(crate) const CLIENT_ID: &str = "ottla-cli";

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for Address {
    type Err = String;

    /// `host`, `host:port`, `[v6]:port`, also with a protocol in front as listeners have it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no address: HOST:PORT is expected");
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (rest, DEFAULT_PORT),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.is_empty() || (bare.contains(':') && !host.starts_with('[')) {
            return Err(wrong());
        }
        Ok(Self { host: bare.to_owned(), port })
    }
}

/// A connection whose versions are known.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    pub(crate) address: Address,
    /// What the broker offers, by API key.
    pub(crate) versions: BTreeMap<i16, (i16, i16)>,
    next_id: i32,
    client_id: ByteString,
}

/// A request on its way: how to read the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    version: i16,
    id: i32,
}

impl Connection {
    /// Connects and asks for versions (v0 of ApiVersions, which every broker answers).
    pub(crate) async fn open(address: &Address, within: Duration) -> Outcome<Self> {
        let options = ClientOptions {
            connect_timeout: within,
            request_timeout: within,
            ..ClientOptions::default()
        };
        let client = Client::connect(&address.host, address.port, options).await?;
        let mut connection = Self {
            client,
            address: address.clone(),
            versions: BTreeMap::from([(ApiVersionsRequest::KEY.key(), (0, 0))]),
            next_id: 0,
            client_id: CLIENT_ID.into(),
        };
        let answer = connection.call(&ApiVersionsRequest::default(), i16::MAX).await?;
        check(format_args!("ApiVersions at {address}"), answer.error_code, None)?;
        let ranges =
            answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        connection.versions = ranges.collect();
        Ok(connection)
    }

    /// The version of `R` to speak: the newest of both, at most `max`.
    pub(crate) fn version<R: Request>(&self, max: i16) -> Outcome<i16> {
        self.version_of(R::KEY, max)
    }

    fn version_of(&self, key: ApiKey, max: i16) -> Outcome<i16> {
        let ours = key.stable_versions();
        let none = || {
            Failure::Failed(format!(
                "the broker at {} does not serve {key}: it is too old, or not made for this",
                self.address
            ))
        };
        let &(low, high) = self.versions.get(&key.key()).ok_or_else(none)?;
        let version = high.min(*ours.end()).min(max);
        if version < low || version < *ours.start() {
            return Err(Failure::Failed(format!(
                "the broker at {} serves versions {low} to {high} of {key}, this command speaks {} to {}",
                self.address,
                ours.start(),
                (*ours.end()).min(max)
            )));
        }
        Ok(version)
    }

    /// Whether the broker serves `R` at all.
    pub(crate) fn serves<R: Request>(&self) -> bool {
        self.version::<R>(i16::MAX).is_ok()
    }

    /// Sends and waits for the answer.
    pub(crate) async fn call<R: Request>(&mut self, request: &R, max: i16) -> Outcome<R::Response> {
        let (sent, frame) = self.encode(request, max)?;
        let answer = self.exchange(&frame).await?;
        self.decode::<R>(sent, answer)
    }

    /// Sends without waiting. Answers come in the order of the requests.
    pub(crate) async fn send<R: Request>(&mut self, request: &R, max: i16) -> Outcome<Sent> {
        let (sent, frame) = self.encode(request, max)?;
        self.client.send(&frame).await?;
        Ok(sent)
    }

    /// The answer to the oldest request that has none yet.
    pub(crate) async fn receive<R: Request>(&mut self, sent: Sent) -> Outcome<R::Response> {
        let answer = self.client.receive().await?;
        self.decode::<R>(sent, answer)
    }

    /// The same code for every request: what is generic is compiled for each.
    async fn exchange(&mut self, frame: &[u8]) -> Outcome<Bytes> {
        self.client.send(frame).await?;
        Ok(self.client.receive().await?)
    }

    /// The frame without its size, which the client writes itself.
    fn encode<R: Request>(&mut self, request: &R, max: i16) -> Outcome<(Sent, Bytes)> {
        let version = self.version::<R>(max)?;
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let encoded = encode_request(version, id, Some(&self.client_id), request)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let frame = encoded.bytes.get(4..).unwrap_or_default();
        Ok((Sent { version, id }, encoded.bytes.slice_ref(frame)))
    }

    fn decode<R: Request>(&self, sent: Sent, frame: Bytes) -> Outcome<R::Response> {
        let (id, answer) = decode_response::<R>(frame, sent.version)
            .map_err(|error| self.broken(R::KEY, &error))?;
        if id != sent.id {
            let why = format_args!("correlation id {id} instead of {}", sent.id);
            return Err(self.broken(R::KEY, &why));
        }
        Ok(answer)
    }

    fn broken(&self, key: ApiKey, why: &dyn fmt::Display) -> Failure {
        let address = &self.address;
        Failure::Failed(format!("the answer of {address} to {key} is no Kafka broker's: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_perhaps_a_port() {
        for (text, want) in [
            ("a:1", Some(("a", 1))),
            ("a", Some(("a", 9092))),
            ("[::1]:5", Some(("::1", 5))),
            ("[::1]", Some(("::1", 9092))),
            ("PLAINTEXT://h:7", Some(("h", 7))),
            ("::1", None),
            (":9092", None),
            ("a:b", None),
            ("a:70000", None),
            ("", None),
        ] {
            let want = want.map(|(host, port)| Address { host: host.to_owned(), port });
            assert_eq!(text.parse::<Address>().ok(), want, "{text}");
        }
        assert_eq!(Address { host: "::1".into(), port: 5 }.to_string(), "[::1]:5");
    }
}
