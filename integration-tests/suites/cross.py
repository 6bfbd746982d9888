"""Records that one client produced, read by every other, compared byte for byte."""

import random

from harness import clients
from harness.admin import create_topic
from harness.report import BROKER, Skip, expect, run_scenarios, scenarios

NAMES = list(clients.COMMANDS)
PARTITIONS = 3
PAST = 1_000_000_000_000  # 2001-09-09; the topics keep records for ever
# What a client's own API cannot express or does not show; everything else must be equal.
NO_TIMESTAMP = {"kcat"}
TOPICS = {}


def records_for(client, topic, codec):
    """Every shape of record that all clients can write, and a large one."""
    rng = random.Random(f"{client} {codec}")
    blob = rng.randbytes(40).hex() * 50 + rng.randbytes(450_000).hex()[:896_000]
    shapes = [
        {"key": b"k", "value": b"v"},
        {"key": None, "value": b"no key"},
        {"key": b"no value", "value": None},
        {"key": b"", "value": b""},
        {"key": "ключ".encode(), "value": "значение ✓".encode()},
        {"key": bytes(range(256)), "value": bytes(range(255, -1, -1))},
        {"key": b"h", "value": b"h", "headers": [("one", b"1")]},
        {"key": b"hh", "value": b"hh", "headers": [("a", b"1"), ("a", b"2"), ("b", b"3")]},
        {"key": b"hhh", "value": b"hhh", "headers": [("empty", b"")]},
        {"key": b"last", "value": blob.encode()},
    ] + [{"key": b"%d" % n, "value": rng.randbytes(n)} for n in range(1, 20)]
    for n, shape in enumerate(shapes):
        record = {
            "topic": topic, "codec": codec, "acks": "all", "partition": n % PARTITIONS,
            "key": tohex(shape["key"]), "value": tohex(shape["value"]),
            "headers": [[name, tohex(value)] for name, value in shape.get("headers", [])],
        }
        if client not in NO_TIMESTAMP:
            record["timestamp"] = PAST + n * 1000
        yield record


def tohex(data):
    return None if data is None else data.hex()


def as_read(record):
    """The fields to compare of a record that was produced or consumed."""
    return {name: record.get(name) for name in ("key", "value", "headers", "partition", "timestamp")}


def produce_all(client):
    topics = {}
    try:
        for codec in clients.CODECS:
            topic = create_topic(BROKER, f"cross-{client}-{codec}", PARTITIONS, {"retention.ms": "-1"})
            topics[topic] = list(records_for(client, topic, codec))
        acks = clients.produce(client, BROKER, [record for records in topics.values() for record in records], 90)
        assert len(acks) == sum(map(len, topics.values()))
        TOPICS[client] = topics
    except Exception as error:
        TOPICS[client] = error


def produced_by(client):
    topics = TOPICS[client]
    if isinstance(topics, Exception):
        raise topics
    return topics


@scenarios("every-codec-is-acknowledged", NAMES)
def acknowledged(client):
    produce_all(client)
    produced_by(client)


READ = {}


def read_all(client):
    """Each client program reads all topics in one go; started once."""
    if client not in READ:
        topics = [topic for made in TOPICS.values() if isinstance(made, dict) for topic in made]
        try:
            READ[client] = clients.read(client, BROKER, topics, 120)
        except Exception as error:
            READ[client] = error
    if isinstance(READ[client], Exception):
        raise READ[client]
    return READ[client]


@scenarios("read", [(consumer, "from", producer) for consumer in NAMES for producer in NAMES])
def read_from(consumer, _, producer):
    try:
        topics = produced_by(producer)
    except Exception as error:
        raise Skip(f"{producer} did not produce") from error
    everything = read_all(consumer)
    for topic, sent in topics.items():
        got = [as_read(record) for record in everything if record["topic"] == topic]
        want = [as_read(record) for part in range(PARTITIONS) for record in sent if record["partition"] == part]
        expect(len(got), len(want), f"{topic}: records")
        for mine, theirs in zip(got, want):
            if theirs["timestamp"] is None:
                mine["timestamp"] = None
            expect(mine, theirs, f"{topic}:")


@scenarios("acks", [(acks, client) for acks in ("0", "1") for client in NAMES])
def acks_of(acks, client):
    topic = create_topic(BROKER, f"acks-{acks}-{client}")
    # A producer's end sends what it holds; with acks=0 the broker still has to store it.
    sent = [{"topic": topic, "acks": acks, "key": None, "value": (b"%d" % n).hex(),
             "headers": []} for n in range(5)]
    clients.produce(client, BROKER, sent)
    got = []
    for _ in range(50):
        got = clients.read("confluent", BROKER, [topic])
        if len(got) >= len(sent):
            break
    expect([record["value"] for record in got], [record["value"] for record in sent])


if __name__ == "__main__":
    run_scenarios()
