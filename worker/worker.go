// Package worker carries ranges to their end: it pulls one message where it holds a lease, claims the range in the ledger, and
// walks it batch by batch, each batch's UPDATE and checkpoint in one fenced transaction.
//
// A worker decides nothing about the fleet. It starts a batch only under a fresh budget, and gives a range back, at its checkpoint,
// when its lease is withdrawn, its job stops, or it is told to end.
package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/throttle"
)

// Ledger is what a worker asks of the ledger of one database.
type Ledger interface {
	Get(ctx context.Context, id job.ID) (job.Job, error)
	Claim(ctx context.Context, ref job.Ref, owner, replySubject string, prior *job.Claim) (job.Claim, error)
	GiveBack(ctx context.Context, ref job.Ref) error
	Renew(ctx context.Context, c job.Claim) error
	HandBack(ctx context.Context, c job.Claim, redeliver bool) (again bool, err error)
	FailRange(ctx context.Context, c job.Claim, reason string) error
	NoteError(ctx context.Context, c job.Claim, reason string) error
	NoteFailing(ctx context.Context, c job.Claim, key ranges.Key) error
	Pause(ctx context.Context, id job.ID, by, reason string) (job.Job, error)
	Fail(ctx context.Context, id job.ID, by, reason string) (job.Job, error)
}

// Database is one target database that a worker can reach.
type Database struct {
	Name   string
	Pool   *pgxpool.Pool // at least one connection a slot and one more
	Ledger Ledger
}

// Config makes a Worker.
type Config struct {
	// ID names the worker in leases, the ledger and logs; unique in the fleet, and new for each process.
	ID string
	// Slots is how many ranges it carries at once; 0 means 1.
	Slots int
	// Build is the program's version, shown to people.
	Build     string
	Databases []Database
	Queue     *queue.Conn
	Logger    *zap.Logger
	Now       func() time.Time // nil: time.Now
	// Tracer records a span a claim; nil records none.
	Tracer trace.Tracer
	// Batches is told of every committed batch of a fill, with its SQL time; nil tells nobody.
	Batches func(ref job.Ref, took time.Duration)
}

// Worker is one member of the fleet.
type Worker struct {
	cfg   Config
	log   *zap.Logger
	desks map[string]*desk
	slots []*slot
	acks  sync.WaitGroup
	tally tally
	say   func(job.Hello) error
	// acking ends a little after the last slot, and every ack under way with it.
	acking context.Context

	mu      sync.Mutex
	leaving bool
	changed chan struct{} // closed at each change of a desk
}

const (
	helloEvery  = time.Second
	workEvery   = 500 * time.Millisecond // between announcements while a slot holds a range
	ackAtEnd    = 2 * time.Second        // for acks under way at shutdown; the ledger knows already what they would say
	databaseTry = 2 * time.Second
)

// New returns a worker that has not begun.
func New(cfg Config) *Worker {
	if cfg.Slots < 1 {
		cfg.Slots = 1
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Worker{
		cfg: cfg, log: cfg.Logger.With(zap.String("worker", cfg.ID)), desks: map[string]*desk{}, say: cfg.Queue.Announce,
		changed: make(chan struct{}),
	}
	for _, db := range cfg.Databases {
		d := newDesk(db, cfg.ID, cfg.Now)
		d.wake = w.pulse
		w.desks[db.Name] = d
	}
	for i := range cfg.Slots {
		w.slots = append(w.slots, &slot{w: w, n: i, limiter: throttle.NewLimiter(cfg.Now, rand.Float64())})
	}
	return w
}

// Run works until ctx ends. Then each slot finishes its batch, which takes as long as a batch may, and hands its range back; Run
// returns nil once all have. It fails only where it cannot begin.
func (w *Worker) Run(ctx context.Context) error {
	// What keeps a range alive goes on until the last one is handed back.
	live, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	acking, endAcks := context.WithCancel(live)
	defer endAcks()
	w.acking = acking
	names := make([]string, 0, len(w.desks))
	for name := range w.desks {
		names = append(names, name)
	}
	var background sync.WaitGroup
	failed := make(chan error, 1)
	background.Go(func() {
		err := w.cfg.Queue.Watch(live, names, w.onControl, w.onBudget)
		if live.Err() == nil {
			failed <- fmt.Errorf("listen to the coordinator: %w", err)
		}
	})
	background.Go(func() { w.announce(live) })

	work, stop := context.WithCancel(ctx)
	defer stop()
	var slots sync.WaitGroup
	for _, s := range w.slots {
		slots.Go(func() { s.run(work) })
	}
	w.log.Info("worker ready", zap.Int("slots", len(w.slots)), zap.Strings("databases", names))
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	w.leave()
	stop()
	slots.Wait()
	w.settleAcks(endAcks)
	end()
	background.Wait()
	w.log.Info("worker left")
	return err
}

// settleAcks waits a little for acks under way and then ends them. One that is lost costs a message that finds a range which needs
// nothing.
func (w *Worker) settleAcks(end context.CancelFunc) {
	timer := time.AfterFunc(ackAtEnd, end)
	defer timer.Stop()
	w.acks.Wait()
}

// ack acknowledges a delivery while the slot goes on: it may take 30 s if NATS is away, and nothing depends on it. It gives up when
// the job ends, for then the consumer goes and the message with it.
func (w *Worker) ack(desk *desk, d *queue.Delivery) {
	w.acks.Go(func() {
		ctx, cancel := context.WithCancel(w.acking)
		defer cancel()
		var watch sync.WaitGroup
		defer watch.Wait()
		defer cancel()
		watch.Go(func() {
			if desk.waitEnd(ctx, d.Ref) {
				cancel()
			}
		})
		err := d.Done(ctx)
		log := w.log.With(zap.String("job", d.Ref.Name), zap.Int("range", d.Ref.Index))
		switch {
		case err == nil:
		case ctx.Err() == nil:
			log.Warn("ack lost; the range is done in the ledger", zap.Error(err))
		case w.acking.Err() == nil:
			log.Debug("ack given up; the job has ended")
		}
	})
}

// pulse wakes the slots that have no lease.
func (w *Worker) pulse() {
	w.mu.Lock()
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
}

// changes returns a channel that is closed at the next change of any database. Take it before looking.
func (w *Worker) changes() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *Worker) leave() {
	w.mu.Lock()
	w.leaving = true
	w.mu.Unlock()
	w.hello()
}

