"""Client quotas: a client over its quota is slowed to it, others are not.

The broker of this suite measures rates over four windows of a second, so that a burst is over soon.
"""

import socket
import struct
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness.admin import create_topic
from harness.broker import Broker, request
from harness.report import expect, expect_in, fresh, run_scenarios, scenario, until
from harness.tools import run_tool

MB = 1_000_000
QUOTA = 5 * MB
WINDOWS = 4
MEASURED_SECONDS = 8
METADATA, METADATA_VERSION = 3, 8

BROKER = Broker(settings={"quota.window.num": WINDOWS, "auto.create.topics.enable": "false"})


def quota(entity_type, name, value, action="--add-config"):
    who = ["--entity-default"] if name is None else ["--entity-name", name]
    run_tool(BROKER.address, "kafka-configs", "--alter", "--entity-type", entity_type, *who, action, value)


def described(entity_type):
    return run_tool(BROKER.address, "kafka-configs", "--describe", "--entity-type", entity_type)


class Meter:
    """The rate of what is counted after the burst that a quota lets through."""

    def __init__(self):
        self.total = 0
        self.begun = None
        self.throttled = 0

    def count(self, size):
        self.total += size
        now = time.monotonic()
        # Steady once the burst is used up and as much again was sent at the rate.
        if self.begun is None and self.total > 2 * WINDOWS * QUOTA:
            self.begun = (now, self.total)
        return self.begun is not None and now - self.begun[0] >= MEASURED_SECONDS

    def rate(self):
        at, total = self.begun
        return (self.total - total) / (time.monotonic() - at)

    def on_throttle(self, event):
        self.throttled += event.throttle_time > 0


def within_a_tenth(meter, what):
    # Kafka compares rates of windows, and with few of them it lets less through than is allowed.
    lowest = 0.9 if BROKER.kind == "ottla" else 0.5
    if not lowest * QUOTA <= meter.rate() <= 1.1 * QUOTA:
        raise AssertionError(f"{what} {meter.rate() / MB:.2f} MB/s, {QUOTA / MB} MB/s are allowed")
    expect(meter.throttled > 0, True, "the client was told")


def producer(client_id, meter):
    return Producer({"bootstrap.servers": BROKER.address, "client.id": client_id, "linger.ms": 5,
                     "batch.size": 100_000, "queue.buffering.max.kbytes": 4000, "throttle_cb": meter.on_throttle})


def send(one, topic, enough, size=1000):
    """Sends until `enough(size)` says so, called for every acknowledged record."""
    done = []
    errors = []

    def acked(error, _):
        if error:
            errors.append(error)
        elif enough(size):
            done.append(True)

    while not done and not errors:
        try:
            one.produce(topic, b"x" * size, on_delivery=acked)
        except BufferError:
            one.poll(0.1)
        one.poll(0)
    one.purge()
    one.flush(30)
    # Records that were purged are reported as failed.
    expect([error for error in errors if "PURGE" not in error.name()], [], "errors")


@scenario
def a_producer_keeps_to_its_quota_and_another_is_not_slowed():
    topic = create_topic(BROKER.address, "quotas-produce")
    quota("clients", "it-slow", f"producer_byte_rate={QUOTA}")
    slow, free = Meter(), Meter()
    send(producer("it-slow", slow), topic, slow.count)
    within_a_tenth(slow, "produced")
    send(producer("it-free", free), topic, lambda size: free.count(size) or free.total >= 50 * MB)
    expect(free.throttled, 0, "times the other client was throttled")


@scenario
def a_consumer_keeps_to_its_quota_and_another_is_not_slowed():
    topic = create_topic(BROKER.address, "quotas-consume")
    total = (2 * WINDOWS + MEASURED_SECONDS + 8) * QUOTA
    written = Meter()

    def enough(size):
        written.total += size
        return written.total >= total

    send(producer("it-free", written), topic, enough, size=10_000)
    quota("clients", "it-slow-reader", f"consumer_byte_rate={QUOTA}")
    for client_id, is_slow in (("it-slow-reader", True), ("it-free", False)):
        meter = Meter()
        one = Consumer({"bootstrap.servers": BROKER.address, "client.id": client_id, "group.id": fresh("unused"),
                        "enable.auto.commit": False, "fetch.message.max.bytes": MB, "queued.max.messages.kbytes": 2000,
                        "throttle_cb": meter.on_throttle})
        one.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        steady = False
        while not steady and meter.total < total - 2 * MB:
            for message in one.consume(100, 1.0):
                expect(message.error(), None, "error")
                steady = meter.count(len(message.value())) or steady
        if is_slow:
            within_a_tenth(meter, "consumed")
        else:
            expect(meter.throttled, 0, "times the other client was throttled")
        one.close()


