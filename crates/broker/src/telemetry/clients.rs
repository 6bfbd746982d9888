//! The clients that ask or push, and the numbers they pushed last.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ids::Monotonic;
use ottla_protocol::records::Compression;
use ottla_protocol::{ErrorCode, Uuid};

use super::Push;
use super::otlp::{self, Kind, OtlpError, Point};
use super::subscriptions::{ClientFacts, Subscription, Subscriptions};

/// Most clients that are known. Beyond it those out of date are forgotten, then the quarter that was
/// not heard of for longest.
const CLIENTS_MAX: usize = 10_000;
/// Most numbers kept of one client; further ones are dropped.
const SERIES_PER_CLIENT_MAX: usize = 500;
/// Most numbers kept of all clients; further ones are dropped.
const SERIES_MAX: usize = 20_000;
/// A number with a longer name, attribute or value is dropped.
const TEXT_BYTES_MAX: usize = 256;
/// A client that was not heard of for so many push intervals is forgotten, with its numbers.
const INTERVALS_KEPT: i64 = 3;

/// A number as it is shown.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Which client pushed it.
    pub client: Uuid,
    /// What is known of that client.
    pub facts: &'a ClientFacts,
    /// The metric's name as the client has it.
    pub name: &'a str,
    /// The client's own labels.
    pub attributes: &'a [(String, String)],
    /// Whether it only grows.
    pub kind: SampleKind,
    /// The number.
    pub value: f64,
}

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// A value now.
    Gauge,
    /// A sum since the client started, or since it was first heard of.
    Counter,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) subscription: Subscription,
    /// Of the subscriptions that it was made of.
    version: u64,
    facts: ClientFacts,
    asked: Option<Monotonic>,
    pushed: Option<Monotonic>,
    last_error: ErrorCode,
    terminating: bool,
    heard: Monotonic,
    series: BTreeMap<SeriesKey, (SampleKind, f64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SeriesKey {
    name: String,
    attributes: Vec<(String, String)>,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    clients: BTreeMap<Uuid, Client>,
    series: usize,
    dropped: u64,
}

impl Clients {
    /// A client, with the subscription it has now.
    pub(crate) fn client(
        &mut self,
        id: Uuid,
        subscriptions: &Subscriptions,
        (facts, now): (&ClientFacts, Monotonic),
    ) -> &mut Client {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&id) {
            self.make_room(now);
        }
        let version = subscriptions.version;
        let client = self.clients.entry(id).or_insert_with(|| Client {
            subscription: subscriptions.for_client(id, facts),
            version,
            facts: facts.clone(),
            asked: None,
            pushed: None,
            last_error: ErrorCode::None,
            terminating: false,
            heard: now,
            series: BTreeMap::new(),
        });
        client.heard = now;
        if client.version != version {
            client.version = version;
            client.subscription = subscriptions.for_client(id, facts);
            (client.asked, client.pushed) = (None, None);
        }
        client
    }

    /// Keeps the numbers of a message.
    pub(crate) fn take(&mut self, id: Uuid, metrics: &[u8]) -> Result<(), OtlpError> {
        let Self { clients, series, dropped } = self;
        let Some(client) = clients.get_mut(&id) else { return Ok(()) };
        otlp::read(metrics, &mut |point| {
            let has = client.series.len();
            let room = has < SERIES_PER_CLIENT_MAX && *series < SERIES_MAX;
            if !client.keep(point, room) {
                *dropped += 1;
            }
            *series += client.series.len() - has;
        })
    }

    /// Remembers what a client was told.
    pub(crate) fn failed(&mut self, id: Uuid, error: ErrorCode) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.last_error = error;
        }
    }

    /// Forgets who was not heard of for long.
    pub(crate) fn expire(&mut self, now: Monotonic) {
        self.clients.retain(|_, client| !client.is_out_of_date(now));
        self.count();
    }

    pub(crate) fn samples(&self, each: &mut dyn FnMut(Sample<'_>)) {
        for (id, client) in &self.clients {
            for (key, (kind, value)) in &client.series {
                each(Sample {
                    client: *id,
                    facts: &client.facts,
                    name: &key.name,
                    attributes: &key.attributes,
                    kind: *kind,
                    value: *value,
                });
            }
        }
    }

    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        (self.clients.len(), self.series, self.dropped)
    }

    fn count(&mut self) {
        self.series = self.clients.values().map(|client| client.series.len()).sum();
    }

    fn make_room(&mut self, now: Monotonic) {
        self.expire(now);
        if self.clients.len() <= CLIENTS_MAX / 4 * 3 {
            return;
        }
        let mut heard: Vec<Monotonic> = self.clients.values().map(|client| client.heard).collect();
        let (_, oldest, _) = heard.select_nth_unstable(CLIENTS_MAX / 4);
        let oldest = *oldest;
        self.clients.retain(|_, client| client.heard > oldest);
        self.count();
    }
}

