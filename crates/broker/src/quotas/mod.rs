//! Client quotas (KIP-13, 124, 219, 546, 599): who uses how much, and how long a connection pauses
//! that uses more.
//!
//! A quota is kept to by a bucket of tokens ([`windows`]) per entity, which is what the closest quota
//! in Kafka's order says ([`limits`]): a user, a client id, or a client id of a user. Who
//! exceeds it is told in the answer, and the connection starts nothing until that time is over.
//! While no quota is set, a request costs one load of a flag.

mod clients;
mod limits;
mod windows;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;
use ottla_config::{BrokerConfig, keys};
use ottla_metadata::{Image, MutationQuota, QuotaExceeded};
use ottla_protocol::ids::Monotonic;
use parking_lot::Mutex;

pub use limits::Quota;
pub(crate) use limits::Who;

use clients::Clients;
use limits::Limits;
use windows::{Span, Supply};

/// The quotas in force and what clients have used of them.
pub struct Quotas {
    /// A bit for each quota that is set for anybody.
    set: AtomicU8,
    limits: ArcSwap<Limits>,
    used: [Mutex<Clients>; Quota::ALL.len()],
    span: Span,
    mutation_span: Span,
}

/// New connections per second by address (KIP-612).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IpRates {
    /// Of addresses without a rate of their own.
    pub default: Option<f64>,
    /// By address.
    pub by_ip: BTreeMap<IpAddr, f64>,
}

/// What one entity uses of a quota.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Which quota.
    pub quota: Quota,
    /// The user; `None` if the quota is of a client id alone.
    pub user: Option<String>,
    /// The client id; `None` if the quota is of a user alone.
    pub client: Option<String>,
    /// Per second, over the windows.
    pub rate: f64,
    /// Average pause of the throttled requests within the windows, in milliseconds.
    pub throttle_ms: f64,
}

