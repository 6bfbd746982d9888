//! Stories in `testdata/*.txt`. A member is called by an alias; its real id, generation and
//! protocol are remembered from the answers it got and can be overridden (`id=`, `gen=`, ...).

use std::collections::BTreeMap;

use ottla_coordinator::{Command, GroupConfig, Machine, Response, Ticket};
use ottla_protocol::ids::ProducerId;
use ottla_protocol::log_record::{ConsumerOffsetsKey, ConsumerOffsetsValue, key_type};
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, SyncGroupRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::{ByteString, ErrorCode, codec};

use crate::node::{Entry, GroupNode as Node};

macro_rules! stories {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let mut story = Story::new();
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/", stringify!($name), ".txt");
            ottla_testkit::run_script(path, |block| story.run(block));
        }
    )*};
}

stories! { rebalance static_members error_matrix offsets retention failures transactions }

#[derive(Debug, Clone, Default)]
struct Known {
    id: String,
    generation: i32,
    instance: Option<String>,
    kind: String,
    protocol: String,
}

struct Story {
    node: Node,
    known: BTreeMap<String, Known>,
    /// Who asked what.
    asked: BTreeMap<Ticket, (String, &'static str, i16)>,
    shown: usize,
    out: Vec<String>,
}

/// The words of a line: bare ones, and `key=value`.
pub(crate) struct Line<'a> {
    pub(crate) words: Vec<&'a str>,
    pub(crate) options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut line = Line { words: Vec::new(), options: BTreeMap::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) if !key.contains('-') || key.starts_with("g-") => {
                    line.options.insert(key, value);
                }
                _ => line.words.push(word),
            }
        }
        line
    }

    pub(crate) fn text(&self, key: &str, default: &str) -> ByteString {
        match self.options.get(key) {
            Some(&"none") => ByteString::new(),
            Some(value) => (*value).into(),
            None => default.into(),
        }
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.options.get(key).map_or(default, |value| value.parse().ok().expect(value))
    }
}

impl Story {
    fn new() -> Self {
        let node = Node::new(GroupConfig::default());
        Self { node, known: BTreeMap::new(), asked: BTreeMap::new(), shown: 0, out: Vec::new() }
    }

    fn run(&mut self, block: &str) -> String {
        for text in block.lines() {
            self.line(&Line::parse(text));
            self.show_log();
        }
        std::mem::take(&mut self.out).join("\n")
    }

    fn line(&mut self, line: &Line<'_>) {
        let who = line.words.get(1).copied().unwrap_or("-");
        match line.words[0] {
            "config" => self.configure(line),
            "advance" => {
                let done = self.node.advance(millis(who));
                self.show(done);
            }
            "reload" => {
                let done = self.node.reload(false);
                self.show(done);
            }
            "fail" => self.node.failures.push(error_named(who)),
            "end-txn" => {
                let producer = ProducerId(line.number("producer", 1));
                self.node.end_transaction(producer, who == "commit");
            }
            "join" => self.join(who, line),
            "sync" => self.sync(who, line),
            "heartbeat" => {
                let member = self.member(who, line);
                let request = HeartbeatRequest {
                    group_id: line.text("group", "g"),
                    generation_id: member.generation,
                    member_id: member.id.into(),
                    group_instance_id: member.instance.map(Into::into),
                    ..Default::default()
                };
                self.ask(who, "heartbeat", 4, Command::Heartbeat(request));
            }
            "leave" => self.leave(who, line),
            "commit" => self.commit(who, line),
            "txn-commit" => self.txn_commit(who, line),
            "fetch" => self.fetch(who, line),
            "offset-delete" => self.offset_delete(line),
            "describe" => {
                let groups = vec![line.text("group", "g")];
                let version = line.number("v", 6);
                self.ask("-", "describe", version, Command::DescribeGroups(groups));
            }
            "list" => {
                let filter = |key| -> Vec<ByteString> {
                    let text: Option<&&str> = line.options.get(key);
                    text.into_iter().flat_map(|t| t.split(',')).map(Into::into).collect()
                };
                let command =
                    Command::ListGroups { states: filter("states"), types: filter("types") };
                self.ask("-", "list", 5, command);
            }
            "delete" => {
                let groups = vec![line.text("group", "g")];
                self.ask("-", "delete", 3, Command::DeleteGroups(groups));
            }
            verb => panic!("no such command: {verb}"),
        }
    }

