//! Client telemetry (KIP-714): which clients push which of their metrics, and what they pushed last.
//!
//! Subscriptions are the client metrics resources of the metadata image. What clients push is kept
//! per client, bounded and for a few push intervals, and shown on the admin listener's `/metrics`.

mod clients;
mod otlp;
mod subscriptions;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_metadata::Image;
use ottla_protocol::ids::Monotonic;
use ottla_protocol::records::{Compression, inflate};
use ottla_protocol::{ErrorCode, Uuid};
use parking_lot::Mutex;

pub use clients::{Sample, SampleKind};
pub use subscriptions::ClientFacts;
pub(crate) use subscriptions::Subscription;

use clients::Clients;
use subscriptions::Subscriptions;

/// Subscriptions and pushed metrics.
#[derive(Default)]
pub struct Telemetry {
    subscriptions: ArcSwap<Subscriptions>,
    clients: Mutex<Clients>,
}

/// A push as it came.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) client: Uuid,
    pub(crate) subscription_id: i32,
    /// The client goes away: its last push comes early.
    pub(crate) terminating: bool,
    pub(crate) compression: i8,
    pub(crate) metrics: Bytes,
}

impl Telemetry {
    /// Takes over the subscriptions of an image.
    pub(crate) fn replace(&self, image: &Image) {
        let version = self.subscriptions.load().version + 1;
        self.subscriptions.store(Subscriptions::of(image, version).into());
    }

    /// Whether anything is subscribed to. While nothing is, the APIs are not advertised, as by a Kafka
    /// without a receiver: clients do not ask then.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.subscriptions.load().is_empty()
    }

    /// What a client is to push.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED if it asks more often than it is to push.
    pub(crate) fn subscribe(
        &self,
        id: Uuid,
        facts: &ClientFacts,
        now: Monotonic,
    ) -> Result<Subscription, ErrorCode> {
        let subscriptions = self.subscriptions.load();
        let mut clients = self.clients.lock();
        let client = clients.client(id, &subscriptions, (facts, now));
        client.may_ask(now)?;
        Ok(client.subscription.clone())
    }

    /// Takes what a client pushes, at most `bytes_max` before and after decompression.
    ///
    /// # Errors
    /// INVALID_REQUEST for no id or after the last push, THROTTLING_QUOTA_EXCEEDED if it comes too
    /// early, UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE, and
    /// INVALID_RECORD if the metrics cannot be read.
    pub(crate) fn push(
        &self,
        push: &Push,
        facts: &ClientFacts,
        (bytes_max, now): (usize, Monotonic),
    ) -> Result<(), ErrorCode> {
        if push.client.is_zero() || push.client == Uuid::ONE {
            return Err(ErrorCode::InvalidRequest);
        }
        let subscriptions = self.subscriptions.load();
        let compression = {
            let mut clients = self.clients.lock();
            let client = clients.client(push.client, &subscriptions, (facts, now));
            client.may_push(push, bytes_max, now)?
        };
        // Without the lock: it may take a while.
        let metrics = inflated(compression, &push.metrics, bytes_max);
        let mut clients = self.clients.lock();
        let taken = metrics.and_then(|metrics| {
            let taken = clients.take(push.client, &metrics);
            taken.map_err(|error| {
                tracing::debug!(client = %push.client, "{error}");
                ErrorCode::InvalidRecord
            })
        });
        if let Err(error) = taken {
            clients.failed(push.client, error);
        }
        taken
    }

    /// Calls `each` for every number that clients pushed and that is not out of date.
    pub fn samples(&self, now: Monotonic, each: &mut dyn FnMut(Sample<'_>)) {
        let mut clients = self.clients.lock();
        clients.expire(now);
        clients.samples(each);
    }

    /// Clients known, numbers kept of them, and numbers dropped since the start because a client or
    /// all of them had too many.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, u64) {
        self.clients.lock().counts()
    }
}

