"""Kafka's console tools: those that administer in one JVM, one after the other, and clients each in its own."""

import base64
import subprocess
import threading

from harness import install

JVM = ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", install.jars("tools")]
CLASSES = {
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
}
SECONDS = 120


class _Tools:
    """The JVM of the administrative tools (clients/tools/Tools.java)."""

    def __init__(self):
        source = install.CLIENTS / "tools" / "Tools.java"
        self.process = subprocess.Popen([*JVM, str(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *words):
        """Exit status and what was printed, to both streams."""
        timer = threading.Timer(SECONDS, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(" ".join(base64.b64encode(word.encode()).decode() for word in words) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().rstrip("\n").split(" ")
        finally:
            timer.cancel()
        if len(answer) != 3:
            raise AssertionError(f"{words}: the JVM of the tools ended, or took more than {SECONDS} s")
        status, out, err = (base64.b64decode(word).decode() for word in answer)
        return int(status), out, err


_tools = []


def arguments_of(broker, name, arguments):
    words = [*map(str, arguments)]
    if name == "kafka-dump-log":
        return words
    if name == "kafka-cluster":  # Its subcommand comes first.
        return [words[0], "--bootstrap-server", broker, *words[1:]]
    return ["--bootstrap-server", broker, *words]


def run_tool(broker, name, *arguments, status=0):
    """Runs a tool against a broker and returns what it prints; `status` other than 0 expects a failure."""
    if not _tools:
        _tools.append(_Tools())
    words = arguments_of(broker, name, arguments)
    code, out, err = _tools[0].run(CLASSES[name], *words)
    if (code == 0) != (status == 0):
        raise AssertionError(f"{name} {' '.join(words)}: exit status {code}: {(out + err)[-500:]}")
    return out if status == 0 else out + err


def command(broker, name, *arguments):
    """The command line of a tool in a JVM of its own."""
    return [*JVM, CLASSES[name], *arguments_of(broker, name, arguments)]


def run_program(broker, name, *arguments, stdin=""):
    """Runs a tool that keeps state in its classes, or ends only with its process; returns what it prints."""
    done = subprocess.run(command(broker, name, *arguments), input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=SECONDS)
    if done.returncode != 0:
        raise AssertionError(f"{name} {' '.join(map(str, arguments))}: exit status {done.returncode}: "
                             f"{(done.stdout + done.stderr)[-500:]}")
    return done.stdout
