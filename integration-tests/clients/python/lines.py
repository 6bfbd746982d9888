"""The line protocol of the client programs (README.md): JSON objects, bytes in hexadecimal."""

import json
import sys
import threading

_lock = threading.Lock()


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def tohex(data):
    return None if data is None else bytes(data).hex()


def inputs():
    """The records to produce, one a line of stdin: (n, record)."""
    for n, line in enumerate(iter(sys.stdin.readline, "")):
        yield n, decode(line)


def decode(line):
    record = json.loads(line)
    record["key"], record["value"] = unhex(record["key"]), unhex(record["value"])
    record["headers"] = [(name, unhex(value)) for name, value in record.get("headers", [])]
    return record


def acked(n, partition, offset):
    emit({"n": n, "partition": partition, "offset": offset})


def failed(n, error):
    emit({"n": n, "error": str(error)})


def consumed(topic, partition, offset, timestamp, record):
    """Prints a consumed record; `record` is (key, value, headers)."""
    key, value, headers = record
    emit({
        "topic": topic, "partition": partition, "offset": offset, "timestamp": timestamp,
        "key": tohex(key), "value": tohex(value),
        "headers": [[name, tohex(value)] for name, value in headers or []],
    })


def emit(fields):
    text = json.dumps(fields) + "\n"
    with _lock:
        sys.stdout.write(text)
        sys.stdout.flush()
