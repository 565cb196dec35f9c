package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/queue"
)

const (
	deliverEvery    = 100 * time.Millisecond
	sweepEvery      = time.Second
	ensureEvery     = 2 * time.Second
	reconcileEvery  = 30 * time.Second
	doubtEvery      = 6 * time.Second // in doubt, or after a comparison that an error stopped; longer than a release takes to settle
	releaseStep     = 2_000
	releasedMost    = 100_000 // messages of a job at once; the rest waits in the ledger
	settleSeconds   = 5.0     // a range released less than this ago may still be on its way
	ackSlack        = 16      // deliveries beyond the job's workers that may be unacknowledged
	roomShare       = 10      // of the time that counting what is out takes, until it is counted again: a tenth of a core at most
	roomMost        = time.Second
	descriptionMost = 400 // characters of a consumer's description; NATS takes 4 KiB
)

// deliver keeps the stream as the ledger says: it releases queued ranges, takes back those whose lease ran out, and compares the two
// in full now and then. One loop does all of it, so that a comparison never meets a release half way.
func (l *leadership) deliver(ctx context.Context) {
	d := &delivery{leadership: l, consumers: map[job.ID]consumer{}, controls: map[job.ID]int64{}, cleared: map[job.ID]bool{}, counted: map[job.ID]time.Time{}}
	d.lost = true // a new leader knows nothing of the stream
	d.turns(ctx, deliverEvery, within(longestTick, d.tick))
}

type delivery struct {
	*leadership
	lost      bool                 // the stream may not be what it was
	connects  int64                // reconnects seen
	consumers map[job.ID]consumer  // as last made
	controls  map[job.ID]int64     // the revision last published
	cleared   map[job.ID]bool      // ended, with nothing left in the stream
	counted   map[job.ID]time.Time // until when what was counted of a job's ranges in the stream will do

	doubt   bool // a publish was not answered: compare soon
	missing int  // messages that the comparison under way did not find

	ensured, swept, compared time.Time
	tried                    time.Time // a comparison that an error stopped
}

func (d *delivery) tick(ctx context.Context) {
	if !d.ready() {
		return
	}
	now := time.Now()
	if n := d.c.reconnects.Load(); n != d.connects {
		d.connects, d.lost = n, true
	}
	if d.lost || now.Sub(d.ensured) > ensureEvery {
		if err := d.ensure(ctx); err != nil {
			d.complain(ctx, "stream not ready", err)
			return
		}
		d.ensured = now
	}
	if d.noConsumer.Swap(false) {
		clear(d.consumers)
	}
	sweep := now.Sub(d.swept) > sweepEvery
	compare := d.due(now)
	whole := true // every job was compared
	d.missing = 0
	taken := map[string]bool{} // names whose subjects and consumer still are those of a job that has ended
	for _, j := range d.snapshot() {
		if ctx.Err() != nil {
			return
		}
		if taken[j.Name] {
			continue
		}
		if err := d.job(ctx, j, sweep, compare); err != nil {
			if errors.Is(err, queue.ErrNoStream) {
				d.lost = true
			}
			taken[j.Name] = j.State.Ended()
			whole = false
			d.complain(ctx, "delivery stopped for now", err, zap.String("job", j.Name))
		}
	}
	if sweep {
		d.swept = now
	}
	switch {
	case compare && whole:
		d.compared = now
		d.care.compared(now, d.missing)
	case compare:
		d.tried, d.doubt = now, true
	}
}

// due says whether it is time to compare ledger and stream in full, and takes the doubt for settled that it may be due to. One that an
// error stopped is made again soon: the stream may have been lost while the database was away.
func (d *delivery) due(now time.Time) bool {
	soon := d.doubt && now.Sub(d.compared) > doubtEvery
	if !soon && now.Sub(d.compared) <= reconcileEvery || now.Sub(d.tried) <= doubtEvery {
		return false
	}
	d.doubt = false
	return true
}

// ensure makes the stream and its buckets where they are gone, and then forgets what it knew of them.
func (d *delivery) ensure(ctx context.Context) error {
	created, err := d.c.cfg.Queue.EnsureStream(ctx)
	if err != nil {
		d.lost = true
		return err
	}
	lost := d.lost
	d.lost = false
	if created {
		d.log.Warn("stream made anew; releasing from the ledger what was in it")
	}
	if created || lost {
		clear(d.consumers)
		clear(d.controls)
		d.compared, d.tried = time.Time{}, time.Time{}
	}
	return nil
}

