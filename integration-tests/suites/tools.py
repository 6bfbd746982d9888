"""Kafka's own console tools."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from harness.broker import Broker
from harness.report import BROKER, Skip, expect, expect_in, fresh, run_scenarios, scenario, until
from harness.tools import SECONDS, command, run_program, run_tool

# Where the broker keeps its data, if it runs here.
DATA = os.environ.get("INTEGRATION_DATA")


def tool(name, *arguments, status=0):
    """Runs an administrative tool against the broker and returns what it prints."""
    return run_tool(BROKER, name, *arguments, status=status)


def program(name, *arguments, stdin=""):
    """Runs a tool that is a client against the broker and returns what it prints."""
    return run_program(BROKER, name, *arguments, stdin=stdin)


def create(name, partitions=1, *more):
    topic = fresh(f"tools-{name}")
    expect_in("Created topic", tool("kafka-topics", "--create", "--topic", topic, "--partitions", partitions, *more))
    return topic


def produce(topic, lines, *more):
    program("kafka-console-producer", "--topic", topic, *more, stdin="".join(line + "\n" for line in lines))


def consume(topic, count, *more):
    out = program("kafka-console-consumer", "--topic", topic, "--max-messages", count, "--timeout-ms", 60000, *more)
    return out.splitlines()


def offsets(topic, *more):
    """Partition to offset as kafka-get-offsets prints them."""
    rows = [row.rsplit(":", 2) for row in tool("kafka-get-offsets", "--topic", topic, *more).split()]
    return {int(partition): int(offset) for _, partition, offset in rows}


def table(text, *wanted):
    """The rows of a table that hold all the words, as lists of columns."""
    rows = [line.split() for line in text.splitlines()]
    return [row for row in rows if all(word in row for word in wanted)]


def file_of(value):
    """A file with a JSON value, for the tools that take one."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(value, file)
    return file.name


# Topics.


@scenario
def topics_create_describe_list_alter_delete():
    topic = create("life", 2, "--config", "retention.ms=3600000")
    text = tool("kafka-topics", "--describe", "--topic", topic)
    expect_in("PartitionCount: 2", text)
    expect_in("retention.ms=3600000", text)
    expect(text.count("Leader: "), 2, "partitions with a leader")
    expect_in(topic, tool("kafka-topics", "--describe", "--topics-with-overrides"))
    tool("kafka-topics", "--alter", "--topic", topic, "--partitions", 4)
    expect_in("PartitionCount: 4", tool("kafka-topics", "--describe", "--topic", topic))
    expect_in(topic, tool("kafka-topics", "--list", "--exclude-internal").split())
    expect_in("exist", tool("kafka-topics", "--create", "--topic", topic, status=1))
    tool("kafka-topics", "--create", "--topic", topic, "--if-not-exists")
    tool("kafka-topics", "--delete", "--topic", topic)
    until("deletion", lambda: topic not in tool("kafka-topics", "--list").split())


@scenario
def topics_with_an_assignment_of_replicas():
    topic = fresh("tools-assigned")
    tool("kafka-topics", "--create", "--topic", topic, "--replica-assignment", "1,1,1")
    expect_in("PartitionCount: 3", tool("kafka-topics", "--describe", "--topic", topic))
    tool("kafka-topics", "--alter", "--topic", topic, "--partitions", 5, "--replica-assignment", "1,1,1,1,1")
    for health in ("under-replicated", "under-min-isr", "unavailable"):
        expect(tool("kafka-topics", "--describe", f"--{health}-partitions", "--topic", topic), "", f"{health} partitions")
    at_least = tool("kafka-topics", "--describe", "--at-min-isr-partitions", "--topic", topic)
    expect(at_least.count(topic), 5, "partitions with the fewest replicas in sync")


@scenario
def topics_that_cannot_be_are_refused():
    topic = create("refused", 2)
    for words, error in (
            (("--create", "--topic", fresh("tools!")), "characters other than ASCII"),
            (("--create", "--topic", fresh("tools-few"), "--partitions", 0), "partition"),
            (("--create", "--topic", fresh("tools-many"), "--replication-factor", 9), "eplication factor"),
            (("--create", "--topic", fresh("tools-far"), "--replica-assignment", "77"), "broker 77"),
            (("--create", "--topic", fresh("tools-key"), "--config", "no.such=1"), "no.such"),
            (("--alter", "--topic", topic, "--partitions", 1), "would not be"),
            (("--alter", "--topic", fresh("tools-missing"), "--partitions", 3), "does not exist"),
            (("--delete", "--topic", fresh("tools-missing")), "does not exist"),
            (("--describe", "--topic", fresh("tools-missing")), "does not exist")):
        expect_in(error, tool("kafka-topics", *words, status=1))
    expect(tool("kafka-topics", "--describe", "--topic", fresh("tools-missing"), "--if-exists"), "")


