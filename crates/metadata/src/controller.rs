//! The controller: commands in, records and answers out; state changes only by replay.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::BrokerConfig;
use ottla_protocol::MetadataRecord;
use ottla_protocol::ids::{BrokerId, Monotonic, Now, Offset};

use crate::command::{Command, CommandContext, ControllerError, Outcome, Response, dispatch};
use crate::commands::{Env, own_command};
use crate::heartbeats::Heartbeats;
use crate::image::{Image, Provenance, ReplayError};
use crate::loader::Loader;

/// What does not change while the controller runs.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    /// This node.
    pub node_id: BrokerId,
    /// From `meta.properties`.
    pub cluster_id: String,
    /// The finalized kraft.version: 1 for a dynamic quorum.
    pub kraft_version: i16,
    /// `num.partitions`.
    pub default_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `min.insync.replicas` of the file.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable` of the file.
    pub unclean_election: bool,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `metadata.max.idle.interval.ms`; zero: no records when idle.
    pub idle_interval: Duration,
    /// The node's file, for checking values and for defaults.
    pub broker: Arc<BrokerConfig>,
    /// The records of the bootstrap snapshot (feature levels), for the first activation.
    pub bootstrap: Vec<crate::record::VersionedRecord>,
}

impl ControllerConfig {
    /// The settings of a node's file. `bootstrap`: the data records of the snapshot 0-0.
    #[must_use]
    pub fn new(
        broker: Arc<BrokerConfig>,
        cluster_id: &str,
        kraft_version: i16,
        bootstrap: Vec<crate::record::VersionedRecord>,
    ) -> Self {
        let number = |name: &str| match broker.value(name) {
            Some(ottla_config::Value::Integer(value)) => *value,
            _ => 1,
        };
        let millis = |name: &str| Duration::from_millis(u64::try_from(number(name)).unwrap_or(0));
        let small = |name: &str| i32::try_from(number(name)).unwrap_or(i32::MAX);
        let unclean = broker.text("unclean.leader.election.enable") == Some("true");
        Self {
            node_id: BrokerId(broker.node_id()),
            cluster_id: cluster_id.to_owned(),
            kraft_version,
            default_partitions: small("num.partitions"),
            default_replication_factor: i16::try_from(small("default.replication.factor"))
                .unwrap_or(i16::MAX),
            min_insync_replicas: small("min.insync.replicas"),
            unclean_election: unclean,
            session_timeout: millis("broker.session.timeout.ms"),
            idle_interval: millis("metadata.max.idle.interval.ms"),
            broker,
            bootstrap,
        }
    }
}

/// The state machine. See [`Controller::handle`] for the driver's loop.
pub struct Controller {
    config: ControllerConfig,
    /// After everything appended, committed or not.
    speculative: Loader,
    committed: Loader,
    /// The state after each appended batch that is not yet committed, by its last offset. Bounded by
    /// the quorum's limit on unflushed bytes.
    pending: VecDeque<(Offset, Loader)>,
    beats: Heartbeats,
    active: bool,
    last_append: Monotonic,
}

impl Controller {
    /// A controller that is not active. `image`: from the newest snapshot, or empty.
    #[must_use]
    pub fn new(config: ControllerConfig, image: Image) -> Self {
        let loader = Loader::new(image);
        Self {
            config,
            speculative: loader.clone(),
            committed: loader,
            pending: VecDeque::new(),
            beats: Heartbeats::default(),
            active: false,
            last_append: Monotonic(0),
        }
    }

    /// Decides a command by the speculative state. The driver
    ///
    /// 1. appends the outcome's records to the metadata log (through `ottla-raft`),
    /// 2. calls [`Controller::replay`] for each batch **at once**, before the next command,
    /// 3. when the high watermark passes the last record: [`Controller::commit`], publish the image,
    ///    answer;
    /// 4. if an append fails or leadership is lost: [`Controller::discard`] and [`Controller::resign`],
    ///    and answer NOT_CONTROLLER to all that wait.
    ///
    /// # Errors
    /// [`ControllerError::NotActive`]. Everything else that is wrong is in the response.
    pub fn handle(
        &mut self,
        command: impl Into<Command>,
        ctx: &mut CommandContext<'_>,
    ) -> Result<Outcome, ControllerError> {
        if !self.active {
            return Err(ControllerError::NotActive);
        }
        let now = ctx.now.monotonic;
        let mut env = Env {
            image: self.speculative.working(),
            shown: self.speculative.image(),
            in_transaction: self.speculative.in_transaction(),
            config: &self.config,
            beats: &mut self.beats,
            ctx,
        };
        let (records, response) = run(command.into(), &mut env);
        if !records.is_empty() {
            self.last_append = now;
        }
        Ok(Outcome { atomic: is_atomic(&response), records, response })
    }

    /// Applies a batch that was appended here, read from the log at start, or fetched from the
    /// leader. `at`: its last offset, epoch and timestamp. A control batch has no records.
    ///
    /// # Errors
    /// A record that does not fit. Nothing of the batch is applied; the node must stop.
    pub fn replay<'a>(
        &mut self,
        at: Provenance,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<(), ReplayError> {
        let mut next = self.speculative.clone();
        next.apply_batch(at, records)?;
        self.pending.push_back((at.offset, next.clone()));
        self.speculative = next;
        Ok(())
    }

    /// Everything below `high_watermark` is committed. Returns the image to publish if it is another
    /// than before.
    pub fn commit(&mut self, high_watermark: Offset) -> Option<&Image> {
        let mut moved = false;
        while let Some((_, loader)) = self.pending.pop_front_if(|(last, _)| *last < high_watermark)
        {
            self.committed = loader;
            moved = true;
        }
        moved.then(|| self.committed.image())
    }

    /// Forgets everything that is not committed.
    pub fn discard(&mut self) {
        self.pending.clear();
        self.speculative = self.committed.clone();
    }

    /// This node leads the quorum and has committed the start of its epoch. The driver then runs
    /// [`Command::Activate`] before any other.
    pub fn activate(&mut self, now: Now) {
        self.active = true;
        self.last_append = now.monotonic;
        self.beats.restart(self.speculative.working(), now.monotonic);
    }

    /// This node leads no longer.
    pub fn resign(&mut self) {
        self.active = false;
    }

    /// Whether commands are accepted.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// The newest committed image that may be shown.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.committed.image()
    }

    /// Whether a snapshot of [`Controller::image`] may be taken now.
    #[must_use]
    pub fn can_snapshot(&self) -> bool {
        !self.committed.in_transaction()
    }

    /// The state by which the next command is decided.
    #[must_use]
    pub fn speculative(&self) -> &Image {
        self.speculative.working()
    }

    /// What the controller itself wants to do now; give each to [`Controller::handle`].
    #[must_use]
    pub fn due(&self, now: Now) -> Vec<Command> {
        let mut due = Vec::new();
        if self.active && now.monotonic >= self.next_stale() {
            due.push(Command::FenceStale);
        }
        if self.active && now.monotonic >= self.next_idle() {
            due.push(Command::NoOp);
        }
        due
    }

    /// When to ask [`Controller::due`] again.
    #[must_use]
    pub fn next_deadline(&self) -> Monotonic {
        if self.active { self.next_stale().min(self.next_idle()) } else { Monotonic::NEVER }
    }

    fn next_stale(&self) -> Monotonic {
        self.beats.next_stale(self.speculative.working(), self.config.session_timeout)
    }

    fn next_idle(&self) -> Monotonic {
        match self.config.idle_interval {
            Duration::ZERO => Monotonic::NEVER,
            interval => self.last_append.plus(interval),
        }
    }
}

fn run(command: Command, env: &mut Env<'_, '_>) -> (Vec<crate::record::VersionedRecord>, Response) {
    dispatch!(command, env, own_command)
}

/// A broker's state change may come in pieces; what a client asked for may not.
fn is_atomic(response: &Response) -> bool {
    !matches!(response, Response::Done)
}
