//! What goes into and comes out of the controller.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Now, Offset};
use ottla_protocol::messages as m;

use crate::random::Random;
use crate::record::VersionedRecord;

/// What a command may look at besides the controller's state.
pub struct CommandContext<'a> {
    /// The clocks.
    pub now: Now,
    /// The offset that the first record of the outcome will get: the end of the metadata log.
    pub next_offset: Offset,
    /// For ids and placement.
    pub random: &'a mut dyn Random,
    /// Who asks, such as `User:ANONYMOUS`. Authorization happened before.
    pub principal: &'a str,
    /// From where.
    pub client_host: &'a str,
    /// The sender's quota on partitions created and deleted; `None` if it is under none.
    pub mutations: Option<&'a mut dyn MutationQuota>,
}

/// A client's quota on partitions created and deleted (KIP-599).
pub trait MutationQuota {
    /// Counts partitions that are to be created or deleted.
    ///
    /// # Errors
    /// They may not be: answer THROTTLING_QUOTA_EXCEEDED. Nothing was counted.
    fn record(&mut self, partitions: usize) -> Result<(), QuotaExceeded>;

    /// How long the client is to pause after this request, in milliseconds; 0 for not at all.
    fn pause_ms(&self) -> i32;
}

/// A client has used up its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota on partitions created and deleted is used up: try again after the throttle time"
)]
pub struct QuotaExceeded;

impl From<QuotaExceeded> for ApiError {
    fn from(error: QuotaExceeded) -> Self {
        Self::new(ErrorCode::ThrottlingQuotaExceeded, error.to_string())
    }
}

/// An error of one item of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The code on the wire.
    pub code: ErrorCode,
    /// The sentence beside it, where the answer has a field for it.
    pub message: Option<String>,
}

impl ApiError {
    /// A code with a sentence.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// A code alone.
    #[must_use]
    pub const fn code(code: ErrorCode) -> Self {
        Self { code, message: None }
    }

    /// The sentence for the wire.
    #[must_use]
    pub fn text(&self) -> Option<ByteString> {
        self.message.clone().map(ByteString::from)
    }
}

/// A command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// Answer NOT_CONTROLLER; the sender asks the new controller.
    #[error("this node is not the active controller")]
    NotActive,
}

/// What a command leads to. The runtime appends the records, gives them to
/// [`crate::Controller::replay`] at once, and answers when the last is committed; without records it
/// answers when everything appended so far is committed (reads must not see what may be discarded).
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In order.
    pub records: Vec<VersionedRecord>,
    /// All or nothing: one batch, or a metadata transaction if they do not fit into one. Otherwise
    /// any split will do.
    pub atomic: bool,
    /// For the sender.
    pub response: Response,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident: $request:ident => $response:ident,)*) => {
        /// A wish to change the cluster's metadata. Requests come as the client sent them.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($(#[$doc])* $name(m::$request),)*
            /// Write the records of a first activation (see [`crate::bootstrap`]), or abort the
            /// transaction that the last controller left open.
            Activate,
            /// Keep log and high watermark moving (`metadata.max.idle.interval.ms`).
            NoOp,
            /// Fence the brokers that were not heard from for `broker.session.timeout.ms`.
            FenceStale,
        }

        /// The answer to a [`Command`].
        #[derive(Debug, Clone, PartialEq)]
        pub enum Response {
            $(#[doc = concat!("To [`Command::", stringify!($name), "`].")] $name(m::$response),)*
            /// To the controller's own commands.
            Done,
        }

        $(impl From<m::$request> for Command {
            fn from(request: m::$request) -> Self {
                Self::$name(request)
            }
        }
        impl From<m::$response> for Response {
            fn from(response: m::$response) -> Self {
                Self::$name(response)
            }
        }
        impl TryFrom<Response> for m::$response {
            type Error = Response;
            fn try_from(response: Response) -> Result<Self, Response> {
                match response {
                    Response::$name(response) => Ok(response),
                    other => Err(other),
                }
            }
        })*

        /// Runs a request's handler; `env` is taken by reference so that one line serves for all.
        macro_rules! dispatch {
            ($command:expr, $env:expr, $own:expr) => {
                match $command {
                    $(Command::$name(request) => {
                        let (records, response) = $crate::commands::Run::run(&request, $env);
                        (records, $crate::command::Response::$name(response))
                    })*
                    own => $own(own, $env),
                }
            };
        }
        pub(crate) use dispatch;
    };
}

commands! {
    /// Create topics.
    CreateTopics: CreateTopicsRequest => CreateTopicsResponse,
    /// Delete topics by name or id.
    DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse,
    /// Add partitions to topics.
    CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse,
    /// Change values of resources.
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse,
    /// Replace all values of resources.
    AlterConfigs: AlterConfigsRequest => AlterConfigsResponse,
    /// A broker starts.
    BrokerRegistration: BrokerRegistrationRequest => BrokerRegistrationResponse,
    /// A broker lives, is ready, or wants to stop.
    BrokerHeartbeat: BrokerHeartbeatRequest => BrokerHeartbeatResponse,
    /// Forget a broker.
    UnregisterBroker: UnregisterBrokerRequest => UnregisterBrokerResponse,
    /// Give a broker a block of producer ids.
    AllocateProducerIds: AllocateProducerIdsRequest => AllocateProducerIdsResponse,
    /// A controller starts.
    ControllerRegistration: ControllerRegistrationRequest => ControllerRegistrationResponse,
    /// Forget a controller.
    UnregisterController: UnregisterControllerRequest => UnregisterControllerResponse,
    /// Change finalized feature levels.
    UpdateFeatures: UpdateFeaturesRequest => UpdateFeaturesResponse,
    /// Elect preferred leaders, or leaders that may lack records.
    ElectLeaders: ElectLeadersRequest => ElectLeadersResponse,
    /// A leader changes an ISR.
    AlterPartition: AlterPartitionRequest => AlterPartitionResponse,
    /// A broker tells where its replicas are.
    AssignReplicasToDirs: AssignReplicasToDirsRequest => AssignReplicasToDirsResponse,
    /// Move replicas to other brokers, or stop moving them.
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse,
    /// Tell which replicas are being moved.
    ListPartitionReassignments: ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse,
    /// Set and remove client quotas.
    AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse,
    /// Set and remove SCRAM credentials.
    AlterUserScramCredentials: AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse,
}