@scenario
def a_client_that_takes_too_much_time_is_told_and_its_connection_pauses():
    quota("clients", "it", "request_percentage=0.01")
    with socket.create_connection(("127.0.0.1", BROKER.port), 30) as connection:
        def ask():
            answer = request(connection, METADATA, METADATA_VERSION, struct.pack(">i???", -1, False, False, False))
            return struct.unpack(">i", answer[:4])[0]

        pause = until("throttling", ask)
        # No more than one window.
        expect(0 < pause <= 1000, True, f"a pause of {pause} ms")
        asked = time.monotonic()
        ask()
        waited = time.monotonic() - asked
        expect(waited >= pause / 1000 - 0.01, True, f"waited {waited:.3f} s of {pause} ms")
        quota("clients", "it", "request_percentage", "--delete-config")
        expect([ask() for _ in range(20)][-1], 0, "throttle time without the quota")


@scenario
def partitions_beyond_the_quota_are_refused_until_there_is_room():
    quota("clients", "it-creator", "controller_mutation_rate=2")
    properties = BROKER.directory / "creator.properties"
    properties.write_text("client.id=it-creator\n")

    def create(name, partitions, status=0):
        return run_tool(BROKER.address, "kafka-topics", "--create", "--topic", fresh(f"quotas-{name}"), "--partitions",
                        partitions, "--command-config", properties, status=status)

    # What a span of windows holds, and as much again: a request that finds a token left may overdraw.
    expect_in("Created", create("first", 2 * 11 * 2))
    expect_in("quota", create("second", 1, status=1))
    other = AdminClient({"bootstrap.servers": BROKER.address, "client.id": "it-free"})
    topic = fresh("quotas-other")
    other.create_topics([NewTopic(topic, 100, 1)])[topic].result(30)
    time.sleep(11)
    expect_in("Created", create("third", 1))


@scenario
def an_address_that_connects_too_often_is_cut_off_until_it_slows_down():
    quota("ips", "127.0.0.1", "connection_creation_rate=4")

    def served():
        with socket.create_connection(("127.0.0.1", BROKER.port), 30) as connection:
            try:
                return bool(request(connection, METADATA, METADATA_VERSION, struct.pack(">i???", 0, False, False, False)))
            except OSError:
                return False

    answers = [served() for _ in range(4 * WINDOWS + 4)]
    expect(answers[0], True, "the first")
    expect(False in answers, True, f"one is refused of {answers}")
    until("a place", served)
    time.sleep(WINDOWS)  # The tool needs a few connections at once.
    quota("ips", "127.0.0.1", "connection_creation_rate", "--delete-config")
    expect([served() for _ in range(50)], [True] * 50, "without the quota")


@scenario
def kafka_configs_sets_describes_and_removes_quotas():
    quota("clients", "it-described", "producer_byte_rate=1000,request_percentage=50")
    quota("users", None, "consumer_byte_rate=9000000000")
    quota("ips", "10.0.0.1", "connection_creation_rate=7")
    clients = described("clients")
    for part in ("Quota configs for client-id 'it-described' are ", "producer_byte_rate=1000.0", "request_percentage=50.0"):
        expect_in(part, clients)
    expect_in("Quota configs for the default user-principal are consumer_byte_rate=9.0E9", described("users"))
    expect_in("connection_creation_rate=7.0", described("ips"))
    quota("clients", "it-described", "producer_byte_rate,request_percentage", "--delete-config")
    quota("users", None, "consumer_byte_rate", "--delete-config")
    quota("ips", "10.0.0.1", "connection_creation_rate", "--delete-config")
    expect("it-described" in described("clients"), False, "still described")


if __name__ == "__main__":
    try:
        BROKER.start()
        run_scenarios()
    finally:
        BROKER.stop()
        BROKER.remove()
