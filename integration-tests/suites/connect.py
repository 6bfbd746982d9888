"""Kafka Connect and MirrorMaker 2, unmodified, on the broker: they run, restart and resume.

Connect runs distributed, with exactly-once source support: what a file source wrote is in the topic
exactly once whatever was killed, and a file sink goes on where it was. MirrorMaker copies from an Apache
Kafka to the broker and back, offsets of groups included.
"""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import install
from harness.broker import Broker, free_ports
from harness.report import expect, run_scenarios, scenario, until

LOGS = Path(__file__).resolve().parents[2] / ".build" / "integration-logs"
SECONDS = 120


class Java:
    """A Java program of Kafka's with a properties file, that can be killed and started again."""

    def __init__(self, name, main, directory, properties):
        self.name = name
        self.main = main
        self.config = directory / f"{name}.properties"
        self.config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self.log = LOGS / f"{name}.log"
        self.log.write_bytes(b"")
        self.process = None

    def start(self):
        command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx384M",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-cp", install.jars("connect"),
                   self.main, str(self.config)]
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


class Worker(Java):
    """A worker of a Connect cluster."""

    def __init__(self, number, broker):
        self.port, = free_ports(1)
        super().__init__(f"connect-{number}", "org.apache.kafka.connect.cli.ConnectDistributed", broker.directory, {
            "bootstrap.servers": broker.address,
            "group.id": "connect",
            "config.storage.topic": "connect-configs", "config.storage.replication.factor": 1,
            "offset.storage.topic": "connect-offsets", "offset.storage.replication.factor": 1,
            "offset.storage.partitions": 5,
            "status.storage.topic": "connect-status", "status.storage.replication.factor": 1,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "listeners": f"http://127.0.0.1:{self.port}",
            "exactly.once.source.support": "enabled",
            "offset.flush.interval.ms": 500,
            "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
            "scheduled.rebalance.max.delay.ms": 0,
            "consumer.isolation.level": "read_committed",
            "reconnect.backoff.max.ms": 500,
        })

    def ask(self, path, body=None):
        """A REST request; None if the worker is not ready for it."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method="PUT" if body else "GET",
                                         data=json.dumps(body).encode() if body else None,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            return None

    def running_task(self, connector):
        """Which worker runs the connector's task, once it does."""
        status = self.ask(f"/connectors/{connector}/status")
        tasks = [task for task in (status or {}).get("tasks", []) if task["state"] == "RUNNING"]
        return tasks[0]["worker_id"] if tasks else None


@scenario
def connect_moves_a_file_through_a_topic_while_workers_and_the_broker_are_killed():
    broker = Broker(settings={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}).start()
    workers = [Worker(number, broker) for number in (1, 2)]
    source, sink = broker.directory / "source.txt", broker.directory / "sink.txt"
    try:
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.create_topics([NewTopic("lines", 1, 1)])["lines"].result(30)
        written = []
        write_lines(source, written, 200)
        for worker in workers:
            worker.start()
        create_connectors(workers[0], source, sink)
        sunk("the first lines", sink, written)

        by_address = {f"127.0.0.1:{worker.port}": worker for worker in workers}
        victim = by_address[until("a task", lambda: workers[0].running_task("source"), SECONDS)]
        victim.kill()
        write_lines(source, written, 200)
        sunk("lines after a worker was killed", sink, written)

        broker.kill()
        write_lines(source, written, 200)
        broker.start()
        victim.start()
        sunk("lines after the broker was killed", sink, written)

        for worker in workers:
            until("the worker", lambda: worker.ask("/"), SECONDS)
            worker.stop()
        write_lines(source, written, 100)
        workers[0].start()
        sunk("lines after a clean restart", sink, written)
        workers[0].stop()
        values = [value.decode() for _, _, value in read(broker.address, "lines", 1)]
        expect(values, written, "lines in the topic")
    finally:
        for worker in workers:
            worker.kill()
        (LOGS / "connect-broker.log").write_bytes(broker.log.read_bytes())
        broker.remove()


def create_connectors(worker, source, sink):
    connectors = {
        "source": {"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1",
                   "file": str(source), "topic": "lines", "exactly.once.support": "required"},
        "sink": {"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1",
                 "file": str(sink), "topics": "lines"},
    }
    for name, config in connectors.items():
        until(f"connector {name}", lambda: worker.ask(f"/connectors/{name}/config", config), SECONDS)


def write_lines(path, written, count):
    lines = [f"line {number}" for number in range(len(written), len(written) + count)]
    with open(path, "a") as file:
        file.write("".join(line + "\n" for line in lines))
    written.extend(lines)


def sunk(what, sink, written):
    """A sink writes at least once."""
    until(what, lambda: sink.exists() and set(sink.read_text().splitlines()) >= set(written), SECONDS)


