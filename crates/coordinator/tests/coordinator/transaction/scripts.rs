//! Stories in `testdata/transaction/*.txt`. A producer is called by its transactional id; the
//! producer id and epoch it was told last are remembered, and can be overridden (`pid=`, `epoch=`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ottla_coordinator::{
    AddPartitions, LogRecord, Machine, MarkerOutcome, MarkerResults, Markers, Ticket,
    TopicPartition, TransactionConfig, TransactionFilter, TransactionShard, TxnAction, TxnCommand,
    TxnResponse,
};
use ottla_protocol::ids::{ProducerEpoch, ProducerId};
use ottla_protocol::log_record::{TransactionStateKey, TransactionStateValue, encode_value};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest};
use ottla_protocol::{ByteString, ErrorCode};

use crate::node::{Entry, Node};
use crate::scripts::{Line, error_named, error_text, millis};

macro_rules! stories {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let mut story = Story::new();
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"), "/testdata/transaction/", stringify!($name), ".txt"
            );
            ottla_testkit::run_script(path, |block| story.run(block));
        }
    )*};
}

stories! {
    init_producer_id add_partitions end_txn end_txn_before_kip_890 epochs_used_up
    markers failures time listing reload kafka_bytes error_matrix
}

/// The first producer id that is given away.
const FIRST_ID: i64 = 100;

struct Story {
    node: Node<TransactionShard>,
    known: BTreeMap<String, (i64, i16)>,
    /// Who asked what.
    asked: BTreeMap<Ticket, (String, &'static str)>,
    /// The markers that were sent last.
    sent: BTreeMap<String, Markers>,
    /// ... and before those.
    sent_before: BTreeMap<String, Markers>,
    next_id: i64,
    raw: bool,
    shown: usize,
    out: Vec<String>,
}

impl Story {
    fn new() -> Self {
        Self {
            node: Node::new(TransactionConfig::default()),
            known: BTreeMap::new(),
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            sent_before: BTreeMap::new(),
            next_id: FIRST_ID,
            raw: false,
            shown: 0,
            out: Vec::new(),
        }
    }

    fn run(&mut self, block: &str) -> String {
        for text in block.lines() {
            self.line(&Line::parse(text));
            self.show_log();
            self.show_actions();
        }
        std::mem::take(&mut self.out).join("\n")
    }

    fn line(&mut self, line: &Line<'_>) {
        let who = line.words.get(1).copied().unwrap_or("-");
        match line.words[0] {
            "config" => self.configure(line),
            "raw" => self.raw = true,
            "at" => self.node.set_wall(who.parse().unwrap()),
            "advance" => {
                let done = self.node.advance(millis(who));
                self.show(done);
            }
            "lag" => self.node.lags = true,
            "commit" => {
                self.node.lags = false;
                let done = self.node.commit();
                self.show(done);
            }
            "reload" | "crash" => {
                let done = self.node.reload(line.words[0] == "crash");
                self.shown = self.shown.min(self.node.log.len());
                self.show(done);
            }
            "fail" => self.node.failures.push(error_named(who)),
            "init" => self.init(who, line),
            "add" | "offsets" => {
                let batched = line.words[0] == "add" && line.number("v", 5) > 3;
                let add = self.partitions(who, line);
                self.ask(
                    who,
                    "add",
                    line.number("v", 5),
                    TxnCommand::AddPartitions { add, batched },
                );
            }
            "verify" => {
                let verify = self.partitions(who, line);
                self.ask(who, "verify", 5, TxnCommand::VerifyPartitions(verify));
            }
            "end" => self.end(who, line),
            "lift" => self.lift(who, line.words[2].parse().unwrap()),
            "late" => {
                let before = self.sent_before[who].clone();
                let now = self.sent.insert(who.to_owned(), before).unwrap();
                self.report(who, line, MarkerOutcome::Written);
                self.sent.insert(who.to_owned(), now);
            }
            "written" => self.report(who, line, MarkerOutcome::Written),
            "deleted" => self.report(who, line, MarkerOutcome::Deleted),
            "failed" => {
                let error = line.text("error", "NOT_LEADER_OR_FOLLOWER");
                self.report(who, line, MarkerOutcome::Failed(error_named(&error)));
            }
            "describe" => {
                let id = ByteString::from(if who == "none" { "" } else { who });
                self.ask(who, "describe", 0, TxnCommand::DescribeTransactions(vec![id]));
            }
            "list" => self.list(line),
            verb => panic!("no such command: {verb}"),
        }
    }

