//! From answers to bytes on a socket: vectored writes, `sendfile`, few packets.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::connection::{CloseReason, FileSlice, Part};

/// Bytes of answers in memory that a connection collects before it writes them; no further frame
/// is handed over while there are more, or while the client does not accept them.
pub const OUTBOX_BYTES: usize = 256 << 10;

/// Parts of one vectored write.
const SLICES_MAX: usize = 64;
/// A file is tested for residency, read ahead and sent in steps of this size.
const FILE_STEP: u64 = 1 << 20;
/// One read of a file that is not sent by `sendfile`.
const READ_STEP: u64 = 128 << 10;
/// A resident slice up to this size is read and sent together with the bytes before it: one `preadv2`
/// in place of two residency probes, a `sendfile` and a packet of its own. Above, the copies cost more.
const INLINE_BYTES_MAX: u64 = 16 << 10;
const _: () = assert!(INLINE_BYTES_MAX < FILE_STEP);

/// The sending half of a connection.
#[derive(Default)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    /// Bytes of the parts in memory.
    bytes: usize,
    /// The kernel holds back what fills no packet, for several files follow.
    corked: bool,
    /// Writing has begun and the outbox was not empty since.
    started: bool,
    /// A cold file being read in a blocking thread.
    warming: Option<JoinHandle<io::Result<()>>>,
    /// The first part is a file, resident below this position as far as known.
    resident_end: u64,
    /// The first part is a file that `sendfile` does not support.
    copying: bool,
}

/// What a write did, besides draining the outbox or not.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    pub(crate) cold_reads: usize,
}

