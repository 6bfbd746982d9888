//! Fetch (KIP-74, 227, 320, 516): reads batches of many partitions, waiting for enough bytes.

use std::sync::Arc;

use bytestring::ByteString;
use indexmap::IndexMap;
use ottla_config::keys;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Offset};
use ottla_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::{ErrorCode, Records};
use parking_lot::Mutex;

use super::{Handler, Operation, Reply, Rule, Wait, fetch_metadata};
use crate::context::Context;
use crate::listener::ListenerKind;
use crate::partition::{Isolation, Partition, PartitionError, Read, ReadOutcome};
use crate::sessions::{
    FINAL_EPOCH, FetchKey, FetchWant, INITIAL_EPOCH, Session, SessionPartition, Told,
};

/// The Fetch API.
pub(super) struct Fetch;

impl Handler for Fetch {
    type Request = FetchRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;
    const RULE: Rule = Rule::EachTopic(Operation::Read);

    fn handle(ctx: &Context<'_>, request: FetchRequest) -> Reply<FetchResponse> {
        if ctx.connection.listener.kind == ListenerKind::Controller {
            return fetch_metadata::handle(ctx, &request);
        }
        let by_id = ctx.version() >= 13;
        let isolation = match request.isolation_level {
            0 => Isolation::Uncommitted,
            1 => Isolation::Committed,
            _ => return Reply::Now(failed(ErrorCode::UnknownServerError)),
        };
        let session = match open_session(ctx, &request, by_id) {
            Ok(session) => session,
            Err(error) => return Reply::Now(failed(error)),
        };
        let replica_id =
            if ctx.version() >= 15 { request.replica_state.replica_id } else { request.replica_id };
        let from_replica = replica_id >= 0;
        if from_replica {
            ctx.exempt();
        }
        let bytes_max =
            request.max_bytes.max(0).min(ctx.broker.config().get(keys::FETCH_MAX_BYTES));
        let mut bytes_max = u32::try_from(bytes_max).unwrap_or(0);
        if !from_replica {
            // More would be throttled however long the client waits.
            bytes_max = bytes_max.min(ctx.fetch_bytes_max());
        }
        let mut wait = FetchWait {
            targets: session.targets(ctx, by_id),
            session,
            isolation,
            from_replica,
            bytes_min: i64::from(request.min_bytes).min(i64::from(bytes_max)),
            bytes_max,
            deadline: ctx.deadline(request.max_wait_ms),
        };
        let read = wait.read(ctx);
        if read.is_enough(wait.bytes_min) || request.max_wait_ms <= 0 {
            return Reply::Now(wait.answer(ctx, read));
        }
        Reply::wait(wait)
    }
}

fn failed(error: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: error.code(), ..FetchResponse::default() }
}

/// One answer is made of this part of the files that logs may hold open, and of one at least; the
/// other partitions have their turn in the next one.
const FILES_OF_AN_ANSWER: usize = 8;

/// The session side of a request.
enum SessionUse {
    /// No session: answer everything, remember nothing.
    None(Wanted),
    /// A new session: answer everything, remember what was told.
    New(i32, Arc<Mutex<Session>>),
    /// An incremental request: answer only what is new.
    Incremental(i32, Arc<Mutex<Session>>),
}

type Wanted = IndexMap<FetchKey, SessionPartition, crate::Hasher>;

