"""Groups of real clients, with members that join, crash and leave, and a broker that is restarted in
the middle, politely and by SIGKILL, while records keep coming.

Every record is delivered; an acknowledged commit is never lost, and a committed offset never goes back;
static members that restart get their partitions back, and nobody else notices.
"""

import sys
import threading
import time

from confluent_kafka import Producer, TopicPartition

from harness import clients, install
from harness.admin import create_topic
from harness.broker import Broker
from harness.groups import committed
from harness.report import expect, fresh, run_scenarios, scenarios, until

# kafkajs has no cooperative assignor and no static members.
DYNAMIC = (("java", "eager"), ("java", "cooperative"), ("confluent", "eager"), ("confluent", "cooperative"),
           ("go", "eager"), ("go", "cooperative"), ("node", "eager"))
STATIC = (("java", "static"), ("confluent", "static"), ("go", "static"))
PARTITIONS = 6
SECONDS = 60


class Feeder(threading.Thread):
    """Produces to every topic until it is stopped; counts what is acknowledged."""

    def __init__(self, broker, topics):
        super().__init__(daemon=True)
        self.topics = topics
        self.acked = {topic: [0] * PARTITIONS for topic in topics}
        self.errors = []
        self.ending = threading.Event()
        self.producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "linger.ms": 5,
                                  "message.timeout.ms": 120000, "reconnect.backoff.max.ms": 500})
        self.start()

    def run(self):
        number = 0
        while not self.ending.is_set():
            for topic in self.topics:
                self.producer.produce(topic, b"%d" % number, partition=number % PARTITIONS, on_delivery=self.delivered)
            number += 1
            self.producer.poll(0.05)
        if self.producer.flush(60):
            self.errors.append("not everything was acknowledged")

    def delivered(self, error, message):
        if error is not None:
            self.errors.append(str(error))
        else:
            ends = self.acked[message.topic()]
            ends[message.partition()] = max(ends[message.partition()], message.offset() + 1)

    def stop(self):
        self.ending.set()
        self.join()
        expect(self.errors[:3], [], "errors of the producer")


class Member(clients.Background):
    """A member, and what it has told."""

    def __init__(self, cast, instance="-"):
        self.cast = cast
        self.instance = instance
        self.owned = set()
        self.events = 0
        self.fresh = set()  # Partitions assigned of which nothing has come yet.
        super().__init__(cast.client, "member", cast.broker, cast.group, cast.assignor, instance, cast.topic)

    def heard(self, line):
        with self.cast.lock:
            event = line.get("event")
            if event == "assigned":
                self.owned |= set(line["partitions"])
                self.fresh |= set(line["partitions"])
                self.events += 1
            elif event == "revoked":
                self.owned -= set(line["partitions"])
                self.events += 1
            elif event == "committed":
                self.cast.committed(line["partition"], line["offset"])
            else:
                first = line["partition"] in self.fresh
                self.fresh.discard(line["partition"])
                self.cast.delivered(line["partition"], line["offset"], first)


class Cast:
    """One group: its members, and what all of them together were given."""

    def __init__(self, broker, kind):
        self.client, self.assignor = kind
        self.broker = broker
        self.topic = create_topic(broker, f"groups-{'-'.join(kind)}", PARTITIONS)
        self.group = fresh(f"groups-{'-'.join(kind)}")
        self.lock = threading.RLock()
        self.members = {}
        self.got = [set() for _ in range(PARTITIONS)]
        self.commits = [0] * PARTITIONS
        self.seen = [0] * PARTITIONS  # Committed offsets as an administrator sees them.
        self.wrong = []
        self.noticed = []
        self.failure = None

    def start(self, *names):
        for name in names:
            self.members[name] = Member(self, name if self.assignor == "static" else "-")

    def delivered(self, partition, offset, first):
        self.got[partition].add(offset)
        if first and offset < self.commits[partition]:
            self.wrong.append(f"partition {partition} restarts at {offset}, {self.commits[partition]} was committed")

    def committed(self, partition, offset):
        self.commits[partition] = max(self.commits[partition], offset)

    def settled(self):
        """Whether the partitions are shared out among the members, and everybody has some."""
        with self.lock:
            shares = [member.owned for member in self.members.values()]
            return all(shares) and sorted(one for share in shares for one in share) == list(range(PARTITIONS))

    def delivered_up_to(self, ends):
        with self.lock:
            return all(end - 1 in self.got[partition] for partition, end in enumerate(ends) if end)

    def look(self):
        """Compares the group's committed offsets with those of before and with the acknowledged commits."""
        with self.lock:
            acknowledged = list(self.commits)
        asked = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        offsets = [max(one.offset, 0) for one in committed(self.broker, self.group, asked)]
        for partition in range(PARTITIONS):
            offset = offsets[partition]
            if offset < self.seen[partition]:
                self.wrong.append(f"partition {partition} went back from {self.seen[partition]} to {offset}")
            if offset < acknowledged[partition]:
                self.wrong.append(f"partition {partition} is at {offset}, {acknowledged[partition]} was acknowledged")
            self.seen[partition] = offset


