package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	budgetShown    = 2 * time.Second
	controlTries   = 5
	controlTimeout = 10 * time.Second
)

// PutControl tells every worker what is wanted of a job: at once, on core NATS, and for those who ask later, in the control
// bucket. The bucket refuses an older one with [ErrStaleControl]. An error means that the bucket may be behind: the
// workers that were listening have heard it all the same. The control of an ended job goes away after ten minutes.
func (c *Conn) PutControl(ctx context.Context, ctl job.Control) error {
	if err := checkNames(ctl.Database, ctl.Name); err != nil {
		return err
	}
	op := fmt.Sprintf("publish the control of job %s on %s", ctl.Name, ctl.Database)
	ctl.Version = job.ProtocolVersion
	data, err := json.Marshal(ctl)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	key := c.names.control(ctl.Database, ctl.Name)
	sent := c.nc.Publish(c.names.ctl(key), data)
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	for range controlTries {
		err = c.storeControl(ctx, key, ctl, data)
		if !errors.Is(err, errLostUpdate) {
			break
		}
	}
	if err = errors.Join(sent, err); err != nil {
		return explain(op, err)
	}
	return nil
}

// storeControl writes only over an older control, so that a leader that has lost its lead cannot put the past back.
func (c *Conn) storeControl(ctx context.Context, key string, ctl job.Control, data []byte) error {
	bucket := c.names.controlBucket()
	subject := bucketSubject(bucket, key)
	stream, err := c.lookUp(ctx, bucketStream(bucket))
	if err != nil {
		return err
	}
	var last uint64
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
	case err != nil:
		return err
	default:
		last = m.Sequence
		var have job.Control
		if json.Unmarshal(m.Data, &have) == nil && have.Newer(ctl) {
			return fmt.Errorf("%w: revision %d of job %s", ErrStaleControl, have.Revision, have.Job)
		}
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(last)}
	if ctl.State.Ended() {
		opts = append(opts, jetstream.WithMsgTTL(endedTTL))
	}
	_, err = c.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data}, opts...)
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return errLostUpdate
	}
	return err
}

// PublishBudget tells the workers of a database its budget, on core NATS. It does not wait for anything. The control bucket
// gets a copy every 2 s for people to look at; nobody may act on that copy, because its age is not known.
func (c *Conn) PublishBudget(b job.Budget) error {
	if err := checkNames(b.Database); err != nil {
		return err
	}
	b.Version = job.ProtocolVersion
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("publish the budget of %s: %w", b.Database, err)
	}
	key := c.names.throttle(b.Database)
	if err := c.nc.Publish(c.names.ctl(key), data); err != nil {
		return explain("publish the budget of "+b.Database, err)
	}
	if c.display.due(key, budgetShown) {
		c.show(c.names.controlBucket(), key, data)
	}
	return nil
}
