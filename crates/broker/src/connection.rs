//! One client connection as a state machine: frames in, responses out, in order.
//!
//! The next request starts when the previous one was answered, with one exception: a pipelined API
//! (Produce) may start behind parked requests of pipelined APIs, so that batches are appended while
//! earlier ones still wait for their acknowledgement. The depth is bounded by
//! [`IN_FLIGHT_MAX`]; at the bound, and while a request must wait its turn, the connection asks for
//! no more frames and TCP pushes back on the client.
//!
//! A client over its quota is answered at once, and its connection starts nothing until the pause it
//! was told of is over (KIP-219). What is parked goes on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ids::{Monotonic, Now};

use crate::Broker;
use crate::api::{self, ErasedReply, ErasedWait};
use crate::context::{Context, RequestInfo};
use crate::listener::Listener;
use crate::router::{self, Routed};
use crate::throttle::Usage;
use crate::wait::{Waiter, Wake};

/// Most requests of one connection that may be appended and unanswered.
pub const IN_FLIGHT_MAX: usize = 128;

/// Where a connection comes from and where it arrived.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Unique within this process.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address the client reached us at.
    pub local: SocketAddr,
    /// The listener it came in through.
    pub listener: Arc<Listener>,
    /// Who sends the requests, such as `User:ANONYMOUS`.
    pub principal: ByteString,
    /// What the client calls itself, once it said so.
    pub software: Software,
}

/// The name and version of a client's software (KIP-511): those it gave first.
#[derive(Debug, Clone, Default)]
pub struct Software(Arc<OnceLock<(String, String)>>);

impl Software {
    /// Remembers what ApiVersions says.
    pub(crate) fn set(&self, name: &str, version: &str) {
        self.0.get_or_init(|| (name.to_owned(), version.to_owned()));
    }

    /// Name and version, empty if they were not given.
    #[must_use]
    pub fn get(&self) -> (&str, &str) {
        self.0.get().map_or(("", ""), |(name, version)| (name, version))
    }
}

/// Who has not authenticated.
pub const ANONYMOUS: &str = "User:ANONYMOUS";

/// A response ready to be written: parts in order, the 4-byte frame size included.
#[derive(Debug, Default)]
pub struct Response {
    /// Byte runs and file ranges.
    pub parts: Vec<Part>,
}

/// One part of a response.
#[derive(Debug)]
pub enum Part {
    /// Bytes from memory.
    Bytes(Bytes),
    /// A range of a log segment.
    Slice(ottla_storage::LogSlice),
}

enum State {
    Ready(Response),
    Parked(Parked),
}

/// A request that waits. Its registrations are void once it is dropped.
struct Parked {
    wait: Box<dyn ErasedWait>,
    waiter: Arc<Waiter>,
    deadline: Monotonic,
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.waiter.spend();
    }
}

struct InFlight {
    request: RequestInfo,
    state: State,
    usage: Usage,
    arrived: Monotonic,
}

/// The protocol side of one connection. Owned and called by one task.
pub struct Connection {
    broker: Arc<Broker>,
    info: ConnectionInfo,
    wake: Arc<dyn Wake>,
    in_flight: VecDeque<InFlight>,
    held: Option<Routed>,
    /// Until when nothing is started, if the client is over a quota.
    paused_until: Option<Monotonic>,
    closing: Option<String>,
}

impl Connection {
    /// A connection that was just accepted. `wake` asks its task to call [`Connection::poll`].
    #[must_use]
    pub fn new(broker: Arc<Broker>, info: ConnectionInfo, wake: Arc<dyn Wake>) -> Self {
        let in_flight = VecDeque::new();
        Self { broker, info, wake, in_flight, held: None, paused_until: None, closing: None }
    }

    /// Whether [`Connection::frame`] may be called. False is back-pressure: stop reading.
    #[must_use]
    pub fn ready_for_frame(&self) -> bool {
        self.closing.is_none()
            && self.held.is_none()
            && self.paused_until.is_none()
            && self.in_flight.len() < IN_FLIGHT_MAX
            && self.in_flight.iter().all(InFlight::may_be_passed)
    }

    /// Takes one complete request frame, without its 4-byte size.
    pub fn frame(&mut self, frame: Bytes, now: Now) {
        match router::route(&self.info.listener, frame) {
            Ok(routed) if self.may_start(&routed) => self.start(routed, now),
            Ok(routed) => self.held = Some(routed),
            Err(error) => self.close(error.to_string()),
        }
    }

    /// Looks again at the parked requests whose event happened or whose deadline passed.
    pub fn poll(&mut self, now: Now) {
        if self.paused_until.is_some_and(|until| until <= now.monotonic) {
            self.paused_until = None;
        }
        for index in 0..self.in_flight.len() {
            if let Some(request) = self.in_flight.get_mut(index) {
                let outcome = request.poll(&self.broker, &self.info, &self.wake, now);
                let pause_until = request.usage.pause_until;
                if let Err(reason) = outcome {
                    self.close(reason);
                    return;
                }
                self.pause(pause_until, now);
            }
        }
        if let Some(routed) = self.held.take() {
            if self.may_start(&routed) {
                self.start(routed, now);
            } else {
                self.held = Some(routed);
            }
        }
    }

    /// The next response to write, in order of the requests.
    pub fn take_response(&mut self) -> Option<Response> {
        while let Some(first) = self.in_flight.pop_front_if(|request| !request.is_parked()) {
            // A request that nothing is answered to may have waited all the same.
            if let State::Ready(response) = first.state
                && !response.parts.is_empty()
            {
                return Some(response);
            }
        }
        None
    }

