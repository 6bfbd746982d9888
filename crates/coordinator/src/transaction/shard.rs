//! One partition of `__transaction_state` and the transactional ids it stores.

use std::collections::BTreeMap;

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId};

use super::command::{MarkersId, TxnAction, TxnCommand, TxnResponse};
use super::config::TransactionConfig;
use super::markers::{Progress, markers};
use super::records::{self, Entry};
use super::state::TransactionState;
use super::sweep::Timer;
use super::transition::{Partitions, Transaction, each, insert};
use crate::machine::{CommandContext, LogRecord, Machine, Output, Ticket, detach};
use crate::records::ReplayError;
use crate::timers::Timers;

/// What a transaction shard wants done.
pub(crate) type Out = Output<TransactionShard>;

/// The transactional ids of one partition of `__transaction_state`, as their coordinator.
///
/// See [`Machine`]. It changes nothing before its record is in the log, so a failed append leaves
/// it as it was; what it has to do without being asked, it tries again after a while.
#[derive(Debug)]
pub struct TransactionShard {
    pub(super) config: TransactionConfig,
    pub(super) ids: BTreeMap<ByteString, Known>,
    pub(super) timers: Timers<Timer>,
    /// Leader epoch of the partition.
    epoch: LeaderEpoch,
    /// Transactions that have been prepared since loading, for [`MarkersId`].
    prepared: u64,
    /// Time of the current step; replay is part of it.
    now: Option<Now>,
    /// The part of what the current step stores that is not in the log.
    last_epoch: Option<(ByteString, ProducerEpoch)>,
}

/// A transactional id.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) txn: Transaction,
    /// In a Prepare state, once loaded.
    pub(super) markers: Option<Progress>,
}

impl Machine for TransactionShard {
    type Config = TransactionConfig;
    type Command = TxnCommand;
    type Response = TxnResponse;
    type Action = TxnAction;
    /// Nothing was done yet.
    type Undo = std::convert::Infallible;

    fn new(config: TransactionConfig) -> Self {
        Self {
            config,
            ids: BTreeMap::new(),
            timers: Timers::default(),
            epoch: LeaderEpoch::NONE,
            prepared: 0,
            now: None,
            last_epoch: None,
        }
    }

    fn set_config(&mut self, config: TransactionConfig) {
        self.config = config;
    }

    fn handle(&mut self, ticket: Ticket, command: TxnCommand, ctx: &CommandContext) -> Out {
        let mut out = self.step(ctx.now);
        let response = match command {
            TxnCommand::InitProducerId { request, spare } => {
                self.init_producer_id((ticket, ctx), &request, spare, &mut out);
                return out;
            }
            TxnCommand::EndTxn { request, spare } => {
                self.end_txn((ticket, ctx), &request, spare, &mut out);
                return out;
            }
            TxnCommand::AddPartitions { add, batched } => {
                TxnResponse::AddPartitions(self.add_partitions(&add, batched, ctx, &mut out))
            }
            TxnCommand::VerifyPartitions(verify) => {
                TxnResponse::VerifyPartitions(self.verify_partitions(verify))
            }
            TxnCommand::DescribeTransactions(ids) => {
                let described = ids.iter().map(|id| self.describe(id)).collect();
                TxnResponse::DescribeTransactions(described)
            }
            TxnCommand::ListTransactions(filter) => {
                TxnResponse::ListTransactions(Ok(self.list(&filter, ctx.now.wall)))
            }
            TxnCommand::MarkerResults(results) => {
                self.marker_results(&results, ctx.now, &mut out);
                TxnResponse::MarkerResults
            }
        };
        out.complete(ticket, response);
        out
    }

    fn tick(&mut self, now: Now) -> Out {
        let mut out = self.step(now);
        while out.records.is_empty()
            && let Some(timer) = self.timers.pop_due(now.monotonic)
        {
            let sweep = timer == Timer::Expiry;
            self.on_timer(timer, now, &mut out);
            if sweep {
                break;
            }
        }
        out
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    fn replay(
        &mut self,
        record: &LogRecord,
        offset: Offset,
        _producer: ProducerId,
    ) -> Result<(), ReplayError> {
        match records::parse(record, offset)? {
            Entry::Transaction(id, Some(txn)) => self.apply(&id, txn),
            Entry::Transaction(id, None) => {
                self.ids.remove(&id);
                self.timers.cancel(Timer::Timeout(id.clone()));
                self.timers.cancel(Timer::Markers(id));
            }
            Entry::Unknown => {}
        }
        Ok(())
    }

    fn loaded(&mut self, epoch: LeaderEpoch, now: Now) -> Out {
        self.epoch = epoch;
        let mut out = self.step(now);
        let ids: Vec<ByteString> = self.ids.keys().cloned().collect();
        for id in ids {
            let Some(known) = self.ids.get(&id) else { continue };
            if let Some(at) = known.txn.expires_at() {
                let left = Self::time_left_ms(at, known.txn.timeout_ms, now);
                self.watch(&id, left, now);
            }
            self.begin_markers(&id);
            self.send_all_markers(&id, &mut out);
        }
        let pause = self.config.expiration_interval_ms;
        self.timers.set(Timer::Expiry, now.monotonic.plus_millis(pause));
        out
    }

    fn append_failed(&mut self, output: Out, error: ErrorCode, now: Now) -> Out {
        let mut out = Out { completions: output.completions, ..self.step(now) };
        for (_, response) in &mut out.completions {
            response.retract();
            response.fail(error);
        }
        if output.records.iter().any(|record| record.value.is_none()) {
            let pause = self.config.expiration_interval_ms;
            self.timers.set(Timer::Expiry, now.monotonic.plus_millis(pause));
        }
        for id in output.records.iter().filter_map(records::id_of) {
            self.try_again(&id, now);
        }
        out
    }

    fn unload(&mut self, _now: Now) -> Out {
        *self = Self::new(self.config.clone());
        Out::default()
    }

    fn refuse(command: &TxnCommand, error: ErrorCode) -> TxnResponse {
        command.refuse(error)
    }

    fn fail(response: &mut TxnResponse, error: ErrorCode) {
        response.fail(error);
    }
}

impl TransactionShard {
    /// How many transactional ids there are, by the name of their state, for metrics.
    #[must_use]
    pub fn ids_by_state(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for known in self.ids.values() {
            *counts.entry(known.txn.state.name()).or_default() += 1;
        }
        counts
    }

