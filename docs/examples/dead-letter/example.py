"""What cannot be handled is set aside with the reason, and the rest goes on. example.py [HOST:PORT [TOPIC]]"""

import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

broker, topic = (sys.argv[1:] + ["localhost:9092", "payments"][len(sys.argv) - 1:])[:2]
dead = f"{topic}.dead"
PAYMENTS, ATTEMPTS = ["10", "twenty", "30", ""], 3


def consumer_of(name, group):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{name}-{group}", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    consumer.subscribe([name])
    return consumer


def next_of(consumer):
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            return message


def handle(message):
    """Fails for what is no number."""
    print(f"paid {int(message.value())}")


def handle_or_set_aside(message, producer):
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return handle(message)
        except ValueError as error:
            reason = str(error)  # A real one would wait a little before it tries again.
    producer.produce(dead, message.value(), key=message.key(), headers={
        "reason": reason, "attempts": str(ATTEMPTS),
        "origin": f"{message.topic()}-{message.partition()}@{message.offset()}"})
    producer.flush()  # It must be there before the original counts as done.


admin = AdminClient({"bootstrap.servers": broker})
for created in admin.create_topics([NewTopic(topic, 1), NewTopic(dead, 1)]).values():
    created.result()
producer = Producer({"bootstrap.servers": broker})
for payment in PAYMENTS:
    producer.produce(topic, payment)
producer.flush()

consumer = consumer_of(topic, "cashier")
for _ in PAYMENTS:
    message = next_of(consumer)
    handle_or_set_aside(message, producer)
    consumer.commit(message, asynchronous=False)
consumer.close()

consumer = consumer_of(dead, "clerk")
for _ in range(2):
    message = next_of(consumer)
    headers = {name: value.decode() for name, value in message.headers()}
    place = headers["origin"].removeprefix(topic)
    print(f"set aside {message.value().decode()!r} of {place} after {headers['attempts']}: {headers['reason']}")
consumer.close()
