import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Scanner;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Client program on kafka-clients: produce | read | group | member, see README.md. */
public final class Client {
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        String broker = args[1];
        switch (args[0]) {
            case "produce" -> produce(broker);
            case "read" -> read(broker, List.of(args).subList(2, args.length));
            case "member" -> Member.run(broker, args[2], args[3], args[4], args[5]);
            default -> group(broker, args[2], Integer.parseInt(args[3]), List.of(args).subList(4, args.length));
        }
    }

    static void produce(String broker) {
        Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
        Scanner in = new Scanner(System.in);
        for (long n = 0; in.hasNextLine(); n++) {
            Map<String, Object> line = Json.object(in.nextLine());
            String codec = (String) line.getOrDefault("codec", "none");
            String acks = String.valueOf(line.getOrDefault("acks", "all"));
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                (String) line.get("topic"), number(line.get("partition")), time(line.get("timestamp")),
                unhex(line.get("key")), unhex(line.get("value")));
            for (Object header : (List<?>) line.getOrDefault("headers", List.of())) {
                List<?> pair = (List<?>) header;
                record.headers().add((String) pair.get(0), unhex(pair.get(1)));
            }
            long id = n;
            producers.computeIfAbsent(codec + acks, kind -> producer(broker, codec, acks)).send(record, (at, error) -> {
                if (error == null) emit("{\"n\":%d,\"partition\":%d,\"offset\":%d}".formatted(id, at.partition(), at.offset()));
                else emit("{\"n\":%d,\"error\":%s}".formatted(id, Json.quote(error.toString())));
            });
        }
        producers.values().forEach(KafkaProducer::close);
    }

    static KafkaProducer<byte[], byte[]> producer(String broker, String codec, String acks) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        properties.put("compression.type", codec);
        properties.put("acks", acks);
        properties.put("enable.idempotence", acks.equals("all"));
        properties.put("max.request.size", 2 << 20);
        properties.put("reconnect.backoff.max.ms", 500);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void read(String broker, List<String> topics) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(broker, null)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : topics) {
                for (PartitionInfo info : consumer.partitionsFor(topic)) {
                    partitions.add(new TopicPartition(topic, info.partition()));
                }
            }
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                if (System.nanoTime() > deadline) throw new IllegalStateException("not read within 60 s: " + ends);
                consumer.poll(Duration.ofMillis(500)).forEach(Client::show);
            }
        }
    }

    static void group(String broker, String group, int count, List<String> topics) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(broker, group)) {
            consumer.subscribe(topics);
            int left = count;
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    if (left == 0) break;
                    show(record);
                    left--;
                    if (left % 20 == 0) commit(consumer, record);
                }
            }
        }
    }

    /** Commits what was shown: poll may have returned more than that. A rebalance in between is no end. */
    static void commit(KafkaConsumer<byte[], byte[]> consumer, ConsumerRecord<byte[], byte[]> record) {
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        try {
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(record.offset() + 1)), Duration.ofSeconds(60));
        } catch (CommitFailedException | RebalanceInProgressException error) {
            System.err.println("commit: " + error);
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(String broker, String group) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        if (group != null) properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", false);
        properties.put("reconnect.backoff.max.ms", 500);
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void show(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder headers = new StringBuilder();
        for (Header header : record.headers()) {
            headers.append(headers.isEmpty() ? "" : ",")
                .append("[%s,%s]".formatted(Json.quote(header.key()), tohex(header.value())));
        }
        emit("{\"topic\":%s,\"partition\":%d,\"offset\":%d,\"timestamp\":%d,\"key\":%s,\"value\":%s,\"headers\":[%s]}".formatted(
            Json.quote(record.topic()), record.partition(), record.offset(), record.timestamp(),
            tohex(record.key()), tohex(record.value()), headers));
    }

    static synchronized void emit(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static String tohex(byte[] bytes) {
        return bytes == null ? "null" : '"' + HEX.formatHex(bytes) + '"';
    }

    static byte[] unhex(Object text) {
        return text == null ? null : HEX.parseHex((String) text);
    }

    static Integer number(Object value) {
        return value == null ? null : ((Long) value).intValue();
    }

    static Long time(Object value) {
        return (Long) value;
    }
}
