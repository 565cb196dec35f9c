package worker

import (
	"context"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/throttle"
)

// desk is what a worker knows of one database: the last budget, its own leases in it, and what each job should do.
type desk struct {
	db       Database
	worker   string
	now      func() time.Time
	gate     *throttle.Gate
	controls queue.Latest
	trips    trips // to this database

	mu        sync.Mutex
	reachable bool
	leases    map[int]job.Lease // by slot
	scale     float64           // of batch targets
	changed   chan struct{}     // closed at each budget, control or change of reachability
	wake      func()            // called after that; nil: nobody waits for several desks
}

// shortestBatch is the least that a batch is made to aim at: below it the work beside the rows is most of it.
const shortestBatch = 2 * time.Millisecond

func newDesk(db Database, worker string, now func() time.Time) *desk {
	return &desk{
		db: db, worker: worker, now: now, gate: throttle.NewGate(job.BudgetStale),
		leases: map[int]job.Lease{}, changed: make(chan struct{}),
	}
}

// budget takes a budget if it is newer than all before.
func (d *desk) budget(b job.Budget) {
	if !d.gate.Accept(b.Epoch, b.Seq, b.Hold, d.now()) {
		return
	}
	mine := map[int]job.Lease{}
	for _, l := range b.Leases {
		if l.Worker == d.worker {
			mine[l.Slot] = l
		}
	}
	d.mu.Lock()
	d.leases = mine
	d.scale = b.BatchScale
	d.mu.Unlock()
	d.pulse()
}

func (d *desk) control(c job.Control) {
	if d.controls.Offer(c) {
		d.pulse()
	}
}

// pulse wakes everyone who waits for a change.
func (d *desk) pulse() {
	d.mu.Lock()
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	if d.wake != nil {
		d.wake()
	}
}

// changes returns a channel that is closed at the next change. Take it before looking.
func (d *desk) changes() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// lease returns the slot's lease on this database.
func (d *desk) lease(slot int) (job.Lease, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.leases[slot]
	return l, ok
}

// batchTarget is how long a batch should take, if its job asks for this.
func (d *desk) batchTarget(asked time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.scale > 0 && d.scale < 1 {
		return max(time.Duration(float64(asked)*d.scale), shortestBatch)
	}
	return asked
}

// runnable reports whether the last word on a job lets it run, and its limits as they now are. A job of which nothing was heard is
// the ledger's to judge.
func (d *desk) runnable(j job.Job) (limits job.Limits, ok bool) {
	c, known := d.controls.Get(j.Database, j.Name)
	if !known || c.Job != j.ID || c.Revision < j.Revision {
		return j.Limits, true
	}
	return c.Limits, c.State.Active()
}

// waitEnd returns true once the job of a delivery is heard to have ended, or to have a later one under its name; false when ctx ends.
func (d *desk) waitEnd(ctx context.Context, ref job.Ref) bool {
	for {
		changed := d.changes()
		c, known := d.controls.Get(ref.Database, ref.Name)
		if known && (c.Job > ref.Job || c.Job == ref.Job && c.State.Ended()) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

func (d *desk) setReachable(yes bool) (changed bool) {
	d.mu.Lock()
	changed = d.reachable != yes
	d.reachable = yes
	d.mu.Unlock()
	if changed {
		d.pulse()
	}
	return changed
}

func (d *desk) isReachable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reachable
}
