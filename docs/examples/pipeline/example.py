"""Stages with a topic between each two: lines, words, counts. example.py [HOST:PORT [TOPIC]]"""

import sys
import threading
from collections import Counter

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

broker, lines = (sys.argv[1:] + ["localhost:9092", "lines"][len(sys.argv) - 1:])[:2]
words = f"{lines}.words"
TEXT = ["the quick brown fox", "jumps over the lazy dog", "the end"]


def records(topic, group, count):
    """The first records of a topic. Each is committed after it was handled: a stage that ends in between does
    the last ones again when it comes back, and loses none."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{topic}-{group}",
                         "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    while count:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            yield message
            consumer.commit(message, asynchronous=False)
            count -= 1
    consumer.close()


def split():
    """The first stage: a line in, its words out, each under itself as the key."""
    producer = Producer({"bootstrap.servers": broker})
    for message in records(lines, "split", len(TEXT)):
        for word in message.value().decode().split():
            producer.produce(words, word, key=word)
        producer.flush()


def count():
    """The second stage: words in, counts out."""
    total = sum(len(line.split()) for line in TEXT)
    counts = Counter(message.value().decode() for message in records(words, "count", total))
    for word, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]:
        print(f"{word} {number}")


admin = AdminClient({"bootstrap.servers": broker})
for created in admin.create_topics([NewTopic(lines, 1), NewTopic(words, 3)]).values():
    created.result()
stages = [threading.Thread(target=stage) for stage in (split, count)]
for stage in stages:
    stage.start()
producer = Producer({"bootstrap.servers": broker})
for line in TEXT:
    producer.produce(lines, line)
producer.flush()
for stage in stages:
    stage.join()
