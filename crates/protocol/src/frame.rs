//! Requests and responses with their headers, without and with the four-byte size in front.

use bytes::Bytes;
use bytestring::ByteString;

use crate::ApiKey;
use crate::codec::{DecodeError, Decoder, EncodeError, Encoded, Encoder, Message, Request};
use crate::messages::{RequestHeader, ResponseHeader};

/// A request whose header is read and whose body is not.
#[derive(Debug, Clone)]
pub struct RequestFrame {
    /// The API.
    pub key: ApiKey,
    /// The version of the request, not checked: ApiVersions is answered in any.
    pub version: i16,
    /// The whole header.
    pub header: RequestHeader,
    /// Stands at the body; what follows the body is ignored, as in Kafka.
    pub body: Decoder,
}

/// A frame whose header makes no sense. Kafka closes the connection then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header is malformed.
    #[error(transparent)]
    Header(#[from] DecodeError),
    /// There is no such API.
    #[error("API key {0} is unknown")]
    UnknownApiKey(i16),
}

impl RequestFrame {
    /// Reads the header of a frame (without its four-byte size).
    ///
    /// # Errors
    /// The header is malformed or its API key unknown.
    pub fn parse(frame: Bytes) -> Result<Self, FrameError> {
        let mut body = Decoder::new(frame);
        body.set_message(RequestHeader::NAME);
        let mut peek = body.clone();
        let number = peek.i16("RequestApiKey")?;
        let version = peek.i16("RequestApiVersion")?;
        let key = ApiKey::from_key(number).ok_or(FrameError::UnknownApiKey(number))?;
        let header = RequestHeader::decode(&mut body, key.request_header_version(version))?;
        Ok(Self { key, version, header, body })
    }

    /// Reads the body; bytes after it are ignored.
    ///
    /// # Errors
    /// The version does not exist, or the body is malformed.
    pub fn decode<R: Request>(mut self) -> Result<R, DecodeError> {
        debug_assert_eq!(R::KEY, self.key);
        R::decode(&mut self.body, self.version)
    }
}

/// Encodes a response: size, header, body.
///
/// # Errors
/// The body has no form in this version.
pub fn encode_response<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Encoded, EncodeError> {
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    Encoder::run_framed(&|e| {
        header.encode(e, key.response_header_version(version))?;
        body.encode(e, version)
    })
}

/// Encodes a request: size, header, body.
///
/// # Errors
/// The body has no form in this version.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&ByteString>,
    body: &R,
) -> Result<Encoded, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.key(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.cloned(),
        ..RequestHeader::default()
    };
    Encoder::run_framed(&|e| {
        header.encode(e, R::KEY.request_header_version(version))?;
        body.encode(e, version)
    })
}

/// Decodes the response to an `R` (without its four-byte size): correlation id and body.
///
/// # Errors
/// Header or body are malformed.
pub fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let mut d = Decoder::new(frame);
    let header = ResponseHeader::decode(&mut d, R::KEY.response_header_version(version))?;
    Ok((header.correlation_id, R::Response::decode(&mut d, version)?))
}
