package coordinator

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// SignalGrowth is the name of the reason that [growth] gives: a limit of one job, as its windows are.
const signalGrowth = "growth"

const (
	growthEvery  = 100 * time.Millisecond // between two looks at the sizes, or longer where looking takes long
	growthCost   = 50                     // times the duration of a look until the next
	vacuumAgain  = time.Second            // between the beginnings of two vacuums, as of one that found the table locked
	explainEvery = 2 * time.Second        // between two looks at what vacuum does and at who hinders it
	growthMost   = 10 * time.Second       // for a look
	worthFreeing = 0.25                   // of what died since the last vacuum: less is not worth one
)

// growth keeps each job's table within throttle.max_growth: it holds the job, and has vacuum free what batches leave dead.
type growth struct {
	*leadership
	jobs map[job.ID]*grown

	mu    sync.Mutex
	found map[job.ID]allowance
	moves int64 // which jobs wait
}

// allowance is how fast a job may let its table grow.
type allowance struct {
	rate float64 // rows/s; 0: it waits; +Inf: no cap
	why  job.Reason
}

// instant is a moment in the life of a job's table.
type instant struct {
	store.Horizon
	written float64 // rows, by the job
}

// grown is what is known of one job's table.
type grown struct {
	control throttle.GrowthBound
	next    time.Time // look
	from    int64     // the transaction that the last vacuum which could free space began at; 0: not known
	frees   bool

	tables    []store.Vacuuming
	now       instant
	explained time.Time
	noted     time.Time // the end of the last vacuum that was taken into account
	vacuuming bool
	began     instant   // of the vacuum under way
	ours      *vacuum   // nil: we run none
	again     time.Time // when one may begin next
	refused   string    // why ours was not run; empty: nothing against it
}

// watchGrowth looks at the tables of the jobs that have a bound, until the term ends.
func (l *leadership) watchGrowth(ctx context.Context) {
	g := l.growth
	defer g.close()
	l.turns(ctx, growthEvery, within(longestTick, func(ctx context.Context) {
		there := map[job.ID]bool{}
		l.each(ctx, func(j job.Job) bool { return j.State == job.Running && j.Limits.Throttle.MaxGrowth > 0 }, func(j job.Job) {
			there[j.ID] = true
			if err := g.look(ctx, j); err != nil {
				l.complain(ctx, "growth of the table not known", err, zap.String("job", j.Name))
			}
		})
		g.forget(there)
	}))
}

// look measures a job's table and decides. Where it cannot be measured the job waits: a bound that is not watched is none.
func (g *growth) look(ctx context.Context, j job.Job) error {
	began := time.Now()
	k := g.jobs[j.ID]
	if k == nil {
		if err := g.ledger.GrowthBase(ctx, j.ID); err != nil {
			return err
		}
		k = &grown{frees: true}
		g.jobs[j.ID] = k
	}
	if began.Before(k.next) {
		return nil
	}
	try, cancel := context.WithTimeout(ctx, growthMost)
	defer cancel()
	heap, err := g.heap(try, j.ID)
	k.next = began.Add(max(growthEvery/2, growthCost*time.Since(began)))
	if err == nil && (began.Sub(k.explained) > explainEvery || k.ours.ended()) {
		err = g.learn(try, j, k, heap)
	}
	if err != nil {
		g.set(j.ID, allowance{why: job.Reason{Signal: signalGrowth, Hard: true, Text: "max_growth: the size of the table is not known: " + err.Error()}})
		return err
	}
	most := j.Limits.Throttle.MaxGrowth
	hold, due := k.control.Step(began, heap, most, k.frees, k.vacuuming)
	if due && k.ours == nil && began.After(k.again) {
		k.again = began.Add(vacuumAgain)
		if err := g.learn(try, j, k, heap); err != nil {
			return err
		}
		if k.frees && !k.vacuuming {
			g.begin(j, k)
		}
	}
	rate := k.control.RowsPerSec(heap)
	why := job.Reason{Signal: signalGrowth, Observed: heap.Size / heap.Base, Threshold: most, Hard: hold}
	if why.Text = fmt.Sprintf("growth %.2f of %.2f", why.Observed, most); hold {
		rate = 0
		why.Text += "; " + k.explain(g.gov.sense.role())
	} else {
		rate = max(rate, 1)
		why.Text += fmt.Sprintf(" leaves room for %.0f rows/s", rate)
	}
	g.set(j.ID, allowance{rate, why})
	return nil
}

func (g *growth) heap(ctx context.Context, id job.ID) (h throttle.Heap, err error) {
	h.Written = float64(g.c.roster.work(id).Rows)
	h.Base, h.Size, h.Rows, err = g.ledger.HeapSizes(ctx, id)
	return h, err
}

