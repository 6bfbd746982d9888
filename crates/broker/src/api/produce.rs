//! Produce (KIP-98, 516, 890, 951): appends one batch to each partition named.

use std::sync::Arc;

use bytestring::ByteString;
use ottla_metadata::names::is_internal_topic;
use ottla_protocol::ids::{Monotonic, Offset};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::{ErrorCode, Records};
use ottla_storage::{ProduceError, VerificationGuard, validate};

use super::produce_txn::{self, Guards};
use super::verify::Verification;
use super::{Handler, Operation, Reply, Rule, Wait};
use crate::context::Context;
use crate::jobs::Job;
use crate::partition::{AppendOutcome, Partition, PartitionError};

/// The Produce API.
pub(super) struct Produce;

/// The first version by topic id.
const BY_ID: i16 = 13;

const SEVERAL_PRODUCERS: &str = "the request has transactional batches of several producer ids or \
                                 epochs: send each producer's batches in a request of their own";

impl Handler for Produce {
    type Request = ProduceRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13; // v12 adds partitions to transactions.
    // And Write on the transactional id, if there is one.
    const RULE: Rule = Rule::EachTopic(Operation::Write);

    fn handle(ctx: &Context<'_>, request: ProduceRequest) -> Reply<ProduceResponse> {
        if !(-1..=1).contains(&request.acks) {
            return refuse_all(request, ErrorCode::InvalidRequiredAcks);
        }
        let transactional = match produce_txn::transactional(&request) {
            Ok(transactional) => transactional,
            Err(error) => return refuse_all(request, error),
        };
        let acks = request.acks;
        let step = match transactional {
            None => Step::append(ctx, request, Guards::default()),
            Some(producer) => match produce_txn::begin(ctx, &request, producer) {
                (guards, None) => Step::append(ctx, request, guards),
                (guards, Some(verification)) => {
                    let verifying = Verifying { request, guards, verification };
                    Step::Verifying(Box::new(verifying))
                }
            },
        };
        let mut wait = Appending { acks, step };
        // Whoever waits for an acknowledgement is parked without a look: it is rarely there already.
        match wait.step.answer_now(ctx) {
            Some(response) => wait.reply(response),
            None => Reply::wait(wait),
        }
    }
}

/// A request on its way.
struct Appending {
    acks: i16,
    step: Step,
}

enum Step {
    /// The transaction is being verified: nothing is appended yet.
    Verifying(Box<Verifying>),
    /// Everything that was not refused is appended.
    Acknowledging(Acknowledge),
}

struct Verifying {
    request: ProduceRequest,
    guards: Guards,
    verification: Verification,
}

impl Step {
    /// Appends every part of a request.
    fn append(ctx: &Context<'_>, request: ProduceRequest, mut guards: Guards) -> Self {
        let mut parts = Parts { all: request.acks == -1, ..Parts::default() };
        let mut responses = Vec::with_capacity(request.topic_data.len());
        for topic in &request.topic_data {
            let partitions = topic.partition_data.iter();
            let at = |position| (responses.len(), position);
            let answers = partitions.enumerate().map(|(i, data)| {
                let place = Place { topic, data, at: at(i), guard: guards.take(at(i)) };
                parts.append(ctx, place)
            });
            let partition_responses = answers.collect();
            responses.push(TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses,
                ..TopicProduceResponse::default()
            });
        }
        Self::Acknowledging(Acknowledge {
            response: ProduceResponse { responses, ..ProduceResponse::default() },
            all: parts.all,
            failed: parts.failed,
            waits: if request.acks == 0 { Vec::new() } else { parts.waits },
            deadline: ctx.deadline(request.timeout_ms),
        })
    }

    /// The answer, if it does not have to be waited for.
    fn answer_now(&mut self, ctx: &Context<'_>) -> Option<ProduceResponse> {
        match self {
            Self::Acknowledging(acknowledge) if acknowledge.waits.is_empty() => {
                Some(with_endpoints(ctx, std::mem::take(&mut acknowledge.response)))
            }
            Self::Acknowledging(_) => None,
            Self::Verifying(_) => self.poll(ctx, false),
        }
    }

    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<ProduceResponse> {
        if let Self::Verifying(verifying) = self {
            let verdict = verifying.verification.poll(ctx)?;
            let request = std::mem::take(&mut verifying.request);
            let mut guards = std::mem::take(&mut verifying.guards);
            guards.judge(verdict);
            *self = Self::append(ctx, request, guards);
        }
        match self {
            Self::Verifying(_) => None,
            Self::Acknowledging(acknowledge) => acknowledge.poll(ctx, expired),
        }
    }
}