    fn offset_delete(&mut self, line: &Line<'_>) {
        let topics = partitions(&line.words[1..]).map(|(name, index, _)| {
            let partition = OffsetDeleteRequestPartition { partition_index: index };
            OffsetDeleteRequestTopic { name, partitions: vec![partition] }
        });
        let request =
            OffsetDeleteRequest { group_id: line.text("group", "g"), topics: topics.collect() };
        self.ask("-", "offset-delete", 0, Command::OffsetDelete(request));
    }

    fn configure(&mut self, line: &Line<'_>) {
        let config = &mut self.node.config;
        config.group_size_max = line.number("size", config.group_size_max);
        config.initial_rebalance_delay_ms = line.number("delay", config.initial_rebalance_delay_ms);
        config.groups_max = line.number("groups", config.groups_max);
        config.waiting_max = line.number("waiting", config.waiting_max);
        config.session_timeout_ms_min = line.number("min", config.session_timeout_ms_min);
        config.session_timeout_ms_max = line.number("max", config.session_timeout_ms_max);
        config.offset_metadata_max = line.number("meta", config.offset_metadata_max);
        let time =
            |key: &str, now: i64| line.options.get(key).map_or(now, |t| millis(t).cast_signed());
        config.offsets_retention_ms = time("retention", config.offsets_retention_ms);
        config.retention_check_interval_ms = time("check", config.retention_check_interval_ms);
        self.node.shard.set_config(config.clone());
    }

    fn member(&self, who: &str, line: &Line<'_>) -> Known {
        let mut member = self.known.get(who).cloned().unwrap_or_default();
        if line.options.contains_key("id") {
            let id = line.text("id", "");
            member.id =
                self.known.get(&*id).map_or_else(|| id.to_string(), |known| known.id.clone());
        }
        if line.options.contains_key("instance") {
            member.instance = Some(line.text("instance", "").to_string()).filter(|i| !i.is_empty());
        }
        member.generation = line.number("gen", member.generation);
        member
    }