// learn reads what vacuum does, and what one could free. The end of one that could free a good part is noted, whoever ran it.
func (g *growth) learn(ctx context.Context, j job.Job, k *grown, h throttle.Heap) error {
	tables, err := g.ledger.Vacuumings(ctx, j.ID)
	if err != nil {
		return err
	}
	horizon, err := g.ledger.Horizon(ctx)
	if err != nil {
		return err
	}
	first := k.tables == nil
	before := k.now
	k.tables, k.now, k.explained = tables, instant{horizon, h.Written}, time.Now()
	if first {
		k.from, before, k.noted = horizon.Next, k.now, lastVacuum(tables)
	}
	if k.ours.ended() {
		k.refused = k.ours.err()
		k.ours = nil
		g.log.Info("vacuum ended", zap.String("job", j.Name), zap.Float64("bytes", h.Size), zap.String("refused", k.refused))
	}
	was := k.vacuuming
	k.vacuuming = k.ours != nil || slices.ContainsFunc(tables, func(t store.Vacuuming) bool { return t.Phase != "" })
	if !was {
		k.began = before // of one that came and went between two looks, or that others have begun
	}
	// One that found the table locked has ended as well, and freed nothing: the statistics know.
	if last := lastVacuum(tables); !k.vacuuming && last.After(k.noted) {
		k.noted = last
		if freed := throttle.Frees(k.from, k.began.Next, k.began.Held); freed >= worthFreeing {
			k.control.Vacuumed(k.explained, h.Size, freed, k.began.written)
			k.from = k.began.Next
			if k.began.Held > 0 {
				k.from = min(k.from, k.began.Held)
			}
		}
	}
	k.frees = throttle.Frees(k.from, horizon.Next, horizon.Held) >= worthFreeing
	return nil
}

func lastVacuum(tables []store.Vacuuming) (last time.Time) {
	for _, t := range tables {
		if t.Last != nil && t.Last.After(last) {
			last = *t.Last
		}
	}
	return last
}

// begin has the tables vacuumed that this role may vacuum.
func (g *growth) begin(j job.Job, k *grown) {
	var names []string
	for _, t := range k.tables {
		if t.May && (t.Grown > 0 || len(k.tables) == 1) {
			names = append(names, t.Name)
		}
	}
	if len(names) == 0 {
		return // explain says who may
	}
	k.began, k.vacuuming, k.refused = k.now, true, ""
	k.ours = startVacuum(signals.Dial(g.gov.sense.pool), names)
	g.log.Info("vacuum begins", zap.String("job", j.Name), zap.Strings("relations", names))
}

// explain says what a job that waits is waiting for, and what would help.
func (k *grown) explain(role string) string {
	if len(k.tables) == 0 {
		return "waits for vacuum"
	}
	t := k.tables[0]
	for _, other := range k.tables {
		if other.Phase != "" {
			t = other
			break
		}
	}
	last := "never vacuumed"
	if t.Last != nil {
		last = "last vacuumed at " + t.Last.UTC().Format(time.RFC3339)
	}
	who := "vacuum"
	if t.ByAuto {
		who = "autovacuum"
	}
	switch {
	case t.Phase != "":
		return fmt.Sprintf("waits for %s of %s: %s, %.0f%% of the heap; %s", who, t.Name, t.Phase, 100*t.Done, last)
	case !k.frees:
		return fmt.Sprintf("dead rows of %s are kept for %s, %d transactions old, so no vacuum can free their space; end it; %s",
			t.Name, k.now.Who, k.now.Next-k.now.Held, last)
	case k.ours != nil:
		return fmt.Sprintf("waits for the vacuum of %s that was begun; %s", t.Name, last)
	case k.vain():
		vain, next := k.control.Vain()
		return fmt.Sprintf("%d vacuums of %s in a row freed nothing, for a reason that is not known; the next begins at %s; %s", vain, t.Name, next.UTC().Format(time.RFC3339), last)
	case k.refused != "":
		return fmt.Sprintf("the vacuum of %s failed: %s; it is tried again; %s", t.Name, k.refused, last)
	case !t.May:
		comes := "autovacuum is off for it"
		if t.Auto != nil {
			comes = fmt.Sprintf("autovacuum comes at %.0f dead rows, there are %d", *t.Auto, t.Dead)
		}
		return fmt.Sprintf("%s may not vacuum %s: run VACUUM (INDEX_CLEANUP AUTO, TRUNCATE false) %s as its owner, or GRANT %s its owner's role, or since PostgreSQL 17 "+
			"MAINTAIN on it; %s; %s", role, t.Name, t.Name, role, comes, last)
	}
	return fmt.Sprintf("waits for a vacuum of %s; %s", t.Name, last)
}

// vain reports whether the next vacuum waits because the last ones freed nothing. One alone may have been unlucky.
func (k *grown) vain() bool {
	vacuums, next := k.control.Vain()
	return vacuums > 1 && next.After(k.explained)
}

// set notes how fast a job may go.
func (g *growth) set(id job.ID, to allowance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, known := g.found[id]
	g.found[id] = to
	if (known && was.rate == 0) != (to.rate == 0) {
		g.moves++
	}
}

// of returns how fast a job may go; false: nothing bounds its table.
func (g *growth) of(id job.ID) (allowance, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, bounded := g.found[id]
	return a, bounded
}

// moved counts the changes of which jobs wait.
func (g *growth) moved() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.moves
}

// forget ends what is kept of jobs that have no bound any more, or do not run.
func (g *growth) forget(but map[job.ID]bool) {
	for id, k := range g.jobs {
		if !but[id] {
			k.ours.end()
			delete(g.jobs, id)
			g.free(id)
		}
	}
}

func (g *growth) free(id job.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a, known := g.found[id]; known && a.rate == 0 {
		g.moves++
	}
	delete(g.found, id)
}

func (g *growth) close() { g.forget(nil) }
