"""confluent-kafka (recent librdkafka): producer, consumer, admin client."""

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions as GroupPartitions
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   OffsetSpec)

from harness.admin import create_topic
from harness.report import BROKER, expect, expect_in, fresh, run_scenarios, scenario, scenarios, until

PAST = 1_000_000_000_000
FOREVER = {"retention.ms": "-1"}
ADMIN = AdminClient({"bootstrap.servers": BROKER})


def fill(topic, count, config=None, partition=0):
    """Sends "0", "1", ... a second apart from 2001 on; returns what the broker acknowledged."""
    producer = Producer({"bootstrap.servers": BROKER, "linger.ms": 1, **(config or {})})
    reports = []
    for n in range(count):
        producer.produce(topic, str(n), partition=partition, timestamp=PAST + n * 1000,
                         on_delivery=lambda error, message: reports.append((error, message)))
        producer.poll(0)
    expect(producer.flush(30), 0, "messages left in the queue")
    expect([error for error, _ in reports if error], [], "delivery errors")
    return [message.offset() for _, message in reports]


def consumer(group=None, **more):
    return Consumer({"bootstrap.servers": BROKER, "group.id": group or "unused", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, **{name.replace("_", "."): value for name, value in more.items()}})


def take(one, count):
    """The next records' values."""
    values = []
    until(f"{count} records", lambda: values.extend(
        message.value().decode() for message in one.consume(count - len(values), 0.5) if not message.error()
    ) or len(values) >= count)
    return values


def numbers(start, end):
    return [str(n) for n in range(start, end)]


@scenarios("delivery-reports-have-offsets-with-acks", ["1", "all"])
def reports(acks):
    topic = create_topic(BROKER, f"confluent-acks-{acks}", config=FOREVER)
    expect(fill(topic, 200, {"acks": acks}), list(range(200)))


@scenario
def idempotent_producer_in_small_batches():
    topic = create_topic(BROKER, "confluent-idempotent", config=FOREVER)
    fill(topic, 2000, {"enable.idempotence": True, "batch.num.messages": 7})
    one = consumer()
    one.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    expect(take(one, 2000), numbers(0, 2000))
    one.close()


@scenario
def seeking_by_offset_and_time():
    topic = create_topic(BROKER, "confluent-seek", config=FOREVER)
    fill(topic, 20)
    one = consumer()
    one.assign([TopicPartition(topic, 0, 5)])
    expect(take(one, 2), ["5", "6"])
    one.seek(TopicPartition(topic, 0, 17))
    expect(take(one, 3), ["17", "18", "19"])
    found = one.offsets_for_times([TopicPartition(topic, 0, PAST + 7500)], 10)
    expect(found[0].offset, 8)
    late = one.offsets_for_times([TopicPartition(topic, 0, PAST + 999_000_000)], 10)
    expect(late[0].offset in (OFFSET_END, 20), True, "offset after the last record")
    expect(one.get_watermark_offsets(TopicPartition(topic, 0), 10), (0, 20))
    one.close()


@scenarios("a-group-resumes-with-protocol", ["classic", "consumer"])
def group_resumes(protocol):
    topic, group = create_topic(BROKER, f"confluent-{protocol}", config=FOREVER), fresh(f"confluent-{protocol}")
    fill(topic, 50)
    first = consumer(group, group_protocol=protocol)
    first.subscribe([topic])
    values = take(first, 20)
    first.commit(offsets=[TopicPartition(topic, 0, 20)], asynchronous=False)
    first.close()
    second = consumer(group, group_protocol=protocol)
    second.subscribe([topic])
    values += take(second, 30)
    expect(second.committed([TopicPartition(topic, 0)], 10)[0].offset, 20)
    second.close()
    expect(values, numbers(0, 50))


@scenario
def two_members_share_partitions_cooperatively():
    topic, group = create_topic(BROKER, "confluent-shared", 4), fresh("confluent-shared")
    members = [consumer(group, partition_assignment_strategy="cooperative-sticky") for _ in range(2)]
    for member in members:
        member.subscribe([topic])

    def shares():
        for member in members:
            member.poll(0.05)
        return sorted(len(member.assignment()) for member in members)

    until("two partitions each", lambda: shares() == [2, 2])
    members[0].close()
    del members[0]
    until("four partitions for the last", lambda: shares() == [4])
    members[0].close()


