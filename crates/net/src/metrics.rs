//! Counters of a listener.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the connections of a listener did since the start. Plain counters: reading them is free of
/// locks, and two of them need not be of the same instant.
#[derive(Debug, Default)]
pub struct NetMetrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) frames_in: AtomicU64,
    pub(crate) responses_out: AtomicU64,
    pub(crate) bad_frames: AtomicU64,
    pub(crate) closed_idle: AtomicU64,
    pub(crate) closed_stalled: AtomicU64,
    pub(crate) cold_reads: AtomicU64,
    pub(crate) budget_waits: AtomicU64,
    pub(crate) panics: AtomicU64,
}

/// A reading of [`NetMetrics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetCounters {
    /// Connections handed to the protocol side.
    pub accepted: u64,
    /// Connections of these that are gone.
    pub closed: u64,
    /// Connections closed as soon as they were accepted.
    pub refused: u64,
    /// Failures to accept, such as a lack of descriptors.
    pub accept_errors: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Complete frames received.
    pub frames_in: u64,
    /// Answers taken for sending.
    pub responses_out: u64,
    /// Connections closed because of a bad frame size.
    pub bad_frames: u64,
    /// Connections closed because they were idle.
    pub closed_idle: u64,
    /// Connections closed because the client did not finish a frame or did not read.
    pub closed_stalled: u64,
    /// Times a file had to be read from the disk before it could be sent.
    pub cold_reads: u64,
    /// Frames that had to wait for memory.
    pub budget_waits: u64,
    /// Connections that ended in a panic.
    pub panics: u64,
}

impl NetMetrics {
    /// The counters now.
    #[must_use]
    pub fn read(&self) -> NetCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NetCounters {
            accepted: get(&self.accepted),
            closed: get(&self.closed),
            refused: get(&self.refused),
            accept_errors: get(&self.accept_errors),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            frames_in: get(&self.frames_in),
            responses_out: get(&self.responses_out),
            bad_frames: get(&self.bad_frames),
            closed_idle: get(&self.closed_idle),
            closed_stalled: get(&self.closed_stalled),
            cold_reads: get(&self.cold_reads),
            budget_waits: get(&self.budget_waits),
            panics: get(&self.panics),
        }
    }
}

impl NetCounters {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.closed)
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
