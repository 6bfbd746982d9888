//! Joins `net` and `broker`, which do not know each other: frames in, answers out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ottla_broker::wait::Wake;
use ottla_broker::{Broker, Connection, ConnectionInfo, Listener, Part};
use ottla_net::{Acceptor, CloseReason, FileSlice, FileSource, Waker};
use ottla_storage::LogSlice;

use crate::clock::Clock;

/// Makes the broker's side of every connection of one listener.
pub struct BrokerAcceptor {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The listener as the broker sees it.
    pub listener: Arc<Listener>,
    /// The clock of the broker's environment.
    pub clock: Clock,
}

struct Adapter {
    connection: Connection,
    clock: Clock,
}

struct NetWake(Waker);

/// A log slice as a file to send from.
struct SliceSource(LogSlice);

impl Acceptor for BrokerAcceptor {
    fn accept(
        &self,
        info: &ottla_net::ConnectionInfo,
        waker: Waker,
    ) -> Box<dyn ottla_net::Connection> {
        let info = ConnectionInfo {
            id: info.id,
            peer: info.peer,
            local: info.local,
            listener: Arc::clone(&self.listener),
            principal: ottla_broker::ANONYMOUS.into(),
            software: Default::default(),
        };
        let connection = Connection::new(Arc::clone(&self.broker), info, Arc::new(NetWake(waker)));
        Box::new(Adapter { connection, clock: self.clock })
    }
}

impl ottla_net::Connection for Adapter {
    fn ready_for_frame(&self) -> bool {
        self.connection.ready_for_frame()
    }

    fn frame(&mut self, frame: Bytes, now: Instant) {
        self.connection.frame(frame, self.clock.at(now));
    }

    fn poll(&mut self, now: Instant) {
        self.connection.poll(self.clock.at(now));
    }

    fn take_response(&mut self, parts: &mut VecDeque<ottla_net::Part>) -> bool {
        let Some(response) = self.connection.take_response() else { return false };
        parts.extend(response.parts.into_iter().map(part));
        true
    }

    fn deadline(&self) -> Option<Instant> {
        self.clock.instant(self.connection.deadline())
    }

    fn should_close(&self) -> Option<String> {
        self.connection.should_close().map(str::to_owned)
    }

    fn closed(&mut self, reason: &CloseReason) {
        tracing::debug!("connection closed: {reason}");
    }
}

impl Wake for NetWake {
    fn wake(&self) {
        self.0.wake();
    }
}

impl FileSource for SliceSource {
    /// None once the log was truncated below the slice: then `read_at` refuses.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.0.file.raw_fd().filter(|_| self.0.is_intact())?;
        // SAFETY: `raw_fd` is the descriptor of the open file that `self.0.file` holds, which is
        // not closed before the `Arc` is dropped; the borrow ends with `self`.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.0.file.read_at(buf, position)?;
        if self.0.is_intact() {
            return Ok(read);
        }
        Err(io::Error::other("the log was truncated while it was being sent"))
    }
}

fn part(part: Part) -> ottla_net::Part {
    match part {
        Part::Bytes(bytes) => ottla_net::Part::Bytes(bytes),
        Part::Slice(slice) => ottla_net::Part::File(FileSlice {
            position: slice.position,
            len: u64::from(slice.len),
            file: Arc::new(SliceSource(slice)),
        }),
    }
}