@scenario
def auto_commit_keeps_the_position():
    topic, group = create_topic(BROKER, "confluent-auto", config=FOREVER), fresh("confluent-auto")
    fill(topic, 10)
    first = consumer(group, enable_auto_commit=True)
    first.subscribe([topic])
    take(first, 10)
    first.close()
    fill(topic, 1)
    second = consumer(group, enable_auto_commit=True)
    second.subscribe([topic])
    message = until("a record", lambda: second.poll(0.5))
    expect(message.offset(), 10)
    second.close()


@scenario
def consuming_a_missing_topic_is_an_error():
    one = consumer(fresh("confluent-missing"), allow_auto_create_topics=False)
    one.subscribe([fresh("confluent-missing")])
    message = until("an error", lambda: one.poll(0.5))
    expect_in("UNKNOWN_TOPIC_OR_PART", str(message.error().name()))
    one.close()


@scenario
def partitions_and_configs_through_admin():
    topic = create_topic(BROKER, "confluent-admin")
    ADMIN.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    until("three partitions", lambda: len(ADMIN.list_topics(topic, 10).topics[topic].partitions) == 3)
    entry = ConfigEntry("retention.ms", "7000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    ADMIN.incremental_alter_configs([resource])[resource].result(30)

    def described():
        wanted = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return ADMIN.describe_configs([wanted])[wanted].result(30)["retention.ms"].value == "7000000"

    until("the new value", described)


@scenario
def records_deleted_and_offsets_listed_through_admin():
    topic = create_topic(BROKER, "confluent-cut", config=FOREVER)
    fill(topic, 10)
    part = TopicPartition(topic, 0)
    for future in ADMIN.delete_records([TopicPartition(topic, 0, 4)]).values():
        expect(future.result().low_watermark, 4)
    for spec, want in [(OffsetSpec.earliest(), 4), (OffsetSpec.latest(), 10), (OffsetSpec.max_timestamp(), 9),
                       (OffsetSpec.for_timestamp(PAST + 6500), 7)]:
        expect(ADMIN.list_offsets({part: spec})[part].result(30).offset, want, str(spec))


@scenario
def groups_through_admin():
    topic, group = create_topic(BROKER, "confluent-groups"), fresh("confluent-groups")
    offsets = GroupPartitions(group, [TopicPartition(topic, 0, 0)])
    for future in ADMIN.alter_consumer_group_offsets([offsets]).values():
        future.result(30)
    listed = ADMIN.list_consumer_groups().result(30).valid
    expect(group in [one.group_id for one in listed], True, "listed")
    described = ADMIN.describe_consumer_groups([group])[group].result(30)
    expect((described.group_id, described.state.name), (group, "EMPTY"))
    kept = ADMIN.list_consumer_group_offsets([GroupPartitions(group)])[group].result(30).topic_partitions
    expect([(one.topic, one.offset) for one in kept], [(topic, 0)])
    ADMIN.delete_consumer_groups([group])[group].result(30)
    expect(group in [one.group_id for one in ADMIN.list_consumer_groups().result(30).valid], False, "listed")


@scenario
def a_transaction_moves_records_and_offsets_together():
    source, sink = (create_topic(BROKER, f"confluent-tx-{name}", config=FOREVER) for name in ("in", "out"))
    group = fresh("confluent-tx")
    fill(source, 5)
    reader = consumer(group)
    reader.subscribe([source])
    values = take(reader, 5)
    producer = Producer({"bootstrap.servers": BROKER, "transactional.id": fresh("confluent-tx")})
    producer.init_transactions(30)
    for commit in (False, True):
        producer.begin_transaction()
        for value in values:
            producer.produce(sink, f"{value}-{commit}", partition=0)
        producer.send_offsets_to_transaction(
            [TopicPartition(source, 0, 5)], reader.consumer_group_metadata(), 30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
            expect(reader.committed([TopicPartition(source, 0)], 10)[0].offset < 0, True, "nothing committed")
    expect(reader.committed([TopicPartition(source, 0)], 10)[0].offset, 5)
    reader.close()
    one = consumer(isolation_level="read_committed")
    one.assign([TopicPartition(sink, 0, OFFSET_BEGINNING)])
    expect(take(one, 5), [f"{value}-True" for value in values])
    one.close()


@scenario
def deleting_a_missing_topic_is_an_error():
    name = fresh("confluent-none")
    try:
        ADMIN.delete_topics([name])[name].result(30)
    except KafkaException as error:
        expect(error.args[0].name(), "UNKNOWN_TOPIC_OR_PART")
    else:
        raise AssertionError("no error")


if __name__ == "__main__":
    run_scenarios()
