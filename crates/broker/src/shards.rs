//! Runs coordinators: one [`Machine`] per partition of an internal topic that this broker leads.
//!
//! A command is handled under its shard's lock; its records are appended to the partition and replayed
//! at once; its answers and actions wait until everything appended so far is below the high watermark.
//! Answers are given and actions carried out after the lock is released. Loading a shard after a start
//! is the same replay, over the whole partition.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;
use ottla_config::BrokerConfig;
use ottla_coordinator::{CommandContext, Machine, Output, Ticket};
use ottla_metadata::Image;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Monotonic, Now, Offset, ProducerId};
use ottla_protocol::records::BatchOptions;
use ottla_storage::{TxnEnd, TxnMarker, VerificationGuard};
use parking_lot::{Mutex, RwLock};

use crate::context::Context;
use crate::jobs::Job;
use crate::partition::{AppendOutcome, Partition, PartitionError};
use crate::shard_log::{self, LogSettings};
use crate::wait::Promise;
use crate::{Broker, Env};

/// Most timers of one shard that run in one tick; the next tick follows at once.
const TIMERS_PER_TICK_MAX: usize = 1000;

/// How often a step may try to append: what puts right a failed append may have records of its own.
const APPENDS_PER_STEP_MAX: usize = 3;

/// What this broker does for a coordinator's machines.
pub trait Coordinator: Machine + 'static {
    /// The topic that its state is stored in.
    const TOPIC: &'static str;

    /// Its shards on a broker.
    fn shards(broker: &Broker) -> &Shards<Self>;

    /// Its settings.
    fn config(config: &BrokerConfig, image: &Image) -> Self::Config;

    /// How it keeps its records.
    fn log_settings(config: &BrokerConfig) -> LogSettings;

    /// Carries out what the shard with this index wants done. Called without any lock.
    fn act(broker: &Broker, index: i32, action: Self::Action);
}

/// All shards of one coordinator on this broker, by partition index.
pub struct Shards<M: Machine> {
    shards: RwLock<BTreeMap<i32, Arc<Shard<M>>>>,
}

impl<M: Machine> Default for Shards<M> {
    fn default() -> Self {
        Self { shards: RwLock::default() }
    }
}

struct Shard<M: Machine> {
    partition: Arc<Partition>,
    state: Mutex<State<M>>,
}

enum State<M: Machine> {
    /// The partition's records are being replayed.
    Loading,
    Active(Box<Active<M>>),
    /// The partition is led elsewhere now, or its records could not be read.
    Unloaded(ErrorCode),
}

struct Active<M: Machine> {
    machine: M,
    settings: LogSettings,
    promises: BTreeMap<Ticket, Arc<Promise<M::Response>>>,
    /// What waits for the high watermark to reach an offset.
    uncommitted: VecDeque<Uncommitted<M>>,
    next_ticket: u64,
}

struct Uncommitted<M: Machine> {
    end: Offset,
    /// When those who wait for the completions are told that it took too long.
    deadline: Monotonic,
    completions: Vec<(Ticket, M::Response)>,
    actions: Vec<M::Action>,
}

/// An answer, and where it goes.
type Answer<M> = (Arc<Promise<<M as Machine>::Response>>, <M as Machine>::Response);

/// What follows a step once the shard's lock is released.
struct Effects<M: Machine> {
    answers: Vec<Answer<M>>,
    actions: Vec<M::Action>,
    flush: bool,
}

impl<M: Machine> Default for Effects<M> {
    fn default() -> Self {
        Self { answers: Vec::new(), actions: Vec::new(), flush: false }
    }
}

/// What a command comes with.
pub struct Submission<M: Machine> {
    /// The command.
    pub command: M::Command,
    /// Who asks, and when.
    pub context: CommandContext,
    /// If it makes records in a client's transaction: that this was verified.
    pub guard: Option<VerificationGuard>,
}

/// The shards of a coordinator, whichever it is.
pub(crate) trait AnyShards {
    /// Takes over a partition: its records are replayed by [`Job::LoadShard`], which the caller
    /// submits. Until then commands are answered COORDINATOR_LOAD_IN_PROGRESS.
    fn take_over(&self, partition: &Arc<Partition>);
    /// Gives up one shard, failing what waits: its partition was deleted, or cannot be written.
    fn give_up(&self, index: i32, now: Now);
    /// Gives up every shard, at shutdown.
    fn unload_all(&self, now: Now);
    /// Replays a partition and makes its shard active.
    fn load(&self, index: i32, broker: &Broker);
    /// The high watermark of a partition advanced: gives the answers that waited for it, and does
    /// the actions.
    fn committed(&self, index: i32, broker: &Broker);
    /// Runs the shards whose deadline passed. Returns the earliest deadline that is left.
    fn tick(&self, broker: &Broker, now: Now) -> Monotonic;
    /// Tells the machines the configuration that holds from now on.
    fn reconfigure(&self, config: &BrokerConfig, image: &Image);
}

