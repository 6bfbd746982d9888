// Scenarios of kafkajs: producer, consumer, admin client. Prints one verdict each.
const { kafka, until } = require('./kafka');

const broker = process.argv[2];
const client = kafka(broker);
const admin = client.admin();
const PAST = 1_000_000_000_000;
const fresh = (name) => `it-${process.env.INTEGRATION_RUN}-node-${name}`;

function expect(got, want) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`got ${a}, expected ${b}`);
}

async function topic(name, numPartitions = 1) {
  const full = fresh(name);
  const configEntries = [{ name: 'retention.ms', value: '-1' }];
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: full, numPartitions, configEntries }] });
  return full;
}

async function fill(name, count, options = {}) {
  const producer = client.producer(options);
  await producer.connect();
  const messages = numbers(0, count).map((n) => ({ value: String(n), partition: 0, timestamp: String(PAST + n * 1000) }));
  const sent = await producer.send({ topic: name, messages });
  await producer.disconnect();
  return sent;
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

// Consumes `count` records in a group; `start` may seek. Commits where it stopped when leaving.
async function consume(name, group, count, start = () => {}, options = {}) {
  const consumer = client.consumer({ groupId: group, maxWaitTimeInMs: 200, ...options });
  await consumer.connect();
  await consumer.subscribe({ topic: name, fromBeginning: true });
  const values = [];
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (values.length >= count) return;
      values.push(Number(message.value));
      if (values.length === count) {
        await consumer.commitOffsets([{ topic: name, partition, offset: String(Number(message.offset) + 1) }]);
      }
    },
  });
  start(consumer);
  await until(`${count} records`, () => values.length >= count);
  await consumer.disconnect();
  return values;
}

const scenarios = {
  'a-send-returns-the-first-offset': async () => {
    const name = await topic('send');
    expect((await fill(name, 5))[0].baseOffset, '0');
    expect((await fill(name, 5, { idempotent: true }))[0].baseOffset, '5');
  },
  'a-group-resumes-where-it-committed': async () => {
    const name = await topic('group');
    await fill(name, 30);
    const first = await consume(name, fresh('group'), 12);
    expect(first.concat(await consume(name, fresh('group'), 18)), numbers(0, 30));
    const kept = await admin.fetchOffsets({ groupId: fresh('group'), topics: [name] });
    expect(kept[0].partitions[0].offset, '30');
  },
  'seeking-to-an-offset': async () => {
    const name = await topic('seek');
    await fill(name, 20);
    const seek = (consumer) => consumer.seek({ topic: name, partition: 0, offset: '15' });
    expect(await consume(name, fresh('seek'), 5, seek), numbers(15, 20));
  },
  'a-slow-consumer-gets-everything': async () => {
    const name = await topic('slow');
    await fill(name, 1000);
    const small = { maxBytesPerPartition: 2000, maxBytes: 2000 };
    expect(await consume(name, fresh('slow'), 1000, () => {}, small), numbers(0, 1000));
  },
  'topics-are-created-described-and-deleted': async () => {
    const name = await topic('life', 3);
    expect((await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length, 3);
    expect(await admin.createTopics({ topics: [{ topic: name }] }), false);
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] });
    await until('5 partitions', async () => (await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length === 5);
    await admin.deleteTopics({ topics: [name] });
    await until('deletion', async () => !(await admin.listTopics()).includes(name));
  },
  'offsets-by-time-and-deleted-records': async () => {
    const name = await topic('offsets');
    await fill(name, 10);
    expect((await admin.fetchTopicOffsetsByTimestamp(name, PAST + 3500))[0].offset, '4');
    await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '6' }] });
    const [{ low, high }] = await admin.fetchTopicOffsets(name);
    expect([low, high], ['6', '10']);
  },
  'topic-configs': async () => {
    const name = await topic('configs');
    const described = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: 2, name, configNames: ['retention.ms'] }],
    });
    expect(described.resources[0].configEntries[0].configValue, '-1');
  },
  'groups-are-listed-described-and-deleted': async () => {
    const name = await topic('groups');
    const group = fresh('groups');
    await admin.setOffsets({ groupId: group, topic: name, partitions: [{ partition: 0, offset: '0' }] });
    expect((await admin.listGroups()).groups.some(({ groupId }) => groupId === group), true);
    expect((await admin.describeGroups([group])).groups[0].state, 'Empty');
    await admin.deleteGroups([group]);
    expect((await admin.listGroups()).groups.some(({ groupId }) => groupId === group), false);
  },
  'a-transaction-commits-and-aborts': async () => {
    const name = await topic('transaction');
    const producer = client.producer({ transactionalId: fresh('transaction'), maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    for (const value of ['1', '2']) {
      const transaction = await producer.transaction();
      await transaction.send({ topic: name, messages: [{ value }] });
      await (value === '1' ? transaction.abort() : transaction.commit());
    }
    await producer.disconnect();
    // kafkajs reads committed records only, unless told otherwise.
    expect(await consume(name, fresh('transaction'), 1), [2]);
  },
  'the-cluster-is-described': async () => {
    const cluster = await admin.describeCluster();
    expect([cluster.brokers.length > 0, typeof cluster.clusterId], [true, 'string']);
  },
};

async function main() {
  let failed = 0;
  await admin.connect();
  const notYet = (process.env.INTEGRATION_NOT_YET || '').split(',');
  for (const [name, run] of Object.entries(scenarios)) {
    if (notYet.includes(name)) {
      console.log(`SKIP ${name}: not there yet`);
      continue;
    }
    const started = Date.now();
    try {
      await run();
      console.log(`PASS ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.error(error);
      console.log(`FAIL ${name}: ${String(error).replace(/\n/g, ' ')}`);
    }
  }
  await admin.disconnect();
  process.exit(failed ? 1 : 0);
}

main();
