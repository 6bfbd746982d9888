"""Copies one topic to another, exactly once: pipe BROKER GROUP INPUT OUTPUT TRANSACTIONAL_ID, see README.md."""

import random
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer

# Without a limit librdkafka may wait for ever in such a call when its connection broke in the middle.
CALL_SECONDS = 10
CALLS_MAX = 4


def main(broker, group, source, sink, transactional_id):
    consumer = Consumer({
        "bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
        "max.poll.interval.ms": 20000, "reconnect.backoff.max.ms": 500,
    })
    producer = Producer({
        "bootstrap.servers": broker, "transactional.id": transactional_id, "transaction.timeout.ms": 8000,
        "reconnect.backoff.max.ms": 500,
    })
    retried(producer.init_transactions)
    consumer.subscribe([source])
    while True:
        messages = [message for message in consumer.consume(50, 0.1) if usable(message)]
        if messages:
            copy(consumer, producer, messages, sink)


def usable(message):
    error = message.error()
    if error is not None and error.fatal():
        raise KafkaException(error)
    return error is None


def copy(consumer, producer, messages, sink):
    producer.begin_transaction()
    try:
        for message in messages:
            producer.produce(sink, message.value(), f"{message.partition()}:{message.offset()}")
        offsets = consumer.position(consumer.assignment())
        metadata = consumer.consumer_group_metadata()
        found = [part for part in offsets if part.offset >= 0]
        retried(producer.send_offsets_to_transaction, found, metadata, CALL_SECONDS)
        if random.randrange(10) == 0:
            give_up(consumer, producer)
        else:
            retried(producer.commit_transaction, CALL_SECONDS)
    except KafkaException as error:
        if not error.args[0].txn_requires_abort():
            raise
        print(f"aborted: {error}", file=sys.stderr)
        give_up(consumer, producer)


def give_up(consumer, producer):
    """Aborts, and goes back to what the group committed."""
    retried(producer.abort_transaction, CALL_SECONDS)
    for part in consumer.committed(consumer.assignment()):
        if part.offset < 0:
            part.offset = OFFSET_BEGINNING
        try:
            consumer.seek(part)
        except KafkaException as error:  # The partition went to another member meanwhile.
            if error.args[0].code() not in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
                raise


def retried(call, *arguments):
    """Calls again what may be called again; in the end the program gives up, and is started anew."""
    for number in range(CALLS_MAX):
        try:
            return call(*arguments)
        except KafkaException as error:
            if not error.args[0].retriable() or number == CALLS_MAX - 1:
                raise



if __name__ == "__main__":
    main(*sys.argv[1:])
