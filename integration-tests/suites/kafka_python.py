"""kafka-python: producer, consumer, admin client."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata

from harness.admin import create_topic
from harness.report import BROKER, expect, fresh, run_scenarios, scenario, scenarios, until

PAST = 1_000_000_000_000
FOREVER = {"retention.ms": "-1"}


def fill(topic, count, **config):
    producer = KafkaProducer(bootstrap_servers=BROKER, **config)
    futures = [producer.send(topic, b"%d" % n, partition=0, timestamp_ms=PAST + n * 1000) for n in range(count)]
    producer.flush()
    offsets = [future.get(30).offset for future in futures]
    producer.close()
    return offsets


def consumer(*topics, **config):
    return KafkaConsumer(*topics, bootstrap_servers=BROKER, **{
        "auto_offset_reset": "earliest", "enable_auto_commit": False, "consumer_timeout_ms": 20000, **config})


def take(one, count):
    return [int(message.value) for _, message in zip(range(count), one)]


@scenarios("codec", ["gzip", "snappy", "lz4", "zstd"])
def codec(name):
    topic = create_topic(BROKER, f"kpy-{name}", config=FOREVER)
    expect(fill(topic, 100, compression_type=name, enable_idempotence=True), list(range(100)))
    one = consumer(topic)
    expect(take(one, 100), list(range(100)))
    one.close()


@scenario
def seeking_by_offset_and_time():
    topic = create_topic(BROKER, "kpy-seek", config=FOREVER)
    fill(topic, 20)
    part = TopicPartition(topic, 0)
    one = consumer()
    one.assign([part])
    one.seek(part, 15)
    expect(take(one, 5), [15, 16, 17, 18, 19])
    expect(one.offsets_for_times({part: PAST + 3500})[part].offset, 4)
    expect((one.beginning_offsets([part]), one.end_offsets([part])), ({part: 0}, {part: 20}))
    one.close()


@scenario
def a_group_resumes_where_it_committed():
    topic, group = create_topic(BROKER, "kpy-group", config=FOREVER), fresh("kpy-group")
    fill(topic, 30)
    part = TopicPartition(topic, 0)
    one = consumer(topic, group_id=group)
    first = take(one, 12)
    one.commit({part: OffsetAndMetadata(12, "twelve", -1)})
    one.close()
    one = consumer(topic, group_id=group)
    expect(first + take(one, 18), list(range(30)))
    expect(one.committed(part), 12)
    one.close()


@scenario
def topics_through_admin():
    topic = fresh("kpy-admin")
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    new = [NewTopic(topic, num_partitions=2, replication_factor=1)]
    admin.create_topics(new)
    try:
        admin.create_topics(new)
        raise AssertionError("created twice")
    except TopicAlreadyExistsError:
        pass
    until("two partitions", lambda: partitions(admin, topic) == 2)
    admin.create_partitions({topic: NewPartitions(5)})
    until("five partitions", lambda: partitions(admin, topic) == 5)
    admin.delete_topics([topic])
    until("deletion", lambda: topic not in admin.list_topics())
    try:
        admin.delete_topics([topic])
        raise AssertionError("deleted twice")
    except UnknownTopicOrPartitionError:
        pass
    admin.close()


def partitions(admin, topic):
    return len(admin.describe_topics([topic])[0]["partitions"])


@scenario
def configs_through_admin():
    topic = create_topic(BROKER, "kpy-configs", config={"retention.ms": "7200000"})
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    text = str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
    expect("7200000" in text, True, "retention.ms in the description")
    admin.close()


@scenario
def groups_through_admin():
    topic, group = create_topic(BROKER, "kpy-groups"), fresh("kpy-groups")
    one = consumer(topic, group_id=group)
    until("an assignment", lambda: one.poll(100) == {} and one.assignment())
    one.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})
    one.close()
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    expect(group in str(admin.list_groups()), True, "listed")
    offsets = str(admin.list_group_offsets([group]))
    expect(topic in offsets, True, "offsets kept")
    admin.delete_groups([group])
    expect(group in str(admin.list_groups()), False, "listed")
    admin.close()


if __name__ == "__main__":
    run_scenarios()
