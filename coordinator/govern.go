package coordinator

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
)

const (
	lookEvery     = 50 * time.Millisecond  // the inner loop: hold or release
	publishEvery  = 500 * time.Millisecond // the outer loop: rate and leases
	governTimeout = 3 * time.Second
	askedFor      = 30 * time.Second        // a tool that has asked may ask again: signals are read for it as for a batch
	allHeard      = 1500 * time.Millisecond // every worker that is there has told of itself once
	decisionStale = 3 * time.Second         // of an answer to others: as long as workers trust a budget
)

// governor reads one database's signals, decides its budget, and shares it out as leases.
type governor struct {
	*leadership
	ledger   *store.Leader // over connections of its own
	runnable func(ctx context.Context, ids []job.ID, most int) (map[job.ID]int, error)
	send     func(job.Budget) error
	// connected returns why NATS is away.
	connected func() error
	sense     *sense
	control   *throttle.Governor
	progress  *progress
	shares    *shares
	seq       int64
	budget    job.Budget // the last one
	attended  time.Time  // when what changes rarely was read
	moves     int64      // of the fleet, of growth and of the bell, when leases were last shared out
	held      bool
	set       job.DatabaseRules
	probing   bool              // the foreground probe has a rule
	brake     []throttle.Reason // what holds above the controller

	calendars calendars
	asked     atomic.Int64 // when another tool asked last, in Unix nanoseconds
	wanted    atomic.Int64 // slots that the last budget could have used

	mu        sync.Mutex
	sample    throttle.Sample
	decision  throttle.Decision
	decided   time.Time
	heldSince time.Time // zero: not held
	leases    []job.Lease
	lagTarget job.Duration
	began     time.Time // this leadership
}

func newGovernor(l *leadership, db Database) *governor {
	own := &store.Leader{Store: store.New(db.Signals, db.Ledger.Database()), Owner: l.ledger.Owner, Epoch: l.ledger.Epoch}
	return &governor{
		leadership: l, ledger: own, runnable: own.Runnable, send: l.c.cfg.Queue.PublishBudget, connected: l.c.cfg.Queue.Healthy,
		sense: newSense(l, own, db), progress: newProgress(), shares: &shares{}, began: time.Now(),
		control: throttle.NewGovernor(throttle.Rules{Loops: l.c.cfg.Loops}),
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
	g.sense.expect(expected)
	var reading sync.WaitGroup
	reading.Go(func() { g.sense.run(ctx) })
	g.turns(ctx, lookEvery, g.tick)
	reading.Wait()
	g.sense.close()
}

func (l *leadership) replicas(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, governTimeout)
	defer cancel()
	return l.ledger.Replicas(ctx)
}

// tick is one turn of the inner loop; twice a second it is one of the outer loop too. A hold or a release is published at once.
func (g *governor) tick(term context.Context) {
	// A link that hangs must not silence the governor for longer than it takes to find out.
	ctx, cancel := context.WithTimeout(term, governTimeout)
	defer cancel()
	if !g.ready() {
		return
	}
	active := g.active()
	outer := time.Since(g.attended) >= publishEvery
	if g.early(active) || !outer && !g.busy(active) {
		return
	}
	if outer {
		g.attended = time.Now()
		g.attend(ctx, active)
	}
	decision := g.decide(ctx, active)
	if term.Err() != nil {
		return
	}
	g.act(ctx, outer, active, decision)
}

// act makes a decision known. A hold goes out before anything else is asked of a database that may be slow by now. A release goes
// out with leases of its own: those of the hold may stand for no rate at all.
func (g *governor) act(ctx context.Context, outer bool, active []job.Job, decision throttle.Decision) {
	if decision.Hold && !g.budget.Hold {
		g.publish(ctx, decision)
	}
	if len(g.deaf()) > 0 {
		if outer {
			g.publish(ctx, decision)
		}
		return
	}
	moves := g.c.roster.moved() + g.growth.moved() + g.rings()
	if outer || moves != g.moves || g.budget.Hold && !decision.Hold {
		g.moves = moves
		g.share(ctx, active, decision)
		g.publish(ctx, decision)
	}
}

func (g *governor) active() []job.Job {
	return slices.DeleteFunc(slices.Clone(g.snapshot()), func(j job.Job) bool { return !j.State.Active() })
}

// early reports that a fleet is at work and has not told of itself yet: a budget without its leases would have it hand every range back.
func (g *governor) early(active []job.Job) bool {
	now, since := time.Now(), g.c.listening
	if back := g.c.returned.Load(); back != nil {
		since = *back
	}
	return g.seq == 0 && now.Sub(since) < allHeard && slices.ContainsFunc(active, func(j job.Job) bool { return now.Sub(j.Started) > learnMost })
}