class Story:
    """What happens once, to all groups together; the scenarios look at parts of it."""

    def __init__(self):
        self.broker = Broker().start()
        address = self.broker.address
        self.casts = {kind: Cast(address, kind) for kind in (*DYNAMIC, *STATIC)}
        self.feeder = Feeder(address, [cast.topic for cast in self.casts.values()])

    def run(self):
        self.all("two members", lambda cast: cast.start("a", "b"))
        self.all("a third joins", lambda cast: cast.start("c"), DYNAMIC)
        self.all("the third crashes", lambda cast: cast.members.pop("c").kill(), DYNAMIC)
        self.all("one restarts", lambda cast: self.restart(cast, "a", Member.close), STATIC)
        self.all("one crashes and restarts", lambda cast: self.restart(cast, "b", Member.kill), STATIC)
        for end in (Broker.stop, Broker.kill):
            end(self.broker)
            self.broker.start()
            self.all(f"after a broker's {end.__name__}", lambda cast: None)
        self.all("one leaves", lambda cast: cast.members.pop("b").close(), DYNAMIC)
        self.feeder.stop()
        self.all("the end", lambda cast: None)

    def all(self, what, step, kinds=(*DYNAMIC, *STATIC)):
        """Does a step in every group, then waits until the groups have settled and gone on."""
        print(f"{time.monotonic():.1f} {what}", file=sys.stderr, flush=True)
        for kind in kinds:
            self.attempt(self.casts[kind], step)
        ends = {kind: list(self.feeder.acked[self.casts[kind].topic]) for kind in kinds}
        for kind in kinds:
            self.attempt(self.casts[kind], lambda cast, kind=kind: self.settle(what, cast, ends[kind]))

    def settle(self, what, cast, ends):
        until(f"{what}: all partitions are owned", cast.settled, SECONDS)
        until(f"{what}: {ends} delivered", lambda: cast.delivered_up_to(ends), SECONDS)
        cast.look()

    def attempt(self, cast, step):
        """A group that fails is judged by its own scenarios; the others go on."""
        try:
            if cast.failure is None:
                step(cast)
        except Exception as error:
            print(f"{cast.group}: {error!r}; owned {[member.owned for member in cast.members.values()]}", file=sys.stderr,
                  flush=True)
            cast.failure = error

    def restart(self, cast, name, end):
        others = [member for member in cast.members.values() if member is not cast.members[name]]
        before = [member.events for member in others]
        owned = set(cast.members[name].owned)
        end(cast.members.pop(name))
        cast.start(name)
        until(f"{name} has its partitions back", lambda: cast.members[name].owned == owned, SECONDS)
        after = [member.events for member in others]
        if after != before:
            cast.noticed.append(f"when {name} restarted the other member's events went from {before} to {after}")


STORY = []


def told(kind):
    if not STORY:
        STORY.append(Story())
        STORY[0].run()
    cast = STORY[0].casts[kind]
    if cast.failure is not None:
        raise cast.failure
    return STORY[0], cast


@scenarios("every-record-is-delivered", (*DYNAMIC, *STATIC))
def every_record(*kind):
    story, cast = told(kind)
    for partition, end in enumerate(story.feeder.acked[cast.topic]):
        expect(len(cast.got[partition]), end, f"partition {partition}: records")


@scenarios("committed-offsets-stay", (*DYNAMIC, *STATIC))
def committed_offsets(*kind):
    story, cast = told(kind)
    expect(cast.wrong, [], "offsets")
    until("commits up to the end", lambda: cast.commits == story.feeder.acked[cast.topic])
    cast.look()
    expect((cast.wrong, cast.seen), ([], cast.commits), "offsets at the end")


@scenarios("static-members-restart-unnoticed", STATIC)
def unnoticed(*kind):
    # What a broker's restart does to them is up to the client: franz-go joins anew when it cannot connect.
    _, cast = told(kind)
    expect(cast.noticed, [], "what was noticed")


if __name__ == "__main__":
    install.CACHE.mkdir(parents=True, exist_ok=True)
    try:
        run_scenarios()
    finally:
        for story in STORY:
            story.feeder.ending.set()
            for cast in story.casts.values():
                for member in cast.members.values():
                    member.kill()
            story.broker.remove()
