//! A running broker and two connections: any frames are answered in order, or the connection is
//! closed.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;
use ottla_broker::api::TABLE;
use ottla_protocol::codec::{Message, Request, encode_to_bytes};
use ottla_protocol::messages::*;
use ottla_protocol::{ApiKey, ByteString, Records};
use ottla_testkit::MemDisk;

use crate::batches::samples;
use crate::input::{Input, chunk};
use crate::node_support::{Client, DIR, Node, formatted};
use crate::support::{codec_of, vectors};

const TOPIC: &str = "t";
/// Doublings of a millisecond: beyond every timeout that a request may name.
const DOUBLINGS: u32 = 33;

/// `api, version, options, body`, again and again.
pub fn broker(data: &[u8]) {
    let disk = used_disk(true);
    let node = Node::start(&disk).expect("an undamaged disk");
    let mut clients = [Session::new(&node), Session::new(&node)];
    let mut input = Input::new(data);
    while !input.is_empty() {
        let (api, version, options) = (input.u8(), input.u8(), input.u8());
        let body = input.chunk();
        let client = &mut clients[usize::from(options >> 1 & 1)];
        if client.client.connection.should_close().is_some() {
            *client = Session::new(&node);
        }
        let frame = if options & 1 != 0 { body.to_vec() } else { frame(api, version, body) };
        client.send(&node, frame);
        if options & 4 != 0 {
            node.pass(i64::from(options) * 100);
        }
        for client in &mut clients {
            client.receive(&node);
        }
    }
    for doubling in 0..DOUBLINGS {
        if clients.iter().all(Session::is_done) {
            break;
        }
        node.pass(1 << doubling);
        for client in &mut clients {
            client.receive(&node);
        }
    }
    for client in &clients {
        assert!(client.is_done(), "no answer to {:?}", client.waiting);
    }
    node.broker.shut_down();
}

/// A connection, and what was asked on it.
struct Session {
    client: Client,
    waiting: VecDeque<Asked>,
    /// Requests so far.
    count: i32,
}

#[derive(Debug)]
struct Asked {
    api: Option<ApiKey>,
    version: i16,
    correlation_id: i32,
    may_be_silent: bool,
}

impl Session {
    fn new(node: &Node) -> Self {
        Self { client: node.connect(), waiting: VecDeque::new(), count: 0 }
    }

    fn is_done(&self) -> bool {
        let connection = &self.client.connection;
        connection.should_close().is_some()
            || (connection.ready_for_frame()
                && self.waiting.iter().all(|asked| asked.may_be_silent))
    }

    fn send(&mut self, node: &Node, mut frame: Vec<u8>) {
        for doubling in 0..DOUBLINGS {
            if self.client.connection.ready_for_frame() {
                break;
            }
            node.pass(1 << doubling);
            self.receive(node);
        }
        if self.client.connection.should_close().is_some() {
            return;
        }
        assert!(self.client.connection.ready_for_frame(), "no answer to {:?}", self.waiting);
        self.count += 1;
        let correlation_id = self.count;
        if let Some(bytes) = frame.get_mut(4..8) {
            bytes.copy_from_slice(&correlation_id.to_be_bytes());
        }
        let number = |at: usize| frame.get(at..at + 2).map(|b| i16::from_be_bytes([b[0], b[1]]));
        let api = number(0).and_then(ApiKey::from_key);
        self.waiting.push_back(Asked {
            api,
            version: number(2).unwrap_or(0),
            correlation_id,
            may_be_silent: api == Some(ApiKey::Produce),
        });
        self.client.send(node, frame.into());
    }

    /// Takes the answers there are.
    fn receive(&mut self, node: &Node) {
        self.client.settle(node);
        while let Some(response) = self.client.response() {
            self.check(&response);
            self.client.settle(node);
        }
    }

    fn check(&mut self, response: &Bytes) {
        let (size, body) = response.split_at(4);
        assert_eq!(u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize, body.len());
        let correlation_id = i32::from_be_bytes([body[0], body[1], body[2], body[3]]);
        let asked = loop {
            let asked = self.waiting.pop_front().expect("an answer without a question");
            if asked.correlation_id == correlation_id {
                break asked;
            }
            assert!(asked.may_be_silent, "{asked:?} was passed over for {correlation_id}");
        };
        let api = asked.api.expect("an unknown API is not answered");
        let supported =
            TABLE.iter().any(|row| row.key == api && row.versions.contains(&asked.version));
        let version = if supported { asked.version } else { 0 };
        let header = if api.response_header_version(version) == 0 { 4 } else { 5 };
        let codec = codec_of(&format!("{}Response", api.name()));
        let decoded = (codec.decode)(response.slice(4 + header..), version);
        assert_eq!(decoded, Ok(()), "{} v{version}", codec.name);
    }
}

/// A request of the table's row `api`.
fn frame(api: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let row = &TABLE[usize::from(api) % TABLE.len()];
    // One version beyond the supported ones on either side is refused.
    let span = (row.versions.end() - row.versions.start()) as u8 + 3;
    let version = row.versions.start() - 1 + i16::from(version % span);
    let header = RequestHeader {
        request_api_key: row.key.key(),
        request_api_version: version,
        client_id: Some(ByteString::from_static("fuzz")),
        ..RequestHeader::default()
    };
    let header = encode_to_bytes(&header, row.key.request_header_version(version));
    [&header.expect("a header")[..], body].concat()
}

