// Produces three records and reads them back: go run quickstart.go HOST:PORT TOPIC
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	broker, topic := "localhost:9092", "quickstart"
	if len(os.Args) > 2 {
		broker, topic = os.Args[1], os.Args[2]
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker),
		kgo.AllowAutoTopicCreation(),
		kgo.ConsumerGroup(topic+"-go"),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	for n := range 3 {
		record := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", n), Value: fmt.Appendf(nil, "hello %d", n)}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			log.Fatal(err)
		}
	}
	for seen := 0; seen < 3; {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			fmt.Printf("%s: %s\n", record.Key, record.Value)
			seen++
		})
	}
}
