import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Scenarios of the Java producer, consumer and Admin client; prints one verdict each. */
public final class JavaSuite {
    private static final long PAST = 1_000_000_000_000L;

    private final String broker;
    private final Admin admin;
    private int failed;

    interface Scenario {
        void run() throws Exception;
    }

    JavaSuite(String broker) {
        this.broker = broker;
        this.admin = Admin.create(properties(Map.of()));
    }

    public static void main(String[] args) {
        JavaSuite suite = new JavaSuite(args[0]);
        suite.run();
        suite.admin.close();
        System.exit(suite.failed == 0 ? 0 : 1);
    }

    void run() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("sends-return-offsets-in-order", this::sendsReturnOffsets);
        all.put("a-record-too-large-is-refused", this::tooLarge);
        all.put("assigned-consumer-seeks-and-reads", this::seeks);
        all.put("offsets-for-times", this::offsetsForTimes);
        all.put("out-of-range-without-reset-is-an-error", this::outOfRange);
        all.put("a-slow-consumer-gets-everything", this::slowConsumer);
        all.put("a-group-resumes-where-it-committed", this::groupResumes);
        all.put("partitions-move-to-a-second-member-and-back", this::rebalance);
        all.put("the-consumer-protocol-consumes-too", this::newProtocol);
        all.put("topics-are-created-described-listed-deleted", this::topicLife);
        all.put("validate-only-creates-nothing", this::validateOnly);
        all.put("a-missing-topic-is-unknown", this::missingTopic);
        all.put("producing-creates-a-topic", this::autoCreation);
        all.put("partitions-are-added", this::addPartitions);
        all.put("topic-configs-change-incrementally", this::topicConfigs);
        all.put("broker-configs-are-described", this::brokerConfigs);
        all.put("list-offsets-by-every-specification", this::listOffsets);
        all.put("records-are-deleted", this::deleteRecords);
        all.put("log-directories-are-described", this::logDirs);
        all.put("active-producers-are-described", this::producers);
        all.put("the-cluster-is-described", this::cluster);
        all.put("groups-are-listed-described-deleted", this::groups);
        all.put("group-offsets-are-altered-and-deleted", this::groupOffsets);
        all.put("a-transaction-commits-and-aborts", this::transactions);
        all.forEach(this::judge);
    }

    void judge(String name, Scenario scenario) {
        if (List.of(System.getenv().getOrDefault("INTEGRATION_NOT_YET", "").split(",")).contains(name)) {
            System.out.printf("SKIP %s: not there yet%n", name);
            return;
        }
        long started = System.nanoTime();
        try {
            scenario.run();
            System.out.printf("PASS %s (%.1f s)%n", name, (System.nanoTime() - started) / 1e9);
        } catch (Exception | AssertionError error) {
            failed++;
            error.printStackTrace();
            System.out.printf("FAIL %s: %s%n", name, error.toString().replace('\n', ' '));
        }
        System.out.flush();
    }

    // Producer and consumer.

    void sendsReturnOffsets() throws Exception {
        String topic = topic("sends", 1);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", codec))) {
                long first = producer.send(new ProducerRecord<>(topic, codec)).get().offset();
                List<RecordMetadata> sent = new ArrayList<>();
                for (int n = 0; n < 50; n++) sent.add(producer.send(new ProducerRecord<>(topic, codec + n)).get());
                for (int n = 0; n < 50; n++) expect(sent.get(n).offset(), first + 1 + n);
            }
        }
        expect(consume(topic, 5 * 51).size(), 5 * 51);
    }

    void tooLarge() throws Exception {
        String topic = topic("large", 1);
        try (KafkaProducer<String, String> producer = producer(Map.of("max.request.size", 8 << 20))) {
            String large = "x".repeat(2 << 20);
            expectError(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, large)).get());
            producer.send(new ProducerRecord<>(topic, "x".repeat(900 << 10))).get();
        }
        expect(consume(topic, 1).get(0).value().length(), 900 << 10);
    }

    void seeks() throws Exception {
        String topic = topic("seek", 2);
        TopicPartition first = new TopicPartition(topic, 0);
        fill(topic, 100);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of())) {
            consumer.assign(List.of(first));
            consumer.seek(first, 40);
            expect(next(consumer, 1).get(0).value(), "40");
            consumer.seekToBeginning(List.of(first));
            expect(next(consumer, 1).get(0).value(), "0");
            consumer.seekToEnd(List.of(first));
            expect(consumer.position(first), 100L);
            consumer.pause(List.of(first));
            consumer.seek(first, 0);
            expect(consumer.poll(Duration.ofMillis(100)).count(), 0);
            consumer.resume(List.of(first));
            expect(next(consumer, 100).size(), 100);
            expect(consumer.beginningOffsets(List.of(first)).get(first), 0L);
            expect(consumer.endOffsets(List.of(first)).get(first), 100L);
        }
    }

    void offsetsForTimes() throws Exception {
        String topic = topic("times", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 10);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of())) {
            expect(consumer.offsetsForTimes(Map.of(partition, PAST + 2500)).get(partition).offset(), 3L);
            expect(consumer.offsetsForTimes(Map.of(partition, PAST + 2000)).get(partition).timestamp(), PAST + 2000);
            expect(consumer.offsetsForTimes(Map.of(partition, PAST + 999_000_000L)).get(partition), null);
        }
    }

    void outOfRange() throws Exception {
        String topic = topic("range", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 3);
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("auto.offset.reset", "none"))) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1000);
            expectError(OffsetOutOfRangeException.class, () -> next(consumer, 1));
        }
    }

    void slowConsumer() throws Exception {
        String topic = topic("slow", 1);
        fill(topic, 2000);
        Map<String, Object> slow = Map.of("max.poll.records", 100, "fetch.max.bytes", 4096, "max.partition.fetch.bytes", 4096);
        try (KafkaConsumer<String, String> consumer = consumer(slow)) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seekToBeginning(List.of());
            List<ConsumerRecord<String, String>> all = next(consumer, 2000);
            for (int n = 0; n < 2000; n++) expect(all.get(n).offset(), (long) n);
        }
    }

    // Groups.

    void groupResumes() throws Exception {
        String topic = topic("group", 1);
        fill(topic, 30);
        Map<String, Object> group = Map.of("group.id", fresh("g"), "max.poll.records", 10);
        try (KafkaConsumer<String, String> consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            expect(next(consumer, 10).get(9).value(), "9");
            consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7, "seven")));
        }
        try (KafkaConsumer<String, String> consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            expect(next(consumer, 10).get(0).value(), "7");
            OffsetAndMetadata kept = consumer.committed(Set.of(new TopicPartition(topic, 0))).get(new TopicPartition(topic, 0));
            expect(kept.offset() + kept.metadata(), "7seven");
        }
    }

    void rebalance() throws Exception {
        String topic = topic("rebalance", 4);
        Map<String, Object> group = Map.of("group.id", fresh("rebalance"));
        try (KafkaConsumer<String, String> first = consumer(group)) {
            first.subscribe(List.of(topic));
            until("4 partitions alone", () -> polled(first) == 4);
            try (KafkaConsumer<String, String> second = consumer(group)) {
                second.subscribe(List.of(topic));
                until("2 partitions each", () -> polled(first) == 2 & polled(second) == 2);
            }
            until("4 partitions again", () -> polled(first) == 4);
        }
    }

    static int polled(KafkaConsumer<?, ?> consumer) {
        consumer.poll(Duration.ofMillis(50));
        return consumer.assignment().size();
    }

    void newProtocol() throws Exception {
        String topic = topic("protocol", 2);
        fill(topic, 20);
        Map<String, Object> group = Map.of("group.id", fresh("protocol"), "group.protocol", "consumer");
        try (KafkaConsumer<String, String> consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            expect(next(consumer, 20).size(), 20);
            consumer.commitSync();
        }
        try (KafkaConsumer<String, String> consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            fill(topic, 1);
            expect(next(consumer, 1).get(0).offset(), 20L);
        }
    }

    // Topics.

    void topicLife() throws Exception {
        String topic = topic("life", 3);
        expect(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 3);
        expect(admin.listTopics().names().get().contains(topic), true);
        expectError(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
        admin.deleteTopics(List.of(topic)).all().get();
        until("deletion", () -> !admin.listTopics().names().get().contains(topic));
    }

    void validateOnly() throws Exception {
        String topic = fresh("validate");
        var options = new org.apache.kafka.clients.admin.CreateTopicsOptions().validateOnly(true);
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1)), options).all().get();
        expect(admin.listTopics().names().get().contains(topic), false);
    }

    void missingTopic() throws Exception {
        String topic = fresh("missing");
        expectError(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(topic)).allTopicNames().get());
        expectError(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
    }

    void autoCreation() throws Exception {
        String topic = fresh("auto");
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            expect(producer.send(new ProducerRecord<>(topic, "x")).get().offset(), 0L);
        }
    }

    void addPartitions() throws Exception {
        String topic = topic("wider", 1);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        until("3 partitions", () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3);
    }

    void topicConfigs() throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, topic("config", 1));
        alter(topic, new ConfigEntry("retention.ms", "123456"), AlterConfigOp.OpType.SET);
        alter(topic, new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND);
        until("both values", () -> config(topic, "retention.ms").equals("123456")
            && Set.of(config(topic, "cleanup.policy").split(",")).equals(Set.of("delete", "compact")));
        alter(topic, new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE);
        until("the default", () -> config(topic, "retention.ms").equals("604800000"));
    }

    void alter(ConfigResource resource, ConfigEntry entry, AlterConfigOp.OpType type) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(entry, type)))).all().get();
    }

    String config(ConfigResource resource, String name) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
    }

    void brokerConfigs() throws Exception {
        String id = admin.describeCluster().nodes().get().iterator().next().idString();
        var config = admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.BROKER, id))).all().get();
        ConfigEntry entry = config.values().iterator().next().get("log.dirs");
        expect(entry.isReadOnly(), true);
    }

    // Offsets and records.

    void listOffsets() throws Exception {
        String topic = topic("list", 1);
        fill(topic, 10);
        expect(offset(topic, OffsetSpec.earliest()), 0L);
        expect(offset(topic, OffsetSpec.latest()), 10L);
        expect(offset(topic, OffsetSpec.maxTimestamp()), 9L);
        expect(offset(topic, OffsetSpec.forTimestamp(PAST + 4001)), 5L);
        expect(offset(topic, OffsetSpec.earliestLocal()), 0L);
        expect(offset(topic, OffsetSpec.latestTiered()), -1L);
    }

    long offset(String topic, OffsetSpec spec) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    void deleteRecords() throws Exception {
        String topic = topic("cut", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 10);
        var cut = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(6)));
        expect(cut.lowWatermarks().get(partition).get().lowWatermark(), 6L);
        expect(consume(topic, 4).get(0).value(), "6");
        expect(offset(topic, OffsetSpec.earliest()), 6L);
    }

    void logDirs() throws Exception {
        String topic = topic("dirs", 2);
        fill(topic, 10);
        int id = admin.describeCluster().nodes().get().iterator().next().id();
        var dirs = admin.describeLogDirs(List.of(id)).allDescriptions().get().get(id);
        long size = dirs.values().stream().flatMap(dir -> dir.replicaInfos().entrySet().stream())
            .filter(replica -> replica.getKey().topic().equals(topic)).mapToLong(replica -> replica.getValue().size()).sum();
        expect(size > 100, true);
    }

    void producers() throws Exception {
        String topic = topic("producers", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 3);
        var states = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        expect(states.size(), 1);
        expect(states.get(0).lastSequence(), 2);
    }

    void cluster() throws Exception {
        var cluster = admin.describeCluster();
        expect(cluster.nodes().get().isEmpty(), false);
        expect(cluster.clusterId().get().isEmpty(), false);
        expect(cluster.controller().get() != null, true);
    }

    // Groups through the Admin client.

    void groups() throws Exception {
        String topic = topic("groups", 2);
        String group = fresh("listed");
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group, "client.id", "me"))) {
            consumer.subscribe(List.of(topic));
            until("an assignment", () -> polled(consumer) == 2);
            var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            expect(described.groupState().toString(), "Stable");
            expect(described.members().iterator().next().clientId(), "me");
            expect(described.members().iterator().next().assignment().topicPartitions().size(), 2);
            consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(5)));
        }
        expect(admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group)), true);
        until("an empty group", () -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().isEmpty());
        admin.deleteConsumerGroups(List.of(group)).all().get();
        expect(admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group)), false);
    }

    void groupOffsets() throws Exception {
        String topic = topic("committed", 2);
        String group = fresh("committed");
        TopicPartition first = new TopicPartition(topic, 0), second = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(3), second, new OffsetAndMetadata(4))).all().get();
        var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        expect(offsets.get(first).offset() + offsets.get(second).offset(), 7L);
        admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
        expect(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet(), Set.of(second));
    }

    void transactions() throws Exception {
        String topic = topic("transactions", 1);
        try (KafkaProducer<String, String> producer = producer(Map.of("transactional.id", fresh("tx")))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "aborted"));
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "committed"));
            producer.commitTransaction();
        }
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seekToBeginning(List.of());
            expect(next(consumer, 1).get(0).value(), "committed");
        }
        expect(consume(topic, 2).get(0).value(), "aborted");
    }

    // What the scenarios share.

    Properties properties(Map<String, Object> more) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        properties.putAll(more);
        return properties;
    }

    KafkaProducer<String, String> producer(Map<String, Object> more) {
        return new KafkaProducer<>(properties(more), new StringSerializer(), new StringSerializer());
    }

    KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> all = new HashMap<>(Map.of("auto.offset.reset", "earliest", "enable.auto.commit", false));
        all.putAll(more);
        return new KafkaConsumer<>(properties(all), new StringDeserializer(), new StringDeserializer());
    }

    static String fresh(String name) {
        return "it-" + System.getenv("INTEGRATION_RUN") + "-java-" + name;
    }

    String topic(String name, int partitions) throws Exception {
        String topic = fresh(name);
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(Map.of("retention.ms", "-1")))).all().get(30, TimeUnit.SECONDS);
        until("metadata of " + topic, () -> {
            try {
                return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().stream()
                    .allMatch(partition -> partition.leader() != null && !partition.leader().isEmpty());
            } catch (ExecutionException notYet) {
                return false;
            }
        });
        return topic;
    }

    /** Sends "0", "1", ... to partition 0, a second apart from 2001 on. */
    void fill(String topic, int count) {
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int n = 0; n < count; n++) producer.send(new ProducerRecord<>(topic, 0, PAST + n * 1000L, null, "" + n));
        }
    }

    List<ConsumerRecord<String, String>> consume(String topic, int count) throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seekToBeginning(List.of());
            return next(consumer, count);
        }
    }

    static List<ConsumerRecord<String, String>> next(KafkaConsumer<String, String> consumer, int count) throws Exception {
        List<ConsumerRecord<String, String>> all = new ArrayList<>();
        until(count + " records", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(all::add);
            return all.size() >= count;
        });
        return all;
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (!condition.call()) {
            if (System.nanoTime() > deadline) throw new AssertionError(what + ": not within 30 s");
            Thread.sleep(10);
        }
    }

    static void expect(Object got, Object want) {
        if (got == null ? want != null : !got.equals(want)) throw new AssertionError("got " + got + ", expected " + want);
    }

    static void expectError(Class<? extends Exception> type, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            if (type.isInstance(cause)) return;
            throw error;
        }
        throw new AssertionError("no " + type.getSimpleName());
    }
}
