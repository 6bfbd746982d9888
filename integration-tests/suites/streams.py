"""A Kafka Streams application with exactly_once_v2: two instances count words while one of them, and
the broker, are killed. Every word's counts come out as 1, 2, 3 and so on, each once, and the last is
what counting the input at rest gives."""

import os
import random
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import install
from harness.broker import Broker
from harness.report import expect, run_scenarios, scenario, until

PARTITIONS = 3
WORDS = [f"word{number}" for number in range(40)]
LINES = int(os.environ.get("STREAMS_LINES", "3000"))
LOGS = Path(__file__).resolve().parents[2] / ".build" / "integration-logs"
SECONDS = 150


class Instance:
    """One instance of the application, with a state directory of its own."""

    def __init__(self, number, broker):
        self.number = number
        self.broker = broker
        self.state = broker.directory / f"streams-{number}"
        self.log = LOGS / f"streams-{number}.log"
        self.log.write_bytes(b"")
        self.process = None

    def start(self):
        path = f"{install.jars('streams')}:{install.CACHE / 'java-streams'}"
        command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256M",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", path, "StreamsApp",
                   self.broker.address, "counting", "lines", "counts", str(self.state)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


@scenario
def an_instance_and_the_broker_are_killed_while_words_are_counted():
    broker = Broker(settings={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}).start()
    instances = [Instance(number, broker) for number in (1, 2)]
    try:
        create_topics(broker.address)
        for instance in instances:
            instance.start()
        expected = Counter()
        reader = Reader(broker.address)
        third = LINES // 3
        write(broker.address, third, expected)
        reader.wait_for(sum(expected.values()) // 2)
        instances[0].kill()
        write(broker.address, third, expected)
        broker.kill()
        broker.start()
        instances[0].start()
        write(broker.address, LINES - 2 * third, expected)
        reader.wait_for(sum(expected.values()))
        for instance in instances:
            instance.stop()
        reader.drain()
        for word, counts in reader.counts.items():
            expect(counts, list(range(1, expected[word] + 1)), f"counts of {word}")
        expect(set(reader.counts), set(expected), "words counted")
        expect(changelog(broker.address), expected, "the store's changelog")
    finally:
        for instance in instances:
            instance.kill()
        (LOGS / "streams-broker.log").write_bytes(broker.log.read_bytes())
        broker.remove()


def create_topics(address):
    admin = AdminClient({"bootstrap.servers": address})
    new = [NewTopic(name, PARTITIONS, 1) for name in ("lines", "counts")]
    for created in admin.create_topics(new).values():
        created.result(30)


def write(address, lines, expected):
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 5})
    for number in range(lines):
        words = random.choices(WORDS, k=random.randint(1, 4))
        expected.update(words)
        producer.produce("lines", " ".join(words), str(number))
        producer.poll(0)
    expect(producer.flush(60), 0, "lines not acknowledged")


class Reader:
    """Reads what is committed of the output."""

    def __init__(self, address):
        self.counts = defaultdict(list)
        self.total = 0
        self.consumer = consumer(address, "counts")

    def wait_for(self, total):
        def step():
            for message in self.consumer.consume(500, 0.2):
                if message.error() is None:
                    self.counts[message.key().decode()].append(int(message.value()))
                    self.total += 1
            return self.total >= total
        until(f"{total} counts, {self.total} are there", step, SECONDS)

    def drain(self):
        """What comes after everything that was waited for would be a duplicate."""
        quiet = time.monotonic() + 2
        while time.monotonic() < quiet:
            self.wait_for(self.total)
        self.consumer.close()


def consumer(address, topic):
    found = Consumer({"bootstrap.servers": address, "group.id": "check", "enable.auto.commit": False,
                      "isolation.level": "read_committed", "reconnect.backoff.max.ms": 500, "log_level": 0})
    found.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    return found


def changelog(address):
    """The last value of every key of the store's changelog."""
    found = {}
    last = time.monotonic()
    reader = consumer(address, "counting-counts-changelog")
    while time.monotonic() < last + 2:
        for message in reader.consume(500, 0.2):
            if message.error() is None:
                found[message.key().decode()] = int.from_bytes(message.value(), "big")
                last = time.monotonic()
    reader.close()
    return Counter(found)


if __name__ == "__main__":
    run_scenarios()