// deaf holds the fleet, with the leases that it has, while NATS is away and until every worker has been heard again: leases that were
// shared out among those who could not be heard would have all of them hand their ranges back.
func (g *governor) deaf() []throttle.Reason {
	back := g.c.returned.Load()
	if g.connected() == nil && (back == nil || time.Since(*back) >= allHeard) {
		return nil
	}
	return []throttle.Reason{{Signal: "workers", Text: "NATS was away; the workers are about to be heard again"}}
}

// busy reports whether signals are needed fresh: a batch may start, or another tool may go.
func (g *governor) busy(active []job.Job) bool {
	return len(active) > 0 || time.Since(time.Unix(0, g.asked.Load())) < askedFor
}

// attend brings up to date what changes rarely: rules, the brake, what the fleet has written.
func (g *governor) attend(ctx context.Context, active []job.Job) {
	g.brake = nil
	set, _, err := g.ledger.Throttle(ctx)
	if err == nil {
		var brake job.Brake
		var on bool
		if brake, on, err = g.ledger.Brake(ctx); err == nil && on {
			why := brake.Why()
			g.brake = append(g.brake, throttle.Reason{Signal: why.Signal, Text: why.Text, Hard: why.Hard})
		}
	}
	switch {
	case err == nil:
		g.set = set
		g.calendars.override(set)
	case !errors.Is(err, context.Canceled): // else the term is over
		g.brake = append(g.brake, throttle.Reason{Signal: "ledger", Hard: true, Text: "the database does not answer: " + postgres.Describe(err)})
	}
	rules, checks := rulesFor(active, g.set)
	rules.Loops = g.c.cfg.Loops
	g.control.SetRules(rules)
	_, g.probing = rules.Signals[throttle.SignalProbe]
	g.sense.use(ctx, g.busy(active), active, checks)
	g.progress.note(time.Now(), active, g.c.roster.work)
}

// decide reads the signals and asks the controller. What a person holds is a decision above it.
func (g *governor) decide(ctx context.Context, active []job.Job) throttle.Decision {
	g.sense.quiet(!g.held && g.shares.active > 0)
	sample := g.sense.look(ctx, g.busy(active))
	for i, m := range sample.Members {
		sample.Members[i].Policy = policy(active, m.Name)
	}
	sample.Rows, sample.RowsPerSlot = g.progress.rows, g.progress.perSlot
	sample.WALForecast = walForecast(active)
	sample.Cores, _ = g.sense.server.Cores()
	sample.Active, sample.Slots, sample.Waiting = g.shares.active, g.shares.slots, g.c.roster.waiting(ids(active))
	decision := g.control.Step(sample)
	g.sense.probe.SetStrict(slices.ContainsFunc(decision.Reasons, func(r throttle.Reason) bool { return r.Signal == throttle.SignalForeground }))
	above := slices.Concat(g.brake, g.deaf())
	if g.probing {
		above = append(above, g.sense.learning(active)...)
	}
	if len(above) > 0 {
		decision.Hold = true
		decision.Reasons = slices.Concat(above, decision.Reasons)
	}
	if decision.Hold != g.held {
		g.held = decision.Hold
		if g.held {
			g.log.Info("fleet held", zap.String("reason", firstReason(decision)))
		} else {
			g.log.Info("fleet released")
		}
	}
	g.note(time.Now(), sample, decision)
	return decision
}

// walForecast is what a row of the jobs is expected to cost in bytes of WAL, by their sample batches; 0 where none were made.
func walForecast(active []job.Job) float64 {
	var wal, rows float64
	for _, j := range active {
		if f := j.Forecast; f != nil && f.Rows.High > 0 {
			wal += float64(f.WAL.Low+f.WAL.High) / 2
			rows += float64(f.Rows.Low+f.Rows.High) / 2
		}
	}
	if rows == 0 {
		return 0
	}
	return wal / rows
}

// ids is the set of the jobs.
func ids(of []job.Job) map[job.ID]bool {
	set := map[job.ID]bool{}
	for _, j := range of {
		set[j.ID] = true
	}
	return set
}

func firstReason(d throttle.Decision) string {
	if len(d.Reasons) == 0 {
		return ""
	}
	return d.Reasons[0].Text
}

