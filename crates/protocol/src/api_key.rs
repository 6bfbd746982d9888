//! The APIs: keys, versions, headers, listeners.

use std::fmt;
use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/api_keys.rs"));

/// The facts of one API, from the schema of its request.
struct ApiRow {
    key: ApiKey,
    name: &'static str,
    min: i16,
    max: i16,
    flexible_from: Option<i16>,
    broker: bool,
    controller: bool,
    latest_unstable: bool,
}

impl ApiKey {
    /// Every API, removed ones included, by ascending key.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.key)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// The API with this number.
    #[must_use]
    pub fn from_key(key: i16) -> Option<Self> {
        let row = ROWS.get(usize::try_from(key).ok()?)?;
        Some(row.key)
    }

    /// Kafka's name, such as `Produce`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// The versions that exist in the schema, an unstable latest one included. Empty for the four
    /// removed APIs.
    #[must_use]
    pub fn versions(self) -> RangeInclusive<i16> {
        self.row().map_or(RangeInclusive::new(0, -1), |row| row.min..=row.max)
    }

    /// The versions that Kafka serves unless unstable ones are enabled.
    #[must_use]
    pub fn stable_versions(self) -> RangeInclusive<i16> {
        self.row().map_or(RangeInclusive::new(0, -1), |row| {
            row.min..=row.max - i16::from(row.latest_unstable)
        })
    }

    /// Whether the latest version must not be advertised.
    #[must_use]
    pub fn latest_is_unstable(self) -> bool {
        self.row().is_some_and(|row| row.latest_unstable)
    }

    /// Whether listeners of brokers answer it.
    #[must_use]
    pub fn on_broker(self) -> bool {
        self.row().is_some_and(|row| row.broker)
    }

    /// Whether listeners of controllers answer it.
    #[must_use]
    pub fn on_controller(self) -> bool {
        self.row().is_some_and(|row| row.controller)
    }

    /// Whether this version has compact lengths and tagged fields (KIP-482).
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.row().and_then(|row| row.flexible_from).is_some_and(|from| version >= from)
    }

    /// The version of `RequestHeader` in front of a request; defined for versions that do not exist,
    /// too, because ApiVersions is answered in any.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of `ResponseHeader` in front of a response. Always 0 for ApiVersions: a client reads
    /// that answer before it knows what the broker can do (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        (self != Self::ApiVersions && self.is_flexible(version)).into()
    }

    fn row(self) -> Option<&'static ApiRow> {
        ROWS.get(self as usize)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// `from_key` and `row` take the key for the index.
const _: () = {
    let mut rest: &[ApiRow] = &ROWS;
    let mut key = 0;
    while let [row, tail @ ..] = rest {
        assert!(row.key as i16 == key, "the keys have a gap");
        rest = tail;
        key += 1;
    }
};
