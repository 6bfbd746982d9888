//! From bytes of a socket to frames.
//!
//! Small frames are cut out of a shared read buffer without a copy, several per system call. A
//! large frame gets a buffer of its own that the socket is read into directly; at most [`HEAD`]
//! bytes of it are copied from the buffer its size came in. An idle connection holds no buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::budget::{MemoryBudget, Share, Waiting};
use crate::connection::CloseReason;

/// Size of the size field.
const SIZE_BYTES: usize = 4;
/// The first read buffer of a connection that was idle; pinned by a small frame that waits.
const READ_BYTES_MIN: usize = 4 << 10;
/// The largest read buffer that small frames share, room for five batches of 16 KiB (the defaults of
/// a Java producer); a frame above it gets its own. Below what malloc maps anew each time (128 KiB).
const READ_BYTES_MAX: usize = 96 << 10;
/// Read beyond the end of a large frame, so that the next size costs no system call of its own.
const HEAD: usize = 512;
/// A large frame's buffer starts with this much and doubles as bytes arrive, so that a claimed
/// size alone costs nothing.
const GROW_FROM: usize = 2 << 20;
/// The memory budget is asked for this much of a frame first, then for twice as much each time.
const SHARE_FROM: usize = 128 << 10;
const _: () = assert!(READ_BYTES_MAX <= SHARE_FROM);
const _: () = assert!(HEAD < READ_BYTES_MIN && READ_BYTES_MAX < GROW_FROM);

/// The receiving half of a connection.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Received, not handed over yet. Starts with the size of a frame, or after it if `frame` is set.
    buf: BytesMut,
    /// Size of the allocation behind `buf`, about.
    allocated: usize,
    /// How much to ask the socket for when no frame has begun: [`HEAD`] after a large frame, 0 at
    /// first (the smallest buffer).
    read_bytes: usize,
    /// Size of the frame that has begun.
    frame: Option<usize>,
    /// Memory reserved for the frame that has begun.
    share: Share,
    waiting: Option<Waiting>,
}

/// What comes next.
pub(crate) enum Next {
    /// A complete frame.
    Frame(Bytes),
    /// Nothing before more is received.
    NeedBytes,
    /// Nothing before other frames are dropped; the task is woken then.
    NeedBudget,
}

impl Inbox {
    /// Bytes received of a frame that is not complete, and its size if known.
    pub(crate) fn unfinished(&self) -> Option<(usize, usize)> {
        match self.frame {
            Some(len) => Some((len, self.buf.len())),
            None if self.buf.is_empty() => None,
            None => Some((0, self.buf.len())),
        }
    }

    /// Whether the frame that has begun waits for memory.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The next frame of those received. A size over `max` is an error.
    pub(crate) fn next(
        &mut self,
        max: u32,
        budget: &MemoryBudget,
        cx: &mut Context<'_>,
    ) -> Result<Next, CloseReason> {
        let len = match self.frame {
            Some(len) => len,
            None => match self.begin(max)? {
                Some(len) => len,
                None => return Ok(Next::NeedBytes),
            },
        };
        if self.poll_budget(len, budget, cx).is_pending() {
            return Ok(Next::NeedBudget);
        }
        if self.buf.len() < len {
            return Ok(Next::NeedBytes);
        }
        self.frame = None;
        let frame = if self.allocated > READ_BYTES_MAX && len <= READ_BYTES_MAX {
            let frame = Bytes::copy_from_slice(self.buf.get(..len).unwrap_or_default());
            self.buf.advance(len);
            frame
        } else {
            self.buf.split_to(len).freeze()
        };
        Ok(Next::Frame(std::mem::take(&mut self.share).attach(frame)))
    }

