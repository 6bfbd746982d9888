//! Runs the group coordinator's shards: one per partition of `__consumer_offsets` that this broker
//! leads.
//!
//! A command is handled under its shard's lock; its records are appended to the partition and replayed
//! at once; its answers wait until everything appended so far is below the high watermark. Loading a
//! shard after a start is the same replay, over the whole partition.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;
use ottla_config::{BrokerConfig, keys};
use ottla_coordinator::{
    Command, CommandContext, GroupConfig, GroupShard, Machine, Output, Response, Ticket,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Monotonic, Now, Offset, ProducerId};
use parking_lot::{Mutex, RwLock};

use crate::context::Context;
use crate::group_log;
use crate::jobs::Job;
use crate::partition::Partition;
use crate::wait::Promise;
use crate::{Broker, Env};

/// The topic that group state is stored in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Most timers of one shard that run in one tick; the next tick follows at once.
const TIMERS_PER_TICK_MAX: usize = 1000;

/// All shards of this broker, by partition index.
#[derive(Default)]
pub struct Groups {
    shards: RwLock<BTreeMap<i32, Arc<Shard>>>,
}

struct Shard {
    partition: Arc<Partition>,
    state: Mutex<State>,
}

enum State {
    /// The partition's records are being replayed.
    Loading,
    Active(Box<Active>),
    /// The partition is led elsewhere now, or its records could not be read.
    Unloaded(ErrorCode),
}

struct Active {
    machine: GroupShard,
    promises: BTreeMap<Ticket, Arc<Promise<Response>>>,
    /// Answers that wait for the high watermark to reach an offset.
    uncommitted: VecDeque<(Offset, Vec<(Ticket, Response)>)>,
    next_ticket: u64,
}

/// Answers whose promises are kept once the shard's lock is released.
type Answers = Vec<(Arc<Promise<Response>>, Response)>;

impl Groups {
    /// Takes over a partition: its records are replayed by [`Job::LoadGroups`], which the caller
    /// submits. Until then commands are answered COORDINATOR_LOAD_IN_PROGRESS.
    pub fn take_over(&self, partition: &Arc<Partition>) {
        let shard = Shard { partition: Arc::clone(partition), state: Mutex::new(State::Loading) };
        self.shards.write().insert(partition.name.index.0, Arc::new(shard));
    }

    /// Gives up one shard, failing what waits: its partition was deleted.
    pub fn give_up(&self, index: i32, now: Now) {
        let shard = self.shards.write().remove(&index);
        if let Some(shard) = shard {
            shard.unload(ErrorCode::NotCoordinator, now);
        }
    }

    /// Gives up every shard, at shutdown.
    pub fn unload_all(&self, now: Now) {
        let shards = std::mem::take(&mut *self.shards.write());
        for shard in shards.into_values() {
            shard.unload(ErrorCode::NotCoordinator, now);
        }
    }

    /// Replays a partition and makes its shard active.
    pub fn load(&self, index: i32, broker: &Broker) {
        let Some(shard) = self.shard(index) else { return };
        let config = group_config(&broker.config());
        let mut machine = GroupShard::new(config);
        let now = broker.env().now();
        match group_log::replay(&shard.partition, &mut machine) {
            Ok(records) => {
                let output = machine.loaded(shard.partition.leader_epoch(), now);
                let mut active = Box::new(Active {
                    machine,
                    promises: BTreeMap::new(),
                    uncommitted: VecDeque::new(),
                    next_ticket: 0,
                });
                let (answers, flush) = active.carry_out(&shard.partition, output, now);
                let deadline = active.deadline();
                *shard.state.lock() = State::Active(active);
                shard.after(broker, (answers, flush), deadline);
                if records > 0 {
                    tracing::info!(partition = %shard.partition.name, records, "groups loaded");
                }
            }
            Err(error) => {
                tracing::error!(partition = %shard.partition.name, "groups cannot be loaded: {error}");
                shard.unload(ErrorCode::NotCoordinator, now);
            }
        }
    }

    /// The high watermark of a partition advanced: sends the answers that waited for it.
    pub fn committed(&self, index: i32) {
        let Some(shard) = self.shard(index) else { return };
        let answers = match &mut *shard.state.lock() {
            State::Active(active) => active.release(shard.partition.high_watermark()),
            State::Loading | State::Unloaded(_) => return,
        };
        deliver(answers);
    }

    /// Runs the shards whose deadline passed. Returns the earliest deadline that is left.
    pub fn tick(&self, broker: &Broker, now: Now) -> Monotonic {
        let shards: Vec<_> = self.shards.read().values().cloned().collect();
        let deadlines = shards.iter().map(|shard| {
            let mut state = shard.state.lock();
            let State::Active(active) = &mut *state else { return Monotonic::NEVER };
            let mut effects = (Answers::new(), false);
            // One step writes one batch at most; several timers may be due.
            for _ in 0..TIMERS_PER_TICK_MAX {
                if active.deadline() > now.monotonic {
                    break;
                }
                let output = active.machine.tick(now);
                let (answers, flush) = active.carry_out(&shard.partition, output, now);
                effects.0.extend(answers);
                effects.1 |= flush;
            }
            let deadline = active.deadline();
            drop(state);
            shard.after(broker, effects, deadline);
            deadline
        });
        deadlines.min().unwrap_or(Monotonic::NEVER)
    }

    /// The indexes of all shards of this broker.
    #[must_use]
    pub fn indexes(&self) -> Vec<i32> {
        self.shards.read().keys().copied().collect()
    }

