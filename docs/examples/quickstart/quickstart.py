"""Produce three records and read them back: pip install confluent-kafka, then quickstart.py HOST:PORT TOPIC."""

import sys

from confluent_kafka import Consumer, Producer

broker, topic = sys.argv[1:3] if len(sys.argv) > 2 else ("localhost:9092", "quickstart")

producer = Producer({"bootstrap.servers": broker})
for n in range(3):
    producer.produce(topic, key=f"key-{n}", value=f"hello {n}")
producer.flush()

consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{topic}-python", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
seen = 0
while seen < 3:
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        print(f"{message.key().decode()}: {message.value().decode()}")
        seen += 1
consumer.close()
