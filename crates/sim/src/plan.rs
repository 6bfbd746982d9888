//! What a seed decides before the run: the node's shape, its configuration, who its clients are.

use ottla_testkit::Rng;

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
    /// When clients stop.
    pub(crate) end: u64,
    /// Longest time a frame travels.
    pub(crate) latency_max: u64,
    /// Longest a job usually waits.
    pub(crate) job_delay_max: u64,
    /// The faults, in time order.
    pub(crate) faults: Vec<(u64, FaultKind)>,
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
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let end = rng.between(5, 25) * SECOND;
        let count = rng.between(1, 6);
        let mut faults: Vec<_> =
            (0..count).map(|_| (rng.between(SECOND / 2, end), fault(rng))).collect();
        faults.sort_by_key(|(at, _)| *at);
        let dirs = (0..rng.between(1, 3)).map(|i| format!("/data{i}")).collect();
        Self {
            dirs,
            synced: rng.chance(1, 2),
            producers: rng.between(1, 3) as usize,
            consumers: rng.between(1, 2) as usize,
            committers: rng.between(0, 2) as usize,
            members: rng.between(0, 3) as usize,
            end,
            latency_max: *rng.pick(&[50, 1_000, 20_000]),
            job_delay_max: *rng.pick(&[10, 1_000, 50_000]),
            faults,
        }
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
        if self.synced {
            all.push(("log.flush.interval.messages", text("1")));
        }
        all
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
