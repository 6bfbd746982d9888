// Produces three records and reads them back: npm install kafkajs, then node quickstart.js HOST:PORT TOPIC
const { Kafka, logLevel } = require('kafkajs');

const [broker = 'localhost:9092', topic = 'quickstart'] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR });

async function main() {
  const producer = kafka.producer();
  await producer.connect();
  const messages = [0, 1, 2].map((n) => ({ key: `key-${n}`, value: `hello ${n}` }));
  await producer.send({ topic, messages });
  await producer.disconnect();

  const consumer = kafka.consumer({ groupId: `${topic}-node` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let seen = 0;
  await new Promise((done) => {
    consumer.run({
      eachMessage: async ({ message }) => {
        console.log(`${message.key}: ${message.value}`);
        seen += 1;
        if (seen === 3) done();
      },
    });
  });
  await consumer.disconnect();
}

main();
