"""A broker that is restarted, politely and by SIGKILL, while clients produce and consume.

Every client has one idempotent producer, one consumer in a group, and goes on by itself over both
restarts. At the end every acknowledged record is there exactly once and in order, and a group that
committed continues where it was.
"""

import sys
import threading
import time

from harness import clients, install
from harness.admin import create_topic
from harness.broker import Broker
from harness.report import expect, fresh, run_scenarios, scenarios, until

# kcat says nothing of single acknowledgements, and kafkajs gives up an idempotent producer whose
# connection is refused: that one only consumes here, what the Go client produced.
PRODUCERS = ("java", "confluent", "aiokafka", "kafka-python", "go")
CONSUMERS = (*PRODUCERS, "node")
PHASES = ("SIGTERM", "SIGKILL")
RECORDS_PER_PHASE = 200
TOTAL = RECORDS_PER_PHASE * (len(PHASES) + 1)
COMMITTED = 40  # The client programs commit every twenty records.
WINDOW = 40
RECOVERY_SECONDS = 60


class Feeder:
    """Feeds one producer: at most WINDOW records unacknowledged, and none beyond `limit`."""

    def __init__(self, client, broker, topic):
        self.program = clients.Background(client, "produce", broker)
        self.topic = topic
        self.limit = 0
        self.sent = 0
        self.error = None
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def _feed(self):
        try:
            while self.sent < TOTAL:
                if self.sent < self.limit and self.sent - len(self.program.lines) < WINDOW:
                    value = b"%06d" % self.sent
                    self.program.send({"topic": self.topic, "key": None, "value": value.hex(), "headers": [],
                                       "partition": self.sent % 3})
                    self.sent += 1
                else:
                    time.sleep(0.001)
        except OSError as error:
            self.error = error

    def acked(self):
        return len(self.program.lines)

    def check(self):
        """Raises what the producer reported."""
        errors = [line["error"] for line in self.program.lines if "error" in line]
        expect(errors[:3], [], "errors of the producer")
        expect(self.error, None, "input of the producer")


class Story:
    """What happens once, for all clients together; the scenarios look at parts of it."""

    def __init__(self):
        self.broker = Broker().start()
        self.address = self.broker.address
        self.topics = {client: create_topic(self.address, f"restart-{client}", 3) for client in PRODUCERS}
        self.feeders = {client: Feeder(client, self.address, topic) for client, topic in self.topics.items()}
        self.topics["node"] = self.topics["go"]
        self.live = {}
        self.committed = {}
        self.failures = {}

    def run(self):
        """Phase by phase: all get their share acknowledged, then the broker goes while more is sent."""
        self.advance(RECORDS_PER_PHASE)
        # Consumes a topic that nothing else consumes, over all restarts.
        for client in CONSUMERS:
            self.live[client] = clients.Background(
                client, "group", self.address, fresh(f"live-{client}"), TOTAL * 10, self.topics[client])
        for client in CONSUMERS:
            self.attempt(client, lambda client=client: self.consume_some(client))
        for phase in PHASES:
            before = {client: feeder.acked() for client, feeder in self.feeders.items()}
            for feeder in self.feeders.values():
                feeder.limit += RECORDS_PER_PHASE
            for client, feeder in self.feeders.items():
                self.attempt(client, lambda feeder=feeder, client=client: until(
                    f"{client}: an acknowledgement before {phase}", lambda: feeder.acked() > before[client]))
            if phase == "SIGTERM":
                self.broker.stop()
            else:
                self.broker.kill()
            self.broker.start()
            self.settle()

    def advance(self, count):
        for feeder in self.feeders.values():
            feeder.limit += count
        self.settle()

    def settle(self):
        for client, feeder in self.feeders.items():
            self.attempt(client, lambda feeder=feeder, client=client: until(
                f"{client}: {feeder.limit} acknowledged", lambda: feeder.acked() >= feeder.limit, RECOVERY_SECONDS))

    def consume_some(self, client):
        self.committed[client] = clients.group(
            client, self.address, fresh(f"resume-{client}"), COMMITTED, [self.topics[client]])

    def attempt(self, client, step):
        """A client that fails is judged by its own scenario; the others go on."""
        try:
            if client not in self.failures:
                step()
        except Exception as error:
            self.failures[client] = error


STORY = []


def story():
    if not STORY:
        STORY.append(Story())
        STORY[0].run()
    return STORY[0]


@scenarios("acknowledged-records-are-there-once-and-in-order", PRODUCERS)
def exactly_once(client):
    told = story()
    if client in told.failures:
        raise told.failures[client]
    feeder = told.feeders[client]
    feeder.check()
    expect(feeder.acked(), TOTAL, "acknowledged")
    got = clients.read("confluent", told.address, [told.topics[client]])
    for partition in range(3):
        values = [int(bytes.fromhex(one["value"])) for one in got if one["partition"] == partition]
        expect(values, list(range(partition, TOTAL, 3)), f"partition {partition}")


@scenarios("a-consumer-lives-through-both-restarts", CONSUMERS)
def live_consumer(client):
    told = story()
    if client in told.failures:
        raise told.failures[client]
    live = told.live[client]
    try:
        # A commit may have failed with the broker, so a record may come twice, but none is left out.
        until(f"{TOTAL} records", lambda: len(set(map(value_of, list(live.lines)))) == TOTAL, RECOVERY_SECONDS)
    finally:
        print(f"{client}: {len(live.lines)} lines", file=sys.stderr)
        live.kill()


@scenarios("a-group-resumes-at-its-committed-offsets", CONSUMERS)
def resumes(client):
    told = story()
    before = told.committed[client]
    rest = clients.group(client, told.address, fresh(f"resume-{client}"), TOTAL - len(before), [told.topics[client]])
    values = sorted(value_of(line) for line in before + rest)
    expect(values, list(range(TOTAL)), "values of both runs")


def value_of(line):
    return int(bytes.fromhex(line["value"]))


if __name__ == "__main__":
    install.CACHE.mkdir(parents=True, exist_ok=True)
    try:
        run_scenarios()
    finally:
        for told in STORY:
            for program in [*told.live.values(), *(feeder.program for feeder in told.feeders.values())]:
                program.kill()
            told.broker.remove()
