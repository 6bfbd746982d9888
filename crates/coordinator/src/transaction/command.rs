//! What goes into a transaction shard and what comes out of it.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, ProducerEpoch, ProducerId};
use ottla_protocol::messages::describe_transactions_response::TransactionState as Described;
use ottla_protocol::messages::list_transactions_response::TransactionState as Listed;
use ottla_protocol::messages::{
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
};

use super::list::TransactionFilter;
use crate::machine::{CommandContext, coordinator_error};

/// A request about transactional ids of this shard, already authorized, or the news of markers.
///
/// The version of the request is [`CommandContext::api_version`]: old versions get old error codes,
/// and EndTxn from 5 on (KIP-890) bumps the epoch.
#[derive(Debug, Clone)]
pub enum TxnCommand {
    /// With a transactional id; without one the broker answers alone.
    InitProducerId {
        /// As it came.
        request: InitProducerIdRequest,
        /// A fresh id, should one be needed; see [`TxnResponse::NeedProducerId`].
        spare: Option<ProducerId>,
    },
    /// Adds partitions that exist to the transaction, opening it. For AddPartitionsToTxn, for
    /// AddOffsetsToTxn, and for a Produce or TxnOffsetCommit that adds by itself (KIP-890).
    AddPartitions {
        /// Who adds what.
        add: AddPartitions,
        /// Whether the client says AddPartitionsToTxn from version 4 on. False for AddOffsetsToTxn.
        batched: bool,
    },
    /// Asks whether partitions are in the open transaction (KIP-890).
    VerifyPartitions(AddPartitions),
    /// Commits or aborts.
    EndTxn {
        /// As it came.
        request: EndTxnRequest,
        /// A fresh id, should one be needed; see [`TxnResponse::NeedProducerId`].
        spare: Option<ProducerId>,
    },
    /// Those ids of a DescribeTransactions that belong to this shard.
    DescribeTransactions(Vec<ByteString>),
    /// This shard's part of a ListTransactions.
    ListTransactions(TransactionFilter),
    /// What became of [`TxnAction::WriteMarkers`]: of all its partitions, or of some of them. Each
    /// has to be reported in the end.
    MarkerResults(MarkerResults),
}

/// Who adds, or asks about, which partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPartitions {
    /// The transactional id.
    pub transactional_id: ByteString,
    /// Its producer id, as the client knows it.
    pub producer_id: ProducerId,
    /// Its epoch, as the client knows it.
    pub producer_epoch: ProducerEpoch,
    /// Of the transaction.
    pub partitions: Vec<TopicPartition>,
}

/// A partition, by the name of its topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The name.
    pub topic: ByteString,
    /// The index.
    pub partition: i32,
}

/// The answer to a [`TxnCommand`], of the variant with the same name.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named after the commands they answer")]
pub enum TxnResponse {
    InitProducerId(InitProducerIdResponse),
    /// For every partition of the command alike.
    AddPartitions(ErrorCode),
    VerifyPartitions(Vec<(TopicPartition, ErrorCode)>),
    EndTxn(EndTxnResponse),
    DescribeTransactions(Vec<Described>),
    ListTransactions(Result<Vec<Listed>, ErrorCode>),
    MarkerResults,
    /// To InitProducerId or EndTxn: nothing has been done, because it takes a fresh producer id and
    /// the command brought none. The caller asks again with one.
    NeedProducerId,
}

/// What a transaction shard wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnAction {
    /// Markers are to be written to the leaders of partitions.
    WriteMarkers(Markers),
}

/// The end of a transaction, for its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// To be given back in [`MarkerResults`].
    pub id: MarkersId,
    /// Whose transaction.
    pub transactional_id: ByteString,
    /// Of the markers.
    pub producer_id: ProducerId,
    /// Of the markers: under `transaction.version` 2 one more than that of the transaction's records.
    pub producer_epoch: ProducerEpoch,
    /// Commit, or abort.
    pub commit: bool,
    /// 2 if the epoch grew with this transaction, else 0 (KIP-1228).
    pub transaction_version: i16,
    /// Where. Each is written once; one that failed comes again in a later action.
    pub partitions: Vec<TopicPartition>,
}

