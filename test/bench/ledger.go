package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

// The coordinator's own steps, see coordinator/plan.go and coordinator/deliver.go.
const (
	ledgerAhead   = 10_000
	ledgerStep    = 2_000
	ledgerMost    = 100_000
	ledgerPerStep = 50_000 // rows of a range
	ledgerClaims  = 200
	perRange      = "us" // the unit of what should not grow
)

// ledgerGrowth takes jobs of more and more ranges through a real ledger, as the coordinator does, and says what each step costs a range
// and what a look at the whole costs. Rows are simulated: the planner finds its boundaries in numbers, and what the workers do to a
// range is one statement.
func ledgerGrowth(ctx context.Context, b *bench) error {
	if err := b.autovacuum(ctx); err != nil {
		return err
	}
	var first, last *ledgerRun
	for _, n := range b.ranges {
		r, err := b.ledgerOf(ctx, n)
		if err != nil {
			return fmt.Errorf("%d ranges: %w", n, err)
		}
		for _, what := range r.order {
			b.add("ledger", fmt.Sprintf("%d ranges: %s", n, what), r.unit[what], r.cost[what], nil)
		}
		if first == nil {
			first = r
		}
		last = r
	}
	if last == first {
		return nil
	}
	for _, what := range last.order {
		if last.unit[what] != perRange {
			continue
		}
		growth := last.cost[what].median() / max(first.cost[what].median(), 1e-3)
		b.add("ledger", fmt.Sprintf("%s, at %d / at %d", what, last.n, first.n), "x", series{growth}, nil)
	}
	return nil
}

// autovacuum turns on what keeps a ledger in shape while a job runs for days; other parts go without it.
func (b *bench) autovacuum(ctx context.Context) error {
	admin, err := pgx.Connect(ctx, b.cluster.DSN("postgres"))
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"ALTER SYSTEM SET autovacuum = on", "ALTER SYSTEM SET autovacuum_naptime = '5s'", "SELECT pg_reload_conf()"} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// ledgerRun is one job of n ranges and what its steps cost.
type ledgerRun struct {
	*trial
	n      int
	ledger *store.Store
	leader *store.Leader
	job    job.Job
	cost   map[string]series
	unit   map[string]string
	order  []string
}

