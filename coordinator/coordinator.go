// Package coordinator plans jobs into ranges, releases them to the stream, governs what the fleet may cost each database, and proves
// the result. Any number of coordinators may run; for each database one leads, and only it acts.
//
// Everything it does can be done again: it keeps no state that is not in the ledger, so another may take over between any two
// statements.
package coordinator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// Config makes a Coordinator.
type Config struct {
	// Name identifies it among coordinators: unique, and new for each process.
	Name      string
	Databases []Database
	Queue     *queue.Conn
	Logger    *zap.Logger
	Now       func() time.Time // nil: time.Now
	Loops     throttle.Loops   // of the governor; the zero value is all of them
	Tracer    trace.Tracer     // records what is done for jobs as spans; nil records none
	Notify    Notifications    // the zero value tells nobody
}

// Database is one target database as a coordinator needs it.
type Database struct {
	Ledger *store.Store
	// Signals are the connections of the governor alone: nobody else's query may delay a hold. It takes up to [SignalConns].
	Signals *pgxpool.Pool
	// Replicas are those that are asked directly; the primary tells of the others.
	Replicas []signals.Replica
}

// SignalConns is how many connections the governor may hold to a database, besides one of the foreground probe and,
// where a job has SQL checks, two of theirs.
const SignalConns = 4

// Coordinator is one candidate for the leadership of each of its databases.
type Coordinator struct {
	cfg    Config
	roster *roster
	views  *views
	// reconnects counts the returns of the NATS connection: each may have come back to another store.
	reconnects atomic.Int64

	listening time.Time                 // since when workers are heard
	returned  atomic.Pointer[time.Time] // when the NATS connection came back last; nil: it was never away
	leading   sync.Mutex
	governors map[string]*governor // of the databases that it leads
}

// New returns a coordinator that has not begun.
func New(cfg Config) *Coordinator {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Coordinator{cfg: cfg, roster: newRoster(cfg.Now), views: newViews(), governors: map[string]*governor{}}
}

// Run leads where it can until ctx ends; then it resigns, so that another leads at once. It fails only where it cannot begin.
func (c *Coordinator) Run(ctx context.Context) error {
	if _, err := c.cfg.Queue.EnsureStream(ctx); err != nil {
		return fmt.Errorf("prepare the stream: %w", err)
	}
	c.cfg.Queue.OnReconnect(func() {
		now := time.Now()
		c.returned.Store(&now)
		c.reconnects.Add(1)
	})
	stop, err := c.cfg.Queue.SubscribeHellos(c.roster.hear)
	if err != nil {
		return fmt.Errorf("listen to workers: %w", err)
	}
	defer stop()
	c.listening = time.Now()
	var all sync.WaitGroup
	for _, db := range c.cfg.Databases {
		all.Go(func() { c.candidate(ctx, db) })
	}
	all.Wait()
	return nil
}

// Live returns what only the leader knows of a job: rate, ETA, lag, what limits it. False where another leads, or nobody yet.
func (c *Coordinator) Live(database string, id job.ID) (Live, bool) { return c.views.get(database, id) }

// governor is that of a database; nil where another coordinator leads, or none.
func (c *Coordinator) governor(database string) *governor {
	c.leading.Lock()
	defer c.leading.Unlock()
	return c.governors[database]
}

// Go reports whether a batch of a database may start now, and if not why. Known is false where another coordinator leads, or none.
func (c *Coordinator) Go(database string) (ok bool, why job.Reason, known bool) {
	g := c.governor(database)
	if g == nil {
		return false, job.Reason{}, false
	}
	return g.verdict(time.Now())
}

// Signals returns what the governor of a database read last; nothing where another coordinator leads, or none.
func (c *Coordinator) Signals(database string) []job.Signal {
	g := c.governor(database)
	if g == nil {
		return nil
	}
	return g.signals()
}

// Costs returns what reading the signals of a database took since this coordinator leads it; nothing where it does not.
func (c *Coordinator) Costs(database string) []job.ReadCost {
	g := c.governor(database)
	if g == nil {
		return nil
	}
	return g.sense.costs()
}

// Fleet returns what the leader of a database knows of its fleet; false where another coordinator leads, or none.
func (c *Coordinator) Fleet(database string) (job.Fleet, bool) {
	g := c.governor(database)
	if g == nil {
		return job.Fleet{}, false
	}
	f := g.fleet()
	f.Workers, f.Slots = c.roster.present(database)
	f.Lag, f.Members = g.lags(), c.roster.members(database)
	return f, true
}

// within bounds each call of fn: what a hanging link has stopped is tried anew, for everything here can be done again.
func within(most time.Duration, fn func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		fn(ctx)
	}
}

// every calls fn at once and then after each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		fn(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return
		}
	}
}
