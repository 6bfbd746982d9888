//! The contract between this crate and the protocol side of a connection.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Waker;

/// Numbers the connections of a process, from 1, in order of arrival.
pub type ConnectionId = u64;

/// One part of an answer; parts are written in order.
#[derive(Clone)]
pub enum Part {
    /// Bytes from memory.
    Bytes(Bytes),
    /// Bytes of a file, sent without passing through user space where that is possible.
    File(FileSlice),
}

/// A range of a file. It keeps the file open until it is written or the connection is closed.
#[derive(Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<dyn FileSource>,
    /// Where the range starts in the file.
    pub position: u64,
    /// Length of the range in bytes. If the file ends earlier the connection is closed.
    pub len: u64,
}

/// A file that answers are sent from.
pub trait FileSource: Send + Sync + 'static {
    /// The descriptor for `sendfile`; `None` if there is none, then [`FileSource::read_at`] is used.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Reads up to `buf.len()` bytes at `position`; 0 at the end of the file. With a descriptor
    /// this may block on the disk (it is called from a blocking thread); without it must not.
    ///
    /// # Errors
    /// Those of the disk.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
}

/// The protocol side of one connection: a state machine fed with frames, asked for answers.
///
/// Called only from the task of that connection, which serves thousands of others on the same
/// threads: no call may block. Anything that happens elsewhere reaches it through its [`Waker`],
/// followed by [`Connection::poll`].
pub trait Connection: Send + 'static {
    /// Whether another frame may be handed over now. `false` stops reading from the socket until a
    /// later call says otherwise; it is asked again after `frame`, `poll` and every taken answer.
    fn ready_for_frame(&self) -> bool;

    /// The largest frame accepted now, in bytes, if smaller than the listener's limit. For peers
    /// that have not authenticated yet (`sasl.server.max.receive.size`).
    fn frame_bytes_max(&self) -> u32 {
        u32::MAX
    }

    /// Takes one complete frame, without its size. The frame's share of the [`MemoryBudget`] is
    /// given back when the last slice of `frame` is dropped: copy what outlives the request.
    fn frame(&mut self, frame: Bytes, now: Instant);

    /// Something may have changed: the [`Waker`] was used or [`Connection::deadline`] passed.
    fn poll(&mut self, now: Instant);

    /// Appends the parts of the next answer that may be written (its size included) to `parts`;
    /// `false` if there is none yet. One answer per call, in the order of the requests.
    fn take_response(&mut self, parts: &mut VecDeque<Part>) -> bool;

    /// When [`Connection::poll`] must be called at the latest: the earliest timeout of a waiting
    /// request, or the end of a throttling pause. While there is one the connection is not idle.
    fn deadline(&self) -> Option<Instant>;

    /// Why this side wants the connection closed. Checked once all answers taken so far are
    /// written; no further frame is handed over.
    fn should_close(&self) -> Option<String>;

    /// The connection is gone, for whatever reason. Called exactly once, last, also when the task
    /// panicked or was aborted.
    fn closed(&mut self, reason: &CloseReason);
}

/// Makes the protocol side of every connection that a listener accepts.
pub trait Acceptor: Send + Sync + 'static {
    /// A connection was accepted. `waker` wakes its task from anywhere.
    fn accept(&self, info: &ConnectionInfo, waker: Waker) -> Box<dyn Connection>;

    /// A connection was closed right after it was accepted.
    fn refused(&self, _peer: SocketAddr, _why: Refusal) {}
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its number.
    pub id: ConnectionId,
    /// The client's address; IPv4 addresses are never in their IPv6 form.
    pub peer: SocketAddr,
    /// Our address as the client reached it.
    pub local: SocketAddr,
    /// The name of the listener.
    pub listener: Arc<str>,
}

/// Why a connection was closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The client closed it or sent no more.
    #[error("closed by the client")]
    Peer,
    /// [`Connection::should_close`].
    #[error("{0}")]
    Requested(String),
    /// The size field of a frame is not acceptable.
    #[error("frame size {size} is not within 1 and {max}")]
    FrameSize {
        /// The size received.
        size: i32,
        /// The largest size allowed at that time.
        max: u32,
    },
    /// The client began a frame and did not finish it in time.
    #[error("frame of {len} bytes unfinished after {after:?}, {got} bytes received")]
    FrameStalled {
        /// Size of the frame, 0 if not even the size was complete.
        len: usize,
        /// Bytes received.
        got: usize,
        /// The time allowed for a frame of this size.
        after: Duration,
    },
    /// The client accepted no byte of an answer for too long.
    #[error("the client did not read its answers for {0:?}")]
    WriteStalled(Duration),
    /// Nothing was received or sent for `connections.max.idle.ms`.
    #[error("idle for {0:?}")]
    Idle(Duration),
    /// A file ended before the end of a slice of it.
    #[error("a file ended at {end}, {missing} bytes before the end of the slice to send")]
    FileTooShort {
        /// Where the file ended.
        end: u64,
        /// Bytes that could not be sent.
        missing: u64,
    },
    /// The disk failed while an answer was sent.
    #[error("cannot read a file to send: {0}")]
    File(io::Error),
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(io::Error),
    /// The server is stopping.
    #[error("the server is stopping")]
    Shutdown,
    /// The task was aborted at the end of the grace period, or panicked.
    #[error("aborted")]
    Aborted,
}

/// Why an accepted connection was closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `max.connections.per.ip` or its override for this address is reached.
    PerIp {
        /// The limit.
        limit: u32,
    },
    /// The address connects faster than its `connection_creation_rate` allows.
    TooFast {
        /// The connection is left unanswered for so long before it is closed.
        pause: Duration,
    },
    /// The server is stopping.
    Stopping,
}
