//! What a seed decides before the run: the node's shape, its configuration, who its clients are.

use ottla_testkit::Rng;

use crate::clients::Style;

/// Everything in a run that does not come about on the way. Times are virtual microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Log directories; the first holds the metadata log.
    pub(crate) dirs: Vec<String>,
    /// `log.flush.interval.messages=1` for all topics, `__consumer_offsets` included.
    pub(crate) synced: bool,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    pub(crate) committers: usize,
    pub(crate) members: usize,
    /// Transactional clients; there are none in a run that is about other things.
    pub(crate) transactions: Option<Transactions>,
    /// When clients stop.
    pub(crate) end: u64,
    /// Longest time a frame travels.
    pub(crate) latency_max: u64,
    /// Longest time that one frame in two hundred travels.
    pub(crate) delay_max: u64,
    /// Longest a job usually waits.
    pub(crate) job_delay_max: u64,
    /// The faults, in time order.
    pub(crate) faults: Vec<(u64, FaultKind)>,
}

/// Who uses transactions, and how.
#[derive(Debug, Clone)]
pub(crate) struct Transactions {
    /// The level of `transaction.version`.
    pub(crate) level: i16,
    /// Producers without a purpose; some share a transactional id.
    pub(crate) scribes: Vec<TxnClient>,
    /// Tellers of the bank; all share a transactional id.
    pub(crate) tellers: Vec<TxnClient>,
    pub(crate) workers: Vec<TxnClient>,
}

/// A transactional client.
#[derive(Debug, Clone)]
pub(crate) struct TxnClient {
    pub(crate) id: String,
    pub(crate) style: Style,
    pub(crate) timeout_ms: i32,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The machine loses power: any subset of what was not synced is gone.
    PowerLoss,
    /// Power loss in the middle of an operation, this many disk mutations from now.
    PowerLossAfter(u64),
    /// The process is killed; the page cache stays.
    Kill,
    /// A clean stop and start.
    Stop,
    /// The disk has room for so many more bytes, for so many microseconds.
    Full(u64, u64),
    /// The next sync in some directory fails; a restart follows later.
    SyncError,
    /// The wall clock jumps by so many milliseconds.
    ClockJump(i64),
    /// One lane of jobs stalls for so long.
    Stall(u64),
}

const SECOND: u64 = 1_000_000;

impl Plan {
    /// The plan of a run that is about transactions, or about everything else.
    pub(crate) fn new(rng: &mut Rng, transactional: bool) -> Self {
        let end = if transactional { rng.between(4, 12) } else { rng.between(5, 25) } * SECOND;
        let count = rng.between(1, 6);
        let mut faults: Vec<_> =
            (0..count).map(|_| (rng.between(SECOND / 2, end), fault(rng))).collect();
        faults.sort_by_key(|(at, _)| *at);
        let dirs = (0..rng.between(1, 3)).map(|i| format!("/data{i}")).collect();
        let mut plan = Self {
            dirs,
            synced: rng.chance(1, 2),
            producers: rng.between(1, 3) as usize,
            consumers: rng.between(1, 2) as usize,
            committers: rng.between(0, 2) as usize,
            members: rng.between(0, 3) as usize,
            transactions: None,
            end,
            latency_max: *rng.pick(&[50, 1_000, 20_000]),
            delay_max: 0,
            job_delay_max: *rng.pick(&[10, 1_000, 50_000]),
            faults,
        };
        if transactional {
            plan.add_transactions(rng);
        }
        plan
    }

    /// Everything that is acknowledged is synced, and clocks jump by less than what is waited for.
    fn add_transactions(&mut self, rng: &mut Rng) {
        self.synced = true;
        self.producers = 0;
        self.committers = 0;
        self.members = 0;
        self.delay_max = *rng.pick(&[0, 0, 100_000, 1_500_000]);
        for (_, fault) in &mut self.faults {
            if let FaultKind::ClockJump(millis) = fault {
                *millis %= 2_000;
            }
        }
        self.transactions = Some(Transactions::new(rng));
    }

    /// `server.properties` beyond the packaged ones.
    pub(crate) fn overrides(&self) -> Vec<(&'static str, String)> {
        let text = |value: &str| value.to_owned();
        let mut all = vec![
            ("log.dirs", self.dirs.join(",")),
            ("metadata.log.dir", self.dirs[0].clone()),
            ("log.initial.task.delay.ms", text("700")),
            ("log.retention.check.interval.ms", text("1500")),
            ("replica.high.watermark.checkpoint.interval.ms", text("1100")),
            ("log.flush.offset.checkpoint.interval.ms", text("1300")),
            ("log.segment.delete.delay.ms", text("900")),
            ("log.message.timestamp.after.max.ms", i64::MAX.to_string()),
            ("metadata.log.max.record.bytes.between.snapshots", text("3000")),
            ("offsets.topic.num.partitions", text("2")),
            ("group.initial.rebalance.delay.ms", text("50")),
            ("group.min.session.timeout.ms", text("500")),
            ("auto.create.topics.enable", text("false")),
        ];
        if self.transactions.is_some() {
            all.extend([
                ("transaction.state.log.num.partitions", text("2")),
                ("transaction.state.log.replication.factor", text("1")),
                ("transaction.state.log.min.isr", text("1")),
                ("transaction.abort.timed.out.transaction.cleanup.interval.ms", text("400")),
                ("log.cleaner.min.cleanable.ratio", text("0.2")),
                ("log.cleaner.backoff.ms", text("700")),
            ]);
        }
        if self.synced {
            all.push(("log.flush.interval.messages", text("1")));
        }
        all
    }
}

impl Transactions {
    fn new(rng: &mut Rng) -> Self {
        let level = *rng.pick(&[2, 2, 2, 1, 0]);
        let mut scribes = Vec::new();
        for number in 0..rng.between(0, 2) {
            let id = format!("scribe-{number}");
            scribes.push(TxnClient::new(rng, id.clone(), level));
            if rng.chance(1, 3) {
                scribes.push(TxnClient::new(rng, id, level));
            }
        }
        let tellers = rng.between(0, 2);
        let tellers =
            (0..tellers).map(|_| TxnClient::new(rng, "teller".to_owned(), level)).collect();
        let workers = rng.between(0, 3);
        let workers =
            (0..workers).map(|n| TxnClient::new(rng, format!("worker-{n}"), level)).collect();
        if scribes.is_empty() {
            scribes.push(TxnClient::new(rng, "scribe-0".to_owned(), level));
        }
        Self { level, scribes, tellers, workers }
    }
}

impl TxnClient {
    /// A client that speaks what the cluster allows.
    fn new(rng: &mut Rng, id: String, level: i16) -> Self {
        let implicit = level >= 2 && rng.chance(2, 3);
        let style = if implicit { Style::Implicit } else { Style::Explicit };
        let timeout_ms = *rng.pick(&[700, 1_500, 3_000]);
        Self { id, style, timeout_ms }
    }
}

fn fault(rng: &mut Rng) -> FaultKind {
    match rng.below(12) {
        0 | 1 => FaultKind::PowerLoss,
        2 | 3 => FaultKind::PowerLossAfter(rng.below(40)),
        4 => FaultKind::Kill,
        5 | 6 => FaultKind::Stop,
        7 => FaultKind::Full(rng.below(60_000), rng.between(SECOND / 5, 4 * SECOND)),
        8 => FaultKind::SyncError,
        9 => FaultKind::ClockJump(rng.between(0, 4_000_000) as i64 - 2_000_000),
        _ => FaultKind::Stall(rng.between(SECOND / 10, 4 * SECOND)),
    }
}