impl Wait<ProduceResponse> for Appending {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<ProduceResponse> {
        let expired = expired && matches!(self.step, Step::Acknowledging(_));
        self.step.poll(ctx, expired)
    }

    fn deadline(&self) -> Monotonic {
        match &self.step {
            Step::Verifying(verifying) => verifying.verification.deadline(),
            Step::Acknowledging(acknowledge) => acknowledge.deadline,
        }
    }

    fn holds_others(&self) -> bool {
        matches!(self.step, Step::Verifying(_))
    }

    fn reply(&self, response: ProduceResponse) -> Reply<ProduceResponse> {
        let failed = matches!(&self.step, Step::Acknowledging(acknowledge) if acknowledge.failed);
        match self.acks {
            0 if failed => Reply::Close("a batch sent with acks=0 was refused".to_owned()),
            0 => Reply::Silent,
            _ => Reply::Now(response),
        }
    }
}

fn refuse_all(request: ProduceRequest, error: ErrorCode) -> Reply<ProduceResponse> {
    if request.acks == 0 {
        return Reply::Close(format!("a batch sent with acks=0 was refused: {error}"));
    }
    let message = match error {
        ErrorCode::InvalidProducerIdMapping => Some(SEVERAL_PRODUCERS),
        _ => None,
    };
    let refuse = |part: &PartitionProduceData| PartitionProduceResponse {
        error_message: message.map(ByteString::from_static),
        ..refused(part.index, error)
    };
    let responses = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        partition_responses: topic.partition_data.iter().map(refuse).collect(),
        name: topic.name,
        topic_id: topic.topic_id,
        ..TopicProduceResponse::default()
    });
    Reply::Now(ProduceResponse { responses: responses.collect(), ..ProduceResponse::default() })
}

pub(super) fn refused(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: error.code(),
        base_offset: -1,
        ..PartitionProduceResponse::default()
    }
}

/// An append whose acknowledgement waits until everything below `end` is committed (`acks=all`), or
/// taken by this broker.
struct Pending {
    partition: Arc<Partition>,
    end: Offset,
    /// Topic and partition position in the response.
    at: (usize, usize),
}

/// What became of the parts of a request.
#[derive(Default)]
struct Parts {
    /// The producer waits for all replicas in sync (`acks=all`).
    all: bool,
    failed: bool,
    waits: Vec<Pending>,
}

/// A partition's part of a request.
struct Place<'a> {
    topic: &'a TopicProduceData,
    data: &'a PartitionProduceData,
    /// Its position in the request, and in the response.
    at: (usize, usize),
    /// What its verification led to, if it needed one.
    guard: Result<Option<VerificationGuard>, ErrorCode>,
}

impl Parts {
    fn append(&mut self, ctx: &Context<'_>, place: Place<'_>) -> PartitionProduceResponse {
        let Place { topic, data, at, guard } = place;
        let answer = match (find(ctx, topic, data.index), guard) {
            (Err(error), _) => refused(data.index, error),
            (Ok(_), Err(error)) => produce_txn::unverified(data.index, error),
            (Ok(partition), Ok(guard)) => match self.try_append(ctx, &partition, (data, guard)) {
                Ok(outcome) => {
                    let answer = appended(data.index, &outcome);
                    if !(if self.all { outcome.committed } else { outcome.taken }) {
                        let end = outcome.appended.last_offset.plus(1);
                        self.waits.push(Pending { partition, end, at });
                    }
                    answer
                }
                Err(failure) => failure.answer(ctx, &partition, data.index),
            },
        };
        if answer.error_code != 0 {
            self.failed = true;
            ctx.broker.metrics.failed_produce.add(1);
        }
        answer
    }

    fn try_append(
        &self,
        ctx: &Context<'_>,
        partition: &Arc<Partition>,
        part: (&PartitionProduceData, Option<VerificationGuard>),
    ) -> Result<AppendOutcome, Failure> {
        if self.all {
            partition.check_in_sync().map_err(Failure::Refused)?;
        }
        append(ctx, partition, part)
    }
}

/// The partition that a part of the request goes to.
pub(super) fn find(
    ctx: &Context<'_>,
    topic: &TopicProduceData,
    index: i32,
) -> Result<Arc<Partition>, ErrorCode> {
    let found = if ctx.version() >= BY_ID {
        ctx.image.topic_by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)?
    } else {
        ctx.image.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    if is_internal_topic(&found.name) && *ctx.request.client_id != *ADMIN_CLIENT {
        return Err(ErrorCode::InvalidTopicException);
    }
    ctx.broker.partitions.find(found, index)
}

/// The client id with which Kafka lets a client write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// A partition's part of the request was refused.
enum Failure {
    Invalid(ProduceError),
    Refused(PartitionError),
}

