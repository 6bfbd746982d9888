//! What time does to transactions: it aborts open ones, and forgets ids that nobody uses.

use bytestring::ByteString;
use ottla_protocol::ids::{Monotonic, Now, Timestamp};

use super::records;
use super::shard::{Out, TransactionShard};
use super::state::TransactionState;

/// Most ids forgotten in one batch of records.
const FORGOTTEN_MAX: usize = 1_000;

/// What happens at a deadline. There is at most one deadline per value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The open transaction of an id outlived its timeout.
    Timeout(ByteString),
    /// Markers of a prepared transaction are to be sent again, or its Complete state stored.
    Markers(ByteString),
    /// Look for ids that nobody uses.
    Expiry,
}

impl TransactionShard {
    pub(super) fn on_timer(&mut self, timer: Timer, now: Now, out: &mut Out) {
        match timer {
            Timer::Timeout(id) => self.abort_timed_out(&id, now, out),
            Timer::Markers(id) => self.retry_markers(&id, now, out),
            Timer::Expiry => self.forget_unused(now, out),
        }
    }

    /// Sets the deadline of an open transaction: the first round of looking for such, one every
    /// `abort_interval_ms`, after its timeout.
    pub(super) fn watch(&mut self, id: &ByteString, timeout_ms: i64, now: Now) {
        let due = now.monotonic.plus_millis(timeout_ms);
        let interval = u64::try_from(self.config.abort_interval_ms).unwrap_or(1).max(1);
        let round = Monotonic(due.0.div_ceil(interval.saturating_mul(1000)));
        let at = Monotonic(round.0.saturating_mul(interval).saturating_mul(1000));
        self.timers.set(Timer::Timeout(id.clone()), at);
    }

    /// How long an open transaction that was found in the log may go on.
    pub(super) fn time_left_ms(expires_at: Timestamp, timeout_ms: i32, now: Now) -> i64 {
        // The wall clock may have jumped: never longer than it asked for.
        expires_at.0.saturating_sub(now.wall.0).clamp(0, timeout_ms.into())
    }

    fn abort_timed_out(&mut self, id: &ByteString, now: Now, out: &mut Out) {
        let Some(known) = self.ids.get(id) else { return };
        if known.txn.state == TransactionState::Ongoing {
            let aborting = known.txn.abort(self.config.bumps_epoch(), now.wall);
            self.prepare(id, &aborting, now, out);
        }
    }

    /// Forgets ids that have not been used for long, a batch at a time.
    fn forget_unused(&mut self, now: Now, out: &mut Out) {
        let latest = now.wall.0.saturating_sub(self.config.expiration_ms);
        let unused = self
            .ids
            .iter()
            .filter(|(_, known)| known.txn.state.may_expire() && known.txn.updated.0 <= latest)
            .map(|(id, _)| records::tombstone(id));
        out.records = unused.take(FORGOTTEN_MAX).collect();
        let full = out.records.len() == FORGOTTEN_MAX;
        let pause = if full { 0 } else { self.config.expiration_interval_ms };
        self.timers.set(Timer::Expiry, now.monotonic.plus_millis(pause));
    }
}
