"""A job in parts for many workers, and one place where the results meet. example.py [HOST:PORT [TOPIC]]"""

import sys
import threading

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

broker, parts = (sys.argv[1:] + ["localhost:9092", "parts"][len(sys.argv) - 1:])[:2]
results = f"{parts}.results"
NUMBERS, WORKERS = range(1, 101), 3
finished = threading.Event()


def consumer_of(topic, group):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{topic}-{group}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    return consumer


def work():
    """Takes parts of the job and writes what comes of each, under the part's key."""
    consumer, producer = consumer_of(parts, "workers"), Producer({"bootstrap.servers": broker})
    while not finished.is_set():
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            producer.produce(results, str(int(message.value()) ** 2), key=message.key())
            producer.poll(0)
    producer.flush()
    consumer.close()


admin = AdminClient({"bootstrap.servers": broker})
for created in admin.create_topics([NewTopic(parts, 6), NewTopic(results, 1)]).values():
    created.result()
workers = [threading.Thread(target=work) for _ in range(WORKERS)]
for worker in workers:
    worker.start()

producer = Producer({"bootstrap.servers": broker})
for number in NUMBERS:
    producer.produce(parts, str(number), key=f"part {number}")
producer.flush()

# A part that was done twice, because a worker ended before it committed, counts once: by its key.
gathered, consumer = {}, consumer_of(results, "gatherer")
while len(gathered) < len(NUMBERS):
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        gathered[message.key()] = int(message.value())
consumer.close()
finished.set()
for worker in workers:
    worker.join()
print(f"the squares of 1 to {len(NUMBERS)} add up to {sum(gathered.values())}")
