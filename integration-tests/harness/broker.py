"""Starts, stops and kills a broker process: Ottla's binary, or Apache Kafka beside it."""

import atexit
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from harness import install

KINDS = ("ottla", "kafka")
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"
# Below the range from which Linux takes the ports of outgoing connections.
PORTS = os.environ.get("INTEGRATION_PORTS", "20100-32000")

_started = []


class BrokerError(Exception):
    """The broker did not do what the harness needs, with the end of its log."""


class Broker:
    """One combined node (broker and controller) with its data in `directory`.

    `settings` are keys of server.properties on top of what a node needs to run on 127.0.0.1. `ports` are
    for a directory that another broker used: the metadata log names the controller's. `features` are the
    levels that it begins with, where they are not the newest: {"transaction.version": 1}.
    """

    def __init__(self, directory=None, kind=None, settings=None, ports=None, features=None):
        self.kind = kind or os.environ.get("INTEGRATION_KIND", "ottla")
        self.directory = Path(directory or tempfile.mkdtemp(prefix="integration-"))
        self.own_directory = directory is None
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.log = self.directory / f"{self.kind}.log"
        self.port, self.controller_port, self.admin_port = ports or free_ports(3)
        self.settings = dict(settings or {})
        self.features = dict(features or {})
        self.process = None
        _started.append(self)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def start(self, seconds=60):
        """Formats the data directory where needed, starts the process and waits for its answer."""
        config = self.directory / f"{self.kind}.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in self.properties().items()))
        if not (self.properties_dir() / "meta.properties").exists():
            self.format(config)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.wait_ready(seconds)
        return self

    def stop(self, seconds=60):
        """SIGTERM, as a service manager does it; an error if the process does not end."""
        if not self.running():
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerError(f"{self.kind} did not stop within {seconds} s of SIGTERM") from None

    def kill(self):
        """SIGKILL: nothing is flushed or closed."""
        if self.running():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def remove(self):
        """Ends the process and deletes what belongs to this object."""
        self.kill()
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        if self in _started:
            _started.remove(self)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def rss_kb(self):
        """Resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def cpu_seconds(self):
        """Processor time the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_tail(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def properties_dir(self):
        return Path(self.properties()["log.dirs"].split(",")[0])

    def properties(self):
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **({"ottla.admin.listener": f"127.0.0.1:{self.admin_port}"} if self.kind == "ottla" else {}),
            **self.settings,
        }

    def command(self, config):
        if self.kind == "kafka":
            log4j = install.CLIENTS / "java" / "log4j2.properties"
            return ["java", "-Xms512M", "-Xmx1G", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={log4j}",
                    "-cp", install.jars("broker"), "kafka.Kafka", str(config)]
        return [os.environ["OTTLA_BIN"], "start", "--config", str(config)]

    def format(self, config):
        """What has to be done once for a new node."""
        command = [os.environ.get("OTTLA_BIN"), "storage", "format", "--standalone", "--config", str(config)]
        if self.kind == "kafka":
            command = ["java", "-XX:TieredStopAtLevel=1", "-cp", install.jars("broker"), "kafka.tools.StorageTool",
                       "format", "-t", CLUSTER_ID, "--standalone", "-c", str(config)]
        for name, level in self.features.items():
            command += ["--feature", f"{name}={level}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise BrokerError(f"{' '.join(command)}: {done.stdout}")

    def wait_ready(self, seconds):
        deadline = time.monotonic() + seconds
        while not answers_metadata(self.port):
            if not self.running():
                raise BrokerError(f"{self.kind} ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise BrokerError(f"{self.kind} does not answer within {seconds} s:\n{self.log_tail()}")
            time.sleep(0.02)


def free_ports(count):
    """Ports nobody listens on. Somebody else may take one before it is used, which then shows as an error."""
    low, high = (int(part) for part in PORTS.split("-"))
    found = []
    for port in random.sample(range(low, high), min(200, high - low)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise BrokerError(f"no {count} free ports in {PORTS}")


def request(connection, api_key, version, body=b"", correlation_id=1):
    """Sends one request with header version 1 and returns the answer's bytes after its correlation id."""
    frame = struct.pack(">hhih", api_key, version, correlation_id, 2) + b"it" + body
    connection.sendall(struct.pack(">i", len(frame)) + frame)
    return read_exactly(connection, struct.unpack(">i", read_exactly(connection, 4))[0])[4:]


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(min(1 << 16, count - len(data)))
        if not part:
            raise ConnectionError("closed by the broker")
        data += part
    return data


def answers_metadata(port):
    """Whether Metadata (v1, no topics) on the port names at least one broker and a controller."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            answer = request(connection, 3, 1, struct.pack(">i", 0))
    except OSError:
        return False
    return len(answer) >= 4 and struct.unpack_from(">i", answer)[0] >= 1


@atexit.register
def remove_all():
    """No process and no directory outlives the harness."""
    for broker in list(_started):
        broker.remove()


def _end(number, _frame):
    raise SystemExit(128 + number)


for _signal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_signal, _end)
