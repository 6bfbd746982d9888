//! Simulated clients. Each is a state machine: timers, answers and closed connections go in,
//! frames come out; what it learns it tells the [`Model`].

mod admin;
mod committer;
mod consumer;
mod examiner;
mod member;
mod producer;
mod reading;
mod scan;
mod scribe;
mod session;
mod teller;
mod worker;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_testkit::Rng;

pub(crate) use self::admin::Admin;
pub(crate) use self::committer::Committer;
pub(crate) use self::consumer::Consumer;
pub(crate) use self::examiner::Examiner;
pub(crate) use self::member::Member;
pub(crate) use self::producer::Producer;
pub(crate) use self::scribe::Scribe;
pub(crate) use self::session::Style;
pub(crate) use self::teller::Teller;
pub(crate) use self::worker::Worker;
use crate::Mutation;
use crate::model::Model;

/// A client.
pub(crate) trait Client {
    /// Its timer fired.
    fn act(&mut self, cx: &mut Cx<'_>);
    /// An answer arrived.
    fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes);
    /// The connection was closed by the other side or by the network.
    fn closed(&mut self, cx: &mut Cx<'_>);
    /// For the trace.
    fn name(&self) -> String;
}

/// What a client may look at and ask for.
pub(crate) struct Cx<'a> {
    pub(crate) now: u64,
    /// The wall clock of the client, in milliseconds.
    pub(crate) wall: i64,
    pub(crate) rng: &'a mut Rng,
    pub(crate) model: &'a mut Model,
    pub(crate) mutation: &'a Mutation,
    pub(crate) next_connection: &'a mut u64,
    /// The connection that an answer or the end of a connection came on.
    pub(crate) connection: u64,
    pub(crate) asked: Vec<Asked>,
    /// Longest way of a frame there and back, in microseconds.
    pub(crate) round_trip_max: u64,
}

/// What a client asks of the simulation.
pub(crate) enum Asked {
    Open(u64),
    Send {
        connection: u64,
        correlation: i32,
        frame: Bytes,
        answered: bool,
        what: &'static str,
    },
    /// The client hears nothing of this connection any more.
    Cut {
        connection: u64,
        late: Late,
    },
    ActAt(u64),
}

/// What becomes of requests that are on the way when a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// They are lost.
    Lost,
    /// They arrive, so many microseconds later than they would have.
    By(u64),
}

impl Cx<'_> {
    /// Asks for the next call of `act`, within these bounds in microseconds.
    pub(crate) fn act_in(&mut self, low: u64, high: u64) {
        let at = self.now + self.rng.between(low, high);
        self.asked.push(Asked::ActAt(at));
    }

    /// Decodes an answer; one that cannot be read is a violation.
    pub(crate) fn decode<R: Request>(&mut self, frame: Bytes, version: i16) -> Option<R::Response> {
        match decode_response::<R>(frame, version) {
            Ok((_, response)) => Some(response),
            Err(error) => {
                self.model.violate(format!("an answer cannot be read: {error}"));
                None
            }
        }
    }

    /// An error code that nothing explains.
    pub(crate) fn unexpected(&mut self, what: &str, code: i16) {
        let name = ottla_protocol::ErrorCode::from_code(code).map(|code| code.to_string());
        self.model.violate(format!("{what}: unexpected error {code} {}", name.unwrap_or_default()));
    }
}

/// A client's connection: opened when something is sent.
#[derive(Default)]
pub(crate) struct Link {
    connection: Option<u64>,
    next: i32,
}

impl Link {
    /// Sends a request; returns its correlation id.
    pub(crate) fn send<R: Request>(&mut self, cx: &mut Cx<'_>, version: i16, body: &R) -> i32 {
        self.send_with(cx, version, body, true)
    }

    /// Sends a request that may have no answer.
    pub(crate) fn send_with<R: Request>(
        &mut self,
        cx: &mut Cx<'_>,
        version: i16,
        body: &R,
        answered: bool,
    ) -> i32 {
        let connection = *self.connection.get_or_insert_with(|| {
            let id = *cx.next_connection;
            *cx.next_connection += 1;
            cx.asked.push(Asked::Open(id));
            id
        });
        self.next += 1;
        let correlation = self.next;
        let id = ByteString::from_static("sim");
        let encoded =
            encode_request(version, correlation, Some(&id), body).expect("a message we made");
        let frame = encoded.bytes.slice(4..);
        let what = R::KEY.name();
        cx.asked.push(Asked::Send { connection, correlation, frame, answered, what });
        correlation
    }

    /// The connection is gone; the next request opens another one.
    pub(crate) fn lost(&mut self) {
        self.connection = None;
    }

    /// Cuts the connection, if there is one.
    pub(crate) fn cut(&mut self, cx: &mut Cx<'_>, late: Late) -> bool {
        let Some(connection) = self.connection.take() else { return false };
        cx.asked.push(Asked::Cut { connection, late });
        true
    }

    /// Whether this is the connection.
    pub(crate) fn is(&self, connection: u64) -> bool {
        self.connection == Some(connection)
    }
}
