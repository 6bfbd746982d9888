"""Client program around kcat: produce | read | group, see README.md.

kcat takes headers once per process and no timestamps, so every record is produced by its own process.
"""

import subprocess
import sys

import lines

KEY, END = "\x1e\x02", "\x1d\x01"  # delimiters that no test record contains


def produce(broker):
    for n, record in lines.inputs():
        command = ["kcat", "-P", "-b", broker, "-t", record["topic"], "-z", record.get("codec", "none"), "-D", END]
        acks = str(record.get("acks", "all"))
        command += ["-X", f"acks={acks}", "-X", f"enable.idempotence={'true' if acks == 'all' else 'false'}"]
        if record.get("partition") is not None:
            command += ["-p", str(record["partition"])]
        for name, value in record["headers"]:
            command += ["-H", name if value is None else f"{name}={value.decode()}"]
        data = b""
        if record["key"] is not None:
            command += ["-K", KEY]
            data = record["key"] + KEY.encode()
        if record["value"] is None:
            command += ["-Z"]
        data += (record["value"] or b"") + END.encode()
        done = subprocess.run(command, input=data, stderr=subprocess.PIPE)
        if done.returncode == 0:
            lines.acked(n, -1, -1)
        else:
            lines.failed(n, done.stderr.decode(errors="replace"))


def read(broker, topics):
    for topic in topics:
        consume(["-C", "-b", broker, "-t", topic, "-o", "beginning", "-e"])


def group(broker, name, count, topics):
    # -c N stops after N messages; leaving commits what was read.
    consume(["-b", broker, "-X", "auto.offset.reset=earliest", "-c", str(count), "-G", name, *topics])


def consume(arguments):
    layout = "%t %p %o %T %K %S %h\n%k%s\n"
    with subprocess.Popen(["kcat", "-q", "-u", "-X", "fetch.wait.max.ms=20", "-f", layout, *arguments], stdout=subprocess.PIPE) as process:
        out = process.stdout
        while head := out.readline():
            topic, partition, offset, timestamp, key, value, headers = head[:-1].split(b" ", 6)
            key, value = take(out, int(key)), take(out, int(value))
            out.read(1)
            lines.consumed(topic.decode(), int(partition), int(offset), int(timestamp),
                           (key, value, parse_headers(headers.decode())))
    if process.returncode != 0:
        raise SystemExit(f"kcat ended with {process.returncode}")


def take(stream, length):
    return None if length < 0 else stream.read(length)


def parse_headers(text):
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair]
    return [(name, None if value == "NULL" else value.encode()) for name, value in pairs]


if __name__ == "__main__":
    mode, broker, *rest = sys.argv[1:]
    if mode == "produce":
        produce(broker)
    elif mode == "read":
        read(broker, rest)
    else:
        group(broker, rest[0], int(rest[1]), rest[2:])
