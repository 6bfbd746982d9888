//! The task of one connection: reads frames, hands them over, writes answers, keeps deadlines.
//!
//! It is one future polled by hand rather than an async function: its memory is the struct below,
//! and every source of progress (socket, waker, timer, memory, disk) wakes the same task.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::budget::MemoryBudget;
use crate::connection::{CloseReason, Connection, ConnectionInfo, Part};
use crate::inbox::{Inbox, Next};
use crate::limits::Slot;
use crate::listener::Settings;
use crate::log_limit::LogLimit;
use crate::metrics::{NetMetrics, add};
use crate::outbox::{Outbox, Written};
use crate::wake::Waker;

/// Bytes received or sent in one poll, before other connections get their turn.
const POLL_BYTES: usize = 2 << 20;
/// Rounds of handing over, writing and reading in one poll. A round of small frames is at most one
/// outbox of answers (32 or 64) or one read buffer of unanswered ones.
const POLL_ROUNDS: usize = 16;
/// The shortest timer. A protocol side that forgets to move a deadline does not spin.
const TIMER_MIN: Duration = Duration::from_millis(1);

/// What the connections of a listener share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) budget: MemoryBudget,
    pub(crate) metrics: Arc<NetMetrics>,
    /// The server is stopping.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Lines about misbehaving peers.
    pub(crate) log: LogLimit,
}

/// The future of one connection; it ends when the connection is to be closed.
pub(crate) struct Driver {
    stream: TcpStream,
    connection: Box<dyn Connection>,
    waker: Waker,
    shared: Arc<Shared>,
    inbox: Inbox,
    outbox: Outbox,
    /// Parts of the answer being taken; empty between calls.
    taken: VecDeque<Part>,
    timer: Option<Pin<Box<Sleep>>>,
    last_active: Instant,
    /// Since when the client accepts nothing of what is in the outbox.
    blocked_since: Option<Instant>,
    /// When the frame that has begun must be complete.
    frame_deadline: Option<(Instant, Duration)>,
    ended: bool,
    info: ConnectionInfo,
    reason: Option<CloseReason>,
    /// Dropped last: whoever waits for the connection to be gone sees all its effects.
    _slot: Slot,
}

/// What the connection waits for after all that could be done was done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// For the client to send.
    Bytes,
    /// For the client to read.
    Room,
    /// For this side: the protocol, memory or the disk.
    Us,
}

/// Why no further frame was handed over.
enum Stopped {
    NeedBytes,
    NeedBudget,
    NotReady,
    OutboxFull,
}

impl Driver {
    pub(crate) fn new(
        (stream, waker): (TcpStream, Waker),
        (connection, info): (Box<dyn Connection>, ConnectionInfo),
        shared: Arc<Shared>,
        slot: Slot,
    ) -> Self {
        Self {
            stream,
            connection,
            waker,
            shared,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            taken: VecDeque::new(),
            timer: None,
            last_active: Instant::now(),
            blocked_since: None,
            frame_deadline: None,
            ended: false,
            info,
            reason: None,
            _slot: slot,
        }
    }

