//! Identifiers, offsets and time: the units that every other crate speaks.
//!
//! Wire messages carry plain integers as the schemas say; code converts them to these types at the
//! boundary, so that an offset is never mistaken for an epoch.

use std::fmt;
use std::time::Duration;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

integer_id!(
    /// A node id (`node.id`, still called broker id on the wire). -1 is "none".
    BrokerId(i32)
);
integer_id!(
    /// The index of a partition within its topic, from 0.
    PartitionIndex(i32)
);
integer_id!(
    /// A record's position in a partition, from 0. -1 is "none" on the wire.
    Offset(i64)
);
integer_id!(
    /// Counts the leaderships of a partition or of the metadata quorum (KIP-101). -1 is "none".
    LeaderEpoch(i32)
);
integer_id!(
    /// Identifies an idempotent or transactional producer (KIP-98). -1 is "none".
    ProducerId(i64)
);
integer_id!(
    /// Fences older instances of one producer id (KIP-98). -1 is "none".
    ProducerEpoch(i16)
);
integer_id!(
    /// Milliseconds since 1970-01-01 UTC, as records carry them. -1 is "none".
    Timestamp(i64)
);

impl BrokerId {
    /// "No broker".
    pub const NONE: Self = Self(-1);
}

impl Offset {
    /// "No offset".
    pub const NONE: Self = Self(-1);
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further, saturating at the largest offset.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl LeaderEpoch {
    /// "No leader epoch".
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// "No producer id": the batch is not idempotent.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// "No producer epoch".
    pub const NONE: Self = Self(-1);
}

impl Timestamp {
    /// "No timestamp".
    pub const NONE: Self = Self(-1);
}

/// A reading of the injected clocks. Deadlines use only `monotonic`; records and files use `wall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never goes back; its zero is arbitrary.
    pub monotonic: Monotonic,
    /// The wall clock; may jump in either direction.
    pub wall: Timestamp,
}

/// A point on the monotonic clock, in microseconds since an arbitrary zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// A point that is never reached: "no deadline".
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `duration` later, saturating at [`Monotonic::NEVER`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The point `millis` later; a negative number counts as 0.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        let millis = u64::try_from(millis).unwrap_or(0);
        Self(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