/// The input for a request.
fn step<R: Request>(version: i16, options: u8, request: &R) -> Vec<u8> {
    let body = encode_to_bytes(request, version).expect("a request that fits its version");
    raw_step(R::KEY, version, options, &body).expect("a served request")
}

fn raw_step(key: ApiKey, version: i16, options: u8, body: &[u8]) -> Option<Vec<u8>> {
    let index = TABLE.iter().position(|row| row.key == key)?;
    let row = TABLE.get(index).filter(|row| row.versions.contains(&version))?;
    let head = [index as u8, (version - row.versions.start() + 1) as u8, options];
    Some([&head[..], &chunk(body)].concat())
}

/// The disk of a node with a topic, some records and a committed offset; stopped cleanly or killed.
pub(crate) fn used_disk(clean: bool) -> MemDisk {
    static DISKS: OnceLock<[MemDisk; 2]> = OnceLock::new();
    let [stopped, killed] = DISKS.get_or_init(|| {
        let disk = formatted();
        let node = Node::start(&disk).expect("a formatted disk");
        let mut client = Session::new(&node);
        for step in story() {
            let mut input = Input::new(&step);
            let (api, version, _) = (input.u8(), input.u8(), input.u8());
            client.send(&node, frame(api, version, input.chunk()));
            client.receive(&node);
        }
        for log in ["t-0", "t-1", "__consumer_offsets-0"] {
            let file = disk.get(format!("{DIR}/{log}/00000000000000000000.log"));
            assert!(file.is_some_and(|file| !file.is_empty()), "the story wrote nothing to {log}");
        }
        let killed = disk.crash_keep_all();
        node.broker.shut_down();
        drop((client, node));
        [disk.crash_keep_all(), killed]
    });
    if clean { stopped.crash_keep_all() } else { killed.crash_keep_all() }
}

fn text(value: &str) -> ByteString {
    ByteString::from(value)
}

/// Requests that lead somewhere.
fn story() -> Vec<Vec<u8>> {
    use ottla_protocol::messages::*;
    let create = CreateTopicsRequest {
        topics: vec![create_topics_request::CreatableTopic {
            name: text(TOPIC),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 1000,
        ..Default::default()
    };
    let mut steps = vec![step(7, 0, &create)];
    for (index, batch) in samples().into_iter().enumerate().take(2) {
        steps.push(step(9, 0, &produce(index as i32 % 2, -1, batch)));
    }
    let find = FindCoordinatorRequest { coordinator_keys: vec![text("g")], ..Default::default() };
    steps.push(step(4, 4, &find));
    steps.push(step(4, 4, &find));
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: text(TOPIC),
        partitions: vec![offset_commit_request::OffsetCommitRequestPartition {
            committed_offset: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: text("g"),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    steps.push(step(8, 0, &commit));
    steps
}

fn produce(partition: i32, acks: i16, mut batch: Vec<u8>) -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    batch[..8].fill(0); // A producer's batches begin at 0.
    let data = PartitionProduceData {
        index: partition,
        records: Some(Records::Bytes(batch.into())),
        ..Default::default()
    };
    let topic =
        TopicProduceData { name: text(TOPIC), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 500, topic_data: vec![topic], ..Default::default() }
}

fn fetch(max_wait_ms: i32, offset: i64) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic =
        FetchTopic { topic: text(TOPIC), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    }
}

fn join(version: i16) -> JoinGroupRequest {
    use join_group_request::JoinGroupRequestProtocol;
    let protocol = JoinGroupRequestProtocol { name: text("range"), ..Default::default() };
    JoinGroupRequest {
        group_id: text("g"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version > 0 { 20_000 } else { -1 },
        protocol_type: text("consumer"),
        protocols: vec![protocol],
        ..Default::default()
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = vectors()
        .into_iter()
        .filter_map(|vector| {
            let name = vector.message.strip_suffix("Request")?;
            let key = ApiKey::all().find(|key| key.name() == name)?;
            raw_step(key, vector.version, 0, &vector.bytes)
        })
        .collect();
    seeds.push(story().concat());
    seeds.extend(samples().into_iter().map(|batch| step(9, 0, &produce(0, 1, batch))));
    let batch = samples().remove(1);
    let pipeline = [step(9, 0, &produce(0, 0, batch.clone())), step(9, 0, &produce(1, -1, batch))];
    seeds.push(
        [pipeline.concat(), step(12, 2, &fetch(500, 0)), step(12, 2, &fetch(500, 3))].concat(),
    );
    for version in [0, 3, 5, 9] {
        let two = [step(version, 0, &join(version)), step(version, 2, &join(version))].concat();
        seeds.push([two.clone(), step(version, 4, &join(version)), two].concat());
    }
    let pid = InitProducerIdRequest { transaction_timeout_ms: 1000, ..Default::default() };
    seeds.push(step(4, 0, &pid));
    debug_assert!(InitProducerIdRequest::VERSIONS.contains(&4));
    seeds
}