fn open_session(
    ctx: &Context<'_>,
    request: &FetchRequest,
    by_id: bool,
) -> Result<SessionUse, ErrorCode> {
    let sessions = &ctx.broker.sessions;
    let (id, epoch) = (request.session_id, request.session_epoch);
    if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
        if id != 0 {
            sessions.remove(id);
        }
        let wanted = wanted(request);
        if epoch == FINAL_EPOCH || wanted.is_empty() {
            return Ok(SessionUse::None(wanted));
        }
        let now = ctx.now.monotonic;
        let created = sessions.create(wanted.clone(), by_id, now, || ctx.broker.env().random());
        // Without room for a session the client is told id 0 and goes on with full requests.
        return Ok(match created {
            Some((id, session)) => SessionUse::New(id, session),
            None => SessionUse::None(wanted),
        });
    }
    let session = sessions.resume(id, epoch, by_id, ctx.now.monotonic)?;
    {
        let mut session = session.lock();
        for (key, fresh) in wanted(request) {
            session.partitions.entry(key).and_modify(|p| p.want = fresh.want).or_insert(fresh);
        }
        for topic in &request.forgotten_topics_data {
            for &partition in &topic.partitions {
                let key =
                    FetchKey { topic_id: topic.topic_id, topic: topic.topic.clone(), partition };
                session.partitions.shift_remove(&key);
            }
        }
        if session.partitions.is_empty() {
            // A session over nothing ends; the client is told id 0.
            drop(session);
            sessions.remove(id);
            return Ok(SessionUse::None(Wanted::default()));
        }
    }
    Ok(SessionUse::Incremental(id, session))
}

fn wanted(request: &FetchRequest) -> Wanted {
    let mut wanted = Wanted::default();
    for topic in &request.topics {
        // Copied: a session outlives the frame that the name is a slice of.
        let name = ByteString::from(topic.topic.to_string());
        for p in &topic.partitions {
            let key =
                FetchKey { topic_id: topic.topic_id, topic: name.clone(), partition: p.partition };
            let want = FetchWant {
                offset: p.fetch_offset,
                bytes_max: p.partition_max_bytes,
                leader_epoch: p.current_leader_epoch,
                last_fetched_epoch: p.last_fetched_epoch,
            };
            wanted.insert(key, SessionPartition { want, told: Told::NOTHING });
        }
    }
    wanted
}

impl SessionUse {
    /// The partitions to read, in the order of reading, resolved to what this broker has.
    fn targets(&self, ctx: &Context<'_>, by_id: bool) -> Vec<Target> {
        let resolve = |(key, partition): (&FetchKey, &SessionPartition)| Target {
            found: find(ctx, key, by_id),
            key: key.clone(),
            want: partition.want,
            told: partition.told,
        };
        match self {
            Self::None(wanted) => wanted.iter().map(resolve).collect(),
            Self::New(_, session) | Self::Incremental(_, session) => {
                let session = session.lock();
                let all = &session.partitions;
                let start = session.start % all.len().max(1);
                all.iter().skip(start).chain(all.iter().take(start)).map(resolve).collect()
            }
        }
    }

    fn id(&self) -> i32 {
        match self {
            Self::None(_) => 0,
            Self::New(id, _) | Self::Incremental(id, _) => *id,
        }
    }
}

