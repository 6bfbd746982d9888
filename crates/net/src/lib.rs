//! The broker's sockets: listeners, framing, back-pressure and `sendfile`, on tokio.
//!
//! This crate moves frames (a 4-byte big-endian size and that many bytes) and knows nothing of what
//! they mean. The protocol side of a connection is a [`Connection`], made by an [`Acceptor`] for
//! every accepted socket; one task per connection drives it.
//!
//! What is bounded here, and what happens at the bound:
//!
//! | what | bound | then |
//! | --- | --- | --- |
//! | bytes of received frames | [`MemoryBudget`] | the next frame is not read until there is room |
//! | requests waiting for an answer | [`Connection::ready_for_frame`] | the socket is not read |
//! | answers not yet accepted by the client | [`OUTBOX_BYTES`] | the socket is not read |
//! | time to finish a frame, to accept an answer, to be silent | [`Settings`] | the connection is closed |
//! | connections, also per address | [`ConnectionLimits`] | not accepted, or closed at once |
//! | connections per second, also per address | [`ConnectionLimits`] | not accepted, or closed after a pause |
//!
//! What is absent: no knowledge of requests, no disk access other than through [`FileSource`].
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the edge: sockets and timers need the real clock"
)]

mod budget;
pub mod client;
mod connection;
mod driver;
mod inbox;
mod limits;
mod listener;
mod log_limit;
mod metrics;
mod outbox;
mod rates;
mod server;
mod sync;
mod wake;

pub use budget::MemoryBudget;
pub use connection::{
    Acceptor, CloseReason, Connection, ConnectionId, ConnectionInfo, FileSlice, FileSource, Part,
    Refusal,
};
pub use limits::{ConnectionLimits, ListenerLimits};
pub use listener::{BoundListener, Settings};
pub use metrics::{NetCounters, NetMetrics};
pub use outbox::OUTBOX_BYTES;
pub use rates::ConnectionRate;
pub use server::NetServer;
pub use wake::Waker;
