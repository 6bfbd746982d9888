"""kcat, as people use it in shells."""

import json
import subprocess

from harness.admin import create_topic
from harness.report import BROKER, expect, expect_in, fresh, run_scenarios, scenario, scenarios

PROPERTIES = ["-X", "fetch.wait.max.ms=50", "-X", "reconnect.backoff.max.ms=500"]


def kcat(*arguments, stdin=b"", status=0):
    """Runs kcat and returns its stdout as text."""
    done = subprocess.run(["kcat", "-b", BROKER, *PROPERTIES, *map(str, arguments)],
                          input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if (done.returncode == 0) != (status == 0):
        raise AssertionError(f"kcat {' '.join(map(str, arguments))}: exit status {done.returncode}: {done.stderr.decode()}")
    return (done.stdout if status == 0 else done.stdout + done.stderr).decode()


def produce(topic, *lines, options=()):
    kcat("-P", "-t", topic, *options, stdin="".join(line + "\n" for line in lines).encode())


def consume(topic, *options):
    """The records as lines of kcat's -f, from the beginning to the end unless options say otherwise."""
    return kcat("-C", "-q", "-e", "-t", topic, *options).splitlines()


def numbers(start, end):
    return [str(n) for n in range(start, end)]


@scenario
def metadata_lists_brokers_topics_and_partitions():
    topic = create_topic(BROKER, "kcat-list", 3)
    text = kcat("-L")
    expect_in("broker", text)
    expect_in(f'topic "{topic}" with 3 partitions', text)
    only = json.loads(kcat("-L", "-J", "-t", topic))
    expect([entry["topic"] for entry in only["topics"]], [topic])
    expect(sorted(part["partition"] for part in only["topics"][0]["partitions"]), [0, 1, 2])


@scenario
def a_missing_topic_is_reported():
    topic = fresh("kcat-missing")
    text = kcat("-C", "-e", "-t", topic, "-X", "allow.auto.create.topics=false", status=1)
    expect_in("Unknown topic", text)


@scenario
def producing_creates_a_topic():
    topic = fresh("kcat-auto")
    produce(topic, "first")
    expect(consume(topic), ["first"])


@scenarios("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def codec(name):
    topic = create_topic(BROKER, f"kcat-{name}")
    lines = [f"line {n} " + "x" * 50 for n in range(500)]
    produce(topic, *lines, options=["-z", name])
    expect(consume(topic), lines)


@scenarios("acks", ["0", "1", "all"])
def acks(value):
    topic = create_topic(BROKER, f"kcat-acks-{value}")
    produce(topic, *numbers(0, 100), options=["-X", f"acks={value}"])
    got = []
    while len(got) < 100:  # With acks=0 nothing says when the records are there.
        got += consume(topic, "-o", len(got), "-c", 100 - len(got))
    expect(got, numbers(0, 100))


@scenario
def idempotent_producing():
    topic = create_topic(BROKER, "kcat-idempotent")
    produce(topic, *numbers(0, 1000), options=["-X", "enable.idempotence=true", "-X", "batch.num.messages=10"])
    expect(consume(topic), numbers(0, 1000))


@scenario
def keys_and_headers():
    topic = create_topic(BROKER, "kcat-keys")
    produce(topic, "k1:v1", "k2:v2", ":v3", options=["-K:", "-H", "a=1", "-H", "a=2", "-H", "b"])
    rows = consume(topic, "-f", "%k|%s|%h\\n")
    expect(rows, ["k1|v1|a=1,a=2,b=NULL", "k2|v2|a=1,a=2,b=NULL", "|v3|a=1,a=2,b=NULL"])


@scenario
def null_and_empty_values():
    topic = create_topic(BROKER, "kcat-null")
    produce(topic, "a:", options=["-K:"])
    produce(topic, "b:", options=["-K:", "-Z"])
    produce(topic, "no key")
    expect(consume(topic, "-f", "%K|%S|%k|%s\\n"), ["1|0|a|", "1|-1|b|", "-1|6||no key"])


@scenario
def equal_keys_share_a_partition():
    topic = create_topic(BROKER, "kcat-partitions", 4)
    produce(topic, *[f"key{n % 20}:{n}" for n in range(200)], options=["-K:"])
    seen = {}
    rows = [row.split() for row in consume(topic, "-f", "%k %p\\n")]
    for key, partition in rows:
        expect(seen.setdefault(key, partition), partition, f"partition of {key}")
    expect((len(rows), len(set(seen.values())) > 1), (200, True))


@scenario
def a_chosen_partition():
    topic = create_topic(BROKER, "kcat-chosen", 3)
    produce(topic, "here", options=["-p", "2"])
    expect(consume(topic, "-p", "2", "-f", "%p %o %s\\n"), ["2 0 here"])
    expect(consume(topic, "-p", "0"), [])


@scenario
def starting_at_offsets():
    topic = create_topic(BROKER, "kcat-offsets")
    produce(topic, *numbers(0, 20))
    for option, want in [("beginning", numbers(0, 20)), ("end", []), ("15", numbers(15, 20)), ("-3", numbers(17, 20))]:
        expect(consume(topic, "-o", option), want, f"-o {option}")


@scenario
def starting_and_stopping_at_times():
    topic = create_topic(BROKER, "kcat-times")
    stamps = []
    for n in range(3):
        produce(topic, str(n))
        stamps = [int(row) for row in consume(topic, "-f", "%T\\n")]
    expect(stamps, sorted(stamps), "timestamps")
    expect(consume(topic, "-o", f"s@{stamps[1]}"), ["1", "2"])
    expect(consume(topic, "-o", f"s@{stamps[1]}", "-o", f"e@{stamps[2]}"), ["1"])
    query = kcat("-Q", "-t", f"{topic}:0:{stamps[2]}")
    expect_in("offset 2", query)


@scenario
def a_group_consumes_and_resumes():
    topic, group = create_topic(BROKER, "kcat-group", 2), fresh("kcat-group")
    produce(topic, *[f"{n}:{n}" for n in range(60)], options=["-K:"])
    options = ["-q", "-X", "auto.offset.reset=earliest", "-G", group]
    first = kcat("-c", 25, *options, topic).split()
    second = kcat("-c", 35, *options, topic).split()
    expect((len(first), len(second)), (25, 35), "records of both runs")
    expect(sorted(first + second, key=int), numbers(0, 60), "together")
    produce(topic, "late")
    expect(kcat("-c", 1, *options, topic).split(), ["late"])


@scenario
def a_large_record():
    topic = create_topic(BROKER, "kcat-large")
    data = "0123456789" * 92160
    kcat("-P", "-t", topic, "-X", "message.max.bytes=1000000", stdin=data.encode())
    expect(consume(topic)[0] == data, True, "equal 900 KB")


@scenario
def a_record_beyond_the_limit_is_refused():
    topic = create_topic(BROKER, "kcat-too-large", config={"max.message.bytes": "10000"})
    text = kcat("-P", "-t", topic, stdin=b"x" * 20000, status=1)
    expect_in("Message size too large", text)
    produce(topic, "small")
    expect(consume(topic), ["small"])


@scenario
def a_consumer_slower_than_the_producer():
    topic = create_topic(BROKER, "kcat-slow")
    produce(topic, *numbers(0, 5000))
    small = ["-X", "fetch.message.max.bytes=1000", "-X", "queued.max.messages.kbytes=1", "-X", "queued.min.messages=1"]
    expect(consume(topic, *small), numbers(0, 5000))


if __name__ == "__main__":
    run_scenarios()
