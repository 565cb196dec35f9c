package coordinator

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

const (
	governEvery   = 200 * time.Millisecond
	governTimeout = 3 * time.Second
	idleEvery     = 2 * time.Second // between readings while no batch may run
)

// governor reads one database's signals, decides its budget, and shares it out as leases.
type governor struct {
	*leadership
	lag    *signals.Lag
	turns  throttle.Turns
	stop   *throttle.LagStop
	seq    int64
	known  map[string]bool
	held   bool
	readAt time.Time
	leases []job.Lease // the last ones: a lease moves only for a reason

	mu       sync.Mutex
	sample   throttle.Sample
	decision throttle.Decision
}

func newGovernor(l *leadership) *governor {
	return &governor{
		leadership: l, lag: signals.NewLag(l.ledger.Pool(), time.Now, 0), stop: throttle.NewLagStop(throttle.LagConfig{}),
		known: map[string]bool{},
	}
}

// govern publishes a budget several times a second for as long as this leadership stands; workers start no batch without one.
func (l *leadership) govern(ctx context.Context) {
	g := l.gov
	expected, err := l.replicas(ctx)
	for err != nil && ctx.Err() == nil {
		// Without the names of those that are away the fleet must not run.
		l.complain(ctx, "replicas not read", err)
		l.c.views.blind(l.ledger.Database(), l.snapshot(), err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		expected, err = l.replicas(ctx)
	}
	g.lag.Expect(expected...)
	for _, name := range expected {
		g.known[name] = true
	}
	every(ctx, governEvery, g.tick)
}

func (l *leadership) replicas(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, governTimeout)
	defer cancel()
	return l.ledger.Replicas(ctx)
}

func (g *governor) tick(term context.Context) {
	// A link that hangs must not silence the governor for longer than it takes to find out.
	ctx, cancel := context.WithTimeout(term, governTimeout)
	defer cancel()
	if !g.ready() {
		return
	}
	var active []job.Job
	for _, j := range g.snapshot() {
		if j.State.Active() {
			active = append(active, j)
		}
	}
	decision := g.decide(ctx, active)
	if term.Err() == nil {
		g.publish(ctx, active, decision)
	}
}

// decide reads the signals and asks the controller. The brake of backfleet.hold() is a decision above it.
func (g *governor) decide(ctx context.Context, active []job.Job) throttle.Decision {
	if len(active) > 0 {
		if err := g.lag.Beat(ctx); err != nil {
			g.log.Debug("heartbeat not written", zap.Error(err))
		}
	}
	sample := g.sampleNow(ctx, len(active) > 0)
	g.stop.SetConfig(lagConfig(active))
	for i, m := range sample.Members {
		sample.Members[i].Policy = policy(active, m.Name)
		if !g.known[m.Name] && !m.Missing {
			if err := g.ledger.RememberReplica(ctx, m.Name); err == nil {
				g.known[m.Name] = true
			}
		}
	}
	decision := g.stop.Step(sample)
	brake, on, err := g.ledger.Brake(ctx)
	switch {
	case errors.Is(err, context.Canceled): // the term is over
		return decision
	case err != nil:
		decision.Hold = true
		decision.Reasons = append([]throttle.Reason{{Signal: "ledger", Hard: true, Text: "the database does not answer: " + postgres.Describe(err)}}, decision.Reasons...)
	case on:
		decision.Hold = true
		decision.Reasons = append([]throttle.Reason{{Signal: "brake", Hard: true, Text: brake.Why().Text}}, decision.Reasons...)
	}
	if decision.Hold != g.held {
		g.held = decision.Hold
		if g.held {
			g.log.Info("fleet held", zap.String("reason", firstReason(decision)))
		} else {
			g.log.Info("fleet released")
		}
	}
	g.mu.Lock()
	g.sample, g.decision = sample, decision
	g.mu.Unlock()
	return decision
}

// sampleNow reads the replicas; rarely while nothing runs.
func (g *governor) sampleNow(ctx context.Context, busy bool) throttle.Sample {
	if !busy && time.Since(g.readAt) < idleEvery {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.sample
	}
	g.readAt = time.Now()
	return g.lag.Read(ctx)
}

func firstReason(d throttle.Decision) string {
	if len(d.Reasons) == 0 {
		return ""
	}
	return d.Reasons[0].Text
}

