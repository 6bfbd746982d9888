"""Client program on confluent-kafka (librdkafka): produce | read | group | member, see README.md."""

import sys
import threading
import time

import lines
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

REBALANCED = (KafkaError._ASSIGNMENT_LOST, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID,
              KafkaError.REBALANCE_IN_PROGRESS, KafkaError._NO_OFFSET)


def produce(broker):
    producers = {}
    for n, record in lines.inputs():
        codec, acks = record.get("codec", "none"), str(record.get("acks", "all"))
        producer = producers.get((codec, acks))
        if producer is None:
            producer = producers[codec, acks] = Producer({
                "bootstrap.servers": broker, "compression.type": codec, "acks": acks, "linger.ms": 2,
                "enable.idempotence": acks == "all", "message.timeout.ms": 120000,
                "reconnect.backoff.max.ms": 500,
            })
            threading.Thread(target=serve, args=[producer], daemon=True).start()
        extra = {name: record[name] for name in ("partition", "timestamp") if record.get(name) is not None}
        producer.produce(record["topic"], key=record["key"], value=record["value"], headers=record["headers"],
                         on_delivery=lambda error, message, n=n: delivered(n, error, message), **extra)
    for producer in producers.values():
        producer.flush()


def serve(producer):
    """Delivers the reports while the program waits for its input."""
    while True:
        producer.poll(0.1)


def delivered(n, error, message):
    if error is None:
        lines.acked(n, message.partition(), message.offset())
    else:
        lines.failed(n, error)


def read(broker, topics):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False,
                         "enable.partition.eof": True})
    ends = {}
    for topic in topics:
        for partition in consumer.list_topics(topic, 10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
            if high > low:
                ends[topic, partition] = high
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in ends])
    while ends:
        message = consumer.poll(10)
        if message is None:
            raise SystemExit(f"nothing more within 10 s, missing {ends}")
        at = message.topic(), message.partition()
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise SystemExit(str(message.error()))
            ends.pop(at, None)
        else:
            show(message)
    consumer.close()


def group(broker, name, count, topics):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": name, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "reconnect.backoff.max.ms": 500})
    consumer.subscribe(topics)
    while count:
        message = consumer.poll(1)
        if message is not None and not message.error():
            show(message)
            count -= 1
            if count % 20 == 0:
                commit(consumer)
    consumer.close()


def commit(consumer):
    """Commits the positions; tries again while the broker restarts. A rebalance in between is no end."""
    for attempt in range(120):
        try:
            return consumer.commit(asynchronous=False)
        except KafkaException as error:
            print(f"commit {attempt}: {error}", file=sys.stderr)
            if error.args[0].code() in REBALANCED:
                return None
            time.sleep(0.5)
    raise SystemExit("commit failed")


def member(broker, group, assignor, instance, topic):
    """One member of a group until the input ends."""
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    static = {} if instance == "-" else {"group.instance.id": instance}
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "reconnect.backoff.max.ms": 500, "heartbeat.interval.ms": 1000,
                         "session.timeout.ms": 45000 if static else 6000,
                         "partition.assignment.strategy": "cooperative-sticky" if assignor == "cooperative" else "range",
                         **static})
    consumer.subscribe([topic], on_assign=teller("assigned"), on_revoke=teller("revoked"), on_lost=teller("revoked"))
    while not ending.is_set():
        messages = [one for one in consumer.consume(100, 0.2) if not one.error()]
        after = {one.partition(): one.offset() + 1 for one in messages}
        for one in messages:
            lines.emit({"partition": one.partition(), "offset": one.offset()})
        try:
            if after:
                consumer.commit(offsets=[TopicPartition(topic, *at) for at in after.items()], asynchronous=False)
                for partition, offset in after.items():
                    lines.emit({"event": "committed", "partition": partition, "offset": offset})
        except KafkaException as error:
            print(f"commit: {error}", file=sys.stderr)
    consumer.close()


def teller(event):
    return lambda _, partitions: lines.emit({"event": event, "partitions": [one.partition for one in partitions]})


def show(message):
    lines.consumed(message.topic(), message.partition(), message.offset(), message.timestamp()[1],
                   (message.key(), message.value(), message.headers()))


if __name__ == "__main__":
    mode, broker, *rest = sys.argv[1:]
    if mode == "produce":
        produce(broker)
    elif mode == "read":
        read(broker, rest)
    elif mode == "member":
        member(broker, *rest)
    else:
        group(broker, rest[0], int(rest[1]), rest[2:])
