"""A queue: each task is done by one of several workers. example.py [HOST:PORT [TOPIC]]"""

import sys
import threading

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

broker, topic = (sys.argv[1:] + ["localhost:9092", "tasks"][len(sys.argv) - 1:])[:2]
TASKS, WORKERS = 12, 2
done, ready = [], threading.Semaphore(0)


def work(name):
    """A member of the group "workers": the partitions, and so the tasks, are shared among the members."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{topic}-workers", "auto.offset.reset": "earliest",
                         "partition.assignment.strategy": "cooperative-sticky"})
    consumer.subscribe([topic], on_assign=lambda _, partitions: ready.release() if partitions else None)
    while len(done) < TASKS:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            done.append((message.value().decode(), name))  # Here the work would be done.
    consumer.close()


admin = AdminClient({"bootstrap.servers": broker})
admin.create_topics([NewTopic(topic, 4)])[topic].result()
workers = [threading.Thread(target=work, args=[f"worker {n + 1}"]) for n in range(WORKERS)]
for worker in workers:
    worker.start()
for _ in workers:
    ready.acquire()  # Only so that this example shows both at work.

producer = Producer({"bootstrap.servers": broker})
for n in range(TASKS):
    producer.produce(topic, f"task {n}", partition=n % 4)
producer.flush()
for worker in workers:
    worker.join()

assert sorted(task for task, _ in done) == sorted(f"task {n}" for n in range(TASKS)), done
print(f"{len(done)} tasks, each done once")
for name in sorted({name for _, name in done}):
    print(f"{name} did some of them")
