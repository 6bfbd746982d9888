"""Kafka's console tools, each a JVM of its own."""

import subprocess

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
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
}


def run_tool(broker, name, *arguments, stdin="", status=0):
    """Runs a tool against a broker and returns what it prints; `status` other than 0 expects a failure."""
    command = [*JVM, CLASSES[name], "--bootstrap-server", broker, *map(str, arguments)]
    if name == "kafka-cluster":  # Its subcommand comes first.
        command = [*JVM, CLASSES[name], arguments[0], "--bootstrap-server", broker]
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=90)
    if (done.returncode == 0) != (status == 0):
        raise AssertionError(f"{name} {' '.join(map(str, arguments))}: exit status {done.returncode}: "
                             f"{(done.stdout + done.stderr)[-500:]}")
    return done.stdout if status == 0 else done.stdout + done.stderr