func (d *delivery) job(ctx context.Context, j job.Job, sweep, compare bool) error {
	if err := d.control(ctx, j); err != nil {
		return err
	}
	if j.State.Ended() {
		return d.end(ctx, j)
	}
	delete(d.cleared, j.ID)
	if err := d.consumer(ctx, j); err != nil {
		return err
	}
	if sweep {
		if err := d.sweep(ctx, j); err != nil {
			return err
		}
	}
	if compare {
		began := time.Now()
		missing, err := d.reconcile(ctx, j)
		d.c.traced(ctx, "compare", began, j, err, observe.TraceMissing.Int(missing))
		if err != nil {
			return err
		}
		d.missing += missing
	}
	if !j.State.Active() {
		return nil
	}
	return d.release(ctx, j)
}

// control publishes what a job should do, once a revision.
func (d *delivery) control(ctx context.Context, j job.Job) error {
	if d.controls[j.ID] == j.Revision {
		return nil
	}
	err := d.c.cfg.Queue.PutControl(ctx, job.Control{
		Version: job.ProtocolVersion, Epoch: d.ledger.Epoch, Database: j.Database, Job: j.ID, Name: j.Name, State: j.State, Revision: j.Revision, Limits: j.Limits,
	})
	if err != nil && !errors.Is(err, queue.ErrStaleControl) {
		return err
	}
	d.controls[j.ID] = j.Revision
	return nil
}

// consumer is what of a job's consumer may change.
type consumer struct {
	most        int    // deliveries that may be unacknowledged
	description string // for whoever looks with the `nats` command
}

// consumerOf is a job's consumer as it should be now.
func consumerOf(j job.Job) consumer {
	text := fmt.Sprintf("backfill %s of %s, job %s: %s", j.Name, j.Spec.Table, j.ID, strings.ReplaceAll(string(j.State), "_", " "))
	if reason := strings.Join(strings.Fields(j.Reason), " "); reason != "" {
		text += ": " + reason
	}
	if r := []rune(text); len(r) > descriptionMost {
		text = string(r[:descriptionMost-1]) + "…"
	}
	return consumer{most: j.Limits.Workers.Max + ackSlack, description: text}
}

// consumer makes the job's consumer, or changes how many deliveries it allows and what it says of the job.
func (d *delivery) consumer(ctx context.Context, j job.Job) error {
	want := consumerOf(j)
	if d.consumers[j.ID] == want {
		return nil
	}
	if err := d.c.cfg.Queue.EnsureConsumer(ctx, j.Database, j.Name, want.most, want.description); err != nil {
		return err
	}
	d.consumers[j.ID] = want
	return nil
}

// release publishes queued ranges. What was surely not published goes back to the ledger at once; what nobody answered for stays
// released, for the next comparison to find or to miss in the stream.
func (d *delivery) release(ctx context.Context, j job.Job) error {
	began := time.Now()
	if began.Before(d.counted[j.ID]) {
		return nil
	}
	room, err := d.ledger.Room(ctx, j.ID, releasedMost)
	if err != nil {
		return err
	}
	if room < releaseStep { // as good as full, or nothing waits: no turn need find out at once what has changed
		d.counted[j.ID] = time.Now().Add(min(roomShare*time.Since(began), roomMost))
	}
	if room == 0 {
		return nil
	}
	refs, err := d.ledger.Release(ctx, j, min(room, releaseStep))
	if err != nil || len(refs) == 0 {
		return err
	}
	began = time.Now()
	results, err := d.c.cfg.Queue.Publish(ctx, refs)
	d.c.traced(ctx, "release", began, j, err, observe.TraceRanges.Int(len(refs)))
	var back []job.Ref
	for _, r := range results {
		switch r.Outcome {
		case queue.Published:
		case queue.Duplicate, queue.Occupied:
			back = append(back, r.Ref)
		default:
			d.doubt = true
			err = firstOf(err, r.Err)
		}
	}
	if len(back) > 0 {
		d.log.Info("ranges not published; back in the ledger", zap.String("job", j.Name), zap.Int("ranges", len(back)))
		if _, unErr := d.ledger.Unrelease(ctx, j.ID, back); unErr != nil {
			return unErr
		}
	}
	return err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// end clears the stream of a job that has ended, once: after that its name may be another's, and the snapshot may be older.
func (d *delivery) end(ctx context.Context, j job.Job) error {
	if d.cleared[j.ID] {
		return nil
	}
	if err := d.c.cfg.Queue.EndJob(ctx, j.Database, j.Name); err != nil {
		return err
	}
	delete(d.consumers, j.ID)
	delete(d.counted, j.ID)
	if err := d.ledger.StreamCleared(ctx, j.ID); err != nil {
		return err
	}
	d.cleared[j.ID] = true
	return nil
}