# Configuration.


@scenario
def configs_of_a_topic():
    topic = create("configs")
    where = ["--entity-type", "topics", "--entity-name", topic]
    tool("kafka-configs", *where, "--alter", "--add-config",
         "retention.ms=7200000,max.message.bytes=2000000,cleanup.policy=[compact,delete]")
    text = tool("kafka-configs", *where, "--describe")
    for value in ("retention.ms=7200000", "max.message.bytes=2000000", "cleanup.policy=compact,delete"):
        expect_in(value, text)
    expect_in("DYNAMIC_TOPIC_CONFIG:retention.ms=7200000", text)
    expect_in("segment.bytes=1073741824", tool("kafka-configs", "--topic", topic, "--describe", "--all"))
    tool("kafka-configs", *where, "--alter", "--delete-config", "retention.ms")
    expect("retention.ms=7200000" in tool("kafka-configs", *where, "--describe"), False, "still set")
    for value in ("no.such=1", "retention.ms=long"):
        expect_in("InvalidConfigurationException",
                  tool("kafka-configs", *where, "--alter", "--add-config", value, status=1))
    where[-1] = fresh("tools-missing")
    expect_in("UnknownTopicOrPartitionException",
              tool("kafka-configs", *where, "--alter", "--add-config", "retention.ms=1", status=1))


@scenario
def configs_of_a_broker_and_of_all():
    one = ["--entity-type", "brokers", "--entity-name", "1"]
    every = ["--entity-type", "brokers", "--entity-default"]
    tool("kafka-configs", *one, "--alter", "--add-config", "log.cleaner.backoff.ms=14000")
    tool("kafka-configs", *every, "--alter", "--add-config", "log.cleaner.backoff.ms=13000")
    text = tool("kafka-configs", *one, "--describe", "--all")
    synonyms = ("DYNAMIC_BROKER_CONFIG:log.cleaner.backoff.ms=14000, "
                "DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.backoff.ms=13000, DEFAULT_CONFIG:log.cleaner.backoff.ms=15000")
    expect_in(f"log.cleaner.backoff.ms=14000 sensitive=false synonyms={{{synonyms}}}", text)
    tool("kafka-configs", *one, "--alter", "--delete-config", "log.cleaner.backoff.ms")
    expect_in("log.cleaner.backoff.ms=13000", tool("kafka-configs", *every, "--describe"))
    tool("kafka-configs", *every, "--alter", "--delete-config", "log.cleaner.backoff.ms")
    expect("13000" in tool("kafka-configs", "--entity-type", "brokers", "--describe"), False, "still set")
    expect_in("InvalidRequestException", tool("kafka-configs", *one, "--alter", "--add-config", "log.dirs=/x", status=1))


@scenario
def configs_of_loggers():
    where = ["--entity-type", "broker-loggers", "--entity-name", "1"]
    tool("kafka-configs", *where, "--alter", "--add-config", "kafka.server.KafkaApis=WARN")
    expect_in("kafka.server.KafkaApis=WARN", tool("kafka-configs", *where, "--describe"))
    tool("kafka-configs", *where, "--alter", "--delete-config", "kafka.server.KafkaApis")
    expect_in("kafka.server.KafkaApis=INFO", tool("kafka-configs", *where, "--describe"))
    expect_in("InvalidConfigurationException", tool(
        "kafka-configs", *where, "--alter", "--add-config", "kafka.server.KafkaApis=LOUD", status=1))


@scenario
def configs_of_a_group():
    where = ["--entity-type", "groups", "--entity-name", fresh("tools-configs")]
    tool("kafka-configs", *where, "--alter", "--add-config", "consumer.session.timeout.ms=50000")
    expect_in("consumer.session.timeout.ms=50000", tool("kafka-configs", *where, "--describe"))
    expect_in("InvalidConfigurationException", tool(
        "kafka-configs", *where, "--alter", "--add-config", "consumer.session.timeout.ms=5", status=1))
    tool("kafka-configs", *where, "--alter", "--delete-config", "consumer.session.timeout.ms")
    expect("50000" in tool("kafka-configs", *where, "--describe"), False, "still set")