impl Broker {
    /// All coordinators.
    pub(crate) fn coordinators(&self) -> [(&'static str, &dyn AnyShards); 2] {
        fn of<M: Coordinator>(shards: &Shards<M>) -> (&'static str, &dyn AnyShards) {
            (M::TOPIC, shards)
        }
        [of(&self.groups), of(&self.transactions)]
    }

    /// The coordinator that stores its state in a topic.
    pub(crate) fn coordinator_of(&self, topic: &str) -> Option<&dyn AnyShards> {
        self.coordinators().into_iter().find(|(name, _)| *name == topic).map(|(_, shards)| shards)
    }
}

impl<M: Coordinator> AnyShards for Shards<M> {
    fn take_over(&self, partition: &Arc<Partition>) {
        let shard = Shard { partition: Arc::clone(partition), state: Mutex::new(State::Loading) };
        self.shards.write().insert(partition.name.index.0, Arc::new(shard));
    }

    fn give_up(&self, index: i32, now: Now) {
        let shard = self.shards.write().remove(&index);
        if let Some(shard) = shard {
            shard.unload(ErrorCode::NotCoordinator, now);
        }
    }

    fn unload_all(&self, now: Now) {
        let shards = std::mem::take(&mut *self.shards.write());
        for shard in shards.into_values() {
            shard.unload(ErrorCode::NotCoordinator, now);
        }
    }

    fn load(&self, index: i32, broker: &Broker) {
        let Some(shard) = self.shard(index) else { return };
        let partition = &shard.partition;
        let config = broker.config();
        let settings = M::log_settings(&config);
        let mut machine = M::new(M::config(&config, &broker.image()));
        let now = broker.env().now();
        match shard_log::replay(partition, settings.load_bytes, &mut machine) {
            Ok(records) => {
                let mut state = shard.state.lock();
                if !matches!(*state, State::Loading) {
                    return; // Given up meanwhile.
                }
                let output = machine.loaded(partition.leader_epoch(), now);
                let mut active = Box::new(Active {
                    machine,
                    settings,
                    promises: BTreeMap::new(),
                    uncommitted: VecDeque::new(),
                    next_ticket: 0,
                });
                let effects = active.carry_out(partition, output, None, now);
                let deadline = active.deadline();
                *state = State::Active(active);
                drop(state);
                shard.after(broker, effects, deadline);
                if records > 0 {
                    tracing::info!(partition = %partition.name, records, "coordinator loaded");
                }
            }
            Err(error) => {
                tracing::error!(partition = %partition.name, "the coordinator's state cannot be loaded: {error}");
                shard.unload(ErrorCode::NotCoordinator, now);
            }
        }
    }

    fn committed(&self, index: i32, broker: &Broker) {
        let Some(shard) = self.shard(index) else { return };
        let effects = match &mut *shard.state.lock() {
            State::Active(active) => active.release(shard.partition.high_watermark()),
            State::Loading | State::Unloaded(_) => return,
        };
        shard.after(broker, effects, Monotonic::NEVER);
    }

    fn tick(&self, broker: &Broker, now: Now) -> Monotonic {
        let shards = self.indexes().into_iter().filter_map(|index| self.online_shard(index, now));
        let deadlines = shards.map(|shard| {
            let mut state = shard.state.lock();
            let State::Active(active) = &mut *state else { return Monotonic::NEVER };
            let mut effects = Effects { answers: active.time_out(now), ..Effects::default() };
            // One step writes one batch at most; several timers may be due.
            for _ in 0..TIMERS_PER_TICK_MAX {
                if active.deadline() > now.monotonic {
                    break;
                }
                let output = active.machine.tick(now);
                effects.add(active.carry_out(&shard.partition, output, None, now));
            }
            let deadline = active.deadline();
            drop(state);
            shard.after(broker, effects, deadline);
            deadline
        });
        deadlines.min().unwrap_or(Monotonic::NEVER)
    }

    fn reconfigure(&self, config: &BrokerConfig, image: &Image) {
        let config = M::config(config, image);
        let shards: Vec<_> = self.shards.read().values().cloned().collect();
        for shard in shards {
            if let State::Active(active) = &mut *shard.state.lock() {
                active.machine.set_config(config.clone());
            }
        }
    }
}

impl<M: Coordinator> Shards<M> {
    /// The indexes of all shards of this broker.
    #[must_use]
    pub fn indexes(&self) -> Vec<i32> {
        self.shards.read().keys().copied().collect()
    }

