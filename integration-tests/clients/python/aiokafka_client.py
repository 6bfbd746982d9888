"""Client program on aiokafka: produce | read | group, see README.md."""

import asyncio
import sys

import lines
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError


async def produce(broker):
    producers, pending = {}, set()
    loop = asyncio.get_running_loop()
    n = -1
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        n += 1
        record = lines.decode(line)
        kind = record.get("codec", "none"), str(record.get("acks", "all"))
        if kind not in producers:
            codec, acks = kind
            producers[kind] = AIOKafkaProducer(
                bootstrap_servers=broker, compression_type=None if codec == "none" else codec,
                acks="all" if acks == "all" else int(acks), enable_idempotence=acks == "all", linger_ms=2,
                max_request_size=2 << 20, request_timeout_ms=120000)
            await producers[kind].start()
        future = await producers[kind].send(
            record["topic"], key=record["key"], value=record["value"], headers=record["headers"],
            partition=record.get("partition"), timestamp_ms=record.get("timestamp"))
        task = asyncio.create_task(acknowledged(n, future))
        pending.add(task)
        task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)
    for producer in producers.values():
        await producer.stop()


async def acknowledged(n, future):
    try:
        at = await future
    except KafkaError as error:
        lines.failed(n, repr(error))
    else:
        # With acks=0 there is no answer to take an offset from.
        lines.acked(n, at.partition if at else -1, at.offset if at else -1)


async def read(broker, topics):
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    parts = []
    for topic in topics:
        parts += [TopicPartition(topic, number) for number in await partitions(consumer, topic)]
    first, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
    ends = {part: end for part, end in ends.items() if end > first[part]}
    consumer.assign(list(ends))
    await consumer.seek_to_beginning(*ends)
    while ends:
        message = await asyncio.wait_for(consumer.getone(), 20)
        show(message)
        part = TopicPartition(message.topic, message.partition)
        if message.offset + 1 >= ends[part]:
            ends.pop(part)
    await consumer.stop()


async def partitions(consumer, topic):
    await consumer._client.force_metadata_update()
    found = consumer.partitions_for_topic(topic)
    if not found:
        metadata = await consumer._client.fetch_all_metadata()
        found = metadata.partitions_for_topic(topic)
    return sorted(found)


async def group(broker, name, count, topics):
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=broker, group_id=name, auto_offset_reset="earliest",
                                enable_auto_commit=False)
    await consumer.start()
    while count:
        message = await consumer.getone()
        show(message)
        count -= 1
        if count % 20 == 0:
            await commit(consumer)
    await consumer.stop()


async def commit(consumer):
    for attempt in range(120):
        try:
            return await consumer.commit()
        except KafkaError as error:
            print(f"commit {attempt}: {error}", file=sys.stderr)
            await asyncio.sleep(0.5)
    raise SystemExit("commit failed")


def show(message):
    lines.consumed(message.topic, message.partition, message.offset, message.timestamp,
                   (message.key, message.value, message.headers))


if __name__ == "__main__":
    mode, broker, *rest = sys.argv[1:]
    if mode == "produce":
        asyncio.run(produce(broker))
    elif mode == "read":
        asyncio.run(read(broker, rest))
    else:
        asyncio.run(group(broker, rest[0], int(rest[1]), rest[2:]))