@scenario
def configs_of_users_are_scram_credentials():
    user = fresh("tools-user")
    where = ["--entity-type", "users", "--entity-name", user]
    tool("kafka-configs", *where, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=pw]")
    tool("kafka-configs", *where, "--alter", "--add-config", "SCRAM-SHA-512=[password=pw]")
    text = tool("kafka-configs", *where, "--describe")
    expect_in(f"'{user}' are SCRAM-SHA-256=iterations=8192, SCRAM-SHA-512=iterations=4096", text)
    expect_in("DuplicateResourceException", tool(
        "kafka-configs", *where, "--alter", "--add-config", "SCRAM-SHA-256=[password=p],SCRAM-SHA-512=[password=p]",
        status=1))
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        tool("kafka-configs", *where, "--alter", "--delete-config", mechanism)
    expect(user in tool("kafka-configs", "--entity-type", "users", "--describe"), False, "still there")


@scenario
def configs_of_clients_are_described():
    for entity in ("clients", "ips"):
        tool("kafka-configs", "--entity-type", entity, "--describe")


@scenario
def configs_of_client_metrics():
    name = fresh("tools-metrics")
    tool("kafka-client-metrics", "--alter", "--name", name, "--interval", 2000, "--metrics", "org.apache.kafka.",
         "--match", "client_id=a")
    text = tool("kafka-client-metrics", "--describe", "--name", name)
    for value in ("interval.ms=2000", "metrics=org.apache.kafka.", "match=client_id=a"):
        expect_in(value, text)
    expect_in(name, tool("kafka-client-metrics", "--list").split())
    expect_in("interval.ms=2000", tool("kafka-configs", "--client-metrics", name, "--describe"))
    expect_in("InvalidRequestException", tool(
        "kafka-configs", "--client-metrics", name, "--alter", "--add-config", "interval.ms=1", status=1))
    tool("kafka-client-metrics", "--delete", "--name", name)
    expect(name in tool("kafka-client-metrics", "--list").split(), False, "still listed")


# Records.


@scenario
def console_producer_and_consumer():
    topic = create("console")
    produce(topic, ["h:1\tk1\tv1", "h:2,h:3\tk2\tv2"], "--reader-property", "parse.key=true",
            "--reader-property", "parse.headers=true", "--compression-codec", "zstd")
    show = [word for what in ("key", "headers", "offset", "partition")
            for word in ("--formatter-property", f"print.{what}=true")]
    rows = consume(topic, 2, "--from-beginning", *show)
    expect(rows, ["Partition:0\tOffset:0\th:1\tk1\tv1", "Partition:0\tOffset:1\th:2,h:3\tk2\tv2"])
    expect(consume(topic, 1, "--partition", 0, "--offset", 1), ["v2"])
    expect(consume(topic, 2, "--from-beginning", "--isolation-level", "read_committed"), ["v1", "v2"])