    fn configure(&mut self, line: &Line<'_>) {
        let config = &mut self.node.config;
        config.transaction_version = line.number("version", config.transaction_version);
        config.transactional_ids_max = line.number("ids", config.transactional_ids_max);
        config.two_phase_commit = line.number("2pc", config.two_phase_commit);
        self.node.shard.set_config(config.clone());
    }

    fn spare(&self, line: &Line<'_>) -> Option<ProducerId> {
        let given = line.options.get("spare").copied() != Some("none");
        given.then(|| ProducerId(line.number("spare", self.next_id)))
    }

    fn init(&mut self, who: &str, line: &Line<'_>) {
        let (mut producer_id, mut producer_epoch) = (-1, -1);
        if line.words.contains(&"again") {
            (producer_id, producer_epoch) = self.known[who];
        }
        let request = InitProducerIdRequest {
            transactional_id: Some(if who == "none" { "" } else { who }.into()),
            transaction_timeout_ms: line.number("timeout", 60_000),
            producer_id: line.number("pid", producer_id),
            producer_epoch: line.number("epoch", producer_epoch),
            enable2_pc: line.number("2pc", false),
            keep_prepared_txn: line.number("keep", false),
            ..Default::default()
        };
        let command = TxnCommand::InitProducerId { request, spare: self.spare(line) };
        self.ask(who, "init", line.number("v", 5), command);
    }

    /// As if the epoch had been bumped up to `epoch`.
    fn lift(&mut self, who: &str, epoch: i16) {
        let Some(Entry::Record(_, record)) = self.node.log.last().cloned() else {
            panic!("no log")
        };
        let (TransactionStateValue::TransactionLog(mut value), version) =
            TransactionStateValue::decode(0, record.value.unwrap()).unwrap();
        value.producer_epoch = epoch;
        let value = Some(encode_value(&value, version).unwrap());
        self.node.log.push(Entry::Record(ProducerId::NONE, LogRecord { key: record.key, value }));
        self.known.get_mut(who).unwrap().1 = epoch;
        self.shown = self.node.log.len();
        self.node.reload(false);
    }

    fn producer(&self, who: &str, line: &Line<'_>) -> (i64, i16) {
        let (id, epoch) = self.known.get(who).copied().unwrap_or((-1, -1));
        (line.number("pid", id), line.number("epoch", epoch))
    }

    fn partitions(&self, who: &str, line: &Line<'_>) -> AddPartitions {
        let (producer_id, producer_epoch) = self.producer(who, line);
        AddPartitions {
            transactional_id: if who == "none" { "" } else { who }.into(),
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(producer_epoch),
            partitions: places(line),
        }
    }

    fn end(&mut self, who: &str, line: &Line<'_>) {
        let (producer_id, producer_epoch) = self.producer(who, line);
        let request = EndTxnRequest {
            transactional_id: if who == "none" { "" } else { who }.into(),
            producer_id,
            producer_epoch,
            committed: line.words.contains(&"commit"),
            ..Default::default()
        };
        let command = TxnCommand::EndTxn { request, spare: self.spare(line) };
        self.ask(who, "end", line.number("v", 5), command);
    }

    /// Some of the markers that were sent, or all.
    fn report(&mut self, who: &str, line: &Line<'_>, outcome: MarkerOutcome) {
        let markers = &self.sent[who];
        let some = places(line);
        let which = if some.is_empty() { markers.partitions.clone() } else { some };
        let results = MarkerResults {
            id: markers.id,
            transactional_id: who.into(),
            results: which.into_iter().map(|partition| (partition, outcome)).collect(),
        };
        self.ask(who, "report", 0, TxnCommand::MarkerResults(results));
    }

