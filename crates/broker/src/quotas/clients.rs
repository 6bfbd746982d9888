//! What every client has used lately, for the quotas it is under.

use std::time::Duration;

use hashbrown::{Equivalent, HashMap};
use ottla_protocol::ids::Monotonic;

use super::limits::{Sharing, Who};
use super::windows::{Bucket, Span, Windows};

/// Most entities of one quota that are remembered. Beyond it those that used nothing lately are
/// forgotten, then the quarter that was idle for longest.
pub(crate) const CLIENTS_MAX: usize = 10_000;

/// What one entity has used.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) rate: Windows,
    pub(crate) bucket: Bucket,
    /// Milliseconds of throttling, and how often.
    throttled: (Windows, Windows),
    used: Monotonic,
}

/// The entities of one quota.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    meters: HashMap<Entity, Meter, crate::Hasher>,
}

/// Who shares a quota: the parts that it is not about are absent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entity {
    pub(crate) user: Option<Box<str>>,
    pub(crate) client: Option<Box<str>>,
}

/// An entity to look up, without allocating. Hashes as [`Entity`] does.
#[derive(Hash)]
struct Sought<'a> {
    user: Option<&'a str>,
    client: Option<&'a str>,
}

impl Equivalent<Entity> for Sought<'_> {
    fn equivalent(&self, entity: &Entity) -> bool {
        self.user == entity.user.as_deref() && self.client == entity.client.as_deref()
    }
}

impl Meter {
    /// A pause as the wire has it, in whole milliseconds; what is too long to say is a month. It is
    /// remembered if there is one.
    pub(crate) fn pause(&mut self, millis: f64, now: Monotonic, span: Span) -> u32 {
        const PAUSE_MAX_MS: f64 = 30.0 * 24.0 * 3.6e6;
        let millis = millis.clamp(0.0, PAUSE_MAX_MS).ceil();
        if millis > 0.0 {
            self.throttled.0.record(millis, now, span);
            self.throttled.1.record(1.0, now, span);
        }
        millis as u32
    }

    /// The average throttle time of late in milliseconds; 0 if there was none.
    pub(crate) fn throttle_ms(&mut self, now: Monotonic, span: Span) -> f64 {
        let times = self.throttled.1.total(now, span);
        if times > 0.0 { self.throttled.0.total(now, span) / times } else { 0.0 }
    }
}

impl Clients {
    /// The meter of an entity, a new one if there is none.
    pub(crate) fn meter(
        &mut self,
        (who, sharing): (Who<'_>, Sharing),
        now: Monotonic,
        span: Span,
    ) -> &mut Meter {
        let sought = Sought {
            user: sharing.user.then_some(who.user),
            client: sharing.client.then_some(who.client),
        };
        if self.meters.len() >= CLIENTS_MAX && !self.meters.contains_key(&sought) {
            self.make_room(now, span);
        }
        let meter = self.meters.entry_ref(&sought).or_default();
        meter.used = now;
        meter
    }

    /// Forgets who used nothing within the span and owes nothing.
    pub(crate) fn expire(&mut self, now: Monotonic, span: Span) {
        let since = Duration::from_secs_f64(span.seconds());
        self.meters.retain(|_, m| now.since(m.used) < since || !m.bucket.is_full(now));
    }

    /// Every entity with its meter.
    pub(crate) fn iter(&mut self) -> impl Iterator<Item = (&Entity, &mut Meter)> {
        self.meters.iter_mut()
    }

    fn make_room(&mut self, now: Monotonic, span: Span) {
        self.expire(now, span);
        if self.meters.len() <= CLIENTS_MAX / 4 * 3 {
            return;
        }
        let mut used: Vec<Monotonic> = self.meters.values().map(|meter| meter.used).collect();
        let (_, oldest, _) = used.select_nth_unstable(CLIENTS_MAX / 4);
        let oldest = *oldest;
        self.meters.retain(|_, meter| meter.used > oldest);
    }
}

impl From<&Sought<'_>> for Entity {
    fn from(sought: &Sought<'_>) -> Self {
        Self { user: sought.user.map(Into::into), client: sought.client.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_are_bounded_and_the_longest_idle_go_first() {
        let (mut clients, span) = (Clients::default(), Span::new(11, 1));
        let sharing = Sharing { user: false, client: true };
        let used = |clients: &mut Clients, name: &str, micros| {
            let (who, now) = (Who { user: "u", client: name }, Monotonic(micros));
            let meter = clients.meter((who, sharing), now, span);
            meter.rate.record(1.0, now, span);
            meter.rate.total(now, span)
        };
        for number in 0..CLIENTS_MAX as u64 * 2 {
            used(&mut clients, &format!("c{number}"), number);
            assert!(clients.meters.len() <= CLIENTS_MAX);
        }
        let last = CLIENTS_MAX as u64 * 2;
        assert_eq!(used(&mut clients, &format!("c{}", last - 1), last), 2.0, "remembered");
        assert_eq!(used(&mut clients, "c0", last), 1.0, "forgotten");
        clients.expire(Monotonic(last + 11_000_000), span);
        assert_eq!(clients.meters.len(), 0);
    }

    #[test]
    fn a_quota_of_a_user_is_shared_by_its_client_ids() {
        let (mut clients, span) = (Clients::default(), Span::new(11, 1));
        let sharing = Sharing { user: true, client: false };
        for client in ["a", "b"] {
            let who = Who { user: "u", client };
            clients.meter((who, sharing), Monotonic(0), span).rate.record(1.0, Monotonic(0), span);
        }
        assert_eq!(clients.meters.len(), 1);
    }
}