impl Quotas {
    /// No quotas, with the windows of a configuration.
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        Self {
            set: AtomicU8::new(0),
            limits: ArcSwap::default(),
            used: Default::default(),
            span: Span::new(
                config.get(keys::QUOTA_WINDOW_NUM),
                config.get(keys::QUOTA_WINDOW_SIZE_SECONDS),
            ),
            mutation_span: Span::new(
                config.get(keys::CONTROLLER_QUOTA_WINDOW_NUM),
                config.get(keys::CONTROLLER_QUOTA_WINDOW_SIZE_SECONDS),
            ),
        }
    }

    /// Puts the quotas of an image in force. What was used stays.
    pub(crate) fn replace(&self, image: &Image) {
        let limits = Limits::of(image);
        let set = limits.set();
        self.limits.store(Arc::new(limits));
        self.set.store(set, Ordering::Release);
    }

    /// Whether the quota is set for anybody.
    pub(crate) fn is_set(&self, quota: Quota) -> bool {
        self.set.load(Ordering::Relaxed) & (1 << quota as u8) != 0
    }

    /// Counts the bytes of a Produce request. Returns the pause in milliseconds, 0 for none.
    pub(crate) fn use_bytes(&self, who: Who<'_>, bytes: u64, now: Monotonic) -> u32 {
        self.count((Quota::Produce, bytes as f64), who, now, f64::MAX)
    }

    /// Counts the bytes of a Fetch response, unless the client has to pause before it gets them: for
    /// so many milliseconds, and nothing is counted.
    pub(crate) fn use_fetch(&self, who: Who<'_>, bytes: u64, now: Monotonic) -> u32 {
        let Some((sharing, bound)) = self.limits.load().find(Quota::Fetch, who) else { return 0 };
        let mut used = self.used_of(Quota::Fetch).lock();
        let meter = used.meter((who, sharing), now, self.span);
        match meter.bucket.try_take(bytes as f64, self.supply(bound), now) {
            Ok(()) => {
                meter.rate.record(bytes as f64, now, self.span);
                0
            }
            Err(seconds) => meter.pause(seconds * 1e3, now, self.span),
        }
    }

    /// Counts time in a handler. Returns the pause in milliseconds: no more than one window.
    pub(crate) fn use_time(&self, who: Who<'_>, micros: u64, now: Monotonic) -> u32 {
        let percent = micros as f64 / 1e6 * 100.0;
        self.count((Quota::Request, percent), who, now, self.span.window_seconds() * 1e3)
    }

    /// Most bytes that a Fetch may answer with, so that the client does not pause for long afterwards:
    /// what it has, and no less than comes in one window.
    pub(crate) fn fetch_bytes_max(&self, who: Who<'_>, now: Monotonic) -> Option<u64> {
        let (sharing, bound) = self.limits.load().find(Quota::Fetch, who)?;
        let mut used = self.used_of(Quota::Fetch).lock();
        let meter = used.meter((who, sharing), now, self.span);
        let tokens = meter.bucket.tokens(self.supply(bound), now);
        Some(tokens.max(bound * self.span.window_seconds()) as u64)
    }

    /// The quota of a client on partitions created and deleted, if it is under one. `strict`: what
    /// exceeds it is refused rather than let pass with a pause (KIP-599).
    pub(crate) fn mutations<'a>(
        &'a self,
        who: Who<'a>,
        strict: bool,
        now: Monotonic,
    ) -> Option<impl MutationQuota + use<'a>> {
        let (sharing, bound) = self.limits.load().find(Quota::Mutation, who)?;
        Some(Mutations { quotas: self, who, sharing, bound, strict, now, pause_ms: 0 })
    }

    /// The rates at which addresses may connect.
    pub(crate) fn ip_rates(&self) -> IpRates {
        let limits = self.limits.load();
        IpRates { default: limits.default_ip, by_ip: limits.ips.clone() }
    }

    /// What was used lately, of all quotas.
    #[must_use]
    pub fn usage(&self, now: Monotonic) -> Vec<Usage> {
        let mut usage = Vec::new();
        for (quota, used) in Quota::ALL.into_iter().zip(&self.used) {
            let span = self.span_of(quota);
            let mut used = used.lock();
            used.expire(now, span);
            usage.extend(used.iter().map(|(entity, meter)| Usage {
                quota,
                user: entity.user.as_deref().map(str::to_owned),
                client: entity.client.as_deref().map(str::to_owned),
                rate: meter.rate.rate(now, span),
                throttle_ms: meter.throttle_ms(now, span),
            }));
        }
        usage
    }

    fn count(
        &self,
        (quota, amount): (Quota, f64),
        who: Who<'_>,
        now: Monotonic,
        pause_max_ms: f64,
    ) -> u32 {
        let Some((sharing, bound)) = self.limits.load().find(quota, who) else { return 0 };
        let mut used = self.used_of(quota).lock();
        let meter = used.meter((who, sharing), now, self.span);
        meter.rate.record(amount, now, self.span);
        let pause = meter.bucket.take(amount, self.supply(bound), now) * 1e3;
        meter.pause(pause.min(pause_max_ms), now, self.span)
    }

    /// Of a quota on bytes or time. A client that was idle may burst as long as Kafka lets it: for
    /// all windows but one.
    fn supply(&self, per_second: f64) -> Supply {
        Supply { per_second, burst: per_second * self.span.seconds_min() }
    }

    fn span_of(&self, quota: Quota) -> Span {
        if quota == Quota::Mutation { self.mutation_span } else { self.span }
    }

    #[allow(clippy::indexing_slicing, reason = "there is one for every quota")]
    fn used_of(&self, quota: Quota) -> &Mutex<Clients> {
        &self.used[quota as usize]
    }
}

/// One request's use of the quota on partitions.
struct Mutations<'a> {
    quotas: &'a Quotas,
    who: Who<'a>,
    sharing: limits::Sharing,
    bound: f64,
    strict: bool,
    now: Monotonic,
    pause_ms: u32,
}

