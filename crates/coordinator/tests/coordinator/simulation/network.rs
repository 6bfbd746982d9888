//! What is between clients and coordinator: it loses, delays and reorders.

use std::collections::BTreeMap;

use ottla_coordinator::{Command, Response};
use ottla_testkit::Rng;

/// Something under way. A call has a number; who asks remembers it.
#[derive(Debug)]
pub(super) enum Message {
    Request { call: u64, command: Command, version: i16 },
    Response { call: u64, response: Response },
}

/// Messages by the time of their arrival, in milliseconds.
#[derive(Debug)]
pub(super) struct Network {
    /// One in so many messages is lost.
    lost: u64,
    /// One in so many comes later than clients wait and sessions last.
    late: u64,
    queue: BTreeMap<(u64, u64), Message>,
    sent: u64,
    /// Everything arrives, at once and in order.
    pub(super) healthy: bool,
}

impl Network {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            lost: *rng.pick(&[15, 60, 1000]),
            late: *rng.pick(&[10, 40, 1000]),
            queue: BTreeMap::new(),
            sent: 0,
            healthy: false,
        }
    }

    pub(super) fn send(&mut self, now: u64, rng: &mut Rng, message: Message) {
        if !self.healthy && rng.chance(1, self.lost) {
            return;
        }
        let delay = match rng.below(10) {
            _ if self.healthy => 0,
            _ if rng.chance(1, self.late) => rng.below(30_000),
            0 => rng.below(2_000),
            _ => rng.below(50),
        };
        self.sent += 1;
        self.queue.insert((now + delay, self.sent), message);
    }

    /// Takes the next message that arrives up to `target`, and when.
    pub(super) fn arrival(&mut self, target: u64) -> Option<(u64, Message)> {
        let (&(at, _), _) = self.queue.first_key_value()?;
        if at > target {
            return None;
        }
        self.queue.pop_first().map(|((at, _), message)| (at, message))
    }
}
