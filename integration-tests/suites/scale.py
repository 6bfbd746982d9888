"""Twenty thousand partitions on one node: made, written to, started again, in bounded memory and files."""

import os
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness.admin import create_topic
from harness.broker import Broker
from harness.report import expect, run_scenarios, scenario, until

# One request may create 10,000 partitions.
PARTITIONS, TOPICS = 10_000, 2
USED = range(0, PARTITIONS, 997)
MEMORY_MIB_MAX = 200


@scenario
def twenty_thousand_partitions_survive_a_stop_and_a_kill():
    broker = Broker().start()
    try:
        topics = [create_topic(broker.address, f"scale-{number}", PARTITIONS) for number in range(TOPICS)]
        write(broker.address, topics)
        bounded(broker, "made")
        broker.stop()
        broker.start()
        check(broker, topics, "after a clean stop")
        broker.kill()
        broker.start()
        check(broker, topics, "after SIGKILL")
    finally:
        broker.remove()


def write(address, topics):
    producer = Producer({"bootstrap.servers": address})
    for topic in topics:
        for partition in USED:
            producer.produce(topic, str(partition), partition=partition)
    expect(producer.flush(60), 0, "records not acknowledged")


def check(broker, topics, when):
    admin = AdminClient({"bootstrap.servers": broker.address})

    def all_led():
        found = admin.list_topics(timeout=30).topics
        return all(part.leader >= 0 for topic in topics for part in found[topic].partitions.values())

    until(f"leaders {when}", all_led)
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "scale", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for topic in topics for partition in USED])
        found = {}
        while len(found) < len(topics) * len(USED):
            message = consumer.poll(30)
            expect(message is None or message.error(), None, f"a record {when}, after {len(found)}")
            found[message.topic(), message.partition()] = message.value().decode()
    finally:
        consumer.close()
    want = {(topic, partition): str(partition) for topic in topics for partition in USED}
    expect(found, want, f"records {when}")
    bounded(broker, when)


def bounded(broker, when):
    memory = broker.rss_kb() // 1024
    expect(memory <= MEMORY_MIB_MAX, True, f"{memory} MiB of {MEMORY_MIB_MAX} resident {when}")
    limits = Path(f"/proc/{broker.pid}/limits").read_text()
    allowed = int(limits.split("Max open files")[1].split()[0])
    files = len(os.listdir(f"/proc/{broker.pid}/fd"))
    # Logs may use a part of what the process may have; connections need the rest.
    expect(files <= allowed // 2, True, f"{files} of {allowed} open files {when}")


if __name__ == "__main__":
    run_scenarios()