@scenario
def mirrormaker_copies_from_kafka_and_back_and_resumes():
    ours = Broker(settings={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}).start()
    kafka = Broker(kind="kafka")
    mirror = None
    try:
        kafka.start(120)
        for broker, topic in ((kafka, "orders"), (ours, "payments")):
            admin = AdminClient({"bootstrap.servers": broker.address})
            admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
        orders, payments = [], []
        produce(kafka.address, "orders", orders, 300)
        produce(ours.address, "payments", payments, 300)
        commit(kafka.address, "orders", "shop", 120)
        mirror = mirror_maker(kafka, ours)
        mirror.start()
        mirrored("orders at the broker", ours.address, "kafka.orders", orders)
        mirrored("payments at Kafka", kafka.address, "ottla.payments", payments)
        until("the group's offsets", lambda: committed(ours.address, "kafka.orders", "shop") > 0, SECONDS)

        mirror.kill()
        produce(kafka.address, "orders", orders, 300)
        ours.kill()
        ours.start()
        produce(ours.address, "payments", payments, 300)
        mirror.start()
        mirrored("orders after both were killed", ours.address, "kafka.orders", orders)
        mirrored("payments after both were killed", kafka.address, "ottla.payments", payments)
        mirror.stop()
    finally:
        if mirror is not None:
            mirror.kill()
        (LOGS / "mirror-broker.log").write_bytes(ours.log.read_bytes())
        ours.remove()
        kafka.remove()


def mirror_maker(kafka, ours):
    port, = free_ports(1)
    names = ("checkpoints.topic", "heartbeats.topic", "offset-syncs.topic", "offset.storage", "status.storage",
             "config.storage")
    # Settings of the workers belong to the cluster that they write to.
    worker = {"exactly.once.source.support": "enabled", "offset.flush.interval.ms": 1000,
              "scheduled.rebalance.max.delay.ms": 0, "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    return Java("mirror", "org.apache.kafka.connect.mirror.MirrorMaker", ours.directory, {
        "clusters": "kafka, ottla",
        "kafka.bootstrap.servers": kafka.address, "ottla.bootstrap.servers": ours.address,
        "kafka->ottla.enabled": "true", "kafka->ottla.topics": "orders",
        "ottla->kafka.enabled": "true", "ottla->kafka.topics": "payments",
        "replication.factor": 1, **{f"{name}.replication.factor": 1 for name in names},
        "dedicated.mode.enable.internal.rest": "true", "listeners": f"http://127.0.0.1:{port}",
        **{f"{cluster}.{key}": value for cluster in ("kafka", "ottla") for key, value in worker.items()},
        "refresh.topics.interval.seconds": 2, "refresh.groups.interval.seconds": 2,
        "sync.group.offsets.enabled": "true", "sync.group.offsets.interval.seconds": 1,
        "emit.checkpoints.interval.seconds": 1, "emit.heartbeats.interval.seconds": 2,
        "offset.lag.max": 10,
    })


def produce(address, topic, sent, count):
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    for number in range(len(sent), len(sent) + count):
        record = (f"key {number}".encode(), f"value {number}".encode())
        producer.produce(topic, record[1], record[0], headers=[("number", str(number))])
        sent.append(record)
    expect(producer.flush(60), 0, "records not acknowledged")


def mirrored(what, address, topic, sent):
    """Every record is there; then: once."""
    def all_there():
        try:
            return len(read(address, topic, 3)) >= len(sent)
        except KafkaException:  # The topic is not there yet.
            return False
    until(what, all_there, SECONDS)
    expect(sorted(record[1:] for record in read(address, topic, 3)), sorted(sent), what)


def commit(address, topic, group, count):
    """A member of a group reads some records and commits."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    consumer.subscribe([topic])
    got = 0
    while got < count:
        got += len(consumer.consume(20, 30))
    consumer.commit(asynchronous=False)
    consumer.close()


def committed(address, topic, group):
    """The sum of a group's positions."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": group, "log_level": 0})
    try:
        found = consumer.committed([TopicPartition(topic, partition) for partition in range(3)], 10)
        return sum(max(part.offset, 0) for part in found)
    except KafkaException:
        return 0
    finally:
        consumer.close()


def read(address, topic, partitions):
    """Every committed record: partition, key, value."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "check", "isolation.level": "read_committed",
                         "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0,
                         "reconnect.backoff.max.ms": 500})
    found, left = [], set(range(partitions))
    deadline = time.monotonic() + 60
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
        while left:
            message = consumer.poll(1)
            if message is None:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{topic}: partitions {left} do not end within 60 s")
            elif message.error() is None:
                found.append((message.partition(), message.key(), message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise KafkaException(message.error())
    finally:
        consumer.close()
    return found


if __name__ == "__main__":
    run_scenarios()