    fn list(&mut self, line: &Line<'_>) {
        let words = |key| -> Vec<&str> {
            let text: Option<&&str> = line.options.get(key);
            text.into_iter().flat_map(|t| t.split(',')).collect()
        };
        let request = ListTransactionsRequest {
            state_filters: words("states").into_iter().map(ByteString::from).collect(),
            producer_id_filters: words("pids").iter().map(|id| id.parse().unwrap()).collect(),
            duration_filter: line.number("duration", -1),
            transactional_id_pattern: line.options.get("pattern").map(|text| (*text).into()),
            ..Default::default()
        };
        match TransactionFilter::new(&request) {
            Ok((filter, unknown)) => {
                if !unknown.is_empty() {
                    self.out.push(format!("unknown: {}", unknown.join(",")));
                }
                self.ask("-", "list", 2, TxnCommand::ListTransactions(filter));
            }
            Err(error) => self.out.push(format!("list: {}", error_text(error.code()))),
        }
    }

    fn ask(&mut self, who: &str, what: &'static str, version: i16, command: TxnCommand) {
        let (ticket, done) = self.node.handle(command, version);
        self.asked.insert(ticket, (who.to_owned(), what));
        if self.node.is_open(ticket) || self.node.lags {
            self.out.push(format!("{who} waits"));
        }
        self.show(done);
    }

    fn show(&mut self, done: Vec<(Ticket, TxnResponse)>) {
        for (ticket, response) in done {
            let (who, what) = self.asked[&ticket].clone();
            let Some(text) = self.answer(&who, response).filter(|_| !self.raw) else { continue };
            self.out.push(format!("{who} {what}: {text}").trim_start_matches("- ").to_owned());
        }
    }

    fn told(&mut self, who: &str, producer_id: i64, producer_epoch: i16) -> String {
        self.known.insert(who.to_owned(), (producer_id, producer_epoch));
        if producer_id == self.next_id {
            self.next_id += 1;
        }
        format!("pid={producer_id} epoch={producer_epoch}")
    }

    fn answer(&mut self, who: &str, response: TxnResponse) -> Option<String> {
        Some(match response {
            TxnResponse::InitProducerId(r) if r.error_code == 0 => {
                self.told(who, r.producer_id, r.producer_epoch)
            }
            TxnResponse::InitProducerId(r) => {
                assert_eq!((r.producer_id, r.producer_epoch), (-1, -1));
                error_text(r.error_code)
            }
            TxnResponse::EndTxn(r) if r.error_code == 0 => {
                self.told(who, r.producer_id, r.producer_epoch)
            }
            TxnResponse::EndTxn(r) => {
                assert_eq!((r.producer_id, r.producer_epoch), (-1, -1));
                error_text(r.error_code)
            }
            TxnResponse::AddPartitions(error) => error_text(error.code()),
            TxnResponse::VerifyPartitions(results) => {
                let results = results.into_iter().map(|(p, error)| {
                    format!("{}-{} {}", p.topic, p.partition, error_text(error.code()))
                });
                results.collect::<Vec<_>>().join(", ")
            }
            TxnResponse::DescribeTransactions(described) => {
                let r = &described[0];
                if r.error_code != 0 {
                    return Some(error_text(r.error_code));
                }
                let topics = r.topics.iter().map(|t| format!("{}:{:?}", t.topic, t.partitions));
                format!(
                    "{} pid={} epoch={} timeout={} {} [{}]",
                    r.transaction_state,
                    r.producer_id,
                    r.producer_epoch,
                    r.transaction_timeout_ms,
                    if r.transaction_start_time_ms == -1 { "not started" } else { "started" },
                    topics.collect::<Vec<_>>().join(" ")
                )
            }
            TxnResponse::ListTransactions(Ok(listed)) => {
                let listed = listed.iter().map(|t| {
                    format!("{}/{}/{}", t.transactional_id, t.producer_id, t.transaction_state)
                });
                format!("[{}]", listed.collect::<Vec<_>>().join(" "))
            }
            TxnResponse::ListTransactions(Err(error)) => error_text(error.code()),
            TxnResponse::NeedProducerId => "needs a producer id".to_owned(),
            TxnResponse::MarkerResults => return None,
        })
    }

    fn show_actions(&mut self) {
        for TxnAction::WriteMarkers(markers) in std::mem::take(&mut self.node.actions) {
            let places = markers.partitions.iter().map(|p| format!("{}-{}", p.topic, p.partition));
            if !self.raw {
                self.out.push(format!(
                    "markers: {} {} pid={} epoch={} version={} coordinator={} [{}]",
                    markers.transactional_id,
                    if markers.commit { "commit" } else { "abort" },
                    markers.producer_id,
                    markers.producer_epoch,
                    markers.transaction_version,
                    markers.coordinator_epoch(),
                    places.collect::<Vec<_>>().join(" ")
                ));
            }
            let id = markers.transactional_id.to_string();
            if let Some(before) = self.sent.insert(id.clone(), markers) {
                self.sent_before.insert(id, before);
            }
        }
    }