fn find(ctx: &Context<'_>, key: &FetchKey, by_id: bool) -> Result<Arc<Partition>, ErrorCode> {
    let topic = if by_id {
        ctx.image.topic_by_id(key.topic_id).ok_or(ErrorCode::UnknownTopicId)?
    } else {
        ctx.image.topic(&key.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    ctx.broker.partitions.find(topic, key.partition)
}

struct Target {
    key: FetchKey,
    found: Result<Arc<Partition>, ErrorCode>,
    want: FetchWant,
    told: Told,
}

/// What one pass over the partitions found.
struct Pass {
    results: Vec<Result<Found, (ErrorCode, i32)>>,
    bytes: i64,
    /// An error or a diverging epoch is told at once.
    urgent: bool,
}

enum Found {
    Data(ReadOutcome),
    /// The client's log diverges: its last epoch ends here (KIP-595).
    Diverging(ReadOutcome, EpochEndOffset),
}

impl Pass {
    fn is_enough(&self, bytes_min: i64) -> bool {
        self.urgent || self.results.is_empty() || self.bytes >= bytes_min
    }
}

struct FetchWait {
    session: SessionUse,
    targets: Vec<Target>,
    isolation: Isolation,
    from_replica: bool,
    bytes_min: i64,
    bytes_max: u32,
    deadline: Monotonic,
}

impl Wait<FetchResponse> for FetchWait {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<FetchResponse> {
        for target in &self.targets {
            if let Ok(partition) = &target.found {
                partition.on_append(ctx.waiter);
            }
        }
        let read = self.read(ctx);
        (expired || read.is_enough(self.bytes_min)).then(|| self.answer(ctx, read))
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}

impl FetchWait {
    /// Reads every partition once, within the byte limits. The first batch that is found is given
    /// whole, so that a client makes progress whatever its limits are.
    fn read(&self, ctx: &Context<'_>) -> Pass {
        let mut pass =
            Pass { results: Vec::with_capacity(self.targets.len()), bytes: 0, urgent: false };
        let mut left = self.bytes_max;
        // An answer holds the files open that it is sent from.
        let mut files = (ctx.broker.open_files.max() / FILES_OF_AN_ANSWER).max(1);
        for target in &self.targets {
            let bytes_max = left.min(u32::try_from(target.want.bytes_max).unwrap_or(0));
            let result = self.read_one(target, bytes_max, pass.bytes == 0);
            match &result {
                Ok(Found::Data(outcome)) => {
                    let len = outcome.slice.as_ref().map_or(0, |slice| slice.len);
                    left = left.saturating_sub(len);
                    pass.bytes += i64::from(len);
                    files -= usize::from(len > 0);
                    if files == 0 {
                        (left, files, pass.urgent) = (0, usize::MAX, true);
                    }
                }
                Ok(Found::Diverging(..)) | Err(_) => pass.urgent = true,
            }
            pass.results.push(result);
        }
        pass
    }

    fn read_one(
        &self,
        target: &Target,
        bytes_max: u32,
        first: bool,
    ) -> Result<Found, (ErrorCode, i32)> {
        let partition = target.found.as_ref().map_err(|&error| (error, -1))?;
        let epoch = partition.leader_epoch().0;
        if self.from_replica {
            return Err((ErrorCode::NotLeaderOrFollower, epoch));
        }
        let want = target.want;
        let leader_epoch = (want.leader_epoch >= 0).then_some(LeaderEpoch(want.leader_epoch));
        let failed = |error: PartitionError| (ErrorCode::from(&error), epoch);
        if want.last_fetched_epoch >= 0 {
            let diverging = partition
                .with_log(leader_epoch, |log, offsets| {
                    let end = log.end_offset_for_epoch(LeaderEpoch(want.last_fetched_epoch));
                    (end, offsets)
                })
                .map_err(failed)?;
            let ((end_epoch, end_offset), offsets) = diverging;
            if end_epoch == LeaderEpoch::NONE || end_offset == Offset::NONE {
                return Err((ErrorCode::OffsetOutOfRange, epoch));
            }
            if end_epoch.0 < want.last_fetched_epoch || end_offset.0 < want.offset {
                let end = EpochEndOffset {
                    epoch: end_epoch.0,
                    end_offset: end_offset.0,
                    ..EpochEndOffset::default()
                };
                let outcome = ReadOutcome { offsets, slice: None, aborted: Vec::new() };
                return Ok(Found::Diverging(outcome, end));
            }
        }
        let read = Read {
            offset: Offset(want.offset),
            leader_epoch,
            isolation: self.isolation,
            bytes_max,
            at_least_one_batch: first,
        };
        partition.read(&read).map(Found::Data).map_err(failed)
    }

    fn answer(&mut self, ctx: &Context<'_>, pass: Pass) -> FetchResponse {
        if !self.from_replica && ctx.throttles_fetch(u64::try_from(pass.bytes).unwrap_or(0)) {
            return self.throttled(ctx);
        }
        let mut response =
            FetchResponse { session_id: self.session.id(), ..FetchResponse::default() };
        let incremental = matches!(self.session, SessionUse::Incremental(..));
        let mut last_filled = None;
        let mut moved = false;
        for (target, result) in self.targets.iter_mut().zip(pass.results) {
            let (data, told, filled) = self::partition_data(ctx, target, result, self.isolation);
            if filled {
                last_filled = Some(target.key.clone());
            }
            let error = data.error_code != 0 || data.diverging_epoch != EpochEndOffset::default();
            let news = filled || error || told != target.told;
            moved |= data.current_leader.leader_id >= 0;
            target.told = if error { Told::NOTHING } else { told };
            if news || !incremental {
                push(&mut response.responses, &target.key, data);
            }
        }
        if moved && ctx.version() >= 16 {
            response.node_endpoints = endpoints(ctx);
        }
        self.remember(last_filled);
        response
    }

    /// The answer without partitions: the client asks for the same again. A session that it was not
    /// told of yet is none (KIP-219).
    fn throttled(&self, ctx: &Context<'_>) -> FetchResponse {
        let session_id = match &self.session {
            SessionUse::Incremental(id, _) => *id,
            SessionUse::New(id, _) => {
                ctx.broker.sessions.remove(*id);
                0
            }
            SessionUse::None(_) => 0,
        };
        FetchResponse { session_id, ..FetchResponse::default() }
    }

    /// Stores in the session what the client is told now.
    fn remember(&self, last_filled: Option<FetchKey>) {
        let session = match &self.session {
            SessionUse::New(_, session) | SessionUse::Incremental(_, session) => session,
            SessionUse::None(_) => return,
        };
        let mut session = session.lock();
        for target in &self.targets {
            if let Some(partition) = session.partitions.get_mut(&target.key) {
                partition.told = target.told;
            }
        }
        if let Some(index) = last_filled.and_then(|key| session.partitions.get_index_of(&key)) {
            session.start = index + 1;
        }
    }
}

/// The answer for one partition, what the client then knows, and whether it holds records.
fn partition_data(
    ctx: &Context<'_>,
    target: &Target,
    result: Result<Found, (ErrorCode, i32)>,
    isolation: Isolation,
) -> (PartitionData, Told, bool) {
    let mut data = PartitionData {
        partition_index: target.key.partition,
        high_watermark: -1,
        records: Some(Records::default()),
        aborted_transactions: None,
        ..PartitionData::default()
    };
    let outcome = match result {
        Ok(Found::Data(outcome)) => outcome,
        Ok(Found::Diverging(outcome, end)) => {
            data.diverging_epoch = end;
            outcome
        }
        Err((error, epoch)) => {
            ctx.broker.metrics.failed_fetch.add(1);
            data.error_code = error.code();
            if target.found.is_err() {
                data.aborted_transactions = Some(Vec::new());
            }
            let stale =
                matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
            if stale && ctx.version() >= 16 {
                data.current_leader = LeaderIdAndEpoch {
                    leader_id: ctx.broker.node_id().0,
                    leader_epoch: epoch,
                    ..LeaderIdAndEpoch::default()
                };
            }
            return (data, Told::NOTHING, false);
        }
    };
    let offsets = outcome.offsets;
    data.high_watermark = offsets.high_watermark.0;
    data.last_stable_offset = offsets.last_stable.0;
    data.log_start_offset = offsets.log_start.0;
    if isolation == Isolation::Committed {
        let aborted = outcome.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
            ..AbortedTransaction::default()
        });
        data.aborted_transactions = Some(aborted.collect());
    }
    let filled = outcome.slice.is_some();
    if let Some(slice) = outcome.slice {
        if let Ok(partition) = &target.found {
            partition.traffic.bytes_out.add(slice.len.into());
        }
        data.records = Some(ctx.attach(slice));
    }
    let told = Told { high_watermark: offsets.high_watermark.0, log_start: offsets.log_start.0 };
    (data, told, filled)
}

fn push(topics: &mut Vec<FetchableTopicResponse>, key: &FetchKey, data: PartitionData) {
    match topics.last_mut() {
        Some(last) if last.topic_id == key.topic_id && last.topic == key.topic => {
            last.partitions.push(data);
        }
        _ => topics.push(FetchableTopicResponse {
            topic: key.topic.clone(),
            topic_id: key.topic_id,
            partitions: vec![data],
            ..FetchableTopicResponse::default()
        }),
    }
}

fn endpoints(ctx: &Context<'_>) -> Vec<NodeEndpoint> {
    ctx.endpoints()
        .map(|(id, endpoint, rack)| NodeEndpoint {
            node_id: id.0,
            host: endpoint.host.into(),
            port: i32::from(endpoint.port),
            rack,
            ..NodeEndpoint::default()
        })
        .collect()
}