    /// Receives more. 0 is the end of the stream. Call after [`Inbox::next`] said `NeedBytes`.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        if self.buf.capacity() == 0 {
            ready!(stream.poll_read_ready(cx))?;
        }
        let limit = self.make_room();
        match poll_read(cx, stream, &mut self.buf, limit) {
            Poll::Pending => {
                if self.frame.is_none() && self.buf.is_empty() {
                    self.buf = BytesMut::new();
                    self.allocated = 0;
                }
                Poll::Pending
            }
            Poll::Ready(Ok(count)) => {
                self.adapt(count, limit);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn begin(&mut self, max: u32) -> Result<Option<usize>, CloseReason> {
        let Some(size) = self.buf.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
        let size = i32::from_be_bytes(*size);
        let len = match u32::try_from(size) {
            Ok(len) if len > 0 && len <= max => len as usize,
            _ => return Err(CloseReason::FrameSize { size, max }),
        };
        self.buf.advance(SIZE_BYTES);
        self.frame = Some(len);
        if len > READ_BYTES_MAX {
            self.read_bytes = HEAD;
        } else if self.read_bytes == HEAD {
            self.read_bytes = READ_BYTES_MIN;
        }
        Ok(Some(len))
    }

    /// Sees to it that the frame's share covers what was received and some more of it.
    fn poll_budget(&mut self, len: usize, budget: &MemoryBudget, cx: &mut Context<'_>) -> Poll<()> {
        while self.share.bytes() < len && self.share.bytes() <= self.buf.len() {
            let target = len.min(SHARE_FROM.max(self.share.bytes().saturating_mul(2)));
            ready!(self.share.poll_grow(cx, (budget, target), &mut self.waiting));
        }
        Poll::Ready(())
    }

    /// Makes room for the next read and returns how much to ask for.
    fn make_room(&mut self) -> usize {
        let have = self.buf.len();
        match self.frame {
            Some(len) if len > READ_BYTES_MAX => {
                let target = len.min(GROW_FROM.max(have.saturating_mul(2)));
                if self.spare() <= HEAD || self.buf.capacity() < len.min(GROW_FROM) {
                    self.reallocate(target.saturating_sub(have) + HEAD);
                }
                let allowed =
                    if self.share.bytes() < len { self.share.bytes() } else { len + HEAD };
                allowed.saturating_sub(have).min(self.spare())
            }
            Some(len) => {
                if self.spare() < len - have {
                    self.reallocate(self.read_bytes.max(len - have));
                }
                self.spare()
            }
            None => {
                if self.spare() < HEAD {
                    self.reallocate(self.read_bytes.max(READ_BYTES_MIN));
                }
                if self.read_bytes == HEAD { HEAD.min(self.spare()) } else { self.spare() }
            }
        }
    }

    fn spare(&self) -> usize {
        self.buf.capacity() - self.buf.len()
    }

    /// Gives `buf` room for `more` bytes: in its own allocation if all frames cut from it are
    /// gone, or in a new one of that size.
    fn reallocate(&mut self, more: usize) {
        if self.buf.try_reclaim(more) {
            return;
        }
        let size = (self.buf.len() + more).max(READ_BYTES_MIN);
        let mut fresh = BytesMut::with_capacity(size);
        fresh.extend_from_slice(&self.buf);
        self.allocated = size;
        self.buf = fresh;
    }

    /// Fits the read buffer to what arrives at once.
    fn adapt(&mut self, count: usize, limit: usize) {
        if self.read_bytes == HEAD {
            return;
        }
        if count == limit {
            self.read_bytes = (limit * 4).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        } else if count < self.read_bytes / 8 && self.read_bytes > READ_BYTES_MIN {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
    }
}

fn poll_read(
    cx: &mut Context<'_>,
    stream: &mut TcpStream,
    buf: &mut BytesMut,
    limit: usize,
) -> Poll<io::Result<usize>> {
    let have = buf.len();
    let spare = buf.spare_capacity_mut();
    let limit = limit.min(spare.len());
    let Some(room) = spare.get_mut(..limit) else { return Poll::Ready(Ok(0)) };
    let mut room = ReadBuf::uninit(room);
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    let count = room.filled().len();
    // SAFETY: `room` borrows the spare capacity that follows the first `have` bytes, and ReadBuf
    // only counts bytes as filled that were initialized; `poll_read` takes the ReadBuf by
    // reference and TcpStream does not replace it.
    unsafe { buf.set_len(have + count) };
    Poll::Ready(Ok(count))
}
