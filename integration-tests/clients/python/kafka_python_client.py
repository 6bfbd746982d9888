"""Client program on kafka-python: produce | read | group, see README.md."""

import sys

import lines
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError


def produce(broker):
    producers = {}
    for n, record in lines.inputs():
        kind = record.get("codec", "none"), str(record.get("acks", "all"))
        if kind not in producers:
            codec, acks = kind
            producers[kind] = KafkaProducer(
                bootstrap_servers=broker, compression_type=None if codec == "none" else codec,
                acks="all" if acks == "all" else int(acks), enable_idempotence=acks == "all", linger_ms=2,
                max_request_size=2 << 20, delivery_timeout_ms=120000)
        producers[kind].send(
            record["topic"], key=record["key"], value=record["value"], headers=record["headers"],
            partition=record.get("partition"), timestamp_ms=record.get("timestamp"),
        ).add_callback(
            lambda at, n=n: lines.acked(n, at.partition, at.offset)
        ).add_errback(lambda error, n=n: lines.failed(n, repr(error)))
    for producer in producers.values():
        producer.flush()
        producer.close()


def read(broker, topics):
    consumer = KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, consumer_timeout_ms=20000)
    parts = [TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic)]
    first, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
    ends = {part: end for part, end in ends.items() if end > first[part]}
    consumer.assign(list(ends))
    consumer.seek_to_beginning()
    for message in consumer if ends else ():
        show(message)
        part = TopicPartition(message.topic, message.partition)
        if message.offset + 1 >= ends[part]:
            ends.pop(part)
            if not ends:
                break
    consumer.close()
    if ends:
        raise SystemExit(f"nothing more within 20 s, missing {ends}")


def group(broker, name, count, topics):
    consumer = KafkaConsumer(*topics, bootstrap_servers=broker, group_id=name, auto_offset_reset="earliest",
                             enable_auto_commit=False)
    for message in consumer:
        show(message)
        count -= 1
        if count % 20 == 0:
            commit(consumer)
        if count == 0:
            break
    consumer.close()


def commit(consumer):
    for attempt in range(120):
        try:
            return consumer.commit()
        except KafkaError as error:
            print(f"commit {attempt}: {error!r}", file=sys.stderr)
            consumer.poll(0, max_records=1, update_offsets=False)
    raise SystemExit("commit failed")


def show(message):
    lines.consumed(message.topic, message.partition, message.offset, message.timestamp,
                   (message.key, message.value, message.headers))


if __name__ == "__main__":
    mode, broker, *rest = sys.argv[1:]
    if mode == "produce":
        produce(broker)
    elif mode == "read":
        read(broker, rest)
    else:
        group(broker, rest[0], int(rest[1]), rest[2:])