    fn show_log(&mut self) {
        for entry in self.node.log.get(self.shown..).unwrap_or_default() {
            let Entry::Record(_, record) = entry else { panic!("a marker in this log") };
            if self.raw {
                let value = record.value.as_ref().map_or("null".to_owned(), |value| hex(value));
                self.out.push(format!("{} {value}", hex(&record.key)));
                continue;
            }
            let TransactionStateKey::TransactionLog(key) =
                TransactionStateKey::decode(record.key.clone()).unwrap();
            let value = record.value.clone().map_or("forgotten".to_owned(), shown);
            self.out.push(format!("log: {} {value}", key.transactional_id));
        }
        self.shown = self.node.log.len();
    }
}

fn shown(value: bytes::Bytes) -> String {
    let (TransactionStateValue::TransactionLog(v), version) =
        TransactionStateValue::decode(0, value).unwrap();
    let states =
        ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"];
    let mut text = format!(
        "{} pid={} epoch={}",
        states[v.transaction_status as usize], v.producer_id, v.producer_epoch
    );
    for (name, id) in [("previous", v.previous_producer_id), ("next", v.next_producer_id)] {
        if id != -1 && (name == "next" || id != v.producer_id) {
            write!(text, " {name}={id}").unwrap();
        }
    }
    if v.client_transaction_version != 0 {
        write!(text, " client={}", v.client_transaction_version).unwrap();
    }
    if version != 1 {
        write!(text, " v{version}").unwrap();
    }
    let topics = v.transaction_partitions.unwrap_or_default();
    let topics = topics.iter().map(|t| format!(" {}:{:?}", t.topic, t.partition_ids));
    text.push_str(&topics.collect::<String>());
    text
}

/// `t-0`: topic and partition.
fn places(line: &Line<'_>) -> Vec<TopicPartition> {
    let places = line.words.iter().skip(2).filter_map(|word| {
        let (topic, index) = word.rsplit_once('-')?;
        Some(TopicPartition { topic: topic.into(), partition: index.parse().ok()? })
    });
    places.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_refusal_and_a_failure_say_why_in_every_answer() {
    let add = AddPartitions {
        transactional_id: "x".into(),
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        partitions: vec![TopicPartition { topic: "t".into(), partition: 0 }],
    };
    let code = |response: &TxnResponse| match response {
        TxnResponse::InitProducerId(r) => r.error_code,
        TxnResponse::EndTxn(r) => r.error_code,
        TxnResponse::AddPartitions(error) => error.code(),
        TxnResponse::VerifyPartitions(results) => results[0].1.code(),
        TxnResponse::DescribeTransactions(described) => described[0].error_code,
        TxnResponse::ListTransactions(listed) => listed.clone().err().map_or(0, ErrorCode::code),
        TxnResponse::MarkerResults | TxnResponse::NeedProducerId => panic!("no error in it"),
    };
    for command in [
        TxnCommand::InitProducerId { request: InitProducerIdRequest::default(), spare: None },
        TxnCommand::EndTxn { request: EndTxnRequest::default(), spare: None },
        TxnCommand::AddPartitions { add: add.clone(), batched: false },
        TxnCommand::VerifyPartitions(add),
        TxnCommand::DescribeTransactions(vec!["x".into()]),
    ] {
        let refused = command.refuse(ErrorCode::NotLeaderOrFollower);
        assert_eq!(code(&refused), 16, "{command:?}");
        let mut failed = command.refuse(ErrorCode::None);
        assert_eq!(code(&failed), 0, "{command:?}");
        failed.fail(ErrorCode::NotEnoughReplicas);
        assert_eq!(code(&failed), 15, "{command:?}");
        failed.fail(ErrorCode::MessageTooLarge);
        assert_eq!(code(&failed), 15, "the first reason stays: {command:?}");
    }
    let mut listed = TxnResponse::ListTransactions(Ok(Vec::new()));
    listed.fail(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(code(&listed), 14);
}
