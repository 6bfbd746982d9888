"""Topics for the suites, created through confluent-kafka."""

from confluent_kafka.admin import AdminClient, NewTopic

from harness.report import fresh, until


def create_topic(broker, name, partitions=1, config=None):
    """Creates a topic of a fresh name, waits until metadata shows it, and returns the name."""
    topic = fresh(name)
    admin = AdminClient({"bootstrap.servers": broker})
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([new])[topic].result(30)
    until(f"metadata of {topic}", lambda: led(admin, topic, partitions))
    return topic


def led(admin, topic, partitions):
    """Whether every partition has a leader."""
    found = admin.list_topics(topic, 10).topics[topic]
    return found.error is None and len(found.partitions) == partitions and all(
        part.leader >= 0 for part in found.partitions.values())
