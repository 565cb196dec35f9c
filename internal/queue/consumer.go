package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	ackWait    = 30 * time.Second // over the longest outage of a leader's election, 8.6 s
	keepAlive  = 5 * time.Second
	maxWaiting = 2048 // parked pulls of one job; more than its slots
)

// EnsureConsumer creates the job's consumer, or changes its limit of unacknowledged messages while it is in use.
// maxAckPending is the job's worker limit with some slack. Messages that are NAKed with a delay count against it.
func (c *Conn) EnsureConsumer(ctx context.Context, database, name string, maxAckPending int, description string) error {
	if err := checkNames(database, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	_, err := c.js.CreateOrUpdateConsumer(ctx, c.names.stream(), jetstream.ConsumerConfig{
		Durable:       c.names.consumer(database, name),
		Description:   description,
		FilterSubject: c.names.job(database, name),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1, // a message at its limit would stay in the stream, invisible; the ledger counts attempts
		MaxAckPending: maxAckPending,
		MaxWaiting:    maxWaiting,
	})
	if err != nil {
		return explain("create or update consumer "+c.names.consumer(database, name), err)
	}
	return nil
}

// Lag returns what `nats consumer report` shows for the job: messages not yet delivered, and delivered but unacknowledged.
// It returns [ErrNoConsumer] when the job has no consumer.
func (c *Conn) Lag(ctx context.Context, database, name string) (job.StreamLag, error) {
	if err := checkNames(database, name); err != nil {
		return job.StreamLag{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	consumer, err := c.js.Consumer(ctx, c.names.stream(), c.names.consumer(database, name))
	if err != nil {
		return job.StreamLag{}, explain("read consumer "+c.names.consumer(database, name), err)
	}
	info := consumer.CachedInfo()
	return job.StreamLag{Pending: info.NumPending, AckPending: info.NumAckPending}, nil
}

// Inventory returns the index of every range of the job that has a message in the stream, delivered or not. It is not a
// snapshot: messages published or acknowledged during the call may be in it or not.
func (c *Conn) Inventory(ctx context.Context, database, name string) (map[int]struct{}, error) {
	if err := checkNames(database, name); err != nil {
		return nil, err
	}
	op := fmt.Sprintf("list the messages of job %s on %s", name, database)
	stream, err := c.lookUp(ctx, c.names.stream())
	if err != nil {
		return nil, explain(op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout) // there may be a hundred thousand
	defer cancel()
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(c.names.job(database, name)))
	if err != nil {
		return nil, explain(op, err)
	}
	held := make(map[int]struct{}, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		index, err := indexOf(subject)
		if err != nil {
			c.log.Warn("a message in the stream has no range", zap.String("subject", subject))
			continue
		}
		held[index] = struct{}{}
	}
	return held, nil
}

// Purge removes every message of the job from the stream. A purged generation cannot be published again within the
// duplicates window: release the range as the next one.
func (c *Conn) Purge(ctx context.Context, database, name string) error {
	if err := checkNames(database, name); err != nil {
		return err
	}
	op := fmt.Sprintf("purge the messages of job %s on %s", name, database)
	stream, err := c.lookUp(ctx, c.names.stream())
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(c.names.job(database, name)))
	}
	if err != nil {
		return explain(op, err)
	}
	return nil
}

// EndJob purges the job's messages, then deletes its consumer. It may be repeated. An acknowledgement that comes later is
// refused, and its worker gives up when its context ends.
func (c *Conn) EndJob(ctx context.Context, database, name string) error {
	err := c.Purge(ctx, database, name)
	if errors.Is(err, ErrNoStream) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	err = c.js.DeleteConsumer(ctx, c.names.stream(), c.names.consumer(database, name))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return explain("delete consumer "+c.names.consumer(database, name), err)
	}
	return nil
}