impl Outbox {
    /// Whether enough has been collected.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= OUTBOX_BYTES || self.parts.len() >= SLICES_MAX
    }

    /// Whether the disk, not the client, is waited for.
    pub(crate) fn is_warming(&self) -> bool {
        self.warming.is_some()
    }

    /// Appends the parts of an answer.
    pub(crate) fn push(&mut self, parts: &mut VecDeque<Part>) {
        for part in parts.drain(..) {
            match &part {
                Part::Bytes(bytes) if bytes.is_empty() => continue,
                Part::Bytes(bytes) => self.bytes += bytes.len(),
                Part::File(slice) if slice.len == 0 => continue,
                Part::File(slice) => {
                    if let Some(bytes) = read_small(slice) {
                        self.bytes += bytes.len();
                        self.parts.push_back(Part::Bytes(bytes));
                        continue;
                    }
                }
            }
            self.parts.push_back(part);
        }
    }

    /// Writes until nothing is left (`Ready`) or `written` exceeds `quota`, or the client or the
    /// disk must be waited for (`Pending`, the task is woken).
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        (quota, written): (usize, &mut Written),
    ) -> Poll<Result<(), CloseReason>> {
        let files = self.parts.iter().filter(|part| matches!(part, Part::File(_))).take(2).count();
        if files > 1 && !self.started {
            self.corked = rustix::net::sockopt::set_tcp_cork(stream, true).is_ok();
        }
        self.started = !self.parts.is_empty();
        let result = self.poll_parts(cx, stream, (quota, written));
        // Also when the client must be waited for: what fills no packet would be held back for
        // 200 ms, and the client may need it to make room.
        if std::mem::take(&mut self.corked) {
            rustix::net::sockopt::set_tcp_cork(stream, false)
                .map_err(|error| CloseReason::Socket(error.into()))?;
        }
        ready!(result)?;
        self.started = false;
        self.parts.shrink_to(SLICES_MAX);
        Poll::Ready(Ok(()))
    }

    fn poll_parts(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        (quota, written): (usize, &mut Written),
    ) -> Poll<Result<(), CloseReason>> {
        while let Some(part) = self.parts.front_mut() {
            if written.bytes >= quota {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match part {
                Part::Bytes(_) => ready!(self.poll_bytes(cx, stream, written))?,
                Part::File(_) => ready!(self.poll_file(cx, stream, written))?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One vectored write of the leading parts in memory.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        written: &mut Written,
    ) -> Poll<Result<(), CloseReason>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(&self.parts) {
            let Part::Bytes(bytes) = part else { break };
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        // More follows at once: the kernel may fill the packet with it.
        let more = self.parts.len() > count;
        let flags = SendFlags::NOSIGNAL | if more { SendFlags::MORE } else { SendFlags::empty() };
        let sent = ready!(poll_socket(cx, stream, || {
            rustix::net::sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), flags)
        }));
        let sent = sent.map_err(|error| CloseReason::Socket(error.into()))?;
        written.bytes += sent;
        self.consume(sent);
        Poll::Ready(Ok(()))
    }

    /// Removes `count` written bytes from the leading parts in memory.
    fn consume(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        while count > 0
            && let Some(Part::Bytes(bytes)) = self.parts.front_mut()
        {
            let step = count.min(bytes.len());
            bytes.advance(step);
            count -= step;
            if bytes.is_empty() {
                self.parts.pop_front();
            }
        }
    }

    /// One step of the leading file.
    fn poll_file(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        written: &mut Written,
    ) -> Poll<Result<(), CloseReason>> {
        if let Some(warming) = &mut self.warming {
            let done = ready!(Pin::new(warming).poll(cx));
            self.warming = None;
            done.map_err(io::Error::other).and_then(|read| read).map_err(CloseReason::File)?;
        }
        let Some(Part::File(slice)) = self.parts.front_mut() else { return Poll::Ready(Ok(())) };
        let Some(fd) = slice.file.fd() else { return Poll::Ready(self.copy_file()) };
        if slice.position >= self.resident_end {
            let step = slice.len.min(FILE_STEP);
            self.resident_end = slice.position.saturating_add(step);
            if !is_resident(fd, slice.position, step) {
                written.cold_reads += 1;
                let slice = FileSlice { len: step, ..slice.clone() };
                self.warming = Some(tokio::task::spawn_blocking(move || read_through(&slice)));
                return Poll::Ready(Ok(()));
            }
        }
        if self.copying {
            return Poll::Ready(self.copy_file());
        }
        let count = slice.len.min(self.resident_end.saturating_sub(slice.position));
        let mut position = slice.position;
        let sent = ready!(poll_socket(cx, stream, || {
            rustix::fs::sendfile(stream, fd, Some(&mut position), count as usize)
        }));
        match sent {
            Ok(0) => Poll::Ready(Err(too_short(slice))),
            Ok(sent) => {
                written.bytes += sent;
                self.advance_file(sent as u64);
                Poll::Ready(Ok(()))
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.copying = true;
                Poll::Ready(Ok(()))
            }
            Err(error @ (Errno::IO | Errno::BADF | Errno::OVERFLOW)) => {
                Poll::Ready(Err(CloseReason::File(error.into())))
            }
            Err(error) => Poll::Ready(Err(CloseReason::Socket(error.into()))),
        }
    }

    /// Turns the start of the leading file into bytes.
    fn copy_file(&mut self) -> Result<(), CloseReason> {
        let Some(Part::File(slice)) = self.parts.front_mut() else { return Ok(()) };
        let mut buf = vec![0; slice.len.min(READ_STEP) as usize];
        let count = match slice.file.read_at(&mut buf, slice.position) {
            Ok(0) => return Err(too_short(slice)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(CloseReason::File(error)),
        };
        buf.truncate(count);
        self.advance_file(count as u64);
        self.bytes += count;
        self.parts.push_front(Part::Bytes(Bytes::from(buf)));
        Ok(())
    }

    fn advance_file(&mut self, count: u64) {
        let Some(Part::File(slice)) = self.parts.front_mut() else { return };
        slice.position = slice.position.saturating_add(count);
        slice.len = slice.len.saturating_sub(count);
        if slice.len == 0 {
            self.parts.pop_front();
            self.resident_end = 0;
            self.copying = false;
        }
    }
}

/// Runs `call` when the socket is writable, until it does not say "try again".
fn poll_socket(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> Poll<Result<usize, Errno>> {
    loop {
        if let Err(error) = ready!(stream.poll_write_ready(cx)) {
            return Poll::Ready(Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
        }
        // `try_io` learns of "would block" only through an io::Error.
        let mut result = Err(Errno::AGAIN);
        let tried = stream.try_io(Interest::WRITABLE, || {
            result = call();
            result.map(|_| ()).map_err(io::Error::from)
        });
        match result {
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ if tried.is_ok() || result.is_err() => return Poll::Ready(result),
            _ => {}
        }
    }
}

/// Whether a read of the range would not wait for the disk, judged by a few of its pages.
fn is_resident(fd: BorrowedFd<'_>, position: u64, len: u64) -> bool {
    let last = len.saturating_sub(1);
    let all = [0, last, last / 3, last / 3 * 2];
    let probes = if len > (64 << 10) { all.as_slice() } else { all.get(..2).unwrap_or_default() };
    let mut byte = [0];
    probes.iter().all(|offset| {
        let mut byte = [IoSliceMut::new(&mut byte)];
        let read = rustix::io::preadv2(fd, &mut byte, position + offset, ReadWriteFlags::NOWAIT);
        // Any other failure shows again, with a proper answer, in `sendfile`.
        read != Err(Errno::AGAIN)
    })
}

/// The bytes of a small slice, if the disk need not be waited for. Whatever else goes wrong shows
/// again, with a proper answer, when the slice is sent as a file.
fn read_small(slice: &FileSlice) -> Option<Bytes> {
    if slice.len > INLINE_BYTES_MAX {
        return None;
    }
    let mut buf = vec![0; slice.len as usize];
    let fd = slice.file.fd()?;
    let room = &mut [IoSliceMut::new(&mut buf)];
    let read = rustix::io::preadv2(fd, room, slice.position, ReadWriteFlags::NOWAIT).ok()?;
    // Asked again: bytes read while the file was being truncated may be of another batch.
    (read == buf.len() && slice.file.fd().is_some()).then(|| Bytes::from(buf))
}

/// Reads the range, so that it is resident afterwards.
fn read_through(slice: &FileSlice) -> io::Result<()> {
    let mut buf = vec![0; slice.len.min(READ_STEP) as usize];
    let end = slice.position.saturating_add(slice.len);
    let mut position = slice.position;
    while position < end {
        let step = end.saturating_sub(position).min(READ_STEP) as usize;
        match slice.file.read_at(buf.get_mut(..step).unwrap_or_default(), position) {
            Ok(0) => return Ok(()), // `sendfile` reports it.
            Ok(count) => position += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn too_short(slice: &FileSlice) -> CloseReason {
    CloseReason::FileTooShort { end: slice.position, missing: slice.len }
}