    /// Does all that can be done now.
    fn work(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Waits, CloseReason> {
        let mut received = 0;
        let mut written = Written::default();
        let result = self.work_until_blocked(cx, now, (&mut received, &mut written));
        let metrics = &self.shared.metrics;
        if received > 0 {
            add(&metrics.bytes_in, received);
            self.last_active = now;
        }
        if written.bytes > 0 {
            add(&metrics.bytes_out, written.bytes);
            self.last_active = now;
            self.blocked_since = None;
        }
        if written.cold_reads > 0 {
            add(&metrics.cold_reads, written.cold_reads);
        }
        result
    }

    fn work_until_blocked(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        (received, written): (&mut usize, &mut Written),
    ) -> Result<Waits, CloseReason> {
        for _ in 0..POLL_ROUNDS {
            let stopped = self.hand_over(cx, now)?;
            match self.outbox.poll_write(cx, &self.stream, (POLL_BYTES, written)) {
                Poll::Ready(result) => result?,
                Poll::Pending if self.outbox.is_warming() => return Ok(Waits::Us),
                Poll::Pending => return Ok(Waits::Room),
            }
            if matches!(stopped, Stopped::OutboxFull) {
                continue;
            }
            if self.shared.stopping.load(Ordering::Acquire) {
                return Err(CloseReason::Shutdown);
            }
            if let Some(why) = self.connection.should_close() {
                return Err(CloseReason::Requested(why));
            }
            match stopped {
                Stopped::NotReady | Stopped::NeedBudget => return Ok(Waits::Us),
                Stopped::OutboxFull | Stopped::NeedBytes => {}
            }
            if self.ended {
                return Err(CloseReason::Peer);
            }
            if *received >= POLL_BYTES {
                break;
            }
            match self.inbox.poll_fill(cx, &mut self.stream) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(count)) => *received += count,
                Poll::Ready(Err(error)) => return Err(CloseReason::Socket(error)),
                Poll::Pending => return Ok(Waits::Bytes),
            }
        }
        // There is more to do, after others had their turn.
        cx.waker().wake_by_ref();
        Ok(Waits::Us)
    }

    /// Hands over frames already received and collects answers.
    fn hand_over(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Stopped, CloseReason> {
        loop {
            self.collect();
            if self.outbox.is_full() {
                return Ok(Stopped::OutboxFull);
            }
            let closing = self.shared.stopping.load(Ordering::Acquire)
                || self.connection.should_close().is_some();
            if closing || !self.connection.ready_for_frame() {
                return Ok(Stopped::NotReady);
            }
            let max = self.connection.frame_bytes_max().min(self.shared.settings.frame_bytes_max);
            let waited = self.inbox.is_waiting();
            match self.inbox.next(max, &self.shared.budget, cx)? {
                Next::Frame(frame) => {
                    add(&self.shared.metrics.frames_in, 1);
                    self.frame_deadline = None;
                    self.connection.frame(frame, now);
                }
                Next::NeedBytes => return Ok(Stopped::NeedBytes),
                Next::NeedBudget => {
                    add(&self.shared.metrics.budget_waits, usize::from(!waited));
                    return Ok(Stopped::NeedBudget);
                }
            }
        }
    }

    fn collect(&mut self) {
        let mut count = 0;
        while !self.outbox.is_full() && self.connection.take_response(&mut self.taken) {
            self.outbox.push(&mut self.taken);
            count += 1;
        }
        if count > 0 {
            add(&self.shared.metrics.responses_out, count);
        }
    }

    /// The earliest moment to look again, or why the connection must be closed now.
    fn check_deadlines(
        &mut self,
        waits: Waits,
        now: Instant,
    ) -> Result<Option<Instant>, CloseReason> {
        let settings = &self.shared.settings;
        let mut next = self.connection.deadline();
        let mut at_the_latest = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        self.blocked_since = (waits == Waits::Room).then(|| self.blocked_since.unwrap_or(now));
        if let Some(since) = self.blocked_since {
            if now >= since + settings.write_stall {
                return Err(CloseReason::WriteStalled(settings.write_stall));
            }
            at_the_latest(since + settings.write_stall);
        }
        match self.inbox.unfinished().filter(|_| waits == Waits::Bytes) {
            Some((len, got)) => {
                let new = || {
                    let allowed = settings.frame_time(len);
                    (now + allowed, allowed)
                };
                let (at, after) = *self.frame_deadline.get_or_insert_with(new);
                if now >= at {
                    return Err(CloseReason::FrameStalled { len, got, after });
                }
                at_the_latest(at);
            }
            None => self.frame_deadline = None,
        }
        if waits == Waits::Bytes && self.connection.deadline().is_none() {
            let at = self.last_active + settings.idle;
            if now >= at {
                return Err(CloseReason::Idle(settings.idle));
            }
            at_the_latest(at);
        }
        Ok(next)
    }

    /// Sees to it that the task is woken at `next`, perhaps also earlier.
    fn arm(&mut self, cx: &mut Context<'_>, next: Option<Instant>, now: Instant) {
        let Some(next) = next else { return };
        let next = tokio::time::Instant::from_std(next.max(now + TIMER_MIN));
        let timer = match &mut self.timer {
            Some(timer) => {
                // A timer that fires too early is cheaper than one that is moved at every request.
                if timer.is_elapsed() || timer.deadline() > next {
                    timer.as_mut().reset(next);
                }
                timer
            }
            None => self.timer.insert(Box::pin(tokio::time::sleep_until(next))),
        };
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// One line for what an operator may want to know; a thousand bad peers do not fill the log.
    fn log(&self, reason: &CloseReason) {
        let line = matches!(
            reason,
            CloseReason::FrameSize { .. }
                | CloseReason::FrameStalled { .. }
                | CloseReason::WriteStalled(_)
                | CloseReason::FileTooShort { .. }
                | CloseReason::File(_)
        );
        let left_out = line.then(|| self.shared.log.allow(Instant::now())).flatten();
        let ConnectionInfo { id, peer, listener, .. } = &self.info;
        match left_out {
            Some(left_out) => {
                tracing::warn!(id, %peer, listener = &**listener, left_out, "closing: {reason}");
            }
            None => tracing::debug!(id, %peer, listener = &**listener, "closing: {reason}"),
        }
    }

    fn finish(&mut self, reason: CloseReason) {
        use rustix::net::Shutdown;
        let metrics = &self.shared.metrics;
        match &reason {
            CloseReason::FrameSize { .. } => add(&metrics.bad_frames, 1),
            CloseReason::Idle(_) => add(&metrics.closed_idle, 1),
            CloseReason::FrameStalled { .. } | CloseReason::WriteStalled(_) => {
                add(&metrics.closed_stalled, 1);
            }
            _ => {}
        }
        self.log(&reason);
        // What was written is still delivered, also if the socket is kept open by someone.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Both);
        self.reason = Some(reason);
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = Instant::now();
        this.waker.register(cx.waker());
        let due = this.connection.deadline().is_some_and(|deadline| deadline <= now);
        if this.waker.take() || due {
            this.connection.poll(now);
        }
        let next = this.work(cx, now).and_then(|waits| this.check_deadlines(waits, now));
        match next {
            Ok(next) => {
                this.arm(cx, next, now);
                Poll::Pending
            }
            Err(reason) => {
                this.finish(reason);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.waker.close();
        let metrics = &self.shared.metrics;
        add(&metrics.panics, usize::from(std::thread::panicking()));
        add(&metrics.closed, 1);
        let reason = self.reason.take().unwrap_or(CloseReason::Aborted);
        // A panic here while another unwinds would end the process.
        let closed = AssertUnwindSafe(|| self.connection.closed(&reason));
        if std::panic::catch_unwind(closed).is_err() {
            add(&self.shared.metrics.panics, 1);
        }
    }
}
