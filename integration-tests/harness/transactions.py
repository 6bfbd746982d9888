"""Transactions in every state that a data directory can hold, and what readers must see of them."""

import struct

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from harness.admin import create_topic
from harness.report import expect, fresh, until

STATE_TOPIC = "__transaction_state"
TIMEOUT_MS = 900_000  # No transaction times out by itself here.
PREPARE_COMMIT = 2


class Transactions:
    """A topic per state, each with a transaction of its own; `begin` on one broker, `check` on the next.

    - `done`: one transaction committed, one aborted, with offsets of a group each.
    - `open`: the next broker has to let the producer go on.
    - `prepared`: decided and not complete, as after a crash between the two: the next broker completes it.
    """

    def __init__(self, broker, name):
        self.topics = {state: create_topic(broker, f"{name}-{state}") for state in ("done", "open", "prepared")}
        self.groups = {state: fresh(f"{name}-{state}-group") for state in self.topics}
        self.open = None

    def begin(self, broker):
        done = producer(broker)
        for value, end in (("committed", done.commit_transaction), ("aborted", done.abort_transaction)):
            self.write(done, broker, "done", value, 1 if value == "committed" else 2)
            end(30)
        self.open = producer(broker)
        self.write(self.open, broker, "open", "continued", 1)
        prepared_id = fresh("prepared")
        self.write(producer(broker, prepared_id), broker, "prepared", "decided", 1)
        decide(broker, prepared_id)

    def write(self, one, broker, state, value, offset):
        """A record and a group's offset in a transaction that stays open."""
        one.begin_transaction()
        one.produce(self.topics[state], value)
        expect(one.flush(30), 0, "unacknowledged")
        member = consumer(broker, self.groups[state])
        one.send_offsets_to_transaction(
            [TopicPartition(self.topics[state], 0, offset)], member.consumer_group_metadata(), 30)
        member.close()

    def check(self, broker, prepared=True):
        """On the next broker: what is decided is seen, what is open holds readers and can be ended.

        `prepared`: whether the transaction that was decided and not complete has to be completed, too.
        """
        expect(self.seen(broker, "done"), ["committed"], "done: committed records")
        expect(self.offset(broker, "done"), 1, "done: the group's offset")
        if prepared:
            until("the prepared transaction is complete", lambda: self.is_complete(broker), 60)
        expect(self.seen(broker, "open"), [], "open: committed records")
        self.open.commit_transaction(60)
        until("the open transaction is seen", lambda: self.seen(broker, "open") == ["continued"], 60)
        until("its group's offset", lambda: self.offset(broker, "open") == 1, 60)

    def is_complete(self, broker):
        """Whether the prepared transaction has been completed."""
        return self.seen(broker, "prepared") == ["decided"] and self.offset(broker, "prepared") == 1

    def seen(self, broker, state):
        """The values that a reader of committed records gets up to the last stable offset."""
        one = consumer(broker, fresh("reader"))
        partition = TopicPartition(self.topics[state], 0, 0)
        one.assign([partition])
        values = []
        until("the last stable offset", lambda: at_end(one, values), 60)
        one.close()
        return values

    def offset(self, broker, state):
        one = consumer(broker, self.groups[state])
        committed = one.committed([TopicPartition(self.topics[state], 0)], 30)[0].offset
        one.close()
        return committed


def producer(broker, transactional_id=None):
    one = Producer({"bootstrap.servers": broker, "transactional.id": transactional_id or fresh("tx"),
                    "transaction.timeout.ms": TIMEOUT_MS})
    one.init_transactions(60)
    return one


def consumer(broker, group):
    return Consumer({"bootstrap.servers": broker, "group.id": group, "isolation.level": "read_committed",
                     "enable.auto.commit": False, "auto.offset.reset": "earliest", "enable.partition.eof": True})


def at_end(one, values):
    """Reads what is there; whether that was all."""
    message = one.poll(0.5)
    if message is None:
        return False
    if message.error() is None:
        values.append(message.value().decode())
    return message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF


def decide(broker, transactional_id):
    """Writes the decision to commit behind the coordinator's back: it finds it when it loads its log."""
    one = Consumer({"bootstrap.servers": broker, "group.id": fresh("state"), "enable.partition.eof": True,
                    "auto.offset.reset": "earliest"})
    partitions = one.list_topics(STATE_TOPIC, 30).topics[STATE_TOPIC].partitions
    one.assign([TopicPartition(STATE_TOPIC, index, 0) for index in partitions])
    latest, ended = None, set()
    while len(ended) < len(partitions):
        message = one.poll(30)
        if message is None:
            raise AssertionError("the transaction topic cannot be read")
        if message.error() is not None:
            ended.add(message.partition())
        elif message.key()[4:].decode() == transactional_id:
            latest = message
    one.close()
    writer = Producer({"bootstrap.servers": broker, "client.id": "__admin_client"})
    writer.produce(STATE_TOPIC, prepared(latest.value()), latest.key(), latest.partition())
    expect(writer.flush(30), 0, "the decision")


def prepared(value):
    """The record of an open transaction as the one of its decision to commit (TransactionLogValue)."""
    version, producer_id, epoch, timeout, status = struct.unpack_from(">hqhib", value)
    expect((version, status), (1, 1), "version and state of the record")
    # transaction.version 2: its client says so in the last tagged field, and the decision bumps the epoch.
    bumps = value.endswith(b"\x02\x02\x00\x02")
    return struct.pack(">hqhib", version, producer_id, epoch + bumps, timeout, PREPARE_COMMIT) + value[17:]
