"""The names of Kafka's tools that Ottla's command answers to, beside Kafka's own on the same broker.

Each comparison runs the same arguments through both and compares what scripts read: standard output,
and whether the exit code is 0.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.broker import Broker
from harness.report import Skip, expect, expect_in, fresh, run_scenarios, scenario, until
from harness.tools import CLASSES, JVM

# Its own: what is listed and described here nobody else has.
NODE = Broker()
OTTLA = shutil.which(os.environ.get("OTTLA_BIN", "ottla"))


def run(command, stdin="", seconds=90):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds)
    return done.stdout, done.stderr, done.returncode


def arguments(name, words):
    server = ["--bootstrap-server", NODE.address]
    # Its subcommand comes first.
    return [words[0], *server, *words[1:]] if name == "kafka-cluster" else [*server, *words]


def ours(name, *words, stdin=""):
    if OTTLA is None:
        raise Skip("OTTLA_BIN names no binary")
    return run([OTTLA, name, *arguments(name, [str(word) for word in words])], stdin)


def theirs(name, *words, stdin=""):
    return run([*JVM, CLASSES[name], *arguments(name, [str(word) for word in words])], stdin)


def lines(text, ordered):
    """Lines to compare, sorted where Kafka's tool prints a hash map."""
    rows = [settings_in_order(row) for row in text.splitlines()]
    return rows if ordered else sorted(rows)


def settings_in_order(row):
    """`Configs: b=1,a=2`: the order is the broker's."""
    head, mark, settings = row.partition("Configs: ")
    return head + mark + ",".join(sorted(settings.split(",")))


def same(name, *words, stdin="", ordered=True):
    """Runs both and compares. Returns Ottla's output."""
    got, errors, code = ours(name, *words, stdin=stdin)
    want, _, their_code = theirs(name, *words, stdin=stdin)
    expect(lines(got, ordered), lines(want, ordered), f"{name} {' '.join(map(str, words))}: {errors[-200:]}")
    expect(code == 0, their_code == 0, f"{name}: exit code {code}, Kafka's {their_code}; succeeded")
    return got


def twice(name, first, second):
    """A change that can be made only once: by one tool to `first`, by the other to `second`."""
    got, errors, code = ours(name, *first)
    want, _, their_code = theirs(name, *second)
    hide = [(word, f"<{n}>") for words in (first, second) for n, word in enumerate(words) if "it-" in str(word)]
    for word, mark in hide:
        got, want = got.replace(word, mark), want.replace(word, mark)
    expect(got, want, f"{name} {' '.join(map(str, first))}: {errors[-200:]}")
    expect((code, their_code), (0, 0), "exit codes")


def create(name, partitions=1, *more):
    topic = fresh(f"command-{name}")
    out, errors, code = ours("kafka-topics", "--create", "--topic", topic, "--partitions", partitions, *more)
    expect((out.splitlines()[-1], code), (f"Created topic {topic}.", 0), errors)
    return topic


def produce(topic, rows):
    out, errors, code = ours("kafka-console-producer", "--topic", topic, "--reader-property", "parse.key=true",
                             "--reader-property", "key.separator=:", stdin="".join(row + "\n" for row in rows))
    expect((out, code), ("", 0), errors)


@scenario
def topics_are_created_with_the_same_words():
    names = [(fresh(f"command-create-{n}"), fresh(f"command-create-k{n}")) for n in range(2)]
    for (first, second), more in zip(names, ([], ["--partitions", "3", "--config", "retention.ms=3600000"])):
        twice("kafka-topics", ["--create", "--topic", first, *more], ["--create", "--topic", second, *more])
    same("kafka-topics", "--create", "--topic", names[0][0])
    same("kafka-topics", "--create", "--topic", names[0][0], "--if-not-exists")
    same("kafka-topics", "--create", "--topic", fresh("command-bad"), "--config", "no.such=1")
    same("kafka-topics", "--create", "--topic", "ba d")


@scenario
def topics_are_listed_and_described():
    topic = create("describe", 3, "--config", "cleanup.policy=compact")
    expect_in(f"{topic}\n", same("kafka-topics", "--list"))
    expect_in("PartitionCount: 3", same("kafka-topics", "--describe", "--topic", topic))
    same("kafka-topics", "--list", "--topic", f"{topic[:-2]}.*", "--exclude-internal")
    same("kafka-topics", "--describe", "--topic", topic, "--unavailable-partitions")
    same("kafka-topics", "--describe", "--topic", topic, "--at-min-isr-partitions")
    same("kafka-topics", "--describe", "--topic", fresh("command-none"))
    same("kafka-topics", "--describe", "--topic", fresh("command-none"), "--if-exists")


@scenario
def topics_are_altered_and_deleted():
    topic = create("alter", 1)
    out, errors, code = ours("kafka-topics", "--alter", "--topic", topic, "--partitions", 4)
    expect((out, code), ("", 0), errors)
    expect_in("PartitionCount: 4", same("kafka-topics", "--describe", "--topic", topic))
    same("kafka-topics", "--alter", "--topic", topic, "--partitions", 2)
    out, errors, code = ours("kafka-topics", "--delete", "--topic", topic)
    expect((out, code), ("", 0), errors)
    until("deletion", lambda: topic not in ours("kafka-topics", "--list")[0].split())
    same("kafka-topics", "--delete", "--topic", topic)


