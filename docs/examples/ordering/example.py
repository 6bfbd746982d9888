"""Records of one key stay in order, whatever happens to the others. example.py [HOST:PORT [TOPIC]]"""

import random
import sys
import threading

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

broker, topic = (sys.argv[1:] + ["localhost:9092", "accounts"][len(sys.argv) - 1:])[:2]
ACCOUNTS, CHANGES = ["alice", "bob", "carol"], 20
seen = {account: [] for account in ACCOUNTS}


def left():
    return sum(CHANGES - len(changes) for changes in seen.values())


def follow():
    """A member of a group of two. A partition has one reader at a time, so a key has one, too."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{topic}-followers",
                         "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    while left():
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            seen[message.key().decode()].append(int(message.value()))
    consumer.close()


admin = AdminClient({"bootstrap.servers": broker})
admin.create_topics([NewTopic(topic, 8)])[topic].result()
# The key's hash chooses the partition. Idempotence keeps the order when something is sent again.
producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
changes = [account for account in ACCOUNTS for _ in range(CHANGES)]
random.shuffle(changes)
sent = dict.fromkeys(ACCOUNTS, 0)
for account in changes:
    producer.produce(topic, str(sent[account]), key=account)
    sent[account] += 1
producer.flush()

followers = [threading.Thread(target=follow) for _ in range(2)]
for follower in followers:
    follower.start()
for follower in followers:
    follower.join()
for account, numbers in seen.items():
    print(f"{account}: {len(numbers)} changes, {'in order' if numbers == sorted(numbers) else numbers}")
