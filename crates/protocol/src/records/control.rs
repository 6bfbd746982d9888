//! Control records: transaction markers (KIP-98) and those of the metadata log (KIP-595, 630, 853).

use super::builder::{BatchBuilder, BatchOptions, BuildError};
use super::header::Fields;
use crate::ids::Timestamp;

/// What a control record says: the type in its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// A quorum leader's first record.
    LeaderChange,
    /// First record of a snapshot.
    SnapshotHeader,
    /// Last record of a snapshot.
    SnapshotFooter,
    /// The level of `kraft.version`.
    KRaftVersion,
    /// The voter set.
    KRaftVoters,
}

impl ControlType {
    /// The type in the key.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
        }
    }

    /// The type with this id. Unknown types are to be skipped by readers.
    #[must_use]
    pub const fn from_id(id: i16) -> Option<Self> {
        match id {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            2 => Some(Self::LeaderChange),
            3 => Some(Self::SnapshotHeader),
            4 => Some(Self::SnapshotFooter),
            5 => Some(Self::KRaftVersion),
            6 => Some(Self::KRaftVoters),
            _ => None,
        }
    }

    /// The key of a control record of this type: version 0, type.
    #[must_use]
    pub const fn key(self) -> [u8; 4] {
        let [high, low] = self.id().to_be_bytes();
        [0, 0, high, low]
    }

    /// The type in a control record's key; `None` for an unknown type or no key at all. Later
    /// versions may append fields.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let mut f = Fields(key);
        let version = f.i16()?;
        let id = f.i16()?;
        if version < 0 { None } else { Self::from_id(id) }
    }
}

/// The marker that ends a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Committed, or aborted.
    pub committed: bool,
    /// Epoch of the transaction coordinator that decided; older ones are fenced.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker's control type.
    #[must_use]
    pub const fn control_type(&self) -> ControlType {
        if self.committed { ControlType::Commit } else { ControlType::Abort }
    }

    /// The record's value: version 0, coordinator epoch.
    #[must_use]
    pub const fn value(&self) -> [u8; 6] {
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [0, 0, a, b, c, d]
    }

    /// The marker in a control record; `None` for other control records.
    #[must_use]
    pub fn from_record(key: &[u8], value: &[u8]) -> Option<Self> {
        let committed = match ControlType::from_key(key)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return None,
        };
        let mut f = Fields(value);
        let version = f.i16()?;
        let coordinator_epoch = f.i32()?;
        (version >= 0).then_some(Self { committed, coordinator_epoch })
    }

    /// The marker's batch: attributes 0x30, no sequence. `options` gives place and producer.
    ///
    /// # Errors
    /// See [`BatchBuilder::append`]; none for a single small record.
    pub fn build(&self, options: BatchOptions, now: Timestamp) -> Result<Vec<u8>, BuildError> {
        let options =
            BatchOptions { transactional: true, control: true, base_sequence: -1, ..options };
        let mut builder = BatchBuilder::new(options);
        builder.append(now, Some(&self.control_type().key()), Some(&self.value()))?;
        builder.build()
    }
}