// lagConfig is the strictest of the jobs' thresholds: one database has one lag.
func lagConfig(active []job.Job) throttle.LagConfig {
	var c throttle.LagConfig
	least := func(have *time.Duration, want job.Duration) {
		if want.D() > 0 && (*have == 0 || want.D() < *have) {
			*have = want.D()
		}
	}
	for _, j := range active {
		least(&c.Target, j.Limits.Throttle.Lag.Target)
		least(&c.Soft, j.Limits.Throttle.Lag.Soft)
		least(&c.Hard, j.Limits.Throttle.Lag.Hard)
	}
	return c
}

// policy ignores a replica only if every job says so.
func policy(active []job.Job, name string) throttle.Policy {
	if len(active) == 0 {
		return throttle.PolicyHold
	}
	for _, j := range active {
		if throttle.Policy(j.Limits.Throttle.Replicas[name]) != throttle.PolicyIgnore {
			return throttle.PolicyHold
		}
	}
	return throttle.PolicyIgnore
}

// publish shares the budget out and sends it. It is sent even if nothing changed: its age is what workers trust.
func (g *governor) publish(ctx context.Context, active []job.Job, decision throttle.Decision) {
	g.seq++
	b := job.Budget{
		Version: job.ProtocolVersion, Database: g.ledger.Database(), Epoch: g.ledger.Epoch, Seq: g.seq, Hold: decision.Hold,
		Reasons: reasons(decision),
	}
	here, names := map[job.ID]bool{}, map[job.ID]string{}
	for _, j := range g.snapshot() {
		here[j.ID], names[j.ID] = true, j.Name
	}
	slots, holding := g.c.roster.slots(g.ledger.Database(), here)
	demands, err := g.demands(ctx, active, holding, len(slots))
	if err != nil {
		// A worker whose lease is withdrawn now could not commit its hand-back: it keeps the lease, and starts no batch.
		g.complain(ctx, "open ranges not counted", err)
		b.Hold, b.Leases = true, g.leases
	} else {
		for _, grant := range throttle.Allocate(throttle.Supply{Rate: decision.RowsPerSec, Slots: slots}, g.turns.Choose(time.Now(), len(slots), demands)) {
			id := job.ID(grant.Job)
			b.Leases = append(b.Leases, job.Lease{Worker: grant.Worker, Slot: grant.Slot.Slot, Job: id, Name: names[id], Rate: grant.Rate})
		}
	}
	g.leases = b.Leases
	if err := g.c.cfg.Queue.PublishBudget(b); err != nil {
		g.complain(ctx, "budget not published", err)
	}
	g.c.views.budget(g.ledger.Database(), active, decision, g.lags(), b.Leases, len(slots))
}

// demands says what each job could use.
func (g *governor) demands(ctx context.Context, active []job.Job, holding map[job.ID][]throttle.Slot, slots int) ([]throttle.Demand, error) {
	for _, l := range g.leases {
		holding[l.Job] = append(holding[l.Job], throttle.Slot{Worker: l.Worker, Slot: l.Slot})
	}
	demands := make([]throttle.Demand, 0, len(active))
	for _, j := range active {
		runnable, err := g.ledger.Runnable(ctx, j.ID, slots)
		if err != nil {
			return nil, err
		}
		demands = append(demands, throttle.Demand{
			Job: string(j.ID), Weight: j.Limits.Weight, MaxSlots: j.Limits.Workers.Max,
			Runnable: runnable, MaxRate: float64(j.Limits.Throttle.MaxRowsPerSecond),
			Holding: holding[j.ID],
		})
	}
	return demands, nil
}

// lags reports the replicas for people.
func (g *governor) lags() map[string]job.Lag {
	g.mu.Lock()
	defer g.mu.Unlock()
	lags := map[string]job.Lag{}
	for _, m := range g.sample.Members {
		lags[m.Name] = job.Lag{Seconds: m.Lag, Bytes: int64(m.Bytes)}
	}
	return lags
}

// missing names the replicas that are away and that nobody ignores; not known where the last reading failed, or none was made yet.
func (g *governor) missing() (names []string, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.sample.Members {
		if m.Missing && m.Policy != throttle.PolicyIgnore {
			names = append(names, m.Name)
		}
	}
	return names, !g.sample.ReadAt.IsZero() && g.sample.Err == nil
}

func reasons(d throttle.Decision) []job.Reason {
	out := make([]job.Reason, len(d.Reasons))
	for i, r := range d.Reasons {
		out[i] = job.Reason{Signal: r.Signal, Observed: r.Observed, Threshold: r.Threshold, Text: r.Text, Hard: r.Hard}
	}
	return out
}
