//! A node over real sockets and files: started, asked, stopped, started again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and has files of its own"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ottla_net::client::{Client, ClientOptions};
use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, MetadataRequest, MetadataResponse,
};
use ottla_server::{Node, Options, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-node-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(dir: &Path) -> Options {
    let pairs = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("ottla.admin.listener", "127.0.0.1:0"),
        ("log.initial.task.delay.ms", "1"),
    ];
    let overrides = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Options {
        overrides: overrides.to_vec(),
        data_dir: Some(dir.to_path_buf()),
        ..Options::default()
    }
}

fn start(options: &Options, runtime: &Runtime) -> Result<Node, StartError> {
    Node::start(&options.load()?, runtime, Arc::new(AtomicBool::new(false)))
}

async fn call<R: Request>(node: &Node, version: i16, request: &R) -> R::Response {
    let [(_, address), ..] = node.addresses() else { panic!("no listener") };
    let options = ClientOptions { request_timeout: Duration::from_secs(30), ..Default::default() };
    let mut client = Client::connect("127.0.0.1", address.port(), options).await.unwrap();
    let frame = encode_request(version, 7, None, request).unwrap().bytes;
    let answer = client.request(&frame[4..]).await.unwrap();
    let (correlation_id, response) = decode_response::<R>(answer, version).unwrap();
    assert_eq!(correlation_id, 7);
    response
}

async fn topics(node: &Node) -> Vec<String> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let response: MetadataResponse = call(node, 9, &request).await;
    let names = response.topics.iter().map(|topic| topic.name.as_deref().unwrap_or_default());
    names.map(str::to_owned).collect()
}