    /// Looks at the machines that are loaded, one after the other, for metrics.
    pub fn look<T>(&self, mut look: impl FnMut(&M) -> T) -> Vec<T> {
        let shards: Vec<_> = self.shards.read().values().cloned().collect();
        let looks = shards.iter().filter_map(|shard| match &*shard.state.lock() {
            State::Active(active) => Some(look(&active.machine)),
            State::Loading | State::Unloaded(_) => None,
        });
        looks.collect()
    }

    /// Hands a client's command to the shard with this index.
    pub fn submit(
        &self,
        ctx: &Context<'_>,
        index: i32,
        command: M::Command,
    ) -> Arc<Promise<M::Response>> {
        self.submit_guarded(ctx, index, command, None)
    }

    /// As [`Shards::submit`], for a command that makes records in a client's transaction.
    pub(crate) fn submit_guarded(
        &self,
        ctx: &Context<'_>,
        index: i32,
        command: M::Command,
        guard: Option<VerificationGuard>,
    ) -> Arc<Promise<M::Response>> {
        let submission = Submission { command, context: command_context(ctx), guard };
        self.submit_as(ctx.broker, index, submission)
    }

    /// Hands a command to the shard with this index.
    pub fn submit_as(
        &self,
        broker: &Broker,
        index: i32,
        submission: Submission<M>,
    ) -> Arc<Promise<M::Response>> {
        let Submission { command, context, guard } = submission;
        let refuse = |error| Promise::kept(M::refuse(&command, error));
        let Some(shard) = self.online_shard(index, context.now) else {
            return refuse(ErrorCode::NotCoordinator);
        };
        let mut state = shard.state.lock();
        let active = match &mut *state {
            State::Active(active) => active,
            State::Loading => return refuse(ErrorCode::CoordinatorLoadInProgress),
            State::Unloaded(error) => return refuse(*error),
        };
        let ticket = Ticket(active.next_ticket);
        active.next_ticket += 1;
        let promise = Promise::new();
        active.promises.insert(ticket, Arc::clone(&promise));
        let before = active.deadline();
        let output = active.machine.handle(ticket, command, &context);
        let effects = active.carry_out(&shard.partition, output, guard, context.now);
        let deadline = active.deadline();
        drop(state);
        // The timer knows about deadlines up to the one before.
        let news = if deadline < before { deadline } else { Monotonic::NEVER };
        shard.after(broker, effects, news);
        promise
    }

    /// Appends the marker that ends a transaction to a partition of the coordinator's topic, and
    /// applies it to the shard at once.
    ///
    /// # Errors
    /// As [`Partition::append_marker`]; not leader also while the shard is being loaded.
    pub(crate) fn append_marker(
        &self,
        index: i32,
        marker: &TxnMarker,
        bumped: bool,
        now: Now,
    ) -> Result<AppendOutcome, PartitionError> {
        let shard = self.shard(index).ok_or(PartitionError::NotLeader)?;
        let mut state = shard.state.lock();
        let State::Active(active) = &mut *state else { return Err(PartitionError::NotLeader) };
        let outcome = shard.partition.append_marker(marker, bumped, now)?;
        active.machine.replay_end_marker(marker.producer_id, marker.end == TxnEnd::Commit);
        Ok(outcome)
    }

    fn shard(&self, index: i32) -> Option<Arc<Shard<M>>> {
        self.shards.read().get(&index).cloned()
    }

    /// The shard, unless its log directory is offline: what is in memory may then be more than what
    /// the disk will give back, so the shard is given up, and who waits is told.
    fn online_shard(&self, index: i32, now: Now) -> Option<Arc<Shard<M>>> {
        let shard = self.shard(index)?;
        if shard.partition.directory().offline().is_some() {
            self.give_up(index, now);
            return None;
        }
        Some(shard)
    }
}

impl<M: Coordinator> Shard<M> {
    /// What follows a step once the lock is released.
    fn after(&self, broker: &Broker, effects: Effects<M>, deadline: Monotonic) {
        if effects.flush {
            broker.env().submit(Job::Flush(Arc::clone(&self.partition)));
        }
        if deadline != Monotonic::NEVER {
            broker.env().schedule(deadline);
        }
        for (promise, response) in effects.answers {
            promise.keep(response);
        }
        for action in effects.actions {
            M::act(broker, self.partition.name.index.0, action);
        }
    }

    fn unload(&self, error: ErrorCode, now: Now) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Unloaded(error));
        let State::Active(mut active) = state else { return };
        let waiting: Vec<_> = active.uncommitted.drain(..).flat_map(|u| u.completions).collect();
        let completions = active.machine.unload(now).completions;
        for (ticket, mut response) in waiting.into_iter().chain(completions) {
            M::fail(&mut response, error);
            if let Some(promise) = active.promises.remove(&ticket) {
                promise.keep(response);
            }
        }
    }
}

