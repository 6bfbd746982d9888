"""Requests and their replies, matched by correlation ids. example.py [HOST:PORT [TOPIC]]"""

import sys
import threading
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

broker, requests = (sys.argv[1:] + ["localhost:9092", "requests"][len(sys.argv) - 1:])[:2]
replies = f"{requests}.replies"  # One for each client, or one partition of it for each.
SUMS = [(2, 3), (40, 2), (7, 7)]


def serve(count):
    """Answers where the request says, with the request's correlation id."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{requests}-servers",
                         "auto.offset.reset": "earliest"})
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 0})
    consumer.subscribe([requests])
    while count:
        message = consumer.poll(1.0)
        if message is None or message.error() is not None:
            continue
        headers = dict(message.headers())
        a, b = message.value().decode().split("+")
        producer.produce(headers["reply-to"].decode(), str(int(a) + int(b)),
                         headers={"correlation-id": headers["correlation-id"]})
        producer.flush()
        count -= 1
    consumer.close()


admin = AdminClient({"bootstrap.servers": broker})
for created in admin.create_topics([NewTopic(requests, 1), NewTopic(replies, 1)]).values():
    created.result()
server = threading.Thread(target=serve, args=[len(SUMS)])
server.start()

# The client reads its own topic from the start, without a group.
consumer = Consumer({"bootstrap.servers": broker, "group.id": "none", "enable.auto.commit": False})
consumer.assign([TopicPartition(replies, 0, 0)])
producer = Producer({"bootstrap.servers": broker, "linger.ms": 0})
waiting = {}
for a, b in SUMS:
    correlation = str(uuid.uuid4())
    waiting[correlation] = f"{a} + {b}"
    producer.produce(requests, f"{a}+{b}", headers={"correlation-id": correlation, "reply-to": replies})
producer.flush()

while waiting:
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        correlation = dict(message.headers())["correlation-id"].decode()
        print(f"{waiting.pop(correlation)} = {message.value().decode()}")
consumer.close()
server.join()