// announce tells the coordinators who is here, every second, and what was done, twice a second. Only databases that answer are named;
// each is asked on its own, so that one that hangs silences nobody.
func (w *Worker) announce(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, d := range w.desks {
		asking.Go(func() { w.probe(ctx, d) })
	}
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	for n := 1; ; n++ { // the first word is that a database was reached
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n%int(helloEvery/workEvery) == 0 || w.busy() {
			w.hello()
		}
	}
}

// probe finds out, every second, whether a database answers, and says so when that changes.
func (w *Worker) probe(ctx context.Context, d *desk) {
	tick := time.NewTicker(helloEvery)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, databaseTry)
		began := time.Now()
		reachable := d.db.Pool.Ping(try) == nil
		cancel()
		if reachable {
			d.trips.add(time.Since(began))
		}
		if ctx.Err() != nil {
			return // the worker ends, not the database
		}
		if d.setReachable(reachable) {
			w.log.Info("database reachable", zap.String("database", d.db.Name), zap.Bool("yes", reachable))
			w.hello()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) busy() bool {
	return slices.ContainsFunc(w.slots, func(s *slot) bool { _, ok := s.held(); return ok })
}

func (w *Worker) hello() {
	h := job.Hello{Version: job.ProtocolVersion, Worker: w.cfg.ID, Slots: len(w.slots), Build: w.cfg.Build, Work: w.tally.all()}
	w.mu.Lock()
	h.Leaving = w.leaving
	w.mu.Unlock()
	for name, d := range w.desks {
		if d.isReachable() {
			h.Databases = append(h.Databases, name)
		}
	}
	for _, s := range w.slots {
		if held, ok := s.held(); ok {
			h.Holding = append(h.Holding, held)
		}
	}
	if err := w.say(h); err != nil {
		w.log.Debug("hello not sent", zap.Error(err))
	}
}

// View is what this worker does now and has done, for people.
func (w *Worker) View() job.WorkerView {
	v := job.WorkerView{Slots: len(w.slots), Databases: map[string]job.WorkerIn{}}
	for _, s := range w.slots {
		if _, ok := s.held(); ok {
			v.Busy++
		}
	}
	for name, d := range w.desks {
		v.Databases[name] = job.WorkerIn{Work: w.tally.sum(name), Reachable: d.isReachable(), Budget: d.gate.Heard()}
	}
	return v
}

func (w *Worker) onControl(c job.Control) {
	if d := w.desks[c.Database]; d != nil {
		d.control(c)
	}
}

func (w *Worker) onBudget(b job.Budget) {
	if d := w.desks[b.Database]; d != nil {
		d.budget(b)
	}
}

// Why a slot stops carrying a range before its end.
var (
	errShutdown  = errors.New("the worker is shutting down")
	errWithdrawn = errors.New("the lease was withdrawn")
	errStopped   = errors.New("the job was stopped")
	errDeaf      = fmt.Errorf("no budget was heard for %s", deafMost)
)
