import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The mode "member": one member of a group until its input ends, see README.md. */
final class Member implements ConsumerRebalanceListener {
    private static volatile boolean ending;

    static void run(String broker, String group, String assignor, String instance, String topic) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", false);
        properties.put("heartbeat.interval.ms", 1000);
        properties.put("session.timeout.ms", instance.equals("-") ? 6000 : 45000);
        properties.put("reconnect.backoff.max.ms", 500);
        properties.put("partition.assignment.strategy",
            (assignor.equals("cooperative") ? CooperativeStickyAssignor.class : RangeAssignor.class).getName());
        if (!instance.equals("-")) properties.put("group.instance.id", instance);
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            endWithInput(consumer);
            consumer.subscribe(List.of(topic), new Member());
            while (!ending) consume(consumer);
        }
    }

    private static void endWithInput(KafkaConsumer<byte[], byte[]> consumer) {
        Thread thread = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (IOException error) {
                System.err.println(error);
            }
            ending = true;
            consumer.wakeup();
        });
        thread.setDaemon(true);
        thread.start();
    }

    private static void consume(KafkaConsumer<byte[], byte[]> consumer) {
        try {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(500));
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : records) {
                Client.emit("{\"partition\":%d,\"offset\":%d}".formatted(record.partition(), record.offset()));
                next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            if (next.isEmpty()) return;
            consumer.commitSync(next);
            next.forEach((partition, at) -> Client.emit("{\"event\":\"committed\",\"partition\":%d,\"offset\":%d}"
                .formatted(partition.partition(), at.offset())));
        } catch (CommitFailedException | RebalanceInProgressException | TimeoutException error) {
            System.err.println("commit: " + error);
        } catch (WakeupException end) {
            System.err.println("ends");
        }
    }

    private static void event(String name, Collection<TopicPartition> partitions) {
        String numbers = partitions.stream().map(one -> String.valueOf(one.partition())).collect(Collectors.joining(","));
        Client.emit("{\"event\":\"%s\",\"partitions\":[%s]}".formatted(name, numbers));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        event("assigned", partitions);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        event("revoked", partitions);
    }
}
