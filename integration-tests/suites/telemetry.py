"""Client telemetry (KIP-714): clients push their own metrics, and the broker shows them."""

import re
import subprocess
import urllib.request

from confluent_kafka import Producer

from harness.admin import create_topic
from harness.broker import Broker
from harness.report import expect, expect_in, run_scenarios, scenario, until
from harness.tools import CLASSES, JVM, run_tool

BROKER = Broker()


def page():
    with urllib.request.urlopen(f"http://127.0.0.1:{BROKER.admin_port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def series(client_id):
    """Names of what a client pushed, with the last line of each."""
    found = {}
    for line in page().splitlines():
        name, _, labels = line.partition("{")
        if name.startswith("kafka_client_") and f'client_id="{client_id}"' in labels:
            found[name] = line
    return found


def subscribe(metrics, *more):
    run_tool(BROKER.address, "kafka-configs", "--alter", "--entity-type", "client-metrics", "--entity-name", "it",
             "--add-config", ",".join([f"interval.ms=300,metrics=[{metrics}]", *more]))


@scenario
def librdkafka_pushes_what_a_subscription_asks_for():
    topic = create_topic(BROKER.address, "telemetry-librdkafka")
    one = Producer({"bootstrap.servers": BROKER.address, "client.id": "it-librdkafka", "enable.metrics.push": True})

    def pushed():
        one.produce(topic, b"x")
        one.flush(10)
        return series("it-librdkafka")

    found = until("metrics of librdkafka", pushed, 60)
    for name, line in found.items():
        expect_in("kafka_client_producer_", name)
        expect_in('client_software_name="confluent-kafka-python"', line)
    expect_in("kafka_client_producer_connection_creation_total", found)


@scenario
def the_java_client_pushes_by_default():
    topic = create_topic(BROKER.address, "telemetry-java")
    command = [*JVM, CLASSES["kafka-producer-perf-test"], "--topic", topic, "--num-records", "100000", "--record-size",
               "100", "--throughput", "1000", "--bootstrap-server", BROKER.address, "--command-property",
               "client.id=it-java"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = until("metrics of the Java client", lambda: series("it-java"), 60)
    finally:
        process.kill()
        process.wait()
    line = found["kafka_client_producer_connection_creation_total"]
    expect_in('client_software_name="apache-kafka-java"', line)
    expect(float(line.rsplit(" ", 1)[1]) >= 1, True, line)
    kinds = {line.split()[3] for line in page().splitlines() if line.startswith("# TYPE kafka_client_")}
    expect(kinds, {"counter", "gauge"})


@scenario
def a_client_that_does_not_match_pushes_nothing():
    subscribe("*", "match=[client_id=it-only.*]")
    topic = create_topic(BROKER.address, "telemetry-match")
    both = [Producer({"bootstrap.servers": BROKER.address, "client.id": name}) for name in ("it-only-this", "it-other")]

    def pushed():
        for one in both:
            one.produce(topic, b"x")
            one.flush(10)
        return series("it-only-this")

    until("metrics of the one that matches", pushed, 60)
    expect(series("it-other"), {})


@scenario
def subscriptions_are_listed_and_described():
    text = run_tool(BROKER.address, "kafka-client-metrics", "--describe", "--name", "it")
    expect(re.search(r"interval\.ms=300", text) is not None, True, text)
    expect_in("it", run_tool(BROKER.address, "kafka-client-metrics", "--list").split())


if __name__ == "__main__":
    if BROKER.kind == "kafka":
        print("SKIP all: Apache Kafka takes client metrics only with a plug-in")
    else:
        try:
            BROKER.start()
            subscribe("*")
            run_scenarios()
        finally:
            BROKER.stop()
            BROKER.remove()