func (b *bench) ledgerOf(ctx context.Context, n int) (*ledgerRun, error) {
	tr, err := b.fresh(ctx, table{template: "ledger", rows: 1000})
	if err != nil {
		return nil, err
	}
	defer tr.end(ctx)
	r := &ledgerRun{trial: tr, n: n, ledger: store.New(tr.pool, "main"), cost: map[string]series{}, unit: map[string]string{}}
	if r.leader, err = r.ledger.Lead(ctx, "bench"); err != nil {
		return nil, err
	}
	stop := r.renew(ctx)
	defer stop()
	heap := watchHeap()
	defer heap.stop()

	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.fill(ctx); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	if err := r.looks(ctx, "all done"); err != nil {
		return nil, err
	}
	began := time.Now()
	if r.job, err = r.leader.StartRound(ctx, r.job.ID, 1); err != nil {
		return nil, fmt.Errorf("begin the verification: %w", err)
	}
	r.each("verification planned", time.Since(began), n)
	// That is one transaction, in which nobody can renew the leadership: a long one begins a new term.
	if r.leader, err = r.ledger.Lead(ctx, "bench"); err != nil {
		return nil, err
	}
	r.say("  %d ranges: filled and verification planned", n)
	if err := r.verify(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	r.note("highest heap of this process until the report", "MB", heap.most())
	began = time.Now()
	report, err := r.ledger.BuildReport(ctx, r.job.ID)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if len(report.Coverage) != 1 || report.Coverage[0].Ranges != n || len(report.Coverage[0].Gaps) > 0 {
		return nil, fmt.Errorf("the report covers %+v", report.Coverage)
	}
	r.each("coverage and report", time.Since(began), n)
	r.note("highest heap with the report", "MB", heap.most())
	return r, nil
}

// renew keeps the leadership until it is stopped.
func (r *ledgerRun) renew(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for sleep(ctx, store.LeaderRenewal) == nil {
			if _, err := r.ledger.Lead(ctx, "bench"); err != nil && ctx.Err() == nil {
				r.say("  leadership not renewed: %v", err)
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// begin submits the job, freezes the bound and lets it stand for as many rows as there shall be ranges.
func (r *ledgerRun) begin(ctx context.Context) (err error) {
	spec := job.Spec{Name: r.name, Database: "main", Table: "public.users", Set: map[string]string{"email_norm": set}, Where: where,
		RowsPerRange: ledgerPerStep, LateRows: "ignore"}.WithDefaults()
	r.job, err = r.ledger.Submit(ctx, "bench", store.NewJob{Spec: spec, Key: []job.Column{{Name: "id", Type: "bigint"}}, Idempotent: true,
		SearchPath: "public", Estimate: int64(r.n) * ledgerPerStep, EstimateBy: "the bench"})
	if err != nil {
		return err
	}
	var oid uint32
	if err := r.pool.QueryRow(ctx, "SELECT 'users'::regclass::oid").Scan(&oid); err != nil {
		return err
	}
	if err := r.leader.Freeze(ctx, r.job, []store.Leaf{{OID: oid, Schema: "public", Name: "users"}}); err != nil {
		return err
	}
	if _, err := r.pool.Exec(ctx, "UPDATE backfleet.relations SET bound = $1", []string(rowAt(r.n))); err != nil {
		return err
	}
	r.job, err = r.leader.Start(ctx, r.job.ID)
	return err
}

// fill plans, releases and ends all ranges, in the order and by the steps in which a coordinator and its workers do.
func (r *ledgerRun) fill(ctx context.Context) error {
	rels, err := r.ledger.Relations(ctx, r.job.ID)
	if err != nil {
		return err
	}
	rel := rels[0]
	planner := ranges.NewPlanner(numbers{}, ledgerPerStep, time.Now)
	var planning time.Duration
	from, planned := ranges.Key(nil), false
	half := false
	release, err := r.deliver(ctx, func() (more bool, err error) {
		began := time.Now()
		defer func() { planning += time.Since(began) }()
		if planned {
			return false, nil
		}
		counts, err := r.ledger.PlanCounts(ctx, r.job.ID)
		if err != nil {
			return false, err
		}
		for room := ledgerAhead - counts.Queued; room > 0 && !planned; {
			var found []ranges.Range
			found, planned, err = planner.Next(ctx, rel.OID, counts.Next, from, rowAt(r.n), min(room, ledgerStep))
			if err != nil {
				return false, err
			}
			if err := r.leader.AddRanges(ctx, r.job.ID, rel.OID, rel.File, found, planned); err != nil {
				return false, err
			}
			counts.Next, room, from = counts.Next+len(found), room-len(found), found[len(found)-1].Hi
		}
		if !half && counts.Next >= r.n/2 {
			half = true
			return true, r.looks(ctx, "half way")
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	r.each("planned", planning, r.n)
	r.each("released", release, r.n)
	return r.leader.Planned(ctx, r.job.ID)
}

// verify releases and ends all ranges of the verification, which stand in the ledger from its beginning.
func (r *ledgerRun) verify(ctx context.Context) error {
	looked := false
	release, err := r.deliver(ctx, func() (bool, error) {
		if looked {
			return false, nil
		}
		looked = true
		return false, r.looks(ctx, "verification begins")
	})
	if err == nil {
		r.each("released for verification", release, r.n)
	}
	return err
}

// deliver releases what is queued until nothing is left, calling before each turn what may add more, and ends as much as was released a
// while ago. It returns the time that the releases took.
func (r *ledgerRun) deliver(ctx context.Context, before func() (more bool, err error)) (took time.Duration, err error) {
	for {
		more, err := before()
		if err != nil {
			return 0, err
		}
		began := time.Now()
		room, err := r.ledger.Room(ctx, r.job.ID, ledgerMost)
		if err != nil {
			return 0, err
		}
		var refs []job.Ref
		if room > 0 {
			if refs, err = r.leader.Release(ctx, r.job, min(room, ledgerStep)); err != nil {
				return 0, err
			}
		}
		took += time.Since(began)
		if room >= ledgerStep && (more || len(refs) > 0) {
			continue
		}
		ended, err := r.end(ctx)
		if err != nil || !more && ended == 0 && len(refs) == 0 {
			return took, err
		}
	}
}

// end does what workers do to the released ranges of the lowest index, a fifth of what may be released.
func (r *ledgerRun) end(ctx context.Context) (int64, error) {
	tag, err := r.pool.Exec(ctx, `UPDATE backfleet.ranges SET state = 'done', key = hi, rows = $3, walked = $3, batches = 12, claims = 1, owner = 'worker1',
			fence = 1, claim_token = gen_random_uuid(), started_at = now(), ended_at = now()
		WHERE job_id = $1 AND index = ANY (ARRAY(SELECT index FROM backfleet.ranges
			WHERE job_id = $1 AND state = 'released' AND state IN ('released', 'running') ORDER BY index LIMIT $2))`,
		r.job.ID, ledgerMost/5, ledgerPerStep)
	return tag.RowsAffected(), err
}

// looks measures what is asked again and again while the job is where it is.
func (r *ledgerRun) looks(ctx context.Context, when string) error {
	id := r.job.ID
	for _, look := range []struct {
		what string
		ask  func() error
	}{
		{"room in the stream", func() error { _, err := r.ledger.Room(ctx, id, ledgerMost); return err }},
		{"plan counts", func() error { _, err := r.ledger.PlanCounts(ctx, id); return err }},
		{"runnable ranges", func() error { _, err := r.ledger.Runnable(ctx, []job.ID{id}, 256); return err }},
		{"anything open", func() error { _, err := r.ledger.HasOpen(ctx, id); return err }},
		{"sweep", func() error { _, err := r.leader.Sweep(ctx, id); return err }},
		{"reconcile: what was released", func() error { _, err := r.ledger.ReleasedFor(ctx, r.job, 5); return err }},
		{"status", func() error { _, err := r.ledger.Status(ctx, id); return err }},
		{"a page of ranges", func() error { _, err := r.ledger.RangesAfter(ctx, id, r.n/2, "", 100); return err }},
	} {
		var took series
		for range 3 {
			began := time.Now()
			if err := look.ask(); err != nil {
				return fmt.Errorf("%s: %w", look.what, err)
			}
			took = append(took, milliseconds(time.Since(began)))
		}
		r.note(look.what+", "+when, "ms", took...)
	}
	var took series
	out, err := r.ledger.ReleasedFor(ctx, r.job, 0)
	if err != nil {
		return err
	}
	for _, ref := range out[:min(len(out), ledgerClaims)] {
		began := time.Now()
		c, err := r.ledger.Claim(ctx, ref, "worker1", "reply", nil)
		took = append(took, milliseconds(time.Since(began)))
		if err == nil {
			_, err = r.ledger.HandBack(ctx, c, true)
		}
		if err != nil && !errors.Is(err, job.ErrFenced) {
			return fmt.Errorf("claim: %w", err)
		}
	}
	if len(took) > 0 {
		r.note("claim, "+when, "ms", took...)
	}
	return nil
}

func (r *ledgerRun) each(what string, took time.Duration, n int) {
	r.note(what+", a range", perRange, float64(took.Microseconds())/float64(n))
}

func (r *ledgerRun) note(what, unit string, values ...float64) {
	if _, again := r.cost[what]; !again {
		r.order = append(r.order, what)
	}
	r.cost[what], r.unit[what] = append(r.cost[what], values...), unit
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// numbers is a table whose keys are the whole numbers from 1, for a planner.
type numbers struct{}

// rowAt is the last key of so many ranges.
func rowAt(n int) ranges.Key { return ranges.Key{strconv.Itoa(n * ledgerPerStep)} }

// Step implements [ranges.Stepper].
func (numbers) Step(_ context.Context, _ uint32, from, to ranges.Key, rows, count int) ([]ranges.Key, error) {
	at := 1
	if from != nil {
		n, err := strconv.Atoi(from[0])
		if err != nil {
			return nil, err
		}
		at = n
	}
	last, err := strconv.Atoi(to[0])
	if err != nil {
		return nil, err
	}
	var found []ranges.Key
	for at += rows; at <= last && len(found) < count; at += rows {
		found = append(found, ranges.Key{strconv.Itoa(at)})
	}
	return found, nil
}

// heapWatch looks at this process's heap.
type heapWatch struct {
	stop func()

	mu      sync.Mutex
	highest uint64
}

// watchHeap begins with a heap without what was left by others.
func watchHeap() *heapWatch {
	runtime.GC()
	ctx, cancel := context.WithCancel(context.Background())
	w := &heapWatch{}
	var done sync.WaitGroup
	done.Go(func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for sleep(ctx, pollSoon) == nil {
			metrics.Read(sample)
			w.mu.Lock()
			w.highest = max(w.highest, sample[0].Value.Uint64())
			w.mu.Unlock()
		}
	})
	w.stop = func() { cancel(); done.Wait() }
	return w
}

// most is the highest so far, in MB.
func (w *heapWatch) most() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return float64(w.highest) / 1e6
}
