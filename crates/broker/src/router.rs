//! From a frame to the row that handles it.

use bytes::Bytes;
use ottla_protocol::codec::{DecodeError, Decoder};
use ottla_protocol::frame::{FrameError, RequestFrame};

use crate::api::{self, Row};
use crate::context::RequestInfo;
use crate::listener::Listener;

/// A request whose header is read and whose body is not.
pub(crate) struct Routed {
    /// The header, resolved to its row.
    pub request: RequestInfo,
    /// The body; `None` for an ApiVersions request of a version that is not supported.
    pub body: Option<Decoder>,
}

/// Why a frame cannot be handled. The connection is closed without an answer, as Kafka does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The header is cut short or malformed.
    #[error("bad request header: {0}")]
    Header(#[from] DecodeError),
    /// The API key is not served on this listener.
    #[error("API key {key} is not served on listener {listener}")]
    UnknownApi {
        /// The key asked for.
        key: i16,
        /// Where.
        listener: String,
    },
    /// The version is outside the row's range.
    #[error("{row:?} v{version} is not supported: v{min} to v{max} are")]
    UnsupportedVersion {
        /// The API.
        row: &'static Row,
        /// The version asked for.
        version: i16,
        /// Lowest that works.
        min: i16,
        /// Highest that works.
        max: i16,
    },
}

/// Finds the row of a request frame.
///
/// An unsupported ApiVersions request is routed all the same: its handler answers error 35 in the
/// layout of version 0, whatever the version was (KIP-511).
///
/// # Errors
/// See [`RouteError`].
pub(crate) fn route(listener: &Listener, frame: Bytes) -> Result<Routed, RouteError> {
    let size = frame.len();
    let unknown = |key| RouteError::UnknownApi { key, listener: listener.name.clone() };
    let frame = RequestFrame::parse(frame).map_err(|error| match error {
        FrameError::Header(error) => RouteError::Header(error),
        FrameError::UnknownApiKey(key) => unknown(key),
    })?;
    let (key, version) = (frame.key.key(), frame.version);
    let row = api::row(key).filter(|row| row.is_served_on(listener.kind));
    let row = row.ok_or_else(|| unknown(key))?;
    let supported = row.versions.contains(&version);
    if !supported && row.key != ottla_protocol::ApiKey::ApiVersions {
        let (min, max) = (*row.versions.start(), *row.versions.end());
        return Err(RouteError::UnsupportedVersion { row, version, min, max });
    }
    let RequestFrame { mut header, body, .. } = frame;
    if !supported {
        header.request_api_version = 0;
    }
    Ok(Routed { request: RequestInfo::new(row, header, size), body: supported.then_some(body) })
}
