//! A node in this process, and the binary run against it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ottla_protocol::codec::Request;
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_server::{Node, Options};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A node for every test of a file; it ends with the process.
pub(crate) struct Shared {
    _node: Node,
    _runtime: Runtime,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// Its data directory.
    pub(crate) dir: PathBuf,
}

/// What a command did.
pub(crate) struct Done {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// The exit code.
    pub(crate) code: i32,
}

/// The node, started by the first who asks.
pub(crate) fn node() -> &'static Shared {
    static NODE: OnceLock<Shared> = OnceLock::new();
    NODE.get_or_init(|| {
        let dir = scratch("node");
        let pairs = [
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093"),
            ("ottla.admin.listener", "127.0.0.1:0"),
            ("log.initial.task.delay.ms", "1"),
            ("transaction.partition.verification.enable", "false"),
            ("transaction.state.log.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let options = Options {
            overrides: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            data_dir: Some(dir.clone()),
            ..Options::default()
        };
        let runtime = ottla_server::runtime().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let node = Node::start(&options.load().unwrap(), &runtime, stopped).unwrap();
        let port = node.addresses()[0].1.port();
        Shared { _node: node, _runtime: runtime, address: format!("127.0.0.1:{port}"), dir }
    })
}

/// A directory that nobody else uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ottla-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A name that no other test uses.
pub(crate) fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The binary with these arguments and standard input, against the node.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(arguments).env("OTTLA_BROKERS", &node().address);
    run_command(command, input)
}

/// Runs a command with standard input.
pub(crate) fn run_command(mut command: Command, input: &[u8]) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that does not read is no error.
        let _ = stdin.write_all(&input);
    });
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done {
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        code: status.code().unwrap_or(-1),
    }
}

/// A command that runs until it is told to end.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Starts a command against the node.
pub(crate) fn start(line: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(line.split_whitespace()).env("OTTLA_BROKERS", &node().address);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Running { child, lines }
}

impl Running {
    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Ends it as Ctrl-C does; the exit code.
    pub(crate) fn interrupt(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command prints; it must succeed.
pub(crate) fn ok(line: &str) -> String {
    ok_with(line, b"")
}

/// The same with standard input. Words are separated by spaces.
pub(crate) fn ok_with(line: &str, input: &[u8]) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let done = run(&words, input);
    assert_eq!(done.code, 0, "{line}\n{}{}", done.out, done.err);
    done.out
}

/// What a command prints as JSON.
pub(crate) fn json(line: &str) -> Value {
    serde_json::from_str(&ok(&format!("{line} -o json"))).unwrap()
}

/// The exit code and standard error of a command that must fail.
pub(crate) fn fails(line: &str) -> (i32, String) {
    let words: Vec<_> = line.split_whitespace().collect();
    let done = run(&words, b"");
    assert_ne!(done.code, 0, "{line}\n{}", done.out);
    (done.code, done.err)
}

/// Asks the node without the binary.
pub(crate) fn call<R: Request>(version: i16, request: &R) -> R::Response {
    let mut stream = TcpStream::connect(&node().address).unwrap();
    stream.write_all(&encode_request(version, 1, None, request).unwrap().bytes).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).unwrap();
    decode_response::<R>(answer.into(), version).unwrap().1
}

/// Looks again and again until it is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}
