import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Produces three records and reads them back: org.apache.kafka:kafka-clients on the class path, HOST:PORT TOPIC. */
public final class Quickstart {
    public static void main(String[] args) {
        String broker = args.length > 0 ? args[0] : "localhost:9092";
        String topic = args.length > 1 ? args[1] : "quickstart";

        Map<String, Object> producing = Map.of("bootstrap.servers", broker);
        try (var producer = new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer())) {
            for (int n = 0; n < 3; n++) producer.send(new ProducerRecord<>(topic, "key-" + n, "hello " + n));
        }

        Map<String, Object> consuming = Map.of(
            "bootstrap.servers", broker, "group.id", topic + "-java", "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(consuming, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            int seen = 0;
            while (seen < 3) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(record.key() + ": " + record.value());
                    seen++;
                }
            }
        }
    }
}
