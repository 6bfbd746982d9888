package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// line is one record of the line protocol (README.md); bytes are hexadecimal.
type line struct {
	Topic     string       `json:"topic"`
	Partition *int32       `json:"partition,omitempty"`
	Offset    int64        `json:"offset"`
	Codec     string       `json:"codec,omitempty"`
	Acks      any          `json:"acks,omitempty"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
	Timestamp *int64       `json:"timestamp,omitempty"`
}

type ack struct {
	N         int    `json:"n"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Error     string `json:"error,omitempty"`
}

func unhex(text *string) []byte {
	if text == nil {
		return nil
	}
	data, err := hex.DecodeString(*text)
	must(err)
	if data == nil {
		data = []byte{}
	}
	return data
}

func tohex(data []byte) *string {
	if data == nil {
		return nil
	}
	text := hex.EncodeToString(data)
	return &text
}

var stdout sync.Mutex

func emit(value any) {
	data, err := json.Marshal(value)
	must(err)
	stdout.Lock()
	defer stdout.Unlock()
	os.Stdout.Write(append(data, '\n'))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func newProducer(broker, codec, acks string) *kgo.Client {
	opts := []kgo.Opt{
		kgo.SeedBrokers(broker), kgo.ProducerBatchCompression(codecs[codec]),
		// Partition as the record says, if it says one.
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int {
				if r.Partition >= 0 {
					return int(r.Partition)
				}
				return len(r.Key) % n
			}
		})),
	}
	switch acks {
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(opts...)
	must(err)
	return client
}

func produce(broker string) {
	ctx := context.Background()
	producers := map[string]*kgo.Client{}
	in := bufio.NewReaderSize(os.Stdin, 4<<20)
	for n := 0; ; n++ {
		text, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var l line
		must(json.Unmarshal(text, &l))
		codec, acks := l.Codec, "all"
		if codec == "" {
			codec = "none"
		}
		if l.Acks != nil {
			acks = fmt.Sprint(l.Acks)
		}
		producer := producers[codec+acks]
		if producer == nil {
			producer = newProducer(broker, codec, acks)
			producers[codec+acks] = producer
		}
		record := &kgo.Record{Topic: l.Topic, Partition: -1, Key: unhex(l.Key), Value: unhex(l.Value)}
		if l.Partition != nil {
			record.Partition = *l.Partition
		}
		if l.Timestamp != nil {
			record.Timestamp = time.UnixMilli(*l.Timestamp)
		}
		for _, h := range l.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: *h[0], Value: unhex(h[1])})
		}
		producer.Produce(ctx, record, func(r *kgo.Record, err error) {
			if err != nil {
				emit(ack{N: n, Error: err.Error()})
			} else {
				emit(ack{N: n, Partition: r.Partition, Offset: r.Offset})
			}
		})
	}
	for _, producer := range producers {
		must(producer.Flush(ctx))
		producer.Close()
	}
}

func show(r *kgo.Record) {
	headers := [][2]*string{}
	for _, h := range r.Headers {
		headers = append(headers, [2]*string{&h.Key, tohex(h.Value)})
	}
	at := r.Timestamp.UnixMilli()
	emit(line{Topic: r.Topic, Partition: &r.Partition, Offset: r.Offset, Timestamp: &at,
		Key: tohex(r.Key), Value: tohex(r.Value), Headers: headers})
}

func read(broker string, topics []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topics...)
	must(err)
	ends, err := admin.ListEndOffsets(ctx, topics...)
	must(err)
	left := map[string]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, _ := starts.Lookup(end.Topic, end.Partition); end.Offset > start.Offset {
			left[fmt.Sprint(end.Topic, "/", end.Partition)] = end.Offset
		}
	})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		must(ctx.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			show(r)
			id := fmt.Sprint(r.Topic, "/", r.Partition)
			if r.Offset+1 >= left[id] {
				delete(left, id)
			}
		})
	}
}

func group(broker, name string, count int, topics []string) {
	ctx := context.Background()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topics...), kgo.ConsumerGroup(name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	must(err)
	defer client.Close()
	for count > 0 {
		fetches := client.PollRecords(ctx, count)
		var shown []*kgo.Record
		fetches.EachRecord(func(r *kgo.Record) {
			show(r)
			shown = append(shown, r)
			count--
		})
		commit(client, shown)
	}
}

// commit tries again for a minute: the broker may be restarting.
func commit(client *kgo.Client, records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = client.CommitRecords(context.Background(), records...); err == nil {
			return
		}
	}
	must(err)
}

func main() {
	mode, rest := os.Args[1], os.Args[2:]
	switch mode {
	case "produce":
		produce(rest[0])
	case "read":
		read(rest[0], rest[1:])
	case "group":
		count, err := strconv.Atoi(rest[2])
		must(err)
		group(rest[0], rest[1], count, rest[3:])
	case "member":
		member(rest[0], rest[1], rest[2], rest[3], rest[4])
	case "pipe":
		pipe(rest[0], rest[1], rest[2], rest[3], rest[4])
	default:
		os.Exit(suite(rest[0]))
	}
}
