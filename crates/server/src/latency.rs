//! How long requests take, on `/metrics`: the summaries that dashboards for Kafka's JMX exporter read,
//! and a histogram, which can be added up over nodes.

use std::collections::BTreeMap;

use ottla_broker::Broker;
use ottla_broker::histogram::Times;
use ottla_broker::metrics::Latencies;
use ottla_protocol::ids::Monotonic;

use crate::metrics::Page;

/// The shares that Kafka's histograms tell.
const QUANTILES: [(f64, &str); 6] = [
    (0.5, "0.50"),
    (0.75, "0.75"),
    (0.95, "0.95"),
    (0.98, "0.98"),
    (0.99, "0.99"),
    (0.999, "0.999"),
];

/// Quantiles are those of the last one to two times this: who looks at a page wants to know now.
const KEPT_MS: i64 = 60_000;

type Readings = BTreeMap<(&'static str, &'static str), Times>;

/// Readings of earlier pages, by family and request. Bounded by the number of APIs.
#[derive(Default)]
pub(crate) struct Recent {
    older: Readings,
    newer: Readings,
    since: Monotonic,
}

type Part = fn(&Latencies) -> &Times;

const FAMILIES: [(&str, &str, Part); 3] = [
    (
        "kafka_network_requestmetrics_totaltimems",
        "From the beginning of a request until its answer is ready, in milliseconds.",
        |latency| &latency.total,
    ),
    (
        "kafka_network_requestmetrics_localtimems",
        "In the request's handler, in milliseconds.",
        |latency| &latency.local,
    ),
    (
        "kafka_network_requestmetrics_remotetimems",
        "Waiting for replicas, records, the controller or a deadline, in milliseconds.",
        |latency| &latency.remote,
    ),
];

/// The histogram.
const SECONDS: &str = "ottla_request_seconds";

/// Appends the latencies to a page.
pub(crate) fn render(page: &mut Page, broker: &Broker, recent: &mut Recent) {
    let latencies = broker.metrics.latencies();
    let mut read = Readings::new();
    for (family, help, part) in FAMILIES {
        page.head(family, "summary", help);
        for (request, latency) in &latencies {
            let times = part(latency);
            let lately = recent.lately((family, request), times);
            summary(page, (family, request), (times, &lately));
            read.insert((family, request), times.clone());
        }
    }
    recent.remember(read, broker.env().monotonic());
    page.head(SECONDS, "histogram", "From the beginning of a request until its answer is ready.");
    for (request, latency) in &latencies {
        histogram(page, request, &latency.total);
    }
}

impl Recent {
    fn lately(&self, key: (&'static str, &'static str), times: &Times) -> Times {
        self.older.get(&key).map_or_else(|| times.clone(), |older| times.since(older))
    }

    fn remember(&mut self, read: Readings, now: Monotonic) {
        if now >= self.since.plus_millis(KEPT_MS) {
            self.older = std::mem::replace(&mut self.newer, read);
            self.since = now;
        }
    }
}

fn summary(page: &mut Page, (family, request): (&str, &str), (all, lately): (&Times, &Times)) {
    for (quantile, text) in QUANTILES {
        let labels = [("request", request), ("quantile", text)];
        // What was not measured is not a number, as in Prometheus' own summaries.
        page.sample(family, &labels, lately.quantile_ms(quantile).unwrap_or(f64::NAN));
    }
    page.sample(&format!("{family}_sum"), &[("request", request)], all.sum_ms());
    page.sample(&format!("{family}_count"), &[("request", request)], all.count());
}

fn histogram(page: &mut Page, request: &str, times: &Times) {
    let bucket = format!("{SECONDS}_bucket");
    for (bound, count) in times.cumulative() {
        page.sample(&bucket, &[("request", request), ("le", &bound.to_string())], count);
    }
    page.sample(&bucket, &[("request", request), ("le", "+Inf")], times.count());
    page.sample(&format!("{SECONDS}_sum"), &[("request", request)], times.sum_ms() / 1e3);
    page.sample(&format!("{SECONDS}_count"), &[("request", request)], times.count());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_broker::histogram::Histogram;

    #[test]
    fn quantiles_are_of_the_last_minutes_and_counts_of_all_time() {
        const KEY: (&str, &str) = ("f", "Produce");
        let (total, mut recent) = (Histogram::default(), Recent::default());
        let minute = |minutes: u64| Monotonic(minutes * 60_000_000);
        let mut look = |at, millis: u64| {
            total.record(millis * 1000);
            let times = total.read();
            let lately = recent.lately(KEY, &times);
            recent.remember([(KEY, times.clone())].into(), at);
            (times.count(), lately.count(), lately.quantile_ms(1.0).unwrap() > 500.0)
        };
        // One slow request, then fast ones: it is the slowest until it is two minutes old.
        for (at, millis, want) in [
            (minute(1), 1000, (1, 1, true)),
            (minute(2), 1, (2, 2, true)),
            (Monotonic(minute(2).0 + 1), 1, (3, 2, false)),
            (minute(3), 1, (4, 3, false)),
            (minute(4), 1, (5, 3, false)),
        ] {
            assert_eq!(look(at, millis), want, "at {at:?}");
        }
    }
}
