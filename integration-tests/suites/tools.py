"""Kafka's own console tools."""

import os
import re
from pathlib import Path

from harness.report import BROKER, expect, expect_in, fresh, run_scenarios, scenario, until
from harness.tools import run_tool


def tool(name, *arguments, stdin="", status=0):
    """Runs a tool against the broker and returns what it prints."""
    return run_tool(BROKER, name, *arguments, stdin=stdin, status=status)


def create(name, partitions=1, *more):
    topic = fresh(f"tools-{name}")
    expect_in("Created topic", tool("kafka-topics", "--create", "--topic", topic, "--partitions", partitions, *more))
    return topic


def produce(topic, lines, *more):
    tool("kafka-console-producer", "--topic", topic, *more, stdin="".join(line + "\n" for line in lines))


def consume(topic, count, *more):
    out = tool("kafka-console-consumer", "--topic", topic, "--max-messages", count, "--timeout-ms", 20000, *more)
    return out.splitlines()


def offsets(topic, *more):
    """Partition to offset as kafka-get-offsets prints them."""
    rows = [row.rsplit(":", 2) for row in tool("kafka-get-offsets", "--topic", topic, *more).split()]
    return {int(partition): int(offset) for _, partition, offset in rows}


@scenario
def topics_create_describe_list_alter_delete():
    topic = create("life", 2, "--config", "retention.ms=3600000")
    text = tool("kafka-topics", "--describe", "--topic", topic)
    expect_in("PartitionCount: 2", text)
    expect_in("retention.ms=3600000", text)
    tool("kafka-topics", "--alter", "--topic", topic, "--partitions", 4)
    expect_in("PartitionCount: 4", tool("kafka-topics", "--describe", "--topic", topic))
    expect_in(topic, tool("kafka-topics", "--list").split())
    expect_in("exist", tool("kafka-topics", "--create", "--topic", topic, status=1))
    tool("kafka-topics", "--delete", "--topic", topic)
    until("deletion", lambda: topic not in tool("kafka-topics", "--list").split())


@scenario
def a_missing_topic_is_reported():
    expect_in("does not exist", tool("kafka-topics", "--describe", "--topic", fresh("tools-missing"), status=1))


@scenario
def console_producer_and_consumer():
    topic = create("console")
    produce(topic, ["h:1\tk1\tv1", "h:2,h:3\tk2\tv2"], "--reader-property", "parse.key=true",
            "--reader-property", "parse.headers=true")
    rows = consume(topic, 2, "--from-beginning", "--formatter-property", "print.key=true",
                   "--formatter-property", "print.headers=true", "--formatter-property", "print.offset=true",
                   "--formatter-property", "print.partition=true")
    expect(rows, ["Partition:0\tOffset:0\th:1\tk1\tv1", "Partition:0\tOffset:1\th:2,h:3\tk2\tv2"])


@scenario
def console_consumer_in_a_group_resumes():
    topic, group = create("group", 1), fresh("tools-group")
    produce(topic, [str(n) for n in range(30)], "--compression-codec", "lz4")
    first = consume(topic, 10, "--group", group, "--from-beginning")
    second = consume(topic, 20, "--group", group)
    expect(first + second, [str(n) for n in range(30)])
    listed = tool("kafka-consumer-groups", "--list").split()
    expect(group in listed, True, f"{group} in the list")
    row = [line.split() for line in tool("kafka-consumer-groups", "--describe", "--group", group).splitlines()
           if topic in line][0]
    expect(row[3:6], ["30", "30", "0"], "current offset, log end offset, lag")
    expect_in("Empty", tool("kafka-consumer-groups", "--describe", "--group", group, "--state"))
    reset = tool("kafka-consumer-groups", "--group", group, "--topic", topic, "--reset-offsets", "--to-offset", 25, "--execute")
    expect_in("25", reset)
    expect(consume(topic, 5, "--group", group), [str(n) for n in range(25, 30)])
    expect_in("successful", tool("kafka-consumer-groups", "--delete", "--group", group))


@scenario
def offsets_and_deleted_records():
    topic = create("offsets", 2)
    produce(topic, [str(n) for n in range(50)])
    expect(sum(offsets(topic).values()), 50, "offsets at the end")
    expect(offsets(topic, "--time", "earliest"), {0: 0, 1: 0})
    ends = offsets(topic)
    cut = {part: end // 2 for part, end in ends.items()}
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"{topic}.json"
    rows = ",".join(f'{{"topic":"{topic}","partition":{part},"offset":{offset}}}' for part, offset in cut.items())
    path.write_text(f'{{"partitions":[{rows}],"version":1}}')
    try:
        expect_in("low_watermark", tool("kafka-delete-records", "--offset-json-file", path))
    finally:
        path.unlink()
    expect(offsets(topic, "--time", "earliest"), cut)


@scenario
def configs_of_a_topic():
    topic = create("configs")
    where = ["--entity-type", "topics", "--entity-name", topic]
    tool("kafka-configs", *where, "--alter", "--add-config", "retention.ms=7200000,max.message.bytes=2000000")
    text = tool("kafka-configs", *where, "--describe")
    expect_in("retention.ms=7200000", text)
    expect_in("max.message.bytes=2000000", text)
    tool("kafka-configs", *where, "--alter", "--delete-config", "retention.ms")
    expect("retention.ms=7200000" in tool("kafka-configs", *where, "--describe"), False, "still set")
    expect_in("InvalidConfigurationException", tool("kafka-configs", *where, "--alter", "--add-config", "no.such=1", status=1))


@scenario
def log_directories():
    topic = create("dirs")
    produce(topic, ["x" * 100])
    text = tool("kafka-log-dirs", "--describe", "--topic-list", topic)
    expect(re.search(rf'"partition":"{topic}-0","size":(\d+)', text).group(1) > "100", True, "bytes")


@scenario
def the_cluster():
    expect_in("Cluster ID: ", tool("kafka-cluster", "cluster-id"))
    text = tool("kafka-broker-api-versions")
    for name in ("Produce(0)", "Fetch(1)", "Metadata(3)", "ApiVersions(18)", "CreateTopics(19)"):
        expect_in(name, text)
    expect_in("LeaderId:", tool("kafka-metadata-quorum", "describe", "--status"))
    expect_in("metadata.version", tool("kafka-features", "describe"))


@scenario
def performance_tools():
    topic = create("perf")
    text = tool("kafka-producer-perf-test", "--topic", topic, "--num-records", 20000, "--record-size", 100,
                "--throughput", -1)
    expect_in("20000 records sent", text)
    text = tool("kafka-consumer-perf-test", "--topic", topic, "--num-records", 20000, "--timeout", 20000)
    columns = text.splitlines()[-1].split(", ")
    expect(int(columns[4]) >= 20000, True, "records consumed")


@scenario
def groups_are_listed_with_their_type():
    text = tool("kafka-groups", "--list")
    expect_in("PROTOCOL", text)


if __name__ == "__main__":
    run_scenarios()