@scenario
def offsets_and_deleted_records():
    topic = create("offsets", 2)
    produce(topic, [str(n) for n in range(50)])
    ends = offsets(topic)
    expect(sum(ends.values()), 50, "offsets at the end")
    expect(offsets(topic, "--time", "earliest"), {0: 0, 1: 0})
    expect(offsets(topic, "--time", "1000"), {part: 0 for part, end in ends.items() if end}, "after the year 1970")
    last = offsets(topic, "--time", "max-timestamp")
    expect(all(0 <= offset < ends[part] for part, offset in last.items()) and bool(last), True, "a latest timestamp")
    rows = tool("kafka-get-offsets", "--topic-partitions", f"{topic}:0", "--exclude-internal-topics")
    expect(rows.split(), [f"{topic}:0:{ends[0]}"])
    cut = {part: end // 2 for part, end in ends.items()}
    rows = [{"topic": topic, "partition": part, "offset": offset} for part, offset in cut.items()]
    path = file_of({"partitions": rows, "version": 1})
    expect_in("low_watermark", tool("kafka-delete-records", "--offset-json-file", path))
    expect(offsets(topic, "--time", "earliest"), cut)
    path = file_of({"partitions": [{"topic": topic, "partition": 0, "offset": 1000}], "version": 1})
    expect_in("OffsetOutOfRangeException", tool("kafka-delete-records", "--offset-json-file", path))


@scenario
def verifiable_producer_and_consumer():
    topic, group = create("verifiable", 2), fresh("tools-verifiable")
    lines = program("kafka-verifiable-producer", "--topic", topic, "--max-messages", 50, "--acks", -1).splitlines()
    events = [json.loads(line) for line in lines]
    expect(len([one for one in events if one["name"] == "producer_send_success"]), 50, "acknowledgements")
    expect((events[-1]["sent"], events[-1]["acked"]), (50, 50), "sent and acknowledged")
    lines = program("kafka-verifiable-consumer", "--topic", topic, "--group-id", group, "--max-messages", 50,
                    "--reset-policy", "earliest").splitlines()
    events = [json.loads(line) for line in lines]
    expect(sum(one["count"] for one in events if one["name"] == "records_consumed"), 50, "consumed")
    commits = [one for one in events if one["name"] == "offsets_committed"]
    expect([one["success"] for one in commits], [True] * len(commits), "commits")
    text = tool("kafka-consumer-groups", "--describe", "--group", group)
    expect(sum(int(row[3]) for row in table(text, topic)), 50, "committed offsets")


@scenario
def performance_tools():
    topic = create("perf")
    text = program("kafka-producer-perf-test", "--topic", topic, "--num-records", 20000, "--record-size", 100,
                   "--throughput", -1)
    expect_in("20000 records sent", text)
    text = program("kafka-consumer-perf-test", "--topic", topic, "--num-records", 20000, "--timeout", 60000)
    columns = text.splitlines()[-1].split(", ")
    expect(int(columns[4]) >= 20000, True, "records consumed")
    text = program("kafka-e2e-latency", "--topic", create("e2e"), "--num-records", 200, "--producer-acks", "all",
                   "--record-size", 100)
    expect_in("Percentiles: 50th = ", text)


# Groups.


def reset(group, *more):
    """The new offsets of a reset, by partition."""
    text = tool("kafka-consumer-groups", "--group", group, "--reset-offsets", *more)
    return {int(row[2]): int(row[3]) for row in table(text, group) if row[0] == group}


@scenario
def console_consumer_in_a_group_resumes():
    topic, group = create("group", 1), fresh("tools-group")
    produce(topic, [str(n) for n in range(30)], "--compression-codec", "lz4")
    first = consume(topic, 10, "--group", group, "--from-beginning")
    second = consume(topic, 20, "--group", group)
    expect(first + second, [str(n) for n in range(30)])
    text = tool("kafka-consumer-groups", "--describe", "--group", group)
    expect(table(text, topic)[0][3:6], ["30", "30", "0"], "current offset, log end offset, lag")
    expect(reset(group, "--topic", topic, "--to-offset", 25, "--execute"), {0: 25})
    expect(consume(topic, 5, "--group", group), [str(n) for n in range(25, 30)])


@scenario
def groups_are_listed_by_state_and_type():
    topic, group = create("listed", 1), fresh("tools-listed")
    reset(group, "--topic", topic, "--to-earliest", "--execute")
    for words, there in (((), True), (("--state",), True), (("--state", "empty"), True), (("--state", "stable"), False),
                         (("--type",), True), (("--type", "classic"), True), (("--type", "consumer"), False)):
        text = tool("kafka-consumer-groups", "--list", *words)
        expect(group in text.split(), there, f"{group} in the list with {words}")
    expect(table(tool("kafka-consumer-groups", "--list", "--state", "--type"), group), [[group, "Classic", "Empty"]])
    expect(table(tool("kafka-groups", "--list"), group)[0][:2], [group, "Classic"])
    expect_in("is valid", tool("kafka-consumer-groups", "--validate-regex", "a.*"))
    expect_in("is invalid", tool("kafka-consumer-groups", "--validate-regex", "["))


@scenario
def a_group_with_members_is_described_and_kept():
    topic, group = create("members", 2), fresh("tools-members")
    member = subprocess.Popen(
        command(BROKER, "kafka-verifiable-consumer", "--topic", topic, "--group-id", group, "--group-instance-id", "one",
                "--reset-policy", "earliest"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        describe = ["kafka-consumer-groups", "--describe", "--group", group]
        until("a stable group", lambda: table(tool(*describe, "--state"), group, "Stable"), SECONDS)
        expect_in("range", tool(*describe, "--state"))
        members = table(tool(*describe, "--members", "--verbose"), group)
        expect(len(members), 1, "members")
        expect_in(f"{topic}:0,1", " ".join(members[0]))
        expect_in("one", members[0])
        offsets_of = table(tool(*describe, "--offsets", "--verbose"), topic)
        expect(len(offsets_of), 2, "rows of offsets")
        expect_in("is inactive, but", tool("kafka-consumer-groups", "--group", group, "--reset-offsets", "--to-earliest",
                                           "--topic", topic, "--execute"))
        expect_in("GroupNotEmpty", tool("kafka-consumer-groups", "--delete", "--group", group))
        expect_in("GroupSubscribedToTopic", tool(
            "kafka-consumer-groups", "--delete-offsets", "--group", group, "--topic", topic))
    finally:
        member.kill()
        member.wait()


@scenario
def offsets_of_a_group_are_reset_in_every_way():
    topic, group = create("reset", 2), fresh("tools-reset")
    produce(topic, [f"{n % 7}:{n}" for n in range(20)], "--reader-property", "parse.key=true",
            "--reader-property", "key.separator=:")
    ends, starts = offsets(topic), {0: 0, 1: 0}
    where = ["--topic", topic, "--execute"]
    expect(reset(group, "--topic", topic, "--to-latest", "--dry-run"), ends)
    expect(table(tool("kafka-consumer-groups", "--list"), group), [], "a dry run commits")
    expect(reset(group, *where, "--to-latest"), ends)
    expect(reset(group, "--all-topics", "--execute", "--to-earliest"), starts)
    expect(reset(group, "--topic", f"{topic}:1", "--execute", "--to-offset", 1), {1: 1})
    expect(reset(group, "--topic", topic, "--to-current", "--dry-run"), {0: 0, 1: 1})
    expect(reset(group, *where, "--shift-by", 100), ends, "beyond the end")
    expect(reset(group, *where, "--shift-by", -1), {part: end - 1 for part, end in ends.items()})
    expect(reset(group, *where, "--to-datetime", "2020-01-01T00:00:00.000"), starts)
    expect(reset(group, *where, "--to-datetime", "2090-01-01T00:00:00.000"), ends)
    expect(reset(group, *where, "--by-duration", "P1D"), starts)
    plan = tool("kafka-consumer-groups", "--group", group, "--reset-offsets", "--topic", topic, "--to-latest", "--export",
                "--dry-run")
    path = file_of(None)
    Path(path).write_text(plan)
    expect(reset(group, "--from-file", path, "--execute"), ends)
    rows = table(tool("kafka-consumer-groups", "--describe", "--group", group), topic)
    expect({int(row[2]): int(row[3]) for row in rows}, ends, "committed")


@scenario
def offsets_and_groups_are_deleted():
    topic, group = create("deleted", 2), fresh("tools-deleted")
    reset(group, "--topic", topic, "--to-earliest", "--execute")
    delete = ["kafka-consumer-groups", "--delete-offsets", "--group"]
    expect_in("Successful", tool(*delete, group, "--topic", f"{topic}:0"))
    rows = table(tool("kafka-consumer-groups", "--describe", "--group", group), topic)
    expect([row[2] for row in rows], ["1"], "partitions left")
    expect_in("UnknownTopicOrPartition", tool(*delete, group, "--topic", fresh("tools-missing")))
    expect_in("group id does not exist", tool(*delete, fresh("tools-missing"), "--topic", topic))
    expect_in("successful", tool("kafka-consumer-groups", "--delete", "--group", group))
    expect_in("GroupIdNotFound", tool("kafka-consumer-groups", "--delete", "--group", group))
    expect_in("GroupIdNotFound", tool("kafka-consumer-groups", "--describe", "--group", group))


# The cluster.


@scenario
def log_directories():
    topic = create("dirs")
    produce(topic, ["x" * 100])
    text = tool("kafka-log-dirs", "--describe", "--topic-list", topic, "--broker-list", 1)
    expect(int(re.search(rf'"partition":"{topic}-0","size":(\d+)', text).group(1)) > 100, True, "bytes")
    expect_in("do not exist", tool("kafka-log-dirs", "--describe", "--broker-list", 9, status=1))


@scenario
def replicas_are_reassigned_to_where_they_are():
    topic = create("reassigned", 2)
    topics = file_of({"topics": [{"topic": topic}], "version": 1})
    text = tool("kafka-reassign-partitions", "--generate", "--topics-to-move-json-file", topics, "--broker-list", 1)
    plan = file_of(json.loads(text.splitlines()[-1]))
    run = ["kafka-reassign-partitions", "--reassignment-json-file", plan]
    expect_in("Successfully started", tool(*run, "--execute", "--throttle", 1000000))
    expect_in("is completed", tool(*run, "--verify"))
    config = tool("kafka-configs", "--entity-type", "brokers", "--entity-name", 1, "--describe")
    expect("throttled" in config, False, "a throttle that stays")
    tool(*run, "--cancel")
    expect_in("No partition reassignments", tool("kafka-reassign-partitions", "--list"))
    far = file_of({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [1, 9]}]})
    tool("kafka-reassign-partitions", "--reassignment-json-file", far, "--execute", status=1)


@scenario
def replicas_move_between_log_directories():
    broker = Broker()
    first, second = str(broker.data), str(broker.directory / "second")
    broker.settings["log.dirs"] = f"{first},{second}"
    broker.start()

    def run(name, *arguments):
        return run_tool(broker.address, name, *arguments)

    try:
        topic = fresh("tools-moved")
        run("kafka-topics", "--create", "--topic", topic)
        run_program(broker.address, "kafka-console-producer", "--topic", topic, stdin="".join(f"{n}\n" for n in range(100)))
        there = [path for path in (first, second) if (Path(path) / f"{topic}-0").is_dir()]
        target = second if there == [first] else first
        plan = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [target]}
        plan = ["--reassignment-json-file", file_of({"version": 1, "partitions": [plan]})]
        throttle = ["--replica-alter-log-dirs-throttle", 100000000]
        text = run("kafka-reassign-partitions", *plan, "--execute", *throttle)
        expect_in(f"Successfully started moving log directory to {target}", text)
        until("the move", lambda: f"{topic}-0-1 completed successfully" in run("kafka-reassign-partitions", *plan, "--verify"))
        dirs = json.loads(run("kafka-log-dirs", "--describe", "--topic-list", topic).splitlines()[-1])["brokers"][0]["logDirs"]
        expect([one["logDir"] for one in dirs if one["partitions"]], [target], "directories of the replica")
        expect_in(f"{topic}:0:100", run("kafka-get-offsets", "--topic", topic))
        text = run_program(broker.address, "kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 100)
        expect(text.split(), [str(n) for n in range(100)], "records")
        config = run("kafka-configs", "--entity-type", "brokers", "--entity-name", 1, "--describe")
        expect("throttled" in config, False, "a throttle that stays")
    finally:
        broker.remove()


@scenario
def transactions_are_listed_and_described():
    topic, name = create("transactions"), fresh("tools-transactions")
    program("kafka-producer-perf-test", "--topic", topic, "--num-records", 200, "--record-size", 10, "--throughput", -1,
            "--transactional-id", name, "--transaction-duration-ms", 50)
    expect(table(tool("kafka-transactions", "list"), name)[0][3:], ["CompleteCommit"], "the state in the list")
    expect(table(tool("kafka-transactions", "list", "--transactional-id-pattern", f"{name}.+"), name), [], "of other ids")
    row = table(tool("kafka-transactions", "describe", "--transactional-id", name), name)[0]
    expect((row[0], row[4]), ("1", "CompleteCommit"), "coordinator and state")
    producers = tool("kafka-transactions", "describe-producers", "--topic", topic, "--partition", 0)
    expect(table(producers, row[2])[0][5], "None", "the start of an open transaction")
    expect(topic in tool("kafka-transactions", "find-hanging", "--broker-id", 1), False, "a hanging transaction")
    expect_in("Could not find any open transactions", tool(
        "kafka-transactions", "abort", "--topic", topic, "--partition", 0, "--start-offset", 0, status=1))


@scenario
def leaders_are_elected():
    topic = create("elected")
    where = ["kafka-leader-election", "--topic", topic, "--partition", 0]
    expect_in("Valid replica already elected", tool(*where, "--election-type", "preferred"))
    expect_in("Valid replica already elected", tool(*where, "--election-type", "unclean"))
    tool("kafka-leader-election", "--election-type", "preferred", "--all-topic-partitions")
    where[2] = fresh("tools-missing")
    expect_in("UnknownTopicOrPartition", tool(*where, "--election-type", "preferred", status=1))


@scenario
def the_cluster():
    expect_in("Cluster ID: ", tool("kafka-cluster", "cluster-id"))
    host, port = BROKER.rsplit(":", 1)
    expect(table(tool("kafka-cluster", "list-endpoints"), "1")[0][1:3], [host, port], "host and port of broker 1")
    expect_in("BrokerIdNotRegistered", tool("kafka-cluster", "unregister", "--id", 99, status=1))
    text = tool("kafka-broker-api-versions")
    for name in ("Produce(0)", "Fetch(1)", "Metadata(3)", "ApiVersions(18)", "CreateTopics(19)"):
        expect_in(name, text)


@scenario
def the_quorum():
    status = tool("kafka-metadata-quorum", "describe", "--status")
    expect(re.search(r"LeaderId: +1\n", status) is not None, True, "node 1 leads")
    expect(table(tool("kafka-metadata-quorum", "describe", "--replication"), "Leader")[0][0], "1", "the leader")
    tool("kafka-metadata-quorum", "describe", "--replication", "--human-readable")


@scenario
def features():
    text = tool("kafka-features", "describe")
    for name in ("metadata.version", "kraft.version", "group.version", "transaction.version"):
        expect_in(name, text)
    expect_in("can be", tool("kafka-features", "downgrade", "--feature", "streams.version=0", "--dry-run"))
    expect_in("nosuch.version", tool("kafka-features", "upgrade", "--feature", "nosuch.version=1", status=1))
    tool("kafka-features", "upgrade", "--metadata", "4.0", status=1)


# Files.


def dump(*words):
    if DATA is None:
        raise Skip("the broker's files are not here")
    return tool("kafka-dump-log", *words)


def files(directory, pattern="*.log"):
    return sorted(str(path) for path in (Path(DATA or "/nowhere") / directory).glob(pattern))


@scenario
def segments_are_dumped():
    topic = create("dumped", 1, "--config", "segment.bytes=1048576", "--config", "index.interval.bytes=1")
    program("kafka-producer-perf-test", "--topic", topic, "--num-records", 15000, "--record-size", 200, "--throughput", -1)
    logs = files(f"{topic}-0")
    text = dump("--files", ",".join(logs), "--deep-iteration", "--print-data-log")
    expect(len(logs) > 1 or DATA is None, True, "several segments")
    expect(re.findall(r"\| offset: (\d+)", text), [str(n) for n in range(15000)], "offsets")
    expect("isvalid: false" in text, False, "an invalid batch")
    indexes = ",".join(files(f"{topic}-0", "*index"))
    expect_in("passed sanity check", dump("--files", indexes, "--index-sanity-check"))
    verified = dump("--files", indexes, "--verify-index-only")
    for complaint in ("Found timestamp mismatch", "Mismatches in", "Non-consecutive", "Non-secutive"):
        expect(complaint in verified, False, complaint)


@scenario
def committed_offsets_are_dumped():
    topic, group = create("dumped-group", 1), fresh("tools-dumped")
    reset(group, "--topic", topic, "--to-earliest", "--execute")
    logs = [path for index in range(50) for path in files(f"__consumer_offsets-{index}")]
    text = dump("--files", ",".join(logs), "--offsets-decoder")
    commit = next(line for line in text.splitlines() if f'"group":"{group}"' in line and '"topic"' in line)
    expect_in(f'"topic":"{topic}","partition":0', commit)
    expect_in('"version":"4","data":{"offset":0', commit)


@scenario
def the_metadata_log_is_dumped():
    topic = create("dumped-metadata")
    text = dump("--files", ",".join(files("__cluster_metadata-0")), "--cluster-metadata-decoder")
    expect(f'"name":"{topic}"' in text, True, "the record of the topic")
    for path in files("__cluster_metadata-0", "*.checkpoint"):
        text = dump("--files", path, "--cluster-metadata-decoder")
        expect_in("SnapshotHeader", text)
        expect_in("SnapshotFooter", text)


if __name__ == "__main__":
    run_scenarios()