    /// Has a state stored.
    pub(super) fn write(&mut self, id: &ByteString, txn: &Transaction, out: &mut Out) {
        out.records.push(records::stored(id, txn, self.config.has_flexible_records()));
        self.last_epoch = Some((detach(id), txn.last_epoch));
    }

    /// Has a Prepare state stored, and then its markers sent; without partitions it is complete at
    /// once. One step prepares one transaction at most.
    pub(super) fn prepare(&mut self, id: &ByteString, txn: &Transaction, now: Now, out: &mut Out) {
        self.write(id, txn, out);
        let partitions: Vec<_> = txn.partitions.iter().flat_map(each).collect();
        if partitions.is_empty() {
            return self.write(id, &txn.complete(now.wall), out);
        }
        let markers = markers(self.next_markers_id(), id, txn, partitions);
        out.actions.push(TxnAction::WriteMarkers(markers));
    }

    const fn next_markers_id(&self) -> MarkersId {
        MarkersId { coordinator_epoch: self.epoch, number: self.prepared + 1 }
    }

    /// Begins a step at `now`.
    fn step(&mut self, now: Now) -> Out {
        self.now = Some(now);
        self.last_epoch = None;
        Out::default()
    }

    /// A record of the log: this is how an id stands now.
    fn apply(&mut self, id: &ByteString, txn: Transaction) {
        let last_epoch = match &self.last_epoch {
            Some((own, epoch)) if own == id => *epoch,
            _ => ProducerEpoch::NONE,
        };
        let txn = Transaction { last_epoch, ..txn };
        let was_open = self.ids.get(id).is_some_and(Known::is_open);
        let timeout_ms = i64::from(txn.timeout_ms);
        let expires = txn.expires_at().is_some();
        let known = Known { txn, markers: None };
        let is_open = known.is_open();
        if let Some(old) = self.ids.get_mut(id) {
            *old = known;
        } else {
            self.ids.insert(detach(id), known);
        }
        let Some(now) = self.now else { return };
        self.timers.cancel(Timer::Markers(id.clone()));
        if !is_open {
            self.timers.cancel(Timer::Timeout(id.clone()));
            self.begin_markers(id);
        } else if expires && !was_open {
            self.watch(&detach(id), timeout_ms, now);
        }
    }

    /// A prepared transaction needs markers, or none and is complete.
    fn begin_markers(&mut self, id: &ByteString) {
        let markers_id = self.next_markers_id();
        let Some(known) = self.ids.get_mut(id) else { return };
        if known.txn.state.prepared().is_none() {
            return;
        }
        let wanted = known.txn.partitions.iter().flat_map(each);
        let progress = Progress::new(markers_id, wanted);
        let (done, at) = (progress.is_done(), self.now);
        known.markers = Some(progress);
        self.prepared += 1;
        if let Some(now) = at.filter(|_| done) {
            self.timers.set(Timer::Markers(detach(id)), now.monotonic);
        }
    }

    /// The log refused what this id was to become: nothing happened, but what the shard does by
    /// itself must not be forgotten.
    fn try_again(&mut self, id: &ByteString, now: Now) {
        let Some(known) = self.ids.get(id) else { return };
        if known.txn.state == TransactionState::Ongoing {
            let timer = Timer::Timeout(id.clone());
            if known.txn.expires_at().is_some() && !self.timers.is_set(&timer) {
                let pause = self.config.abort_interval_ms;
                self.timers.set(timer, now.monotonic.plus_millis(pause));
            }
        } else if known.markers.as_ref().is_some_and(Progress::is_done) {
            self.complete_later(id, now);
        }
    }
}

impl Known {
    fn is_open(&self) -> bool {
        self.txn.state == TransactionState::Ongoing
    }

    /// The partitions of its transaction that have not seen its end.
    pub(super) fn open_partitions(&self) -> Partitions {
        let Some(progress) = &self.markers else {
            return self.txn.partitions.clone().unwrap_or_default();
        };
        let mut open = Partitions::new();
        for partition in progress.sent.iter().chain(&progress.failed) {
            insert(&mut open, &partition.topic, partition.partition);
        }
        open
    }
}
