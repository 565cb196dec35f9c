package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/throttle"
)

const (
	recordEvery = time.Second
	recordShare = 20
	recordMost  = 10 * time.Second
	sampleEvery = 5 * time.Second
	rateTime    = 10 * time.Second // over which the rate is averaged
	etaAfter    = 3 * time.Second  // of progress, before an ETA is told
)

// Live is what only the leader knows of a job.
type Live struct {
	Rate     float64 // rows written per second, over the last ten seconds
	ETA      *job.Duration
	Lag      map[string]job.Lag
	Limiting []job.Reason
	Stream   *job.StreamLag
	Leases   int
}

// views holds what the leaderships here know, for people to read.
type views struct {
	mu   sync.Mutex
	live map[string]map[job.ID]Live
}

func newViews() *views { return &views{live: map[string]map[job.ID]Live{}} }

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
	v.mu.Unlock()
}

// keep forgets the jobs of a database that have ended.
func (v *views) keep(database string, open map[job.ID]bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.live[database], func(id job.ID, _ Live) bool { return !open[id] })
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

// budget notes a decision: what holds each job back, the binding cause first.
func (v *views) budget(database string, active []job.Job, d throttle.Decision, lags map[string]job.Lag, leases []job.Lease, slots int) {
	given := map[job.ID]int{}
	for _, l := range leases {
		given[l.Job]++
	}
	for _, j := range active {
		why := reasons(d)
		if !d.Hold {
			why = append(why, limitedBy(j, given[j.ID], slots))
		}
		v.update(database, j.ID, func(l *Live) { l.Lag, l.Limiting, l.Leases = lags, why, given[j.ID] })
	}
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

// limitedBy says what binds a job that nothing holds.
func limitedBy(j job.Job, leases, slots int) job.Reason {
	limit := j.Limits.Throttle.MaxRowsPerSecond
	switch {
	case slots == 0:
		return job.Reason{Signal: "workers", Text: "no worker is connected"}
	case leases == 0:
		return job.Reason{Signal: "workers", Observed: float64(slots), Text: fmt.Sprintf("no slot is free: other jobs have all %d", slots)}
	case limit > 0:
		return job.Reason{Signal: "cap", Threshold: float64(limit), Text: fmt.Sprintf("throttle.max_rows_per_second %d", limit)}
	case leases >= j.Limits.Workers.Max:
		return job.Reason{Signal: "workers", Observed: float64(leases), Threshold: float64(j.Limits.Workers.Max),
			Text: fmt.Sprintf("workers.max %d", j.Limits.Workers.Max)}
	}
	return job.Reason{Signal: "workers", Observed: float64(leases), Text: fmt.Sprintf("%d slots, each at its batch target", leases)}
}

// pace averages a job's progress.
type pace struct {
	rows     int64
	fraction float64
	phase    int
	at       time.Time
	rate     float64 // rows/s
	speed    float64 // of the phase, 1/s
	moving   time.Duration
}

// note takes a new reading. A new phase starts over.
func (p *pace) note(st job.Status, now time.Time) {
	dt := now.Sub(p.at).Seconds()
	if p.at.IsZero() || st.Round != p.phase || dt <= 0 || st.Rows < p.rows {
		*p = pace{rows: st.Rows, fraction: st.Fraction, phase: st.Round, at: now, rate: p.rate}
		return
	}
	weight := min(1, dt/rateTime.Seconds())
	if p.moving < rateTime {
		weight = max(weight, dt/(p.moving.Seconds()+dt))
	}
	p.rate += weight * (float64(st.Rows-p.rows)/dt - p.rate)
	p.speed += weight * ((st.Fraction-p.fraction)/dt - p.speed)
	p.moving += now.Sub(p.at)
	p.rows, p.fraction, p.at = st.Rows, st.Fraction, now
}

// eta is how long the phase still takes at the present speed; nil while that cannot be said honestly.
func (p *pace) eta(st job.Status) *job.Duration {
	if p.moving < etaAfter || p.speed <= 1e-9 || !st.State.Active() {
		return nil
	}
	left := (1 - st.Fraction) / p.speed
	if left > (10 * 365 * 24 * time.Hour).Seconds() {
		return nil
	}
	d := job.Duration(time.Duration(left * float64(time.Second)).Round(time.Second))
	return &d
}

// record follows each job's progress, for people and for the history in the ledger.
func (l *leadership) record(ctx context.Context) {
	paces := map[job.ID]*pace{}
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
			p.note(st, time.Now())
			var stream *job.StreamLag
			lag, err := l.c.cfg.Queue.Lag(ctx, j.Database, j.Name)
			switch {
			case err == nil:
				stream = &lag
			case errors.Is(err, queue.ErrNoConsumer) && j.State.Active():
				l.noConsumer.Store(true)
			}
			limiting, worst := "", 0.0
			l.c.views.update(j.Database, j.ID, func(v *Live) {
				v.Rate, v.ETA, v.Stream = p.rate, p.eta(st), stream
				if !j.State.Active() {
					v.Rate, v.ETA, v.Limiting = 0, nil, nil
				}
				if len(v.Limiting) > 0 {
					limiting = v.Limiting[0].Signal
				}
				for _, lag := range v.Lag {
					worst = max(worst, lag.Seconds)
				}
			})
			if keep && j.State.Active() {
				if err := l.ledger.AddSample(ctx, j.ID, st.Rows, p.rate, worst, limiting); err != nil {
					l.complain(ctx, "sample not kept", err)
				}
			}
		})
		if ctx.Err() != nil {
			return // not every job was looked at
		}
		l.c.views.keep(l.ledger.Database(), open)
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