impl Client {
    /// Whether it may ask for its subscription.
    pub(crate) fn may_ask(&mut self, now: Monotonic) -> Result<(), ErrorCode> {
        // Told that its subscription is another or its codec unknown, it has to ask at once.
        let told_to = matches!(
            self.last_error,
            ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType
        );
        if !told_to && !self.is_due(now) {
            return Err(self.refuse(ErrorCode::ThrottlingQuotaExceeded));
        }
        self.asked = Some(now);
        self.last_error = ErrorCode::None;
        Ok(())
    }

    /// Whether it may push, and how what it pushes is compressed.
    pub(crate) fn may_push(
        &mut self,
        push: &Push,
        bytes_max: usize,
        now: Monotonic,
    ) -> Result<Compression, ErrorCode> {
        if self.terminating {
            return Err(self.refuse(ErrorCode::InvalidRequest));
        }
        // The first push after it asked comes when the client likes: it spreads its pushes.
        let is_first = self.asked > self.pushed;
        if is_first || self.is_due(now) {
            self.pushed = Some(now);
        } else if !push.terminating {
            return Err(self.refuse(ErrorCode::ThrottlingQuotaExceeded));
        }
        if push.subscription_id != self.subscription.id {
            return Err(self.refuse(ErrorCode::UnknownSubscriptionId));
        }
        let Some(compression) = Compression::from_id(i16::from(push.compression)) else {
            return Err(self.refuse(ErrorCode::UnsupportedCompressionType));
        };
        if push.metrics.len() > bytes_max {
            return Err(self.refuse(ErrorCode::TelemetryTooLarge));
        }
        self.terminating = push.terminating;
        self.last_error = ErrorCode::None;
        Ok(compression)
    }

    fn refuse(&mut self, error: ErrorCode) -> ErrorCode {
        self.last_error = error;
        error
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.subscription.interval_ms).unwrap_or(0))
    }

    fn is_due(&self, now: Monotonic) -> bool {
        let last = self.asked.max(self.pushed);
        last.is_none_or(|last| now.since(last) >= self.interval())
    }

    fn is_out_of_date(&self, now: Monotonic) -> bool {
        let kept = i64::from(self.subscription.interval_ms) * INTERVALS_KEPT;
        now >= self.heard.plus_millis(kept.max(60_000))
    }

    /// Keeps a number, if it is known already or there is room for a new one.
    fn keep(&mut self, point: Point<'_>, room: bool) -> bool {
        let texts = point.attributes.iter().flat_map(|(key, value)| [*key, value.as_str()]);
        if texts.chain([point.name]).any(|text| text.len() > TEXT_BYTES_MAX) {
            return false;
        }
        let mut attributes: Vec<_> =
            point.attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        attributes.sort_unstable();
        let key = SeriesKey { name: point.name.to_owned(), attributes };
        let known = self.series.get(&key).map(|(_, value)| *value);
        if known.is_none() && !room {
            return false;
        }
        let number = match point.kind {
            Kind::Gauge => (SampleKind::Gauge, point.value),
            Kind::Total => (SampleKind::Counter, point.value),
            Kind::Delta => (SampleKind::Counter, known.unwrap_or(0.0) + point.value),
        };
        self.series.insert(key, number);
        true
    }
}
