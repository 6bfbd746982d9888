//! The states of a transaction.

/// Where a transactional id stands. The numbers are those of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum TransactionState {
    /// No transaction since the producer was initialised.
    Empty = 0,
    /// A transaction is open.
    Ongoing = 1,
    /// It will be committed: markers are on their way.
    PrepareCommit = 2,
    /// It will be aborted: markers are on their way.
    PrepareAbort = 3,
    /// The last transaction was committed.
    CompleteCommit = 4,
    /// The last transaction was aborted.
    CompleteAbort = 5,
    /// The id is being forgotten. Never stored; known as a filter.
    Dead = 6,
    /// The producer is being fenced. Never stored; known as a filter.
    PrepareEpochFence = 7,
}

impl TransactionState {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// The name in ListTransactions and DescribeTransactions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state with this exact name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The state with this number in the log; those that are never stored have none.
    pub(crate) fn from_stored(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i8 == number && *state < Self::Dead)
    }

    /// The result that is decided and not yet complete: true for commit.
    pub(crate) const fn prepared(self) -> Option<bool> {
        match self {
            Self::PrepareCommit => Some(true),
            Self::PrepareAbort => Some(false),
            _ => None,
        }
    }

    /// Whether an id in this state may be forgotten once it is old enough.
    pub(crate) const fn may_expire(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}
