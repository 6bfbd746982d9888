"""Every subscriber gets every event, also one that comes later. example.py [HOST:PORT [TOPIC]]"""

import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

broker, topic = (sys.argv[1:] + ["localhost:9092", "events"][len(sys.argv) - 1:])[:2]
EVENTS = ["order 1 placed", "order 1 paid", "order 2 placed"]


def subscriber(name):
    """A group of its own: it has its own position in the topic, whatever the others do."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{topic}-{name}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    got = []
    while len(got) < len(EVENTS):
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            got.append(message.value().decode())
    consumer.close()
    print(f"{name}: {', '.join(got)}")


admin = AdminClient({"bootstrap.servers": broker})
admin.create_topics([NewTopic(topic, 1)])[topic].result()
producer = Producer({"bootstrap.servers": broker})
for event in EVENTS:
    producer.produce(topic, event)
producer.flush()

subscriber("billing")
subscriber("shipping")
subscriber("statistics")
