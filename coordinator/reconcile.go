package coordinator

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// care counts what keeping the stream took, for people.
type care struct {
	mu  sync.Mutex
	was job.StreamCare
}

func (c *care) note(change func(*job.StreamCare)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.was)
}

// compared notes a full comparison. One that stopped at an error says nothing.
func (c *care) compared(at time.Time, missing int) {
	c.note(func(s *job.StreamCare) { s.Compared, s.Missing = at, missing })
}

func (c *care) view() job.StreamCare {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.was
}

// sweep takes back the ranges of workers whose lease ran out, and has their messages delivered again at once. Where the stream was
// lost with the worker there is none, and the range is released anew.
func (d *delivery) sweep(ctx context.Context, j job.Job) error {
	expired, err := d.ledger.Sweep(ctx, j.ID)
	if err != nil {
		return err
	}
	var taken []job.Ref
	d.care.note(func(s *job.StreamCare) { s.Expired += int64(len(expired)) })
	for _, e := range expired {
		d.log.Warn("lease ran out; range taken back", zap.String("job", j.Name), zap.Int("range", e.Index), zap.String("worker", e.Owner))
		d.redeliver(ctx, e)
		taken = append(taken, job.Ref{Database: j.Database, Job: j.ID, Name: j.Name, Index: e.Index, Generation: e.Generation})
	}
	_, err = d.requeueLost(ctx, j, taken)
	return err
}

// redeliver has a range's message delivered again at once. Without it the message comes after its ack wait, or the next comparison
// releases the range anew.
func (d *delivery) redeliver(ctx context.Context, e store.Expired) {
	if e.ReplySubject == "" {
		return
	}
	if err := d.c.cfg.Queue.ProxyNak(ctx, e.ReplySubject); err != nil {
		d.complain(ctx, "message not given back", err, zap.Int("range", e.Index))
	}
}

// remind repeats what workers said of ranges that they gave back: a NATS server that was restarted has forgotten it.
func (d *delivery) remind(ctx context.Context, j job.Job) error {
	back, err := d.ledger.GivenBack(ctx, j.ID)
	for _, e := range back {
		d.redeliver(ctx, e)
	}
	return err
}

// reconcile compares the ledger with the stream in full. A released range without a message goes back to the ledger, to be released
// under a new generation. A message that the ledger does not know needs nothing: whoever pulls it finds it stale. It returns how many
// messages were missing.
func (d *delivery) reconcile(ctx context.Context, j job.Job) (missing int, err error) {
	age := settleSeconds
	if d.compared.IsZero() {
		if err := d.remind(ctx, j); err != nil {
			return 0, err
		}
		age = 0 // this loop alone publishes, and it publishes nothing now
	}
	released, err := d.ledger.ReleasedFor(ctx, j, age)
	if err != nil {
		return 0, err
	}
	return d.requeueLost(ctx, j, released)
}

// requeueLost gives released ranges back to the ledger whose messages are not in the stream, and returns how many.
func (d *delivery) requeueLost(ctx context.Context, j job.Job, released []job.Ref) (int, error) {
	if len(released) == 0 {
		return 0, nil
	}
	inStream, err := d.c.cfg.Queue.Inventory(ctx, j.Database, j.Name)
	if err != nil {
		return 0, err
	}
	var lost []job.Ref
	for _, ref := range released {
		if _, ok := inStream[ref.Index]; !ok {
			lost = append(lost, ref)
		}
	}
	if len(lost) == 0 {
		return 0, nil
	}
	n, err := d.ledger.Unrelease(ctx, j.ID, lost)
	if err == nil {
		d.log.Warn("messages lost; ranges go out anew", zap.String("job", j.Name), zap.Int64("ranges", n))
		d.care.note(func(s *job.StreamCare) { s.Lost += n })
	}
	return int(n), err
}