fn append(
    ctx: &Context<'_>,
    partition: &Arc<Partition>,
    (data, guard): (&PartitionProduceData, Option<VerificationGuard>),
) -> Result<AppendOutcome, Failure> {
    let bytes = data.records.as_ref().and_then(Records::as_bytes).map_or(&[][..], |bytes| bytes);
    let rules = partition.produce_rules(ctx.version());
    let batch = validate(bytes, &rules, ctx.now).map_err(Failure::Invalid)?;
    let outcome = partition.append(&batch, guard, ctx.now).map_err(Failure::Refused)?;
    let metrics = &ctx.broker.metrics;
    if !outcome.appended.duplicate {
        let (first, last) = (outcome.appended.base_offset.0, outcome.appended.last_offset.0);
        let messages = u64::try_from(last - first + 1).unwrap_or(0);
        metrics.bytes_in.add(bytes.len() as u64);
        metrics.messages_in.add(messages);
        partition.traffic.bytes_in.add(bytes.len() as u64);
        partition.traffic.messages_in.add(messages);
    }
    if outcome.flush {
        ctx.broker.env().submit(Job::Flush(Arc::clone(partition)));
    }
    Ok(outcome)
}

fn appended(index: i32, outcome: &AppendOutcome) -> PartitionProduceResponse {
    let appended = &outcome.appended;
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time.map_or(-1, |time| time.0),
        log_start_offset: appended.log_start_offset.0,
        ..PartitionProduceResponse::default()
    }
}

impl Failure {
    fn answer(
        &self,
        ctx: &Context<'_>,
        partition: &Partition,
        index: i32,
    ) -> PartitionProduceResponse {
        let log_start = || partition.offsets(None).map_or(-1, |offsets| offsets.log_start.0);
        match self {
            Self::Invalid(error) => {
                let errors = error.record_errors().iter().map(|record| BatchIndexAndErrorMessage {
                    batch_index: i32::try_from(record.index).unwrap_or(i32::MAX),
                    batch_index_error_message: Some(record.message.as_str().into()),
                    ..BatchIndexAndErrorMessage::default()
                });
                PartitionProduceResponse {
                    log_start_offset: if error.reports_log_start() { log_start() } else { -1 },
                    record_errors: errors.collect(),
                    error_message: error.message().map(ByteString::from),
                    ..refused(index, error.code())
                }
            }
            Self::Refused(error) => {
                let code = ErrorCode::from(error);
                let mut answer = refused(index, code);
                if matches!(error, PartitionError::Append(_)) {
                    answer.log_start_offset = log_start();
                }
                if error.is_disk_full() {
                    answer.error_message = Some(error.to_string().into());
                }
                if code == ErrorCode::NotLeaderOrFollower && ctx.version() >= 10 {
                    answer.current_leader = LeaderIdAndEpoch {
                        leader_id: ctx.broker.node_id().0,
                        leader_epoch: partition.leader_epoch().0,
                        ..LeaderIdAndEpoch::default()
                    };
                }
                answer
            }
        }
    }
}

/// Adds the addresses of the leaders that the answer names (KIP-951).
fn with_endpoints(ctx: &Context<'_>, mut response: ProduceResponse) -> ProduceResponse {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    if answers.any(|answer| answer.current_leader.leader_id >= 0) {
        let endpoints = ctx.endpoints().map(|(id, endpoint, rack)| NodeEndpoint {
            node_id: id.0,
            host: endpoint.host.into(),
            port: i32::from(endpoint.port),
            rack,
            ..NodeEndpoint::default()
        });
        response.node_endpoints = endpoints.collect();
    }
    response
}

struct Acknowledge {
    response: ProduceResponse,
    /// As in [`Parts`].
    all: bool,
    /// A part was refused.
    failed: bool,
    waits: Vec<Pending>,
    deadline: Monotonic,
}

impl Acknowledge {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<ProduceResponse> {
        let response = &mut self.response;
        self.waits.retain(|wait| {
            wait.partition.on_commit(ctx.waiter);
            let done = match self.all {
                true => wait.partition.offsets(None).map(|now| now.high_watermark >= wait.end),
                false => wait.partition.has_taken(wait.end),
            };
            let error = match done {
                Ok(true) => return false,
                Ok(_) if expired => ErrorCode::RequestTimedOut,
                Ok(_) => return true,
                Err(error) => ErrorCode::from(&error),
            };
            let (topic, position) = wait.at;
            let topic = response.responses.get_mut(topic);
            let slot = topic.and_then(|topic| topic.partition_responses.get_mut(position));
            if let Some(slot) = slot {
                *slot = refused(slot.index, error);
            }
            false
        });
        let done = self.waits.is_empty();
        done.then(|| with_endpoints(ctx, std::mem::take(&mut self.response)))
    }
}
