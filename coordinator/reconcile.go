package coordinator

import (
	"context"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

// sweep takes back the ranges of workers whose lease ran out, and has their messages delivered again at once.
func (d *delivery) sweep(ctx context.Context, j job.Job) error {
	expired, err := d.ledger.Sweep(ctx, j.ID)
	if err != nil {
		return err
	}
	for _, e := range expired {
		d.log.Warn("lease ran out; range taken back", zap.String("job", j.Name), zap.Int("range", e.Index), zap.String("worker", e.Owner))
		if e.ReplySubject == "" {
			continue
		}
		if err := d.c.cfg.Queue.ProxyNak(ctx, e.ReplySubject); err != nil {
			// The message comes again after its ack wait, or the next comparison releases the range anew.
			d.complain(ctx, "message not given back", err, zap.Int("range", e.Index))
		}
	}
	return nil
}

// reconcile compares the ledger with the stream in full. A released range without a message goes back to the ledger, to be released
// under a new generation. A message that the ledger does not know needs nothing: whoever pulls it finds it stale.
func (d *delivery) reconcile(ctx context.Context, j job.Job) error {
	age := settleSeconds
	if d.compared.IsZero() {
		age = 0 // this loop alone publishes, and it publishes nothing now
	}
	released, err := d.ledger.ReleasedFor(ctx, j, age)
	if err != nil || len(released) == 0 {
		return err
	}
	inStream, err := d.c.cfg.Queue.Inventory(ctx, j.Database, j.Name)
	if err != nil {
		return err
	}
	var lost []job.Ref
	for _, ref := range released {
		if _, ok := inStream[ref.Index]; !ok {
			lost = append(lost, ref)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	n, err := d.ledger.Unrelease(ctx, j.ID, lost)
	if err == nil {
		d.log.Warn("messages lost; ranges go out anew", zap.String("job", j.Name), zap.Int64("ranges", n))
	}
	return err
}
