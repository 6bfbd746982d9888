package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type event struct {
	Event      string  `json:"event"`
	Partitions []int32 `json:"partitions"`
}

type position struct {
	Event     string `json:"event,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// member is one member of a group until its input ends (README.md).
func member(broker, group, assignor, instance, topic string) {
	tell := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			emit(event{name, append([]int32{}, partitions[topic]...)})
		}
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(time.Second),
		// What was polled is shown and committed before partitions move.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(tell("assigned")), kgo.OnPartitionsRevoked(tell("revoked")),
		kgo.OnPartitionsLost(tell("revoked")),
	}
	if assignor == "cooperative" {
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	} else {
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()))
	}
	if instance == "-" {
		opts = append(opts, kgo.SessionTimeout(6*time.Second))
	} else {
		opts = append(opts, kgo.InstanceID(instance), kgo.SessionTimeout(45*time.Second))
	}
	client, err := kgo.NewClient(opts...)
	must(err)
	defer client.CloseAllowingRebalance()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 100)
		next := map[int32]int64{}
		fetches.EachRecord(func(r *kgo.Record) {
			emit(position{Partition: r.Partition, Offset: r.Offset})
			next[r.Partition] = r.Offset + 1
		})
		if len(next) > 0 {
			if err := client.CommitRecords(context.Background(), fetches.Records()...); err != nil {
				fmt.Fprintln(os.Stderr, "commit:", err)
			} else {
				for partition, offset := range next {
					emit(position{"committed", partition, offset})
				}
			}
		}
		client.AllowRebalance()
	}
}