impl Markers {
    /// The epoch of the coordinator that decided, for the markers.
    #[must_use]
    pub const fn coordinator_epoch(&self) -> LeaderEpoch {
        self.id.coordinator_epoch
    }
}

/// Names the end of one transaction, for as long as its coordinator lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkersId {
    pub(crate) coordinator_epoch: LeaderEpoch,
    pub(crate) number: u64,
}

/// What became of markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkerResults {
    /// Of the [`Markers`].
    pub id: MarkersId,
    /// Of the [`Markers`].
    pub transactional_id: ByteString,
    /// Some or all of its partitions.
    pub results: Vec<(TopicPartition, MarkerOutcome)>,
}

/// What became of one marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerOutcome {
    /// It is in the partition's log, and replicated.
    Written,
    /// The partition exists no more.
    Deleted,
    /// Not written, or not known to be: it is tried again after a while.
    Failed(ErrorCode),
}

impl TxnCommand {
    /// The answer to this command when it cannot be handed to a shard: `error` at every place where
    /// the response has one, after [`coordinator_error`].
    #[must_use]
    pub fn refuse(&self, error: ErrorCode) -> TxnResponse {
        let error = coordinator_error(error);
        match self {
            Self::InitProducerId { .. } => TxnResponse::InitProducerId(not_initialised(error)),
            Self::AddPartitions { .. } => TxnResponse::AddPartitions(error),
            Self::VerifyPartitions(verify) => TxnResponse::VerifyPartitions(
                verify.partitions.iter().map(|partition| (partition.clone(), error)).collect(),
            ),
            Self::EndTxn { .. } => TxnResponse::EndTxn(not_ended(error)),
            Self::DescribeTransactions(ids) => TxnResponse::DescribeTransactions(
                ids.iter().map(|id| super::list::undescribed(id, error)).collect(),
            ),
            Self::ListTransactions(_) => TxnResponse::ListTransactions(Err(error)),
            Self::MarkerResults(_) => TxnResponse::MarkerResults,
        }
    }
}

impl TxnResponse {
    /// What was answered because of records that are not in the log after all is no answer.
    pub(crate) fn retract(&mut self) {
        if let Self::InitProducerId(r) = self
            && r.error_code == ErrorCode::ConcurrentTransactions.code()
        {
            r.error_code = 0;
        }
    }

    /// Turns the answer into one that says `error` (after [`coordinator_error`]) instead of success.
    /// Errors inside it stay.
    pub fn fail(&mut self, error: ErrorCode) {
        let error = coordinator_error(error);
        match self {
            Self::InitProducerId(r) => {
                if r.error_code == 0 {
                    *r = not_initialised(error);
                }
            }
            Self::AddPartitions(own) => set(own, error),
            Self::VerifyPartitions(results) => {
                results.iter_mut().for_each(|(_, own)| set(own, error));
            }
            Self::EndTxn(r) => {
                if r.error_code == 0 {
                    *r = not_ended(error);
                }
            }
            Self::DescribeTransactions(described) => {
                for r in described.iter_mut().filter(|r| r.error_code == 0) {
                    *r = super::list::undescribed(&r.transactional_id, error);
                }
            }
            Self::ListTransactions(listed) => {
                if listed.is_ok() {
                    *listed = Err(error);
                }
            }
            Self::MarkerResults | Self::NeedProducerId => {}
        }
    }
}

fn set(own: &mut ErrorCode, error: ErrorCode) {
    if *own == ErrorCode::None {
        *own = error;
    }
}

/// The answer to an InitProducerId that failed.
pub(crate) fn not_initialised(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: error.code(), producer_epoch: -1, ..Default::default() }
}

/// The answer to an EndTxn that failed.
pub(crate) fn not_ended(error: ErrorCode) -> EndTxnResponse {
    EndTxnResponse { error_code: error.code(), ..Default::default() }
}

/// PRODUCER_FENCED is new in version `from` of an API (KIP-588); before it was INVALID_PRODUCER_EPOCH.
pub(crate) fn fenced_for_version(error: ErrorCode, ctx: &CommandContext, from: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if ctx.api_version < from => ErrorCode::InvalidProducerEpoch,
        error => error,
    }
}