// share decides who gets how much of the budget.
func (g *governor) share(ctx context.Context, active []job.Job, decision throttle.Decision) {
	here, names := map[job.ID]bool{}, map[job.ID]string{}
	for _, j := range g.snapshot() {
		here[j.ID], names[j.ID] = true, j.Name
	}
	slots, holding := g.c.roster.slots(g.ledger.Database(), here)
	runnable, err := g.runnable(ctx, slices.Collect(maps.Keys(ids(active))), max(len(slots), mostWorkers(active)))
	if err != nil {
		// A worker whose lease is withdrawn now could not commit its hand-back: it keeps the lease, and starts no batch.
		g.complain(ctx, "open ranges not counted", err)
		g.brake = append(g.brake, throttle.Reason{Signal: "ledger", Hard: true, Text: "open ranges cannot be counted: " + postgres.Describe(err)})
		return
	}
	now := time.Now()
	fleet := supply{slots: len(slots), perSlot: g.progress.perSlot, perRow: g.control.WALPerRow()}
	fleet.most = fleet.capped(g.set.MaxRowsPerSecond, g.set.MaxWALBytesPerSecond)
	all := make([]terms, len(active))
	for i, j := range active {
		schedule, err := g.calendars.of(j)
		all[i] = termsOf(j, schedule, err, now, decision, fleet)
		if a, bounded := g.growth.of(j.ID); bounded {
			all[i] = all[i].growing(a, fleet)
		}
	}
	g.wanted.Store(int64(g.want(now, decision, active, holding, runnable, fleet)))
	leases := g.shares.allocate(now, decision, all, slots, holding, runnable, fleet.perSlot)
	for i, l := range leases {
		leases[i].Name = names[l.Job]
	}
	g.budget.Leases = leases
	g.shared(slices.Clone(leases), job.Duration(lagConfig(active).Target))
	for _, t := range all {
		g.c.views.decided(g.ledger.Database(), t, decision, g.lags(), leases, fleet)
	}
}

// publish sends the budget. It is sent even if nothing changed: its age is what workers trust.
func (g *governor) publish(ctx context.Context, decision throttle.Decision) {
	g.seq++
	g.budget.Version, g.budget.Database = job.ProtocolVersion, g.ledger.Database()
	g.budget.Epoch, g.budget.Seq = g.ledger.Epoch, g.seq
	g.budget.Hold = decision.Hold || len(g.brake) > 0
	g.budget.BatchScale = decision.BatchScale
	g.budget.Reasons = reasons(decision.Reasons)
	if err := g.send(g.budget); err != nil {
		g.complain(ctx, "budget not published", err)
	}
}

// lags reports the replicas for people.
func (g *governor) lags() map[string]job.Lag {
	g.mu.Lock()
	defer g.mu.Unlock()
	lags := map[string]job.Lag{}
	for _, m := range g.sample.Members {
		lags[m.Name] = job.Lag{Seconds: m.Lag, Bytes: int64(m.Bytes), Missing: m.Missing}
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

// calendar is when a job may run, and how fast.
func (g *governor) calendar(j job.Job) throttle.Calendar {
	schedule, err := g.calendars.of(j)
	if err != nil { // submit and set have refused it
		return nil
	}
	return schedule
}

// verdict says whether a batch may start now, for others who ask; not known where the last decision is old.
func (g *governor) verdict(now time.Time) (ok bool, why job.Reason, known bool) {
	g.asked.Store(now.UnixNano())
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.decided.IsZero() || now.Sub(g.decided) > decisionStale {
		return false, job.Reason{}, false
	}
	if all := reasons(g.decision.Reasons); g.decision.Hold && len(all) > 0 {
		why = all[0]
	}
	return !g.decision.Hold, why, true
}

// signals returns the last readings, for people.
func (g *governor) signals() []job.Signal {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]job.Signal, len(g.sample.Signals))
	for i, r := range g.sample.Signals {
		all[i] = job.Signal{Name: r.Signal, Value: r.Value, Detail: r.Detail, At: r.At}
		if r.Err != nil {
			all[i].Error = r.Err.Error()
		}
	}
	return all
}

func reasons(of []throttle.Reason) []job.Reason {
	out := make([]job.Reason, len(of))
	for i, r := range of {
		out[i] = job.Reason{Signal: r.Signal, Observed: finite(r.Observed), Threshold: finite(r.Threshold), Text: r.Text, Hard: r.Hard}
	}
	return out
}

// finite is a number that JSON has: a check may well answer +Inf, and a budget that cannot be written would stop the fleet without a word.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, -math.MaxFloat64), math.MaxFloat64)
}