@scenario
def console_tools_read_what_the_others_wrote():
    topic = create("console", 1)
    keyed = ["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"]
    for tool in (ours, theirs):
        rows = "h:1,g:2\tk1\tv1\nh:1\tk2\tv2\n"
        _, errors, code = tool("kafka-console-producer", "--topic", topic, "--compression-codec", "lz4", *keyed,
                               stdin=rows)
        expect(code, 0, errors)
    options = ["--topic", topic, "--from-beginning", "--max-messages", 4, "--timeout-ms", 20000]
    for name in ("key", "headers", "timestamp", "partition", "offset"):
        options += ["--formatter-property", f"print.{name}=true"]
    out = same("kafka-console-consumer", *options)
    expect(len(out.splitlines()), 4, "records")
    same("kafka-console-consumer", "--topic", topic, "--partition", 0, "--offset", 1, "--max-messages", 2)
    same("kafka-console-producer", "--topic", topic, "--reader-property", "parse.key=true", stdin="no separator\n")


@scenario
def groups_are_described_reset_and_deleted():
    topic, group = create("groups", 2), fresh("command-group")
    produce(topic, ["a:1", "b:2", "c:3", "d:4"])
    out, errors, code = ours("kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning",
                             "--max-messages", 3, "--timeout-ms", 20000)
    expect((len(out.splitlines()), code), (3, 0), errors)
    tool = "kafka-consumer-groups"
    expect_in(group, same(tool, "--list", ordered=False))
    same(tool, "--list", "--state", ordered=False)
    of = ["--describe", "--group", group]
    for more in ([], ["--offsets", "--verbose"], ["--state"], ["--members"], ["--members", "--verbose"]):
        same(tool, *of, *more, ordered=False)
    where = ["--group", group, "--topic", topic, "--reset-offsets"]
    for more in (["--to-earliest", "--dry-run"], ["--to-latest", "--execute"], ["--shift-by", "-1", "--dry-run"],
                 ["--to-offset", "100", "--dry-run"], ["--to-datetime", "2020-01-01T00:00:00.000", "--dry-run"],
                 ["--to-current", "--export", "--dry-run"]):
        same(tool, *where, *more, ordered=False)
    same(tool, "--describe", "--group", fresh("command-none"))
    same(tool, "--delete-offsets", "--group", group, "--topic", f"{topic}:0")
    out, errors, code = ours(tool, "--delete", "--group", group)
    expect((out, code), (f"Deletion of requested consumer groups ('{group}') was successful.\n", 0), errors)


