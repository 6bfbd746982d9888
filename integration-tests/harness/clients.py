"""The client programs as seen from the suites: produce, read and consume through any client."""

import json
import subprocess
import sys
import threading

from harness import install

_PYTHON = install.CLIENTS / "python"
_JAVA = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256M",
         "-cp", f"{install.jars('clients')}:{install.CACHE / 'java'}", "Client"]
# Programs that copy a topic exactly once: `pipe BROKER GROUP INPUT OUTPUT TRANSACTIONAL_ID`.
PIPES = {
    "java": [*_JAVA[:-1], "Pipe"],
    "confluent": [sys.executable, str(_PYTHON / "confluent_pipe.py")],
    "go": [str(install.CACHE / "go" / "client"), "pipe"],
}
COMMANDS = {
    "kcat": [sys.executable, str(_PYTHON / "kcat_client.py")],
    "java": _JAVA,
    "confluent": [sys.executable, str(_PYTHON / "confluent_client.py")],
    "aiokafka": [sys.executable, str(_PYTHON / "aiokafka_client.py")],
    "kafka-python": [sys.executable, str(_PYTHON / "kafka_python_client.py")],
    "go": [str(install.CACHE / "go" / "client")],
    "node": ["node", str(install.CLIENTS / "node" / "client.js")],
}
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class ClientError(Exception):
    """A client program failed; the message has the end of its stderr."""


def start(client, mode, broker, *arguments, stdin=subprocess.DEVNULL, stderr=None):
    return subprocess.Popen([*COMMANDS[client], mode, broker, *map(str, arguments)],
                            stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, text=True)


def produce(client, broker, records, seconds=60):
    """Produces the records and returns the acknowledgements in the records' order."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    process = start(client, "produce", broker, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    acks = {ack["n"]: ack for ack in finish(client, process, text, seconds)}
    failed = [f"record {n}: {ack['error']}" for n, ack in acks.items() if "error" in ack]
    if failed or len(acks) != len(records):
        raise ClientError(f"{client}: {len(acks)} of {len(records)} answered; {'; '.join(failed[:3])}")
    return [acks[n] for n in range(len(records))]


def read(client, broker, topics, seconds=60):
    """Everything in the topics, in the order of partition and offset."""
    process = start(client, "read", broker, *topics, stderr=subprocess.PIPE)
    return in_order(finish(client, process, None, seconds))


def group(client, broker, name, count, topics, seconds=60):
    """Consumes `count` records as the only member of a group, which commits them (every twenty)."""
    process = start(client, "group", broker, name, count, *topics, stderr=subprocess.PIPE)
    return finish(client, process, None, seconds)


def finish(client, process, text, seconds):
    try:
        out, err = process.communicate(text, seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise ClientError(f"{client}: not done within {seconds} s, {out.count(chr(10))} lines; {err[-400:]}") from None
    if process.returncode != 0:
        raise ClientError(f"{client}: exit status {process.returncode}: {err[-600:]}")
    return [json.loads(line) for line in out.splitlines()]


def in_order(records):
    return sorted(records, key=lambda record: (record["topic"], record["partition"], record["offset"]))


class Background:
    """A client program that runs on while the suite does something else; collects its lines."""

    def __init__(self, client, mode, broker, *arguments):
        self.client = client
        self.lines = []
        self.process = start(client, mode, broker, *arguments, stdin=subprocess.PIPE)
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            self.heard(self.lines[-1])

    def heard(self, line):
        """A line came; for those who want to know at once."""

    def send(self, record):
        self.process.stdin.write(json.dumps(record) + "\n")
        self.process.stdin.flush()

    def close(self, seconds=60):
        """Ends the input and waits for the program; returns its lines."""
        try:
            self.process.stdin.close()
            if self.process.wait(seconds) != 0:
                raise ClientError(f"{self.client}: exit status {self.process.returncode}")
        except subprocess.TimeoutExpired:
            raise ClientError(f"{self.client}: not done {seconds} s after its input") from None
        finally:
            self.kill()
        self.thread.join()
        return self.lines

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
