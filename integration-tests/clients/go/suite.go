package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// scenarios of franz-go (kgo and kadm) that the exchange between clients does not cover.
type scenario struct {
	name string
	run  func(ctx context.Context, t *target) error
}

// target is the broker under test, with a client and an admin client on it.
type target struct {
	broker string
	run    string
	client *kgo.Client
	admin  *kadm.Client
}

func (t *target) fresh(name string) string { return "it-" + t.run + "-go-" + name }

func (t *target) topic(ctx context.Context, name string, partitions int32) (string, error) {
	topic := t.fresh(name)
	forever := "-1" // The records are dated 2001.
	created, err := t.admin.CreateTopic(ctx, partitions, 1, map[string]*string{"retention.ms": &forever}, topic)
	if err == nil {
		err = created.Err
	}
	return topic, err
}

// records that went out with acks=all, value "0", "1", ...
func (t *target) fill(ctx context.Context, topic string, count int) error {
	var records []*kgo.Record
	for n := range count {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(fmt.Sprint(n)), Timestamp: time.UnixMilli(int64(1e12 + n*1000))})
	}
	return t.client.ProduceSync(ctx, records...).FirstErr()
}

func (t *target) consume(ctx context.Context, count int, opts ...kgo.Opt) (*kgo.Client, []string, error) {
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(t.broker))...)
	if err != nil {
		return nil, nil, err
	}
	var values []string
	for len(values) < count {
		fetches := client.PollRecords(ctx, count-len(values))
		if err := fetches.Err(); err != nil {
			client.Close()
			return nil, values, err
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return client, values, nil
}

// until polls: a broker may answer a change before its own metadata shows it.
func until(ctx context.Context, what string, condition func() (bool, error)) error {
	for {
		done, err := condition()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time, last error %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *target) partitions(ctx context.Context, topic string, want int) error {
	return until(ctx, fmt.Sprint(want, " partitions"), func() (bool, error) {
		details, err := t.admin.ListTopics(ctx, topic)
		return err == nil && details[topic].Err == nil && len(details[topic].Partitions) == want, err
	})
}

func expect(got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("got %v, expected %v", got, want)
	}
	return nil
}

func suite(broker string) int {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	must(err)
	defer client.Close()
	t := &target{broker: broker, run: os.Getenv("INTEGRATION_RUN"), client: client, admin: kadm.NewClient(client)}
	failed := 0
	for _, s := range scenarios {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		started := time.Now()
		if err := s.run(ctx, t); err != nil {
			failed = 1
			fmt.Printf("FAIL %s: %s\n", s.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("PASS %s (%.1f s)\n", s.name, time.Since(started).Seconds())
		}
		cancel()
	}
	return failed
}

var scenarios = []scenario{
	{"topics-are-created-described-and-deleted", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "life", 4)
		if err != nil {
			return err
		}
		if err := t.partitions(ctx, topic, 4); err != nil {
			return err
		}
		_, err = t.admin.CreateTopic(ctx, 4, 1, nil, topic)
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating it again: %v", err)
		}
		deleted, err := t.admin.DeleteTopics(ctx, topic)
		if err != nil {
			return err
		}
		if err := deleted[topic].Err; err != nil {
			return err
		}
		return until(ctx, "deletion", func() (bool, error) {
			details, err := t.admin.ListTopics(ctx, topic)
			return err == nil && errors.Is(details[topic].Err, kerr.UnknownTopicOrPartition), err
		})
	}},
	{"partitions-are-added", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "wider", 1)
		if err != nil {
			return err
		}
		if err := t.partitions(ctx, topic, 1); err != nil {
			return err
		}
		answer, err := t.admin.CreatePartitions(ctx, 2, topic)
		if err == nil {
			err = answer[topic].Err
		}
		if err != nil {
			return err
		}
		return t.partitions(ctx, topic, 3)
	}},
	{"topic-configs-are-altered-and-described", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "config", 1)
		if err != nil {
			return err
		}
		value := "123456"
		altered, err := t.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
		if err == nil {
			err = altered[0].Err
		}
		if err != nil {
			return err
		}
		described, err := t.admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		for _, config := range described[0].Configs {
			if config.Key == "retention.ms" {
				return expect(config.MaybeValue(), value)
			}
		}
		return errors.New("retention.ms is not described")
	}},
	{"offsets-are-listed-by-start-end-and-time", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "offsets", 1)
		if err != nil {
			return err
		}
		if err := t.fill(ctx, topic, 10); err != nil {
			return err
		}
		start, err1 := t.admin.ListStartOffsets(ctx, topic)
		end, err2 := t.admin.ListEndOffsets(ctx, topic)
		after, err3 := t.admin.ListOffsetsAfterMilli(ctx, 1e12+3500, topic)
		largest, err4 := t.admin.ListMaxTimestampOffsets(ctx, topic)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		return expect([]int64{start[topic][0].Offset, end[topic][0].Offset, after[topic][0].Offset, largest[topic][0].Offset}, []int64{0, 10, 4, 9})
	}},
	{"consuming-starts-at-a-time", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "time", 1)
		if err != nil {
			return err
		}
		if err := t.fill(ctx, topic, 10); err != nil {
			return err
		}
		client, values, err := t.consume(ctx, 3, kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(1e12+7000)))
		if err != nil {
			return err
		}
		client.Close()
		return expect(values, []string{"7", "8", "9"})
	}},
	{"a-group-resumes-where-it-committed", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "group", 1)
		if err != nil {
			return err
		}
		if err := t.fill(ctx, topic, 20); err != nil {
			return err
		}
		group := []kgo.Opt{kgo.ConsumerGroup(t.fresh("g")), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
		client, values, err := t.consume(ctx, 12, group...)
		if err != nil {
			return err
		}
		err = client.CommitUncommittedOffsets(ctx)
		client.Close()
		if err != nil {
			return err
		}
		client, more, err := t.consume(ctx, 8, group...)
		if err != nil {
			return err
		}
		client.Close()
		if err := expect(append(values, more...), numbers(0, 20)); err != nil {
			return err
		}
		committed, err := t.admin.FetchOffsets(ctx, t.fresh("g"))
		if err != nil {
			return err
		}
		offset, _ := committed.Lookup(topic, 0)
		return expect(offset.At, 12)
	}},
	{"two-members-share-the-partitions", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "shared", 4)
		if err != nil {
			return err
		}
		assigned := make(chan int, 64)
		member := func() (*kgo.Client, error) {
			return kgo.NewClient(kgo.SeedBrokers(t.broker), kgo.ConsumerGroup(t.fresh("shared")), kgo.ConsumeTopics(topic),
				kgo.Balancers(kgo.RangeBalancer()),
				kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { assigned <- len(parts[topic]) }))
		}
		first, err := member()
		if err != nil {
			return err
		}
		defer first.Close()
		second, err := member()
		if err != nil {
			return err
		}
		defer second.Close()
		for _, client := range []*kgo.Client{first, second} {
			go client.PollFetches(ctx)
		}
		for {
			described, err := t.admin.DescribeGroups(ctx, t.fresh("shared"))
			if err != nil {
				return err
			}
			var shares []int
			for _, m := range described[t.fresh("shared")].Members {
				if c, ok := m.Assigned.AsConsumer(); ok {
					for _, topic := range c.Topics {
						shares = append(shares, len(topic.Partitions))
					}
				}
			}
			sort.Ints(shares)
			if fmt.Sprint(shares) == "[2 2]" {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("partitions per member at the end: %v", shares)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}},
	{"records-are-deleted-up-to-an-offset", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "cut", 1)
		if err != nil {
			return err
		}
		if err := t.fill(ctx, topic, 10); err != nil {
			return err
		}
		var offsets kadm.Offsets = kadm.Offsets{}
		offsets.AddOffset(topic, 0, 6, -1)
		deleted, err := t.admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			return err
		}
		client, values, err := t.consume(ctx, 4, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		client.Close()
		return expect(values, numbers(6, 10))
	}},
	{"an-offset-past-the-end-resets", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "reset", 1)
		if err != nil {
			return err
		}
		if err := t.fill(ctx, topic, 3); err != nil {
			return err
		}
		client, values, err := t.consume(ctx, 3, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1000)}}))
		if err != nil {
			return err
		}
		client.Close()
		return expect(values, numbers(0, 3))
	}},
	{"a-missing-topic-is-reported", func(ctx context.Context, t *target) error {
		err := t.client.ProduceSync(ctx, &kgo.Record{Topic: t.fresh("missing"), Value: []byte("x")}).FirstErr()
		return expect(errors.Is(err, kerr.UnknownTopicOrPartition), true)
	}},
	{"producing-creates-a-topic-where-allowed", func(ctx context.Context, t *target) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(t.broker), kgo.AllowAutoTopicCreation())
		if err != nil {
			return err
		}
		defer client.Close()
		return client.ProduceSync(ctx, &kgo.Record{Topic: t.fresh("auto"), Value: []byte("x")}).FirstErr()
	}},
	{"groups-are-listed-and-deleted", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "groups", 1)
		if err != nil {
			return err
		}
		group := t.fresh("listed")
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, 5, -1)
		if err := t.admin.CommitAllOffsets(ctx, group, offsets); err != nil {
			return err
		}
		listed, err := t.admin.ListGroups(ctx)
		if err != nil {
			return err
		}
		if _, ok := listed[group]; !ok {
			return fmt.Errorf("%s is not among %v", group, listed.Groups())
		}
		deleted, err := t.admin.DeleteGroups(ctx, group)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			return err
		}
		listed, err = t.admin.ListGroups(ctx)
		if _, ok := listed[group]; ok {
			return errors.New("still listed after deletion")
		}
		return err
	}},
	{"the-cluster-and-its-log-directories-are-described", func(ctx context.Context, t *target) error {
		topic, err := t.topic(ctx, "dirs", 2)
		if err != nil {
			return err
		}
		if err := t.fill(ctx, topic, 5); err != nil {
			return err
		}
		metadata, err := t.admin.BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		if metadata.Cluster == "" || len(metadata.Brokers) == 0 {
			return fmt.Errorf("cluster %q, %d brokers", metadata.Cluster, len(metadata.Brokers))
		}
		dirs, err := t.admin.DescribeAllLogDirs(ctx, nil)
		if err != nil {
			return err
		}
		found := 0
		dirs.Each(func(dir kadm.DescribedLogDir) {
			for _, partition := range dir.Topics[topic] {
				found++
				_ = partition
			}
		})
		return expect(found, 2)
	}},
}

func numbers(from, to int) []string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}
