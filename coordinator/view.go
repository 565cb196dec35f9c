package coordinator

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
)

const (
	recordEvery = time.Second
	recordShare = 20
	recordMost  = 10 * time.Second
	sampleEvery = 5 * time.Second
)

// Live is what only the leader knows of a job.
type Live struct {
	Rate     float64 // rows written per second, over the last ten seconds
	ETA      *job.ETA
	Lag      map[string]job.Lag
	Limiting []job.Reason
	Stream   *job.StreamLag
	Leases   int
	Budget   float64   // rows/s that those leases add up to; 0: without limit
	Most     float64   // rows/s that caps allow; 0: no cap
	Moved    time.Time // when a batch was last seen, or batches became possible again
}

// views holds what the leaderships here know, for people to read.
type views struct {
	mu     sync.Mutex
	live   map[string]map[job.ID]Live
	losses map[string]map[job.ID]*throttle.Losses
}

func newViews() *views {
	return &views{live: map[string]map[job.ID]Live{}, losses: map[string]map[job.ID]*throttle.Losses{}}
}

func (v *views) get(database string, id job.ID) (Live, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.live[database][id]
	l.Lag = maps.Clone(l.Lag)
	return l, ok
}

func (v *views) forget(database string) {
	v.mu.Lock()
	delete(v.live, database)
	delete(v.losses, database)
	v.mu.Unlock()
}

// keep forgets the jobs of a database that have ended.
func (v *views) keep(database string, open map[job.ID]bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.live[database], func(id job.ID, _ Live) bool { return !open[id] })
	maps.DeleteFunc(v.losses[database], func(id job.ID, _ *throttle.Losses) bool { return !open[id] })
}

// update changes what is known of a job.
func (v *views) update(database string, id job.ID, fn func(*Live)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.live[database] == nil {
		v.live[database] = map[job.ID]Live{}
	}
	l := v.live[database][id]
	fn(&l)
	v.live[database][id] = l
}

// lose notes what a job loses from now on, until the next call: to which signal, and what part of what it could do, from 0 to 1.
func (v *views) lose(database string, id job.ID, at time.Time, signal string, lost float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.losses[database] == nil {
		v.losses[database] = map[job.ID]*throttle.Losses{}
	}
	l := v.losses[database][id]
	if l == nil {
		l = &throttle.Losses{}
		v.losses[database][id] = l
	}
	l.Add(at, signal, lost)
}

// lost takes what a job lost since the last call.
func (v *views) lost(database string, id job.ID) (watched float64, lost []throttle.Loss) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := v.losses[database][id]; l != nil {
		return l.Take()
	}
	return 0, nil
}

// decided notes what holds a job back, the binding cause first, and what it loses to that.
func (v *views) decided(database string, t terms, d throttle.Decision, lags map[string]job.Lag, leases []job.Lease, s supply) {
	given, rate := 0, 0.0
	for _, l := range leases {
		if l.Job == t.job.ID {
			given++
			rate += l.Rate
		}
	}
	why, lost := t.explain(d, given, rate, s)
	most := s.capped(t.job.Limits.Throttle.MaxRowsPerSecond, t.job.Limits.Throttle.MaxWALBytesPerSecond)
	if s.most > 0 && (most == 0 || s.most < most) {
		most = s.most
	}
	v.update(database, t.job.ID, func(l *Live) { l.Lag, l.Limiting, l.Leases, l.Budget, l.Most = lags, why, given, rate, most })
	signal := ""
	if len(why) > 0 {
		signal = why[0].Signal
	}
	v.lose(database, t.job.ID, time.Now(), signal, lost)
}

// blind notes that no budget is given, because it is not known which replicas must be waited for.
func (v *views) blind(database string, jobs []job.Job, err error) {
	why := []job.Reason{{Signal: "replicas", Hard: true, Text: "the replicas to wait for cannot be read: " + postgres.Describe(err)}}
	for _, j := range jobs {
		if j.State.Active() {
			v.update(database, j.ID, func(l *Live) { l.Limiting = why })
		}
	}
}

// record follows each job's progress, for people and for the history in the ledger.
func (l *leadership) record(ctx context.Context) {
	paces, historian := map[job.ID]*pace{}, newHistorian(l)
	var sampled, next time.Time
	every(ctx, recordEvery, within(recordMost, func(ctx context.Context) {
		began := time.Now()
		if began.Before(next) {
			return
		}
		// Sums over a long plan take their time: spend at most a twentieth of a core on them.
		defer func() { next = began.Add(recordShare * time.Since(began)) }()
		keep := time.Since(sampled) >= sampleEvery
		open := map[job.ID]bool{}
		l.each(ctx, func(j job.Job) bool { return !j.State.Ended() }, func(j job.Job) {
			open[j.ID] = true
			st, err := l.ledger.Status(ctx, j.ID)
			if err != nil {
				l.complain(ctx, "status not read", err, zap.String("job", j.Name))
				return
			}
			p := paces[j.ID]
			if p == nil {
				p = &pace{}
				paces[j.ID] = p
			}
			now, windows := time.Now(), l.gov.calendar(j)
			p.note(st, now, windows)
			var stream *job.StreamLag
			lag, err := l.c.cfg.Queue.Lag(ctx, j.Database, j.Name)
			switch {
			case err == nil:
				lag.Expected = st.Ranges.Released + st.Ranges.Running
				stream = &lag
			case errors.Is(err, queue.ErrNoConsumer) && j.State.Active():
				l.noConsumer.Store(true)
			}
			limiting, worst, live := "", 0.0, Live{}
			l.c.views.update(j.Database, j.ID, func(v *Live) {
				v.Rate, v.ETA, v.Stream, v.Moved = p.rate, p.eta(st, now, windows, v.Most), stream, p.moved
				if !j.State.Active() {
					v.Rate, v.Limiting = 0, nil
				}
				if len(v.Limiting) > 0 {
					limiting = v.Limiting[0].Signal
				}
				for _, lag := range v.Lag {
					worst = max(worst, lag.Seconds)
				}
				live = *v
			})
			if keep && j.State.Active() {
				point := store.Sample{Rows: st.Rows, Rate: p.rate, Lag: worst, Limiting: limiting, Moment: historian.moment(ctx, now, st, live)}
				point.Watched, point.Lost = l.c.views.lost(j.Database, j.ID)
				if err := l.ledger.AddSample(ctx, j.ID, point); err != nil {
					l.complain(ctx, "sample not kept", err)
				}
			}
		})
		if ctx.Err() != nil {
			return // not every job was looked at
		}
		l.c.views.keep(l.ledger.Database(), open)
		historian.keep(open)
		if keep {
			sampled = time.Now()
		}
	}))
}

// explain tells people why a job does not move.
func (l *leadership) explain(ctx context.Context, j job.Job, reason string) {
	if j.Reason == reason {
		return
	}
	if err := l.ledger.Explain(ctx, j.ID, reason); err != nil {
		l.complain(ctx, "reason not stored", err)
	}
}