    fn join(&mut self, who: &str, line: &Line<'_>) {
        let member = self.member(who, line);
        let topics = line.text("topics", "t1");
        let subscription = ConsumerProtocolSubscription {
            topics: topics.split(',').map(Into::into).collect(),
            ..Default::default()
        };
        let body = codec::encode_to_bytes(&subscription, 1).unwrap();
        let metadata = [&[0, 1], &*body].concat();
        let protocols = line.text("protocols", "range");
        let protocols = protocols.split(',').filter(|name| !name.is_empty());
        let request = JoinGroupRequest {
            group_id: line.text("group", "g"),
            session_timeout_ms: line.number("session", 10_000),
            rebalance_timeout_ms: line.number("rebalance", 60_000),
            member_id: member.id.clone().into(),
            group_instance_id: member.instance.clone().map(Into::into),
            protocol_type: line.text("type", "consumer"),
            protocols: protocols
                .map(|name| JoinGroupRequestProtocol {
                    name: name.into(),
                    metadata: metadata.clone().into(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        self.known.entry(who.to_owned()).or_default().instance = member.instance;
        self.ask(who, "join", line.number("v", 9), Command::JoinGroup(request));
    }

    fn sync(&mut self, who: &str, line: &Line<'_>) {
        let member = self.member(who, line);
        let version = line.number("v", 5);
        let named = |key, value: &str| Some(line.text(key, value)).filter(|text| !text.is_empty());
        let given = line.options.get("assign").copied().unwrap_or_default();
        let assignments = given.split(',').filter_map(|pair| pair.split_once(':'));
        let request = SyncGroupRequest {
            group_id: line.text("group", "g"),
            generation_id: member.generation,
            member_id: member.id.into(),
            group_instance_id: member.instance.map(Into::into),
            protocol_type: named("type", &member.kind),
            protocol_name: named("protocol", &member.protocol),
            assignments: assignments
                .map(|(alias, assignment)| SyncGroupRequestAssignment {
                    member_id: self.known[alias].id.clone().into(),
                    assignment: assignment.to_owned().into(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        self.ask(who, "sync", version, Command::SyncGroup(request));
    }

    fn leave(&mut self, who: &str, line: &Line<'_>) {
        let version = line.number("v", 5);
        let members: Vec<Known> = who.split(',').map(|alias| self.member(alias, line)).collect();
        let request = LeaveGroupRequest {
            group_id: line.text("group", "g"),
            member_id: if version < 3 { members[0].id.clone().into() } else { ByteString::new() },
            members: members
                .into_iter()
                .filter(|_| version >= 3)
                .map(|member| MemberIdentity {
                    member_id: member.id.into(),
                    group_instance_id: member.instance.map(Into::into),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        self.ask(who, "leave", version, Command::LeaveGroup(request));
    }

    fn commit(&mut self, who: &str, line: &Line<'_>) {
        let mut member = self.member(who, line);
        if who == "-" && !line.options.contains_key("gen") {
            member.generation = -1;
        }
        let metadata: ByteString = "x".repeat(line.number("meta", 0)).into();
        let topics = partitions(&line.words[2..]).map(|(name, index, offset)| {
            let partition = OffsetCommitRequestPartition {
                partition_index: index,
                committed_offset: offset,
                committed_metadata: Some(metadata.clone()),
                ..Default::default()
            };
            OffsetCommitRequestTopic { name, partitions: vec![partition], ..Default::default() }
        });
        let request = OffsetCommitRequest {
            group_id: line.text("group", "g"),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.into(),
            group_instance_id: member.instance.map(Into::into),
            retention_time_ms: line.number("retention", -1),
            topics: topics.collect(),
            ..Default::default()
        };
        self.ask(who, "commit", line.number("v", 9), Command::OffsetCommit(request));
    }

    fn txn_commit(&mut self, who: &str, line: &Line<'_>) {
        let mut member = self.member(who, line);
        if who == "-" && !line.options.contains_key("gen") {
            member.generation = -1;
        }
        let topics = partitions(&line.words[2..]).map(|(name, index, offset)| {
            let partition = TxnOffsetCommitRequestPartition {
                partition_index: index,
                committed_offset: offset,
                ..Default::default()
            };
            TxnOffsetCommitRequestTopic { name, partitions: vec![partition], ..Default::default() }
        });
        let request = TxnOffsetCommitRequest {
            group_id: line.text("group", "g"),
            producer_id: line.number("producer", 1),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.into(),
            topics: topics.collect(),
            ..Default::default()
        };
        self.ask(who, "txn-commit", 4, Command::TxnOffsetCommit(request));
    }

    fn fetch(&mut self, what: &str, line: &Line<'_>) {
        let topics = partitions(&line.words[1..]).map(|(name, index, _)| {
            OffsetFetchRequestTopics { name, partition_indexes: vec![index], ..Default::default() }
        });
        let group = OffsetFetchRequestGroup {
            group_id: line.text("group", "g"),
            topics: (what != "all").then(|| topics.collect()),
            ..Default::default()
        };
        let require_stable = line.number("stable", false);
        let command = Command::OffsetFetch { group, require_stable };
        self.ask("-", "fetch", 9, command);
    }

    fn ask(&mut self, who: &str, verb: &'static str, version: i16, command: Command) {
        let (ticket, done) = self.node.handle(command, version);
        self.asked.insert(ticket, (who.to_owned(), verb, version));
        self.show(done);
        if self.node.is_open(ticket) {
            self.out.push(format!("{who} waits"));
        }
    }

    fn show(&mut self, done: Vec<(Ticket, Response)>) {
        let mut answers = Vec::new();
        for (ticket, response) in done {
            let (who, verb, version) = self.asked.remove(&ticket).unwrap();
            let response = response.for_version(version);
            if let Response::JoinGroup(r) = &response
                && (r.error_code == 0 || r.error_code == ErrorCode::MemberIdRequired.code())
            {
                let known = self.known.entry(who.clone()).or_default();
                known.id = r.member_id.to_string();
                if r.error_code == 0 {
                    known.generation = r.generation_id;
                    known.kind = r.protocol_type.clone().unwrap_or_default().to_string();
                    known.protocol = r.protocol_name.clone().unwrap_or_default().to_string();
                }
            }
            answers.push((who, verb, response));
        }
        for (who, verb, response) in answers {
            let text = self.render(&response);
            let who = if who == "-" { String::new() } else { format!("{who} ") };
            self.out.push(format!("{who}{verb}: {text}"));
        }
    }

    fn render(&self, response: &Response) -> String {
        match response {
            Response::JoinGroup(r) if r.error_code == 0 => {
                let members: Vec<String> =
                    r.members.iter().map(|m| self.alias(&m.member_id)).collect();
                let skip = if r.skip_assignment { " skip-assignment" } else { "" };
                format!(
                    "generation={} protocol={} leader={} members=[{}]{skip}",
                    r.generation_id,
                    r.protocol_name.as_deref().unwrap_or("null"),
                    self.alias(&r.leader),
                    members.join(",")
                )
            }
            Response::JoinGroup(r) => error_text(r.error_code),
            Response::SyncGroup(r) if r.error_code == 0 => {
                format!("assignment={:?}", String::from_utf8_lossy(&r.assignment))
            }
            Response::SyncGroup(r) => error_text(r.error_code),
            Response::Heartbeat(r) => error_text(r.error_code),
            Response::LeaveGroup(r) => {
                let members: Vec<String> =
                    r.members.iter().map(|m| error_text(m.error_code)).collect();
                format!("{} members=[{}]", error_text(r.error_code), members.join(","))
            }
            Response::OffsetCommit(r) => {
                let all = r.topics.iter().flat_map(|t| &t.partitions);
                all.map(|p| error_text(p.error_code)).collect::<Vec<_>>().join(" ")
            }
            Response::TxnOffsetCommit(r) => {
                let all = r.topics.iter().flat_map(|t| &t.partitions);
                all.map(|p| error_text(p.error_code)).collect::<Vec<_>>().join(" ")
            }
            Response::OffsetFetch(r) if r.error_code == 0 => fetched(r),
            Response::OffsetFetch(r) => error_text(r.error_code),
            Response::OffsetDelete(r) => {
                let all = r.topics.iter().flat_map(|t| &t.partitions);
                let parts: Vec<_> = all.map(|p| error_text(p.error_code)).collect();
                format!("{} partitions=[{}]", error_text(r.error_code), parts.join(","))
            }
            Response::DescribeGroups(groups) => self.described(&groups[0]),
            Response::ListGroups(r) => {
                let shown = r.groups.iter().map(|g| {
                    format!("{}/{}/{}/{}", g.group_id, g.group_type, g.group_state, g.protocol_type)
                });
                format!("[{}]", shown.collect::<Vec<_>>().join(" "))
            }
            Response::DeleteGroups(results) => error_text(results[0].error_code),
        }
    }

    fn described(&self, group: &DescribedGroup) -> String {
        let members = group.members.iter().map(|m| {
            let assigned = String::from_utf8_lossy(&m.member_assignment);
            format!("{}:{assigned}", self.alias(&m.member_id))
        });
        format!(
            "{} state={} type={:?} protocol={:?} members=[{}]",
            error_text(group.error_code),
            group.group_state,
            &*group.protocol_type,
            &*group.protocol_data,
            members.collect::<Vec<_>>().join(",")
        )
    }

    fn alias(&self, id: &str) -> String {
        let found = self.known.iter().find(|(_, known)| known.id == id);
        found.map_or_else(|| "?".to_owned(), |(alias, _)| alias.clone())
    }

    fn show_log(&mut self) {
        for entry in &self.node.log[self.shown..] {
            let Entry::Record(producer, record) = entry else { continue };
            let kind = key_type(&record.key).unwrap();
            let key = match ConsumerOffsetsKey::decode(record.key.clone()).unwrap() {
                ConsumerOffsetsKey::OffsetCommit(k) => {
                    format!("offset {}/{}-{}", k.group, k.topic, k.partition)
                }
                ConsumerOffsetsKey::GroupMetadata(k) => format!("group {}", k.group),
                other => panic!("{other:?}"),
            };
            let value = match &record.value {
                None => "deleted".to_owned(),
                Some(value) => match ConsumerOffsetsValue::decode(kind, value.clone()).unwrap() {
                    (ConsumerOffsetsValue::OffsetCommit(v), version) => {
                        let expires = match v.expire_timestamp {
                            -1 => "",
                            _ => " expires",
                        };
                        format!("= {} v{version}{expires}", v.offset)
                    }
                    (ConsumerOffsetsValue::GroupMetadata(v), version) => {
                        let members = v.members.iter().map(|m| {
                            let assignment = String::from_utf8_lossy(&m.assignment);
                            format!("{}:{assignment}", self.alias(&m.member_id))
                        });
                        format!(
                            "= generation={} type={:?} protocol={} leader={} members=[{}] v{version}",
                            v.generation,
                            &*v.protocol_type,
                            v.protocol.as_deref().unwrap_or("null"),
                            v.leader.as_ref().map_or("null".to_owned(), |id| self.alias(id)),
                            members.collect::<Vec<_>>().join(",")
                        )
                    }
                    other => panic!("{other:?}"),
                },
            };
            let producer = match *producer {
                ProducerId::NONE => String::new(),
                producer => format!(" producer={producer}"),
            };
            self.out.push(format!("log: {key} {value}{producer}"));
        }
        self.shown = self.node.log.len();
    }
}

fn fetched(group: &OffsetFetchResponseGroup) -> String {
    let mut shown = Vec::new();
    for topic in &group.topics {
        for p in &topic.partitions {
            let error = match p.error_code {
                0 => String::new(),
                code => format!("({})", error_text(code)),
            };
            shown.push(format!(
                "{}-{}={}{error}",
                topic.name, p.partition_index, p.committed_offset
            ));
        }
    }
    if shown.is_empty() { "no topics".to_owned() } else { shown.join(" ") }
}

/// `t1-0=5` or `t1-0`: topic, partition, offset.
fn partitions<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (ByteString, i32, i64)> + 'a {
    words.iter().filter_map(|word| {
        let (place, offset) = word.split_once('=').unwrap_or((word, "0"));
        let (topic, index) = place.rsplit_once('-')?;
        Some((topic.into(), index.parse().ok()?, offset.parse().ok()?))
    })
}

pub(crate) fn millis(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).expect("a unit"));
    let number: u64 = number.parse().unwrap();
    match unit {
        "ms" => number,
        "s" => number * 1000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        "d" => number * 86_400_000,
        _ => panic!("no such unit: {unit}"),
    }
}

pub(crate) fn error_text(code: i16) -> String {
    match code {
        0 => "ok".to_owned(),
        code => format!("{code} {}", ErrorCode::from_code(code).unwrap()),
    }
}

pub(crate) fn error_named(name: &str) -> ErrorCode {
    (-1..200).filter_map(ErrorCode::from_code).find(|code| code.to_string() == name).expect(name)
}
