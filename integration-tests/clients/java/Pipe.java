import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApplicationRecoverableException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Copies one topic to another, exactly once: pipe BROKER GROUP INPUT OUTPUT TRANSACTIONAL_ID, see README.md. */
public final class Pipe {
    private static final Random RANDOM = new Random();

    public static void main(String[] args) {
        String input = args[2];
        try (KafkaConsumer<String, String> consumer = consumer(args[0], args[1]);
                KafkaProducer<String, String> producer = producer(args[0], args[4])) {
            producer.initTransactions();
            consumer.subscribe(List.of(input));
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) continue;
                try {
                    copy(consumer, producer, records, args[3]);
                } catch (ApplicationRecoverableException | OutOfOrderSequenceException
                        | AuthorizationException fatal) {
                    throw fatal;
                } catch (KafkaException error) {
                    System.err.println("aborted: " + error);
                    producer.abortTransaction();
                    rewind(consumer);
                }
            }
        }
    }

    static void copy(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer,
            ConsumerRecords<String, String> records, String output) {
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            producer.send(new ProducerRecord<>(output, record.partition() + ":" + record.offset(), record.value()));
        }
        records.nextOffsets().forEach(offsets::put);
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        if (RANDOM.nextInt(10) == 0) {
            producer.abortTransaction();
            rewind(consumer);
        } else {
            producer.commitTransaction();
        }
    }

    /** Back to what the group committed, after a transaction that was not. */
    static void rewind(KafkaConsumer<String, String> consumer) {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata at = committed.get(partition);
            if (at == null) consumer.seekToBeginning(List.of(partition));
            else consumer.seek(partition, at.offset());
        }
    }

    static KafkaConsumer<String, String> consumer(String broker, String group) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        properties.put("group.id", group);
        properties.put("enable.auto.commit", false);
        properties.put("isolation.level", "read_committed");
        properties.put("auto.offset.reset", "earliest");
        properties.put("session.timeout.ms", 6000);
        properties.put("max.poll.interval.ms", 20000);
        properties.put("heartbeat.interval.ms", 500);
        properties.put("max.poll.records", 50);
        properties.put("reconnect.backoff.max.ms", 500);
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaProducer<String, String> producer(String broker, String id) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        properties.put("transactional.id", id);
        properties.put("transaction.timeout.ms", 8000);
        properties.put("reconnect.backoff.max.ms", 500);
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }
}
