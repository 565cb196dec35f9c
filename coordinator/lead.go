package coordinator

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

const (
	renewTimeout = 3 * time.Second // two renewals may be lost before the leadership lapses
	reachTimeout = time.Second     // for an answer of NATS
	jobsEvery    = 200 * time.Millisecond
	longestTick  = 2 * time.Minute // of the loops that do more than read; a freeze of thousands of partitions takes a part of it
)

// candidate leads a database whenever it may.
func (c *Coordinator) candidate(ctx context.Context, db Database) {
	log := c.cfg.Logger.With(zap.String("database", db.Ledger.Database()))
	other := "" // who was last seen to lead
	every(ctx, store.LeaderRenewal/2, func(ctx context.Context) {
		leader, err := c.tryLead(ctx, db.Ledger)
		switch {
		case err == nil:
			other = ""
			c.lead(ctx, log, leader, db)
		case ctx.Err() != nil:
		case errors.Is(err, store.ErrNotLeader):
			if owner, _, live, err := db.Ledger.LeaderName(ctx); err == nil && live && owner != other {
				other = owner
				log.Info("another coordinator leads; standing by", zap.String("by", owner))
			}
		default:
			log.Warn("cannot lead", zap.Error(err))
		}
	})
}

// tryLead takes or renews the leadership, unless NATS is out of reach: whom no worker hears must not lead, for another may be heard.
// Where nobody reaches it the leadership lapses, and whoever is the first to reach it again leads.
func (c *Coordinator) tryLead(ctx context.Context, s *store.Store) (*store.Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if err := c.cfg.Queue.Reach(ctx, reachTimeout); err != nil {
		return nil, err
	}
	return s.Lead(ctx, c.cfg.Name)
}

// lead runs every loop of a leadership until it is lost or ctx ends.
func (c *Coordinator) lead(ctx context.Context, log *zap.Logger, leader *store.Leader, db Database) {
	log.Info("leading", zap.Int64("epoch", leader.Epoch))
	term, end := context.WithCancel(ctx)
	l := newLeadership(c, log, leader, db)
	c.governs(leader.Database(), l.gov)
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){l.watchJobs, l.plan, l.deliver, l.govern, l.verify, l.watchGrowth, l.record, l.notify, l.watchDivergence} {
		loops.Go(func() { loop(term) })
	}
	every(term, store.LeaderRenewal, func(ctx context.Context) {
		renewed, err := c.tryLead(ctx, l.gov.ledger.Store)
		switch {
		case ctx.Err() != nil:
		case err == nil && renewed.Epoch == leader.Epoch:
		case err == nil, errors.Is(err, store.ErrNotLeader):
			log.Warn("leadership lost", zap.Int64("epoch", leader.Epoch))
			end()
		default:
			// Whatever this leadership still writes is refused once it has lapsed.
			log.Warn("leadership not renewed", zap.Error(err))
		}
	})
	end()
	loops.Wait()
	c.governs(leader.Database(), nil)
	c.views.forget(leader.Database())
	if ctx.Err() != nil {
		resign, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := leader.Resign(resign); err != nil {
			log.Debug("not resigned", zap.Error(err))
		}
	}
}

// leadership is one term: what its loops share.
type leadership struct {
	c      *Coordinator
	log    *zap.Logger
	ledger *store.Leader
	gov    *governor
	growth *growth
	// noConsumer says that a job's consumer was deleted by somebody else.
	noConsumer atomic.Bool
	care       care
	complaints complaints

	mu       sync.Mutex
	jobs     []job.Job
	readJobs bool
	stir     stir
	bell     chan struct{} // closed to have the loops take their turn at once, and then replaced
	rung     int64
}

func newLeadership(c *Coordinator, log *zap.Logger, leader *store.Leader, db Database) *leadership {
	l := &leadership{c: c, log: log, ledger: leader, bell: make(chan struct{})}
	l.growth = &growth{leadership: l, jobs: map[job.ID]*grown{}, found: map[job.ID]allowance{}}
	l.gov = newGovernor(l, db)
	return l
}

// governs says which governor answers for a database; nil: none of this coordinator.
func (c *Coordinator) governs(database string, g *governor) {
	c.leading.Lock()
	defer c.leading.Unlock()
	if g == nil {
		delete(c.governors, database)
		return
	}
	c.governors[database] = g
}

// watchJobs keeps the list of jobs that there is something to do for.
func (l *leadership) watchJobs(ctx context.Context) {
	every(ctx, jobsEvery, within(governTimeout, func(ctx context.Context) {
		jobs, err := l.ledger.Open(ctx)
		if err != nil {
			l.complain(ctx, "jobs not read", err)
			return
		}
		l.note(jobs)
	}))
}

func (l *leadership) note(jobs []job.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs, l.readJobs = jobs, true
	l.stir.set(works(jobs))
}

// each calls fn for the jobs of a snapshot that match.
func (l *leadership) each(ctx context.Context, match func(job.Job) bool, fn func(job.Job)) {
	for _, j := range l.snapshot() {
		if ctx.Err() == nil && match(j) {
			fn(j)
		}
	}
}

// ready reports whether the jobs were read at all: until then an empty list means nothing.
func (l *leadership) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readJobs
}

func (l *leadership) snapshot() []job.Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jobs
}

// complain logs an error that a later tick may not have, now and then while it lasts; the end of the term is none.
func (l *leadership) complain(ctx context.Context, what string, err error, fields ...zap.Field) {
	if errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, store.ErrNotLeader) {
		return
	}
	if l.complaints.due(what, time.Now()) {
		l.log.Warn(what, append(fields, zap.Error(err))...)
	}
}
