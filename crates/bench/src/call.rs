//! Requests and their answers over one connection.

use bytestring::ByteString;
use ottla_net::client::{Client, ClientError, ClientOptions};
use ottla_protocol::codec::{DecodeError, EncodeError, Request};
use ottla_protocol::frame::{decode_response, encode_request};

/// Why a measurement ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The address is not one.
    #[error("{0} is no address: HOST:PORT is expected")]
    Address(String),
    /// The connection failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A request cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An answer is not a Kafka broker's.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A batch cannot be built.
    #[error(transparent)]
    Build(#[from] ottla_protocol::records::BuildError),
    /// The broker refused.
    #[error("{request} is refused with error code {code}")]
    Refused {
        /// The API.
        request: &'static str,
        /// The wire error code.
        code: i16,
    },
    /// An answer lacks what was asked for.
    #[error("the answer to {0} lacks what was asked for")]
    Incomplete(&'static str),
    /// `/proc` says nothing of a process.
    #[error("cannot read the CPU time of process {pid}: {error}")]
    Process {
        /// The process.
        pid: u32,
        /// Why.
        error: std::io::Error,
    },
}

/// One connection to a broker.
pub(crate) struct Caller {
    client: Client,
    client_id: ByteString,
    correlation: i32,
}

impl Caller {
    pub(crate) async fn connect(address: &str) -> Result<Self, BenchError> {
        let parts = address.rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parsed.ok_or_else(|| BenchError::Address(address.to_owned()))?;
        let client = Client::connect(host, port, ClientOptions::default()).await?;
        Ok(Self { client, client_id: "ottla-bench".into(), correlation: 0 })
    }

    pub(crate) async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, BenchError> {
        self.correlation = self.correlation.wrapping_add(1);
        let encoded = encode_request(version, self.correlation, Some(&self.client_id), request)?;
        // The client writes the size itself.
        let frame = encoded.bytes.get(4..).unwrap_or_default();
        let answer = self.client.request(frame).await?;
        Ok(decode_response::<R>(answer, version)?.1)
    }
}

/// An error unless `code` is 0.
pub(crate) fn refuse(request: &'static str, code: i16) -> Result<(), BenchError> {
    if code == 0 { Ok(()) } else { Err(BenchError::Refused { request, code }) }
}
