package queue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	maxMessages    = 1_000_000 // a fuse: at most 100,000 ranges of a job are released at once
	maxMessageSize = 8 << 10
	dedupWindow    = 2 * time.Minute
	workersTTL     = 15 * time.Second
	lookTimeout    = 3 * time.Second
	changeTimeout  = 10 * time.Second // over the longest election of the servers' own leader
	endedTTL       = 10 * time.Minute // how long the control of an ended job is still shown to late workers
)

// EnsureStream creates the stream and the buckets where they are absent, and brings settings that may change up to date. It
// never deletes anything. created reports that the stream was not there: then no range has a message.
//
// What an operator set beside our settings (placement, compression, byte limits, metadata) stays.
func (c *Conn) EnsureStream(ctx context.Context) (created bool, err error) {
	created, err = c.ensure(ctx, c.rangeStream())
	if err != nil {
		return false, err
	}
	for _, bucket := range []jetstream.StreamConfig{c.controlStream(), c.workersStream()} {
		if _, err := c.ensure(ctx, bucket); err != nil {
			return created, err
		}
	}
	return created, nil
}

func (c *Conn) rangeStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 c.names.stream(),
		Description:          "Backfleet: ranges released to workers; the ledger in Postgres is the source of truth",
		Subjects:             []string{c.names.ranges()},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1, // one live message a range
		MaxMsgs:              maxMessages,
		MaxMsgSize:           maxMessageSize,
		MaxBytes:             -1,
		MaxConsumers:         -1,
		Duplicates:           dedupWindow,
		AllowDirect:          true,
		AllowAtomicPublish:   c.batches,
	}
}

// controlStream is the control bucket: it repeats each put on the subject that workers listen on.
func (c *Conn) controlStream() jetstream.StreamConfig {
	b := c.names.controlBucket()
	cfg := bucketConfig(b, "Backfleet: what is wanted of each job; highest revision wins")
	cfg.RePublish = &jetstream.RePublish{Source: bucketSubject(b, ">"), Destination: c.names.ctl(">")}
	cfg.AllowMsgTTL = true // the control of an ended job goes away by itself
	return cfg
}

func (c *Conn) workersStream() jetstream.StreamConfig {
	cfg := bucketConfig(c.names.workersBucket(), "Backfleet: workers seen in the last 15 s, for display only")
	cfg.MaxAge = workersTTL
	cfg.Duplicates = workersTTL
	return cfg
}

// bucketConfig is the stream that nats.go would make for a KV bucket with a history of 1.
func bucketConfig(bucket, description string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              bucketStream(bucket),
		Description:       description,
		Subjects:          []string{bucketSubject(bucket, ">")},
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        64 << 10,
		MaxConsumers:      -1,
		Duplicates:        dedupWindow,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
	}
}

// lookUp finds a stream. Nobody answers for one whose leader is being elected, so it asks only for a moment.
func (c *Conn) lookUp(ctx context.Context, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return c.js.Stream(ctx, name)
}

func (c *Conn) ensure(ctx context.Context, want jetstream.StreamConfig) (created bool, err error) {
	stream, err := c.lookUp(ctx, want.Name)
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		want.Replicas = c.replicasToCreate()
		if _, err := c.js.CreateStream(ctx, want); err != nil {
			return false, explain("create stream "+want.Name, err)
		}
		c.log.Info("created stream", zap.String("stream", want.Name), zap.Int("replicas", want.Replicas))
		return true, nil
	}
	if err != nil {
		return false, explain("look up stream "+want.Name, err)
	}
	have := stream.CachedInfo().Config
	if err := compatible(have, want); err != nil {
		return false, err
	}
	next := merge(have, want, c.replicas)
	if reflect.DeepEqual(have, next) {
		return false, nil
	}
	if _, err := c.js.UpdateStream(ctx, next); err != nil {
		return false, explain("update stream "+want.Name, err)
	}
	c.log.Info("updated stream", zap.String("stream", want.Name), zap.Int("replicas", next.Replicas))
	return false, nil
}

func (c *Conn) replicasToCreate() int {
	switch {
	case c.replicas > 0:
		return c.replicas
	case c.nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// compatible refuses a stream that is not ours, or that cannot become ours without being made anew.
func compatible(have, want jetstream.StreamConfig) error {
	differ := func(what string, h, w any) error {
		return fmt.Errorf("stream %s exists with %s %v where Backfleet needs %v; choose another prefix, or delete the stream "+
			"while no job runs", have.Name, what, h, w)
	}
	switch {
	case have.Retention != want.Retention:
		return differ("retention", have.Retention, want.Retention)
	case have.Storage != want.Storage:
		return differ("storage", have.Storage, want.Storage)
	case !slices.Equal(have.Subjects, want.Subjects):
		return differ("subjects", have.Subjects, want.Subjects)
	case have.Sealed:
		return differ("sealed", true, false)
	case have.Mirror != nil || len(have.Sources) > 0:
		return differ("a source", "of other streams", "none")
	}
	return nil
}

// merge returns have with the settings that Backfleet relies on. Limits that an operator raised stay raised.
func merge(have, want jetstream.StreamConfig, replicas int) jetstream.StreamConfig {
	next := have
	next.Description = want.Description
	next.Discard = want.Discard
	next.DiscardNewPerSubject = want.DiscardNewPerSubject
	next.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	next.MaxAge = want.MaxAge
	next.Duplicates = want.Duplicates
	next.AllowDirect = want.AllowDirect
	next.AllowMsgTTL = have.AllowMsgTTL || want.AllowMsgTTL // the server cannot turn it off
	next.AllowAtomicPublish = have.AllowAtomicPublish || want.AllowAtomicPublish
	next.RePublish = want.RePublish
	if want.MaxMsgs > 0 && have.MaxMsgs > 0 {
		next.MaxMsgs = max(have.MaxMsgs, want.MaxMsgs)
	}
	if want.MaxMsgSize > 0 && have.MaxMsgSize > 0 {
		next.MaxMsgSize = max(have.MaxMsgSize, want.MaxMsgSize)
	}
	if replicas > 0 {
		next.Replicas = replicas
	}
	return next
}
