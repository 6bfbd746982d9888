// Client program on kafkajs: produce | read | group | member, see README.md.
const readline = require('readline');
const { kafka, until } = require('./kafka');

const unhex = (text) => (text === null || text === undefined ? null : Buffer.from(text, 'hex'));
const tohex = (data) => (data === null || data === undefined ? null : Buffer.from(data).toString('hex'));
const emit = (fields) => process.stdout.write(JSON.stringify(fields) + '\n');

async function produce(broker) {
  const client = kafka(broker);
  const producers = new Map();
  let queue = [];
  let running = Promise.resolve();
  const flush = () => {
    // One batch at a time, in order: kafkajs keeps no order between parallel sends.
    running = running.then(async () => {
      const batch = queue;
      queue = [];
      for (const records of groups(batch)) await send(client, producers, records);
    });
  };
  let n = 0;
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    queue.push({ n: n++, ...JSON.parse(line) });
    flush();
  }
  await running;
  for (const producer of producers.values()) await producer.disconnect();
}

// Neighbours that go out in one call: same topic, codec and acks.
function groups(batch) {
  const all = [];
  for (const record of batch) {
    const id = [record.topic, record.codec, record.acks].join();
    if (all.length && all[all.length - 1].id === id) all[all.length - 1].records.push(record);
    else all.push({ id, records: [record] });
  }
  return all.map((group) => group.records);
}

async function send(client, producers, records) {
  const { CompressionTypes } = require('kafkajs');
  const { topic, codec = 'none', acks = 'all' } = records[0];
  const numeric = acks === 'all' ? -1 : Number(acks);
  try {
    if (!producers.has(numeric)) {
      const producer = client.producer({ idempotent: numeric === -1, maxInFlightRequests: 1, retry: { retries: 60 } });
      await producer.connect();
      producers.set(numeric, producer);
    }
    const messages = records.map((record) => ({
      key: unhex(record.key),
      value: unhex(record.value),
      headers: headers(record.headers || []),
      partition: record.partition,
      timestamp: record.timestamp === undefined || record.timestamp === null ? undefined : String(record.timestamp),
    }));
    const compression = CompressionTypes[codec === 'none' ? 'None' : codec.toUpperCase()];
    await producers.get(numeric).send({ topic, acks: numeric, compression, messages });
    for (const record of records) emit({ n: record.n, partition: -1, offset: -1 });
  } catch (error) {
    for (const record of records) emit({ n: record.n, error: String(error) });
  }
}

// kafkajs writes a repeated header name from a list of values.
function headers(pairs) {
  const result = {};
  for (const [name, value] of pairs) {
    const bytes = value === null ? null : unhex(value);
    if (name in result) result[name] = [].concat(result[name], bytes);
    else result[name] = bytes;
  }
  return result;
}

function show(topic, partition, message) {
  const pairs = [];
  for (const [name, value] of Object.entries(message.headers || {})) {
    for (const one of Array.isArray(value) ? value : [value]) pairs.push([name, tohex(one)]);
  }
  emit({
    topic, partition, offset: Number(message.offset), timestamp: Number(message.timestamp),
    key: tohex(message.key), value: tohex(message.value), headers: pairs,
  });
}

// kafkajs has no consumer without a group: one of its own, that commits nothing.
async function read(broker, topics) {
  const client = kafka(broker);
  const admin = client.admin();
  await admin.connect();
  const ends = new Map();
  for (const topic of topics) {
    for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
      if (Number(high) > Number(low)) ends.set(`${topic}/${partition}`, Number(high));
    }
  }
  await admin.disconnect();
  const consumer = client.consumer({ groupId: `read-${process.pid}-${topics[0]}`, maxBytesPerPartition: 4 << 20, maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      show(topic, partition, message);
      const id = `${topic}/${partition}`;
      if (Number(message.offset) + 1 >= ends.get(id)) ends.delete(id);
    },
  });
  await until('the end of every partition', () => ends.size === 0);
  await consumer.disconnect();
}

async function group(broker, name, count, topics) {
  const consumer = kafka(broker).consumer({ groupId: name, maxWaitTimeInMs: 200, retry: { retries: 60 } });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  let left = count;
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      if (left === 0) return;
      show(topic, partition, message);
      left -= 1;
      if (left % 20 === 0) {
        await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }]);
      }
    },
  });
  await until('all records', () => left === 0, 240);
  await consumer.disconnect();
}

// One member of a group until the input ends. kafkajs knows eager assignors and dynamic members alone.
async function member(broker, name, topic) {
  const consumer = kafka(broker).consumer({
    groupId: name, sessionTimeout: 6000, heartbeatInterval: 1000, maxWaitTimeInMs: 200, retry: { retries: 60 },
  });
  let owned = [];
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    if (owned.length) emit({ event: 'revoked', partitions: owned });
    owned = payload.memberAssignment[topic] || [];
    emit({ event: 'assigned', partitions: owned });
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch: { partition, messages } }) => {
      for (const message of messages) emit({ partition, offset: Number(message.offset) });
      const next = Number(messages[messages.length - 1].offset) + 1;
      await consumer.commitOffsets([{ topic, partition, offset: String(next) }]);
      emit({ event: 'committed', partition, offset: next });
    },
  });
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.on('end', resolve));
  await consumer.disconnect();
}

const [mode, broker, ...rest] = process.argv.slice(2);
const modes = {
  produce: () => produce(broker),
  read: () => read(broker, rest),
  group: () => group(broker, rest[0], Number(rest[1]), rest.slice(2)),
  member: () => member(broker, rest[0], rest[3]),
};
modes[mode]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
