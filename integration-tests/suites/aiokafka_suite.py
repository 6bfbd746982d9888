"""aiokafka: asyncio producer, consumer, admin client."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import OffsetOutOfRangeError, TopicAlreadyExistsError
from aiokafka.structs import OffsetAndMetadata

from harness.admin import create_topic
from harness.report import BROKER, expect, fresh, run_scenarios, scenario, scenarios

PAST = 1_000_000_000_000
FOREVER = {"retention.ms": "-1"}


def on_loop(function):
    """Turns a coroutine function into a scenario with a deadline."""
    def run(*args):
        asyncio.run(asyncio.wait_for(function(*args), 60))
    run.__name__ = function.__name__
    return run


async def fill(topic, count, **config):
    async with AIOKafkaProducer(bootstrap_servers=BROKER, **config) as producer:
        futures = [await producer.send(topic, b"%d" % n, partition=0, timestamp_ms=PAST + n * 1000) for n in range(count)]
        return [(await future).offset for future in futures]


def consumer(*topics, **config):
    return AIOKafkaConsumer(*topics, bootstrap_servers=BROKER, **{
        "auto_offset_reset": "earliest", "enable_auto_commit": False, **config})


async def take(one, count):
    return [int((await one.getone()).value) for _ in range(count)]


@scenarios("codec", ["gzip", "snappy", "lz4", "zstd"])
@on_loop
async def codec(name):
    topic = create_topic(BROKER, f"aio-{name}", config=FOREVER)
    expect(await fill(topic, 100, compression_type=name, enable_idempotence=True), list(range(100)))
    async with consumer(topic) as one:
        expect(await take(one, 100), list(range(100)))


@scenario
@on_loop
async def seeking_by_offset_and_time():
    topic = create_topic(BROKER, "aio-seek", config=FOREVER)
    await fill(topic, 20)
    part = TopicPartition(topic, 0)
    async with consumer() as one:
        one.assign([part])
        one.seek(part, 15)
        expect(await take(one, 5), [15, 16, 17, 18, 19])
        found = await one.offsets_for_times({part: PAST + 3500})
        expect(found[part].offset, 4)
        expect((await one.beginning_offsets([part]), await one.end_offsets([part])), ({part: 0}, {part: 20}))


@scenario
@on_loop
async def out_of_range_without_reset_is_an_error():
    topic = create_topic(BROKER, "aio-range", config=FOREVER)
    await fill(topic, 3)
    part = TopicPartition(topic, 0)
    async with consumer(auto_offset_reset="none") as one:
        one.assign([part])
        one.seek(part, 100)
        try:
            await one.getone()
        except OffsetOutOfRangeError:
            return
    raise AssertionError("no error")


@scenario
@on_loop
async def a_group_resumes_where_it_committed():
    topic, group = create_topic(BROKER, "aio-group", config=FOREVER), fresh("aio-group")
    await fill(topic, 30)
    part = TopicPartition(topic, 0)
    async with consumer(topic, group_id=group) as one:
        first = await take(one, 12)
        await one.commit({part: OffsetAndMetadata(12, "twelve")})
    async with consumer(topic, group_id=group) as one:
        expect(first + await take(one, 18), list(range(30)))
        expect(await one.committed(part), 12)


@scenario
@on_loop
async def two_members_share_the_partitions():
    topic, group = create_topic(BROKER, "aio-shared", 4), fresh("aio-shared")
    async with consumer(topic, group_id=group) as one, consumer(topic, group_id=group) as two:
        while [len(one.assignment()), len(two.assignment())] != [2, 2]:
            await asyncio.gather(one.getmany(timeout_ms=50), two.getmany(timeout_ms=50))


@scenario
@on_loop
async def a_transaction_is_seen_whole_or_not():
    topic = create_topic(BROKER, "aio-tx", config=FOREVER)
    async with AIOKafkaProducer(bootstrap_servers=BROKER, transactional_id=fresh("aio-tx")) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"0")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"1")
    async with consumer(topic, isolation_level="read_committed") as one:
        expect(await take(one, 1), [1])
    async with consumer(topic) as one:
        expect(await take(one, 2), [0, 1])


@scenario
@on_loop
async def topics_through_admin():
    topic = fresh("aio-admin")
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    try:
        new = [NewTopic(topic, num_partitions=2, replication_factor=1)]
        await admin.create_topics(new)
        try:
            answer = await admin.create_topics(new)
            expect(answer.topic_errors[0][1], TopicAlreadyExistsError.errno, "error code")
        except TopicAlreadyExistsError:
            pass
        await partitions(admin, topic, 2)
        await admin.create_partitions({topic: NewPartitions(5)})
        await partitions(admin, topic, 5)
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():
            await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def partitions(admin, topic, want):
    """Waits until metadata shows that many; the scenario has a deadline."""
    while len((await admin.describe_topics([topic]))[0]["partitions"]) != want:
        await asyncio.sleep(0.02)


@scenario
@on_loop
async def a_missing_topic_has_no_partitions():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    try:
        answer = await admin.describe_topics([fresh("aio-missing")])
        expect((answer[0]["error_code"], answer[0]["partitions"]), (3, []))
    finally:
        await admin.close()


if __name__ == "__main__":
    run_scenarios()
