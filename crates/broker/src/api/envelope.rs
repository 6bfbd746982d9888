//! Envelope (KIP-590): a broker hands a client's request on to the controller, with who sent it and
//! from where.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use ottla_protocol::ErrorCode;
use ottla_protocol::codec::{Decoder, Message};
use ottla_protocol::ids::Monotonic;
use ottla_protocol::messages::{DefaultPrincipalData, EnvelopeRequest, EnvelopeResponse};

use super::{ErasedReply, ErasedWait, Handler, Operation, Reply, Rule, Wait};
use crate::connection::{ConnectionInfo, Part, Response};
use crate::context::{Context, RequestInfo};
use crate::router::{self, Routed};

/// The Envelope API.
pub(super) struct Envelope;

impl Handler for Envelope {
    type Request = EnvelopeRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(ctx: &Context<'_>, request: EnvelopeRequest) -> Reply<EnvelopeResponse> {
        match open(ctx, request) {
            Ok((inner, body)) => inner.run(ctx, body),
            Err(error) => Reply::Now(refused(error)),
        }
    }
}

fn refused(error: ErrorCode) -> EnvelopeResponse {
    EnvelopeResponse { error_code: error.code(), ..EnvelopeResponse::default() }
}

/// The request in an envelope, as if it had come from its client.
struct Inner {
    request: RequestInfo,
    connection: ConnectionInfo,
}

fn open(ctx: &Context<'_>, request: EnvelopeRequest) -> Result<(Inner, Decoder), ErrorCode> {
    let principal = principal(request.request_principal)?;
    let peer = address(&request.client_host_address).ok_or(ErrorCode::InvalidRequest)?;
    let listener = &ctx.connection.listener;
    let routed = router::route(listener, request.request_data);
    let Routed { request, body } = routed.map_err(|error| {
        tracing::debug!("the request in an envelope is refused: {error}");
        ErrorCode::InvalidRequest
    })?;
    let body = body.filter(|_| request.row.forwarded).ok_or(ErrorCode::InvalidRequest)?;
    let connection = ConnectionInfo { peer, principal: principal.into(), ..ctx.connection.clone() };
    Ok((Inner { request, connection }, body))
}

/// The principal as Kafka's default serializer writes it: a version and a flexible structure.
fn principal(bytes: Option<Bytes>) -> Result<String, ErrorCode> {
    let failed = ErrorCode::PrincipalDeserializationFailure;
    let mut data = Decoder::new(bytes.ok_or(failed)?);
    let version = data.i16("Version").map_err(|_| failed)?;
    if !DefaultPrincipalData::VERSIONS.contains(&version) {
        return Err(failed);
    }
    let principal = DefaultPrincipalData::decode(&mut data, version).map_err(|_| failed)?;
    Ok(format!("{}:{}", principal.type_, principal.name))
}

/// Four or sixteen bytes.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let four: Option<[u8; 4]> = bytes.try_into().ok();
    let sixteen: Option<[u8; 16]> = bytes.try_into().ok();
    let ip = four.map(IpAddr::from).or_else(|| sixteen.map(IpAddr::from))?;
    Some(SocketAddr::new(ip, 0))
}

impl Inner {
    fn run(self, ctx: &Context<'_>, body: Decoder) -> Reply<EnvelopeResponse> {
        let inner = self.context(ctx);
        match (self.request.row.run)(&inner, body) {
            Ok(ErasedReply::Ready(response)) => Reply::Now(sealed(response)),
            Ok(ErasedReply::Wait(wait)) => {
                drop(inner);
                Reply::wait(InnerWait { inner: self, wait })
            }
            Ok(ErasedReply::Silent) => Reply::Now(refused(ErrorCode::InvalidRequest)),
            Ok(ErasedReply::Close(reason)) => {
                tracing::debug!("the request in an envelope is refused: {reason}");
                Reply::Now(refused(ErrorCode::InvalidRequest))
            }
            Err(error) => {
                tracing::debug!("the request in an envelope is refused: {error}");
                Reply::Now(refused(ErrorCode::InvalidRequest))
            }
        }
    }

    fn context<'a>(&'a self, ctx: &Context<'a>) -> Context<'a> {
        Context::new(ctx.broker, &self.connection, &self.request, ctx.now, ctx.waiter)
    }
}

struct InnerWait {
    inner: Inner,
    wait: Box<dyn ErasedWait>,
}

impl Wait<EnvelopeResponse> for InnerWait {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<EnvelopeResponse> {
        let inner = self.inner.context(ctx);
        match self.wait.poll(&inner, expired) {
            Ok(response) => response.map(sealed),
            Err(reason) => {
                tracing::debug!("the request in an envelope is refused: {reason}");
                Some(refused(ErrorCode::UnknownServerError))
            }
        }
    }

    fn deadline(&self) -> Monotonic {
        self.wait.deadline()
    }
}

/// The response without its size in front. What is forwarded reads no logs, so that all of it is bytes.
fn sealed(response: Response) -> EnvelopeResponse {
    let mut data = BytesMut::new();
    for part in response.parts {
        match part {
            Part::Bytes(bytes) => data.extend_from_slice(&bytes),
            Part::Slice(_) => return refused(ErrorCode::UnknownServerError),
        }
    }
    let data = data.freeze();
    let data = (data.len() >= 4).then(|| data.slice(4..));
    EnvelopeResponse { response_data: data, ..EnvelopeResponse::default() }
}