    /// When [`Connection::poll`] must be called at the latest, [`Monotonic::NEVER`] if only a wake
    /// can change anything.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        let deadlines = self.in_flight.iter().map(|request| match request.state {
            State::Parked(ref parked) => parked.deadline,
            State::Ready(_) => Monotonic::NEVER,
        });
        deadlines.chain(self.paused_until).min().unwrap_or(Monotonic::NEVER)
    }

    /// Why the connection is to be closed once [`Connection::take_response`] gives nothing more.
    #[must_use]
    pub fn should_close(&self) -> Option<&str> {
        self.closing.as_deref()
    }

    fn may_start(&self, routed: &Routed) -> bool {
        let pipelined = routed.request.row.pipelined;
        let passes = |r: &InFlight| !r.is_parked() || (pipelined && r.may_be_passed());
        self.paused_until.is_none() && self.in_flight.iter().all(passes)
    }

    fn start(&mut self, routed: Routed, now: Now) {
        let Routed { request, body } = routed;
        self.broker.metrics.count_request(request.row.key);
        let waiter = Waiter::new(Arc::clone(&self.wake));
        let context = Context::new(&self.broker, &self.info, &request, now, &waiter);
        context.count_request();
        let reply = match body {
            Some(body) => (request.row.run)(&context, body),
            None => Ok(api::unsupported_version(&context)),
        };
        let usage = context.used();
        drop(context);
        self.pause(usage.pause_until, now);
        match reply {
            Ok(ErasedReply::Ready(response)) => {
                let (state, arrived) = (State::Ready(response), now.monotonic);
                let answered = InFlight { request, state, usage, arrived };
                answered.record_latency(&self.broker);
                self.in_flight.push_back(answered);
            }
            Ok(ErasedReply::Silent) => {
                record_latency(&self.broker, &request, &usage, now.monotonic);
            }
            Ok(ErasedReply::Wait(wait)) => {
                let deadline = wait.deadline();
                let state = State::Parked(Parked { wait, waiter, deadline });
                let arrived = now.monotonic;
                let mut parked = InFlight { request, state, usage, arrived };
                // Park registers, then checks once more: the event may have happened in between.
                match parked.poll_now(&self.broker, &self.info, &self.wake, now) {
                    Ok(()) => {
                        self.pause(parked.usage.pause_until, now);
                        self.in_flight.push_back(parked);
                    }
                    Err(reason) => self.close(reason),
                }
            }
            Ok(ErasedReply::Close(reason)) => self.close(reason),
            Err(error) => {
                let name = request.row.name();
                self.close(format!("{name} v{}: {error}", request.version));
            }
        }
    }

    /// Starts nothing until then, or until a later time said before.
    fn pause(&mut self, until: Monotonic, now: Now) {
        if until > now.monotonic {
            self.paused_until = Some(self.paused_until.map_or(until, |old| old.max(until)));
        }
    }

    /// Responses that were ready stay to be written; everything else is dropped.
    fn close(&mut self, reason: String) {
        self.held = None;
        let answered = self.in_flight.iter().take_while(|request| !request.is_parked()).count();
        self.in_flight.truncate(answered);
        self.closing.get_or_insert(reason);
    }
}

impl InFlight {
    fn is_parked(&self) -> bool {
        matches!(self.state, State::Parked(_))
    }

    /// Counts how long the request took, now that its answer is ready.
    fn record_latency(&self, broker: &Broker) {
        record_latency(broker, &self.request, &self.usage, self.arrived);
    }

    /// Whether a request of a pipelined API may start behind this one.
    fn may_be_passed(&self) -> bool {
        match &self.state {
            State::Parked(parked) => self.request.row.pipelined && !parked.wait.holds_others(),
            State::Ready(_) => true,
        }
    }

    fn poll(
        &mut self,
        broker: &Broker,
        info: &ConnectionInfo,
        wake: &Arc<dyn Wake>,
        now: Now,
    ) -> Result<(), String> {
        match &self.state {
            State::Parked(parked)
                if parked.waiter.has_fired() || parked.deadline <= now.monotonic =>
            {
                self.poll_now(broker, info, wake, now)
            }
            _ => Ok(()),
        }
    }

    fn poll_now(
        &mut self,
        broker: &Broker,
        info: &ConnectionInfo,
        wake: &Arc<dyn Wake>,
        now: Now,
    ) -> Result<(), String> {
        let State::Parked(parked) = &mut self.state else { return Ok(()) };
        if parked.waiter.has_fired() {
            parked.waiter.spend();
            parked.waiter = Waiter::new(Arc::clone(wake));
        }
        let context = Context::new(broker, info, &self.request, now, &parked.waiter);
        context.usage.set(self.usage);
        let polled = parked.wait.poll(&context, parked.deadline <= now.monotonic);
        self.usage = context.used();
        match polled {
            Ok(None) => {
                parked.deadline = parked.wait.deadline();
                Ok(())
            }
            Ok(Some(response)) => {
                self.state = State::Ready(response);
                self.record_latency(broker);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Counts how long a request took whose answer is ready, or that gets none.
fn record_latency(broker: &Broker, request: &RequestInfo, usage: &Usage, arrived: Monotonic) {
    let total_us = usage.ended.0.saturating_sub(arrived.0);
    let times = (total_us, usage.handler_us.min(total_us));
    broker.metrics.record_latency(request.row.key, usage.of_replica, times);
}