    /// Hands a command to the shard with this index.
    pub fn submit(
        &self,
        ctx: &Context<'_>,
        index: i32,
        command: Command,
    ) -> Arc<Promise<Response>> {
        let Some(shard) = self.shard(index) else {
            return Promise::kept(command.refuse(ErrorCode::NotCoordinator));
        };
        let broker = ctx.broker;
        let mut state = shard.state.lock();
        let active = match &mut *state {
            State::Active(active) => active,
            State::Loading => {
                return Promise::kept(command.refuse(ErrorCode::CoordinatorLoadInProgress));
            }
            State::Unloaded(error) => return Promise::kept(command.refuse(*error)),
        };
        let ticket = Ticket(active.next_ticket);
        active.next_ticket += 1;
        let promise = Promise::new();
        active.promises.insert(ticket, Arc::clone(&promise));
        let before = active.deadline();
        let output = active.machine.handle(ticket, command, &command_context(ctx));
        let effects = active.carry_out(&shard.partition, output, ctx.now);
        let deadline = active.deadline();
        drop(state);
        // The timer knows about deadlines up to the one before.
        let news = if deadline < before { deadline } else { Monotonic::NEVER };
        shard.after(broker, effects, news);
        promise
    }

    fn shard(&self, index: i32) -> Option<Arc<Shard>> {
        self.shards.read().get(&index).cloned()
    }
}

impl Shard {
    /// What follows a step once the lock is released.
    fn after(&self, broker: &Broker, (answers, flush): (Answers, bool), deadline: Monotonic) {
        if flush {
            broker.env().submit(Job::Flush(Arc::clone(&self.partition)));
        }
        if deadline != Monotonic::NEVER {
            broker.env().schedule(deadline);
        }
        deliver(answers);
    }

    fn unload(&self, error: ErrorCode, now: Now) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Unloaded(error));
        let State::Active(mut active) = state else { return };
        let mut answers = Answers::new();
        let waiting: Vec<_> = active.uncommitted.drain(..).flat_map(|(_, c)| c).collect();
        let completions = active.machine.unload(now).completions;
        for (ticket, mut response) in waiting.into_iter().chain(completions) {
            response.fail(error);
            answers.extend(active.promises.remove(&ticket).map(|promise| (promise, response)));
        }
        deliver(answers);
    }
}

impl Active {
    fn deadline(&self) -> Monotonic {
        self.machine.next_deadline().unwrap_or(Monotonic::NEVER)
    }

    /// Appends the output's records and replays them; returns the answers that are committed
    /// already, and whether the partition must be flushed.
    fn carry_out(
        &mut self,
        partition: &Partition,
        output: Output<GroupShard>,
        now: Now,
    ) -> (Answers, bool) {
        let mut output = output;
        let mut flush = false;
        if !output.records.is_empty() {
            match group_log::append(partition, &output, now) {
                Ok(appended) => {
                    flush = appended.flush;
                    let base = appended.appended.base_offset;
                    for (i, record) in (0..).zip(&output.records) {
                        if let Err(error) =
                            self.machine.replay(record, base.plus(i), ProducerId::NONE)
                        {
                            tracing::error!(partition = %partition.name, "a group record was not understood: {error}");
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(partition = %partition.name, "group records were refused: {error}");
                    output = self.machine.append_failed(output, ErrorCode::from(&error), now);
                }
            }
        }
        if !output.completions.is_empty() {
            self.uncommitted.push_back((partition.log_end_offset(), output.completions));
        }
        (self.release(partition.high_watermark()), flush)
    }

    fn release(&mut self, high_watermark: Offset) -> Answers {
        let mut answers = Answers::new();
        while let Some((end, _)) = self.uncommitted.front() {
            if *end > high_watermark {
                break;
            }
            let Some((_, completions)) = self.uncommitted.pop_front() else { break };
            for (ticket, response) in completions {
                answers.extend(self.promises.remove(&ticket).map(|promise| (promise, response)));
            }
        }
        answers
    }
}

fn deliver(answers: Answers) {
    for (promise, response) in answers {
        promise.keep(response);
    }
}

fn command_context(ctx: &Context<'_>) -> CommandContext {
    let env: &dyn Env = ctx.broker.env();
    let random = (u128::from(env.random()) << 64) | u128::from(env.random());
    CommandContext {
        now: ctx.now,
        client_id: ByteString::from(&*ctx.request.client_id),
        client_host: format!("/{}", ctx.connection.peer.ip().to_canonical()).into(),
        principal: ByteString::from_static("User:ANONYMOUS"),
        api_version: ctx.version(),
        random,
    }
}

/// The coordinator's settings.
fn group_config(config: &BrokerConfig) -> GroupConfig {
    let count = |value: i32| usize::try_from(value).unwrap_or(0);
    GroupConfig {
        group_size_max: count(config.get(keys::GROUP_MAX_SIZE)),
        session_timeout_ms_min: config.get(keys::GROUP_MIN_SESSION_TIMEOUT_MS),
        session_timeout_ms_max: config.get(keys::GROUP_MAX_SESSION_TIMEOUT_MS),
        initial_rebalance_delay_ms: config.get(keys::GROUP_INITIAL_REBALANCE_DELAY_MS),
        offset_metadata_max: count(config.get(keys::OFFSET_METADATA_MAX_BYTES)),
        offsets_retention_ms: i64::from(config.get(keys::OFFSETS_RETENTION_MINUTES)) * 60_000,
        retention_check_interval_ms: config.get(keys::OFFSETS_RETENTION_CHECK_INTERVAL_MS),
        ..GroupConfig::default()
    }
}
