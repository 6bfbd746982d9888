// A kafkajs client with every codec, and polling with a deadline.
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
const SnappyCodec = require('kafkajs-snappy');
const lz4 = require('lz4-napi');
const { ZstdCodec } = require('zstd-codec');

// Streaming, because a frame need not say how large its content is.
const zstd = new Promise((resolve) => ZstdCodec.run((api) => resolve(new api.Streaming())));

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
});

function kafka(broker) {
  return new Kafka({
    clientId: 'integration',
    brokers: [broker],
    logLevel: logLevel.ERROR,
    logCreator: () => ({ log }) => console.error(JSON.stringify(log)),
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 20 },
  });
}

async function until(what, condition, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

module.exports = { kafka, until };
