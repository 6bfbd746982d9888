//! Quotas at work in one request: what it uses, and the pause of its connection (KIP-219).

use ottla_metadata::MutationQuota;
use ottla_protocol::codec::Message;
use ottla_protocol::ids::Monotonic;

use crate::api::Throttle;
use crate::context::Context;
use crate::quotas::{Quota, Who};

/// What a request has used of its client's quotas, carried from one call to the next.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Time spent in its handler, in microseconds.
    pub(crate) handler_us: u64,
    /// The handler's time is counted already, or does not count.
    is_counted: bool,
    /// A replica asks.
    pub(crate) of_replica: bool,
    /// Until when the connection is to start nothing.
    pub(crate) pause_until: Monotonic,
    /// When its last call ended.
    pub(crate) ended: Monotonic,
}

impl Context<'_> {
    /// Who sends the request, for quotas.
    fn who(&self) -> Who<'_> {
        let principal = &self.connection.principal;
        let user = principal.split_once(':').map_or(&**principal, |(_, name)| name);
        Who { user, client: &self.request.client_id }
    }

    /// Counts what is known of a request before it is handled: the bytes of a Produce.
    pub(crate) fn count_request(&self) {
        let quotas = &self.broker.quotas;
        if self.request.row.throttle == Throttle::Produce && quotas.is_set(Quota::Produce) {
            let bytes = self.request.size as u64;
            self.pause(quotas.use_bytes(self.who(), bytes, self.now.monotonic));
        }
    }

    /// Counts what an answer has used, and tells the client how long its connection pauses.
    pub(crate) fn count_answer<R: Message>(&self, response: &mut R) {
        if let Some(throttle) = response.throttle_time_ms() {
            // Counted by the handler or by the controller that the request went to.
            self.pause(u32::try_from(*throttle).unwrap_or(0));
        }
        self.count_time();
        if let Some(throttle) = response.throttle_time_ms() {
            *throttle = i32::try_from(self.pause_ms()).unwrap_or(i32::MAX);
        }
    }

    /// Counts the time in the handler so far, once.
    fn count_time(&self) {
        let quotas = &self.broker.quotas;
        let mut usage = self.usage.get();
        let counts = self.request.row.throttle != Throttle::Exempt && !usage.is_counted;
        if counts && quotas.is_set(Quota::Request) {
            let micros = usage.handler_us.saturating_add(self.elapsed_us());
            usage.is_counted = true;
            self.usage.set(usage);
            self.pause(quotas.use_time(self.who(), micros, self.now.monotonic));
        }
    }

    /// Most bytes that a Fetch of this client may answer with at once.
    pub(crate) fn fetch_bytes_max(&self) -> u32 {
        let quotas = &self.broker.quotas;
        if !quotas.is_set(Quota::Fetch) {
            return u32::MAX;
        }
        let bytes = quotas.fetch_bytes_max(self.who(), self.now.monotonic);
        bytes.map_or(u32::MAX, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Counts the bytes of a consumer's Fetch response. True if it is to be answered without them,
    /// because the connection pauses.
    pub(crate) fn throttles_fetch(&self, bytes: u64) -> bool {
        let (quotas, now) = (&self.broker.quotas, self.now.monotonic);
        if !quotas.is_set(Quota::Fetch) && !quotas.is_set(Quota::Request) {
            return false;
        }
        self.count_time();
        if self.pause_ms() == 0 && quotas.is_set(Quota::Fetch) {
            self.pause(quotas.use_fetch(self.who(), bytes, now));
        }
        self.pause_ms() > 0
    }

    /// What the request has used up to now.
    pub(crate) fn used(&self) -> Usage {
        let (usage, ended) = (self.usage.get(), self.broker.env().monotonic());
        let micros = ended.0.saturating_sub(self.began.0);
        Usage { handler_us: usage.handler_us.saturating_add(micros), ended, ..usage }
    }

    /// A replica asks: none of its time counts.
    pub(crate) fn exempt(&self) {
        let usage = Usage { is_counted: true, of_replica: true, ..self.usage.get() };
        self.usage.set(usage);
    }

    /// The client's quota on partitions created and deleted, if it is under one here.
    pub(crate) fn mutation_quota(&self) -> Option<impl MutationQuota> {
        let quotas = &self.broker.quotas;
        let Throttle::Mutation { strict_from } = self.request.row.throttle else { return None };
        if !quotas.is_set(Quota::Mutation) {
            return None;
        }
        let strict = self.version() >= strict_from;
        quotas.mutations(self.who(), strict, self.now.monotonic)
    }

    /// Lengthens the pause of the connection to `millis` from now.
    fn pause(&self, millis: u32) {
        if millis > 0 {
            let until = self.now.monotonic.plus_millis(i64::from(millis));
            let mut usage = self.usage.get();
            usage.pause_until = usage.pause_until.max(until);
            self.usage.set(usage);
        }
    }

    /// What is left of the pause, in milliseconds.
    fn pause_ms(&self) -> u32 {
        let left = self.usage.get().pause_until.since(self.now.monotonic);
        u32::try_from(left.as_millis()).unwrap_or(u32::MAX)
    }
}
