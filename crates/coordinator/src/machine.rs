//! The frame of every coordinator: a state machine over one partition of an internal topic.

use std::fmt::Debug;

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId};

use crate::records::ReplayError;

/// A coordinator of what one partition of its topic stores, as its driver sees it.
///
/// [`Machine::new`], [`Machine::replay`] of the whole partition, [`Machine::loaded`]; then
/// [`Machine::handle`] and [`Machine::tick`] until [`Machine::unload`]. What is stored changes only
/// in `replay`, so running and loading are one path. See [`Output`] for what the driver owes.
pub trait Machine: Debug + Send + Sized {
    /// What it reads of the broker's configuration.
    type Config: Clone;
    /// A request for this partition, already authorized.
    type Command: Debug + Send;
    /// The answer to a command.
    type Response: Debug + Send;
    /// What it wants done beside records and answers.
    type Action: Debug + Send;
    /// How to put right what a failed append left behind.
    type Undo: Debug + Send;

    /// A machine that has read nothing of its log.
    #[must_use]
    fn new(config: Self::Config) -> Self;

    /// Replaces the configuration; deadlines that are set stay.
    fn set_config(&mut self, config: Self::Config);

    /// Handles a command. Its completion is in this output or in a later one; there is exactly one.
    fn handle(
        &mut self,
        ticket: Ticket,
        command: Self::Command,
        ctx: &CommandContext,
    ) -> Output<Self>;

    /// Does what is due. Call again while [`Machine::next_deadline`] is not after `now`: one call
    /// makes at most one batch of records.
    fn tick(&mut self, now: Now) -> Output<Self>;

    /// When [`Machine::tick`] has something to do next.
    #[must_use]
    fn next_deadline(&self) -> Option<Monotonic>;

    /// Applies a record that is in the log at `offset`: one of our own after its append, or any
    /// while loading. `producer` is the batch's producer id if the batch is transactional.
    ///
    /// # Errors
    /// A record of a type this crate knows is malformed. Unknown types are no error.
    fn replay(
        &mut self,
        record: &LogRecord,
        offset: Offset,
        producer: ProducerId,
    ) -> Result<(), ReplayError>;

    /// Applies the control batch that ends the transaction of `producer`.
    fn replay_end_marker(&mut self, _producer: ProducerId, _commit: bool) {}

    /// The whole log has been replayed. `epoch` is the partition's leader epoch, in which this
    /// machine speaks.
    fn loaded(&mut self, epoch: LeaderEpoch, now: Now) -> Output<Self>;

    /// The records of `output` could not be appended: its answers say so, and what they were to
    /// store is undone. The returned output may have records of its own.
    fn append_failed(&mut self, output: Output<Self>, error: ErrorCode, now: Now) -> Output<Self>;

    /// This broker no longer coordinates the partition: all that wait are told, and nothing is left.
    fn unload(&mut self, now: Now) -> Output<Self>;

    /// The answer to a command that cannot be handed to a machine: `error` at every place where the
    /// response has one, after [`coordinator_error`].
    fn refuse(command: &Self::Command, error: ErrorCode) -> Self::Response;

    /// Turns an answer into one that says `error` (after [`coordinator_error`]) instead of success.
    /// Errors inside it stay.
    fn fail(response: &mut Self::Response, error: ErrorCode);
}

/// Names a command until its completion; chosen by the caller, unique within the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who asks, when, and what is random about it.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// The time.
    pub now: Now,
    /// The client id of the request header; empty if null.
    pub client_id: ByteString,
    /// The client's address as Kafka prints it (`/127.0.0.1`).
    pub client_host: ByteString,
    /// The principal, for the log.
    pub principal: ByteString,
    /// The version of the request.
    pub api_version: i16,
    /// 128 fresh random bits, for a member id.
    pub random: u128,
}

/// A record for the machine's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Record type and key.
    pub key: Bytes,
    /// Version and value; `None` deletes the key.
    pub value: Option<Bytes>,
}

/// What a step wants done.
///
/// The driver, with the machine still locked: appends `records` as one batch; calls
/// [`Machine::replay`] for each, or [`Machine::append_failed`] with this output. It sends
/// `completions` and carries out `actions` when everything the machine has appended so far is below
/// the high watermark: an output without records waits for the appends before it, because the
/// completions may show their effect. If that takes too long (`offsets.commit.timeout.ms`) the driver
/// sends [`Machine::fail`]ed completions with REQUEST_TIMED_OUT; actions wait on. An unloaded machine's actions are dropped:
/// its successor finds them in the log.
#[derive(Debug)]
#[must_use = "dropping an output loses records and answers"]
pub struct Output<M: Machine> {
    /// To be appended, in one batch.
    pub records: Vec<LogRecord>,
    /// The producer of the batch, if it belongs to a transaction.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
    /// Answers, in the order in which they were decided.
    pub completions: Vec<(Ticket, M::Response)>,
    /// To be carried out, in this order.
    pub actions: Vec<M::Action>,
    pub(crate) undo: Option<M::Undo>,
}

impl<M: Machine> Default for Output<M> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            producer: None,
            completions: Vec::new(),
            actions: Vec::new(),
            undo: None,
        }
    }
}

impl<M: Machine> Output<M> {
    pub(crate) fn complete(&mut self, ticket: Ticket, response: M::Response) {
        self.completions.push((ticket, response));
    }
}

/// The error a client gets when the log answered `error` to an append, a commit timed out, or a
/// machine could not be reached.
#[must_use]
pub fn coordinator_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

/// A copy of `text` that does not keep the frame alive it was sliced from.
pub(crate) fn detach(text: &ByteString) -> ByteString {
    ByteString::from(&**text)
}

/// See [`detach`].
pub(crate) fn detach_bytes(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