fn inflated(compression: Compression, bytes: &[u8], max: usize) -> Result<Bytes, ErrorCode> {
    match inflate(compression, bytes, max) {
        Ok(Some(inflated)) => Ok(inflated.into()),
        Ok(None) => Err(ErrorCode::TelemetryTooLarge),
        Err(error) => {
            tracing::debug!("pushed metrics cannot be decompressed: {error}");
            Err(ErrorCode::InvalidRecord)
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::ConfigRecord;

    use super::otlp::tests::sum;
    use super::*;

    const ID: Uuid = Uuid::from_u128(77);
    const BYTES_MAX: usize = 4096;

    fn facts() -> ClientFacts {
        ClientFacts {
            client_id: "app-1".to_owned(),
            software_name: "apache-kafka-java".to_owned(),
            software_version: "4.4.0".to_owned(),
            address: ([10, 0, 0, 9], 40_000).into(),
        }
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic(millis * 1000)
    }

    /// Subscriptions by name: interval, metrics, match.
    fn subscribed(all: &[(&str, &str, &str, &str)]) -> Telemetry {
        let telemetry = Telemetry::default();
        let mut image = Image::default();
        for (name, interval, metrics, matches) in all {
            for (key, value) in
                [("interval.ms", interval), ("metrics", metrics), ("match", matches)]
            {
                let record = ConfigRecord {
                    resource_type: 16,
                    resource_name: (*name).into(),
                    name: key.into(),
                    value: Some((*value).into()),
                    ..ConfigRecord::default()
                };
                image.apply(&record.into()).unwrap();
            }
        }
        telemetry.replace(&image);
        telemetry
    }

    fn push(subscription_id: i32, metrics: Vec<u8>) -> Push {
        let metrics = metrics.into();
        Push { client: ID, subscription_id, terminating: false, compression: 0, metrics }
    }

    impl Telemetry {
        fn pushed(&self, push: &Push, millis: u64) -> Result<(), ErrorCode> {
            self.push(push, &facts(), (BYTES_MAX, at(millis)))
        }

        fn all(&self, millis: u64) -> Vec<(String, f64)> {
            let mut all = Vec::new();
            self.samples(at(millis), &mut |sample| {
                all.push((sample.name.to_owned(), sample.value));
            });
            all
        }
    }

    #[test]
    fn a_client_is_asked_for_the_metrics_of_every_subscription_that_is_for_it() {
        let wide = ("a", "60000", "org.apache.kafka.producer.", "client_id=app-.*");
        let by_all = "client_software_name=apache-kafka-.*,client_software_version=4[.].*,\
                      client_source_address=10[.]0[.]0[.]9,client_source_port=40000";
        let strict = ("b", "30000", "x,y", by_all);
        let other = ("c", "100", "*", "client_id=app");
        for (all, interval_ms, metrics) in [
            (&[][..], 300_000, &[][..]),
            (&[wide], 60_000, &["org.apache.kafka.producer."]),
            (&[wide, strict, other], 30_000, &["org.apache.kafka.producer.", "x", "y"]),
            (&[wide, ("d", "3600000", "*", "")], 60_000, &["*"]),
        ] {
            let got = subscribed(all).subscribe(ID, &facts(), at(0)).unwrap();
            let want: Vec<String> =
                metrics.iter().map(|&metric: &&str| metric.to_owned()).collect();
            assert_eq!((got.interval_ms, got.metrics), (interval_ms, want), "{all:?}");
        }
    }

    #[test]
    fn pushes_that_come_too_early_are_refused_and_the_last_one_is_not() {
        let telemetry = subscribed(&[("a", "1000", "*", "")]);
        let id = telemetry.subscribe(ID, &facts(), at(0)).unwrap().id;
        let early = Err(ErrorCode::ThrottlingQuotaExceeded);
        assert_eq!(telemetry.subscribe(ID, &facts(), at(999)).err(), early.err());
        let last = Push { terminating: true, ..push(id, Vec::new()) };
        for (millis, push, want) in [
            (500, push(id, sum("a", 1.0, true)), Ok(())),
            (501, push(id, Vec::new()), early),
            (1500, push(id, sum("a", 2.0, true)), Ok(())),
            (1501, last, Ok(())),
            (9000, push(id, Vec::new()), Err(ErrorCode::InvalidRequest)),
        ] {
            assert_eq!(telemetry.pushed(&push, millis), want, "after {millis} ms");
        }
        assert_eq!(telemetry.all(9000), [("a".to_owned(), 3.0)], "deltas are added up");
        assert_eq!(telemetry.all(69_000), []);
    }

    #[test]
    fn a_client_that_pushes_by_an_old_subscription_asks_again_at_once() {
        let telemetry = subscribed(&[("a", "1000", "*", "")]);
        let id = telemetry.subscribe(ID, &facts(), at(0)).unwrap().id;
        telemetry
            .subscriptions
            .store(subscribed(&[("a", "1000", "x", "")]).subscriptions.load_full());
        telemetry.replace(&Image::default());
        let stale = Err(ErrorCode::UnknownSubscriptionId);
        assert_eq!(telemetry.pushed(&push(id, Vec::new()), 100), stale);
        assert_ne!(telemetry.subscribe(ID, &facts(), at(101)).unwrap().id, id);
    }

    #[test]
    fn what_cannot_be_taken_is_refused_by_its_own_error() {
        let metrics = sum("a", 1.0, false);
        let with = |compression, metrics| Push { compression, ..push(0, metrics) };
        for (push, want) in [
            (Push { client: Uuid::ZERO, ..push(0, Vec::new()) }, ErrorCode::InvalidRequest),
            (with(9, metrics.clone()), ErrorCode::UnsupportedCompressionType),
            (with(0, vec![0; BYTES_MAX + 1]), ErrorCode::TelemetryTooLarge),
            (with(0, vec![0xff; 9]), ErrorCode::InvalidRecord),
            (with(4, vec![0xff; 9]), ErrorCode::InvalidRecord),
        ] {
            let telemetry = subscribed(&[("a", "1000", "*", "")]);
            let id = telemetry.subscribe(ID, &facts(), at(0)).unwrap().id;
            let push = Push { subscription_id: id, ..push };
            assert_eq!(telemetry.pushed(&push, 1), Err(want), "{push:?}");
            assert_eq!(telemetry.all(1), []);
        }
    }

    #[test]
    fn clients_and_numbers_are_bounded() {
        let telemetry = subscribed(&[("a", "1000", "*", "")]);
        let many: Vec<u8> = (0..600).flat_map(|n| sum(&format!("m{n}"), 1.0, false)).collect();
        for number in 0..50u128 {
            let client = Uuid::from_u128(1000 + number);
            let id = telemetry.subscribe(client, &facts(), at(0)).unwrap().id;
            let push = Push { client, ..push(id, many.clone()) };
            telemetry.push(&push, &facts(), (1 << 20, at(1))).unwrap();
        }
        assert_eq!(telemetry.counts(), (50, 20_000, 50 * 600 - 20_000));
        for number in 0..20_000u128 {
            let _ = telemetry.subscribe(Uuid::from_u128(9000 + number), &facts(), at(2));
        }
        let (clients, series, _) = telemetry.counts();
        assert!(clients <= 10_000 && series == 0, "{clients} clients, {series} numbers");
    }
}