async fn get(node: &Node, path: &str) -> String {
    let address = node.admin_address().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_topic_is_there_after_a_clean_restart() {
    let scratch = Scratch::new("restart");
    let runtime = ottla_server::runtime().unwrap();
    let node = start(&options(&scratch.0), &runtime).unwrap();
    runtime.block_on(async {
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 3,
            replication_factor: 1,
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let response = call(&node, 5, &request).await;
        assert_eq!(response.topics[0].error_code, 0);
        assert_eq!(topics(&node).await, ["t"]);
    });
    node.stop(&runtime);
    assert!(scratch.0.join(".kafka_cleanshutdown").exists());
    let node = start(&options(&scratch.0), &runtime).unwrap();
    runtime.block_on(async {
        assert_eq!(topics(&node).await, ["t"]);
    });
    node.stop(&runtime);
}

#[test]
fn clients_are_told_the_port_that_the_system_chose() {
    let scratch = Scratch::new("port");
    let runtime = ottla_server::runtime().unwrap();
    let node = start(&options(&scratch.0), &runtime).unwrap();
    let response = runtime.block_on(call(&node, 0, &DescribeClusterRequest::default()));
    let told: Vec<_> = response.brokers.iter().map(|b| (&*b.host, b.port)).collect();
    assert_eq!(told, [("127.0.0.1", i32::from(node.addresses()[0].1.port()))]);
    let image = node.broker().image();
    let registered = image.brokers().next().unwrap();
    let listener = registered.listener("PLAINTEXT").unwrap();
    assert_eq!((&*listener.host, listener.port), ("127.0.0.1", node.addresses()[0].1.port()));
    node.stop(&runtime);
}

#[test]
fn the_admin_listener_tells_health_and_counts_requests() {
    let scratch = Scratch::new("admin");
    let runtime = ottla_server::runtime().unwrap();
    let node = start(&options(&scratch.0), &runtime).unwrap();
    runtime.block_on(async {
        topics(&node).await;
        for (path, want) in [
            ("/livez", "200 OK"),
            ("/readyz", "200 OK"),
            ("/metrics", "kafka_network_requestmetrics_requests_total{request=\"Metadata\"} 1\n"),
            ("/metrics", "kafka_server_replicamanager_partitioncount 0\n"),
            (
                "/metrics",
                "kafka_network_requestmetrics_totaltimems_count{request=\"Metadata\"} 1\n",
            ),
            ("/metrics", "ottla_request_seconds_bucket{request=\"Metadata\",le=\"+Inf\"} 1\n"),
            ("/elsewhere", "404 Not Found"),
        ] {
            let answer = get(&node, path).await;
            assert!(answer.contains(want), "{path}: {answer}");
        }
    });
    node.stop(&runtime);
}

#[test]
fn a_second_node_starts_without_the_default_admin_listener() {
    // Whoever has the port: it is in use.
    let _taken = std::net::TcpListener::bind("127.0.0.1:9644");
    let scratch = Scratch::new("second");
    let runtime = ottla_server::runtime().unwrap();
    let mut options = options(&scratch.0);
    options.overrides.retain(|(key, _)| key != "ottla.admin.listener");
    let node = start(&options, &runtime).unwrap();
    assert_eq!(node.admin_address(), None);
    runtime.block_on(topics(&node));
    node.stop(&runtime);
    options.overrides.push(("ottla.admin.listener".to_owned(), "127.0.0.1:9644".to_owned()));
    let error = start(&options, &runtime).err().unwrap().to_string();
    assert!(error.contains("ottla.admin.listener=127.0.0.1:9644"), "{error}");
}

#[test]
fn a_page_of_metrics_tells_the_traffic_of_each_topic_and_how_long_requests_took() {
    use ottla_protocol::ids::Timestamp;
    use ottla_protocol::messages as m;
    use ottla_protocol::records::{BatchBuilder, BatchOptions};
    let scratch = Scratch::new("traffic");
    let runtime = ottla_server::runtime().unwrap();
    let node = start(&options(&scratch.0), &runtime).unwrap();
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for value in ["one", "two"] {
        batch.append(Timestamp(1_700_000_000_000), None, Some(value.as_bytes())).unwrap();
    }
    let batch = batch.build().unwrap();
    let bytes = batch.len();
    let topics = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let create = CreateTopicsRequest {
        topics: ["busy", "idle"].map(topics).into(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    let part = m::produce_request::PartitionProduceData {
        records: Some(ottla_protocol::Records::Bytes(batch.into())),
        ..Default::default()
    };
    let data = m::produce_request::TopicProduceData {
        name: "busy".into(),
        partition_data: vec![part],
        ..Default::default()
    };
    let produce = m::ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![data],
        ..Default::default()
    };
    let part =
        m::fetch_request::FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let fetched = m::fetch_request::FetchTopic {
        topic: "busy".into(),
        partitions: vec![part],
        ..Default::default()
    };
    let fetch = m::FetchRequest { topics: vec![fetched], max_bytes: 1 << 20, ..Default::default() };
    let page = runtime.block_on(async {
        call(&node, 5, &create).await;
        let answer = call(&node, 9, &produce).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        call(&node, 12, &fetch).await;
        get(&node, "/metrics").await
    });
    for want in [
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"busy\"} 2\n".to_owned(),
        format!("kafka_server_brokertopicmetrics_bytesin_total{{topic=\"busy\"}} {bytes}\n"),
        format!("kafka_server_brokertopicmetrics_bytesout_total{{topic=\"busy\"}} {bytes}\n"),
        "ottla_topics_not_shown 0\n".to_owned(),
        "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 1\n".to_owned(),
        "kafka_network_requestmetrics_totaltimems_count{request=\"Fetch\"} 1\n".to_owned(),
        "kafka_network_requestmetrics_totaltimems_count{request=\"FetchConsumer\"} 1\n".to_owned(),
        "kafka_network_requestmetrics_localtimems{request=\"Produce\",quantile=\"0.99\"} "
            .to_owned(),
        "ottla_request_seconds_bucket{request=\"Produce\",le=\"+Inf\"} 1\n".to_owned(),
    ] {
        assert!(page.contains(&want), "{want} is not in {page}");
    }
    assert!(!page.contains("\"idle\""), "a topic without traffic");
    node.stop(&runtime);
}

#[test]
fn a_directory_is_not_formatted_behind_the_back_of_a_configuration_file() {
    let scratch = Scratch::new("unformatted");
    std::fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("server.properties");
    let text: String =
        ottla_config::PACKAGED.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    std::fs::write(&file, text).unwrap();
    let data = scratch.0.join("data");
    let options = Options { config: Some(file), ..options(&data) };
    let options = {
        let advertised = ("advertised.listeners".to_owned(), "PLAINTEXT://localhost:0".to_owned());
        let mut options = options;
        options.overrides.push(advertised);
        options
    };
    let runtime = ottla_server::runtime().unwrap();
    let error = start(&options, &runtime).err().unwrap();
    assert!(matches!(&error, StartError::Unformatted { path } if *path == data), "{error}");
    assert!(error.to_string().contains("ottla storage format"));
    assert!(!data.exists());
    start(&Options { format: true, ..options }, &runtime).unwrap().stop(&runtime);
}