impl MutationQuota for Mutations<'_> {
    fn record(&mut self, partitions: usize) -> Result<(), QuotaExceeded> {
        let (now, span) = (self.now, self.quotas.mutation_span);
        let supply = Supply { per_second: self.bound, burst: self.bound * span.seconds() };
        let mut used = self.quotas.used_of(Quota::Mutation).lock();
        let meter = used.meter((self.who, self.sharing), now, span);
        if self.strict {
            let seconds = meter.bucket.overdrawn(supply, now);
            if seconds > 0.0 {
                self.pause_ms = meter.pause(seconds * 1e3, now, span);
                return Err(QuotaExceeded);
            }
        }
        let seconds = meter.bucket.take(partitions as f64, supply, now);
        meter.rate.record(partitions as f64, now, span);
        if !self.strict {
            self.pause_ms = meter.pause(seconds * 1e3, now, span);
        }
        Ok(())
    }

    fn pause_ms(&self) -> i32 {
        i32::try_from(self.pause_ms).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::ClientQuotaRecord;
    use ottla_protocol::messages::client_quota_record::EntityData;

    use super::*;

    fn quotas(settings: &[(&str, &str, f64)]) -> Quotas {
        let (config, _) = BrokerConfig::load(None, &[]).unwrap();
        let quotas = Quotas::new(&config);
        let mut image = Image::default();
        for (client, key, value) in settings {
            let entity = EntityData {
                entity_type: "client-id".into(),
                entity_name: Some((*client).into()),
                ..EntityData::default()
            };
            let record = ClientQuotaRecord {
                entity: vec![entity],
                key: (*key).into(),
                value: *value,
                ..ClientQuotaRecord::default()
            };
            image.apply(&record.into()).unwrap();
        }
        quotas.replace(&image);
        quotas
    }

    const WHO: Who<'_> = Who { user: "ANONYMOUS", client: "c" };

    fn at(millis: u64) -> Monotonic {
        Monotonic(millis * 1000)
    }

    #[test]
    fn a_pause_for_bytes_is_as_long_as_it_takes_and_one_for_time_at_most_a_window() {
        let quotas =
            quotas(&[("c", "producer_byte_rate", 1000.0), ("c", "request_percentage", 1.0)]);
        assert_eq!(quotas.use_bytes(WHO, 10_000, at(0)), 0);
        assert_eq!(quotas.use_bytes(WHO, 20_000, at(0)), 20_000);
        assert_eq!(quotas.use_time(WHO, 100_000, at(0)), 0);
        assert_eq!(quotas.use_time(WHO, 50_000, at(0)), 1000);
        let other = Who { client: "other", ..WHO };
        assert_eq!(quotas.use_bytes(other, u64::MAX, at(0)), 0);
        let usage = quotas.usage(at(0));
        assert_eq!((usage[0].rate, usage[0].throttle_ms), (3000.0, 20_000.0));
        assert_eq!((usage[0].user.as_deref(), usage[0].client.as_deref()), (None, Some("c")));
        assert_eq!(quotas.usage(at(60_000)), []);
    }

    #[test]
    fn bytes_of_a_fetch_that_has_to_wait_do_not_count() {
        let quotas = quotas(&[("c", "consumer_byte_rate", 1000.0)]);
        assert_eq!(quotas.fetch_bytes_max(WHO, at(0)), Some(10_000));
        assert_eq!(quotas.use_fetch(WHO, 9000, at(0)), 0);
        assert_eq!(quotas.fetch_bytes_max(WHO, at(0)), Some(1000));
        for _ in 0..3 {
            assert_eq!(quotas.use_fetch(WHO, 2000, at(0)), 1000);
        }
        assert_eq!(quotas.use_fetch(WHO, 1000, at(0)), 0);
    }

    #[test]
    fn a_new_quota_applies_to_what_was_used_before() {
        let before = quotas(&[("c", "producer_byte_rate", 1e9)]);
        assert_eq!(before.use_bytes(WHO, 20_000, at(0)), 0);
        let after = quotas(&[("c", "producer_byte_rate", 1000.0)]);
        before.limits.store(after.limits.load_full());
        assert_eq!(before.use_bytes(WHO, 0, at(0)), 10_000);
    }

    #[test]
    fn partitions_beyond_the_bucket_are_refused_or_let_pass_with_a_pause() {
        let quotas = quotas(&[("c", "controller_mutation_rate", 1.0)]);
        assert!(quotas.mutations(Who { client: "other", ..WHO }, true, at(0)).is_none());
        let mut strict = quotas.mutations(WHO, true, at(0)).unwrap();
        // The last one that finds a token may overdraw.
        for (partitions, want) in [(10, Ok(())), (5, Ok(())), (1, Err(QuotaExceeded))] {
            assert_eq!(strict.record(partitions), want, "{partitions} more");
        }
        assert_eq!(strict.pause_ms(), 4000);
        let mut permissive = quotas.mutations(WHO, false, at(1000)).unwrap();
        assert_eq!((permissive.record(1), permissive.pause_ms()), (Ok(()), 4000));
        let mut strict = quotas.mutations(WHO, true, at(6000)).unwrap();
        assert_eq!((strict.record(1), strict.pause_ms()), (Ok(()), 0));
    }
}
