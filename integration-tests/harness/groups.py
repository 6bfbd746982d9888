"""Groups of every kind that `__consumer_offsets` can hold, and what must be left of them after its compaction."""

from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from harness.admin import create_topic
from harness.report import expect, fresh, until
from harness.transactions import producer

PARTITIONS = 50
TOPIC = "__consumer_offsets"
NOTE = "n" * 4000  # Metadata of a commit; the most that is allowed is 4,096.
# Compaction that does not wait; a tombstone that was compacted twice is gone. `__consumer_offsets` is one partition.
SETTINGS = {
    "offsets.topic.num.partitions": "1",
    "offsets.topic.segment.bytes": "1048576",
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.min.cleanable.ratio": "0.01",
    "log.cleaner.delete.retention.ms": "0",
}


class Groups:
    """Groups that commit on one broker and are looked at on the next; what is expected of each is kept here.

    - `early` commits once, in the segment that is compacted first.
    - `again` commits until the segments have rolled; the last commits count.
    - `deleted` has committed and is deleted.
    - `transactions` commits in a transaction that is committed and one that is aborted.
    """

    def __init__(self, broker, directory):
        self.log = Path(directory) / "data" / f"{TOPIC}-0"
        self.topic = create_topic(broker, "group-offsets", PARTITIONS)
        self.wanted = {}
        self.round = 0

    def commit(self, broker):
        """Every kind of group, then commits of one that fill two segments."""
        self.round += 1
        early, again, deleted, transactions = (
            fresh(f"{name}-{self.round}") for name in ("early", "again", "deleted", "transactions"))
        self.write(broker, early, self.offsets(10 + self.round, "early"))
        self.write(broker, deleted, self.offsets(1, "deleted"))
        admin = AdminClient({"bootstrap.servers": broker})
        admin.delete_consumer_groups([deleted])[deleted].result(30)
        self.wanted[deleted] = {}
        self.in_transactions(broker, transactions)
        before = set(self.segments())
        offset = 0
        while len(set(self.segments()) - before) < 2:
            offset += 1
            self.write(broker, again, self.offsets(offset, NOTE))

    def offsets(self, offset, note):
        return [TopicPartition(self.topic, number, offset + number, note) for number in range(PARTITIONS)]

    def write(self, broker, group, offsets):
        one = consumer(broker, group)
        one.commit(offsets=offsets, asynchronous=False)
        one.close()
        self.wanted[group] = {at.partition: (at.offset, at.metadata) for at in offsets}

    def in_transactions(self, broker, group):
        member, one = consumer(broker, group), producer(broker)
        for offset, end in ((7, one.commit_transaction), (9, one.abort_transaction)):
            one.begin_transaction()
            offsets = [TopicPartition(self.topic, 0, offset)]
            one.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), 30)
            end(30)
        member.close()
        self.wanted[group] = {0: (7, None)}

    def wait_for_compaction(self):
        """Until all segments but the last have been through the cleaner, by its checkpoint."""
        last = max(self.segments())
        until("compaction", lambda: self.compacted_to() >= last, 90)

    def segments(self):
        """The first offsets of the segments."""
        return [int(path.stem) for path in self.log.glob("*.log")]

    def compacted_to(self):
        checkpoint = self.log.parent / "cleaner-offset-checkpoint"
        rows = [line.split() for line in checkpoint.read_text().splitlines()] if checkpoint.exists() else []
        return next((int(row[2]) for row in rows if row[:2] == [TOPIC, "0"]), 0)

    def check(self, broker):
        """Every group is at the offsets it committed, with what it noted there; a deleted one is nowhere."""
        for group, want in self.wanted.items():
            asked = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
            found = {at.partition: (at.offset, at.metadata or None) for at in committed(broker, group, asked)}
            expect({number: at for number, at in found.items() if at[0] >= 0}, want, f"{group}: offsets")
        admin = AdminClient({"bootstrap.servers": broker})
        listed = {one.group_id for one in admin.list_consumer_groups().result(30).valid}
        expect(set(self.wanted) & listed, {group for group, want in self.wanted.items() if want}, "groups in the list")


def consumer(broker, group):
    return Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False})


def committed(broker, group, partitions):
    """The group's committed offsets, as soon as somebody coordinates it."""
    # Not the AdminClient: it does not wait for a group that loads, and ends the process after some restarts.
    one = consumer(broker, group)
    try:
        return until(f"a coordinator of {group}", lambda: offsets_or_none(one, partitions), 60)
    finally:
        one.close()


def offsets_or_none(one, partitions):
    try:
        return one.committed(partitions, 60)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NOT_COORDINATOR:
            raise
        return None