impl<M: Machine> Active<M> {
    fn deadline(&self) -> Monotonic {
        let timer = self.machine.next_deadline().unwrap_or(Monotonic::NEVER);
        // They were queued in the order of their deadlines.
        let waits = |u: &&Uncommitted<M>| !u.completions.is_empty();
        let oldest = self.uncommitted.iter().find(waits).map_or(Monotonic::NEVER, |u| u.deadline);
        timer.min(oldest)
    }

    /// Takes the answers that have waited too long for the high watermark, and makes them say so.
    /// What they answer stays in the log, and is done all the same if it gets committed.
    fn time_out(&mut self, now: Now) -> Vec<Answer<M>> {
        let late = self.uncommitted.iter_mut().take_while(|u| u.deadline <= now.monotonic);
        let late: Vec<_> = late.flat_map(|u| std::mem::take(&mut u.completions)).collect();
        if late.is_empty() {
            return Vec::new();
        }
        self.uncommitted.retain(|u| !u.completions.is_empty() || !u.actions.is_empty());
        late.into_iter()
            .filter_map(|(ticket, mut response)| {
                M::fail(&mut response, ErrorCode::RequestTimedOut);
                Some((self.promises.remove(&ticket)?, response))
            })
            .collect()
    }

    /// Appends the output's records and replays them; returns what is committed already.
    fn carry_out(
        &mut self,
        partition: &Partition,
        output: Output<M>,
        guard: Option<VerificationGuard>,
        now: Now,
    ) -> Effects<M> {
        let mut output = output;
        let mut flush = false;
        let mut appended = output.records.is_empty();
        for _ in 0..APPENDS_PER_STEP_MAX {
            if appended {
                break;
            }
            let options =
                BatchOptions { compression: self.settings.compression, ..BatchOptions::default() };
            match shard_log::append(partition, &output, options, guard, now) {
                Ok(outcome) => {
                    flush = outcome.flush;
                    appended = true;
                    self.replay(partition, &output, outcome.appended.base_offset);
                }
                Err(error) => {
                    tracing::warn!(partition = %partition.name, "a coordinator's records were refused: {error}");
                    output = self.machine.append_failed(output, ErrorCode::from(&error), now);
                    appended = output.records.is_empty();
                }
            }
        }
        let Output { completions, actions, .. } = output;
        if !completions.is_empty() || !actions.is_empty() {
            let end = partition.log_end_offset();
            let timeout = self.settings.commit_timeout_ms;
            let deadline = timeout.map_or(Monotonic::NEVER, |ms| now.monotonic.plus_millis(ms));
            self.uncommitted.push_back(Uncommitted { end, deadline, completions, actions });
        }
        let mut effects = self.release(partition.high_watermark());
        effects.flush = flush;
        effects
    }

    fn replay(&mut self, partition: &Partition, output: &Output<M>, base: Offset) {
        let producer = output.producer.map_or(ProducerId::NONE, |(id, _)| id);
        for (i, record) in (0..).zip(&output.records) {
            if let Err(error) = self.machine.replay(record, base.plus(i), producer) {
                tracing::error!(partition = %partition.name, "a coordinator's own record was not understood: {error}");
            }
        }
    }

    fn release(&mut self, high_watermark: Offset) -> Effects<M> {
        let mut effects = Effects::default();
        while let Some(ready) = self.uncommitted.pop_front_if(|u| u.end <= high_watermark) {
            for (ticket, response) in ready.completions {
                let promise = self.promises.remove(&ticket);
                effects.answers.extend(promise.map(|promise| (promise, response)));
            }
            effects.actions.extend(ready.actions);
        }
        effects
    }
}

impl<M: Machine> Effects<M> {
    fn add(&mut self, more: Self) {
        self.answers.extend(more.answers);
        self.actions.extend(more.actions);
        self.flush |= more.flush;
    }
}

fn command_context(ctx: &Context<'_>) -> CommandContext {
    CommandContext {
        now: ctx.now,
        client_id: ByteString::from(&*ctx.request.client_id),
        client_host: format!("/{}", ctx.connection.peer.ip().to_canonical()).into(),
        principal: ByteString::from_static("User:ANONYMOUS"),
        api_version: ctx.version(),
        random: random(ctx.broker.env()),
    }
}

/// The context of a command that this broker gives itself.
pub(crate) fn own_context(env: &dyn Env) -> CommandContext {
    CommandContext {
        now: env.now(),
        client_id: ByteString::new(),
        client_host: ByteString::new(),
        principal: ByteString::new(),
        api_version: 0,
        random: random(env),
    }
}

fn random(env: &dyn Env) -> u128 {
    (u128::from(env.random()) << 64) | u128::from(env.random())
}
