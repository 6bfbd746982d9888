package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pipe copies one topic to another, exactly once: pipe BROKER GROUP INPUT OUTPUT TRANSACTIONAL_ID (README.md).
func pipe(broker, group, input, output, id string) {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(broker),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(8*time.Second),
		kgo.ConsumerGroup(group),
		// What the other clients of the group have by default, too.
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.ConsumeTopics(input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.DefaultProduceTopic(output),
	)
	must(err)
	ctx := context.Background()
	for {
		fetches := session.PollRecords(ctx, 50)
		fetches.EachError(func(topic string, partition int32, err error) {
			fmt.Fprintf(os.Stderr, "fetch of %s-%d: %v\n", topic, partition, err)
		})
		if fetches.NumRecords() == 0 {
			continue
		}
		must(session.Begin())
		promise := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(record *kgo.Record) {
			key := fmt.Sprintf("%d:%d", record.Partition, record.Offset)
			copied := &kgo.Record{Key: []byte(key), Value: record.Value}
			session.Produce(ctx, copied, promise.Promise())
		})
		failed := promise.Err()
		if failed != nil {
			fmt.Fprintln(os.Stderr, "aborted:", failed)
		}
		commit := failed == nil && rand.Intn(10) != 0
		if _, err := session.End(ctx, kgo.TransactionEndTry(commit)); err != nil {
			fmt.Fprintln(os.Stderr, "end:", err)
			os.Exit(1)
		}
	}
}