@scenario
def a_group_with_a_member_is_described():
    topic, group = create("member", 2), fresh("command-member")
    tool, of = "kafka-consumer-groups", ["--describe", "--group", group]
    member = subprocess.Popen([OTTLA or "ottla", "kafka-console-consumer", "--bootstrap-server", NODE.address, "--topic",
                               topic, "--group", group], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        until("a stable group", lambda: "Stable" in ours(tool, *of, "--state")[0])
        until("commits", lambda: committed(ours(tool, *of)[0], topic) == ["0", "0"])
        for more in ([], ["--members"], ["--members", "--verbose"], ["--state"]):
            same(tool, *of, *more, ordered=False)
        same(tool, "--delete", "--group", group)
        same(tool, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    finally:
        member.terminate()
    errors = member.communicate(timeout=30)[1]
    expect(member.returncode, 143, f"exit code after SIGTERM; {errors}")
    until("an empty group", lambda: "Empty" in ours(tool, *of, "--state")[0], seconds=10)


def committed(text, topic):
    """The committed offsets of a topic's partitions as `--describe` prints them."""
    return [row.split()[3] for row in text.splitlines() if topic in row]


@scenario
def settings_are_described_and_altered():
    topic = create("configs", 1)
    where = ["--entity-type", "topics", "--entity-name", topic]
    same("kafka-configs", *where, "--alter", "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]")
    expect_in("  cleanup.policy=compact,delete sensitive=false", same("kafka-configs", *where, "--describe"))
    same("kafka-configs", "--topic", topic, "--alter", "--delete-config", "retention.ms")
    same("kafka-configs", "--topic", topic, "--describe")
    same("kafka-configs", "--entity-type", "brokers", "--entity-name", 1, "--describe")
    same("kafka-configs", "--entity-type", "brokers", "--entity-default", "--describe")
    same("kafka-configs", "--entity-type", "topics", "--entity-name", fresh("command-none"), "--describe")
    for tool in (ours, theirs):
        _, errors, code = tool("kafka-configs", *where, "--alter", "--add-config", "no.such=1")
        expect(code, 1, "exit code")
        expect_in("org.apache.kafka.common.errors.InvalidConfigurationException: ", errors)


@scenario
def quotas_are_described_and_altered():
    user = fresh("command-user")
    where = ["--entity-type", "users", "--entity-name", user]
    same("kafka-configs", *where, "--alter", "--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048")
    described = until("quotas", lambda: ours("kafka-configs", *where, "--describe")[0])
    expect_in(f"Quota configs for user-principal '{user}' are", described)
    same("kafka-configs", *where, "--describe")
    out, errors, code = ours("kafka-configs", *where, "--alter", "--delete-config", "producer_byte_rate,consumer_byte_rate")
    expect((out, code), (f"Completed updating config for user {user}.\n", 0), errors)


@scenario
def scram_users_are_described_and_altered():
    user = fresh("command-scram")
    where = ["--entity-type", "users", "--entity-name", user]
    same("kafka-configs", *where, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=secret]")
    until("the user", lambda: ours("kafka-configs", *where, "--describe")[0])
    expect_in("SCRAM-SHA-256=iterations=4096", same("kafka-configs", *where, "--describe"))
    out, errors, code = ours("kafka-configs", *where, "--alter", "--delete-config", "SCRAM-SHA-256")
    expect((out, code), (f"Completed updating config for user {user}.\n", 0), errors)


@scenario
def the_cluster_and_its_versions():
    expect_in("Cluster ID: ", same("kafka-cluster", "cluster-id"))
    same("kafka-cluster", "list-endpoints")
    same("kafka-cluster", "list-endpoints", "--include-fenced-brokers")
    # Which version is usable is each client's own matter, and so are APIs newer than Kafka's tools.
    usable = re.compile(r" \[usable: \d+\]|UNKNOWN|[A-Za-z]+(?=\(\d+\): )")
    text = [set(usable.sub("", part(tool, "kafka-broker-api-versions")).split("\n")) for tool in (ours, theirs)]
    newer = {row for row in text[0] - text[1] if row.endswith(": UNSUPPORTED")}
    expect(sorted(text[0] - newer), sorted(text[1]), "versions")
    expect(len(newer) <= 1, True, f"APIs that the broker lacks and Kafka's tools do not know: {newer}")
    expect_in("Produce(0): 0 to 13 [usable: 13]\n", part(ours, "kafka-broker-api-versions"))


def part(tool, name):
    out, errors, code = tool(name)
    expect(code, 0, errors)
    return out.replace(",\n", "\n")


@scenario
def mistakes_have_the_same_exit_code():
    for name, *words in (("kafka-topics",), ("kafka-topics", "--list", "--describe"), ("kafka-topics", "--create"),
                         ("kafka-topics", "--nonsense"), ("kafka-consumer-groups",),
                         ("kafka-consumer-groups", "--describe"), ("kafka-configs",),
                         ("kafka-configs", "--entity-type", "foo", "--describe"), ("kafka-console-consumer",),
                         ("kafka-console-producer",)):
        code, their_code = ours(name, *words)[2], theirs(name, *words)[2]
        expect(code, their_code, f"{name} {' '.join(words)}: exit code")


@scenario
def a_link_with_a_tools_name_is_that_tool():
    if OTTLA is None:
        raise Skip("OTTLA_BIN names no binary")
    topic = create("link", 1)
    with tempfile.TemporaryDirectory() as directory:
        link = Path(directory) / "kafka-topics.sh"
        link.symlink_to(OTTLA)
        out, errors, code = run([str(link), "--bootstrap-server", NODE.address, "--list"])
        expect(code, 0, errors)
        expect_in(topic, out.split())


@scenario
def a_directory_is_formatted_as_kafkas_tool_formats_it():
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "server.properties"
        config.write_text(f"process.roles=broker,controller\nnode.id=1\nlog.dirs={directory}/data\n"
                          "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093\n"
                          "advertised.listeners=PLAINTEXT://localhost:9092\n"
                          "controller.listener.names=CONTROLLER\n"
                          "controller.quorum.bootstrap.servers=127.0.0.1:9093\n")
        tool = [OTTLA, "kafka-storage"]
        out, _, code = run([*tool, "info", "-c", str(config)])
        expect((out, code), (f"Found problem:\n  {directory}/data does not exist\n\n", 1))
        format_it = [*tool, "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(config), "--standalone"]
        out, errors, code = run(format_it)
        expect(code, 0, errors)
        expect_in(f"Formatting dynamic metadata voter directory {directory}/data with metadata.version 4.4-IV2.", out)
        expect(run(format_it)[2], 1, "exit code of a second time")
        out, errors, code = run([*format_it, "--ignore-formatted"])
        expect((out, code), ("All of the log directories are already formatted.\n", 0), errors)
        out, errors, code = run([*tool, "info", "-c", str(config)])
        expect(code, 0, errors)
        expect_in("Found metadata: {cluster.id=MkU3OEVBNTcwNTJENDM2Qg, directory.id=", out)
        expect(len(run([*tool, "random-uuid"])[0].strip()), 22, "characters")


if __name__ == "__main__":
    NODE.start()
    try:
        run_scenarios()
    finally:
        NODE.stop()
        NODE.remove()
