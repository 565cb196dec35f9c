package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// Sampling bounds the sample batches. They are real updates that are rolled back: nothing stays but their WAL and dead rows.
type Sampling struct {
	Batches int           // at most, with a small one that warms up
	Within  time.Duration // no further batch begins after it
	Slots   int           // that the forecast assumes; 0 is DefaultSlots
	// Rules are what was set for the whole database: caps that its jobs share, and an override of their windows.
	Rules job.DatabaseRules
}

// DefaultSlots is how many slots `backfleet run` starts, and a forecast assumes, if nobody says otherwise.
const DefaultSlots = 4

// PlanSampling is what `plan` spends: up to ten batches in five seconds. SubmitSampling is smaller: a submit comes at any hour.
var (
	PlanSampling   = Sampling{Batches: 10, Within: 5 * time.Second}
	SubmitSampling = Sampling{Batches: 4, Within: time.Second}
)

const (
	warmupKeys  = 20   // of the first batch, which finds out what a row costs and warms the session
	usualKeys   = 200  // of a sample batch, about: a table of fewer needs no second one
	fewestKeys  = 10   // of a sample batch, however dear a row is
	mostKeys    = 1000 // of a sample batch, however cheap a row is
	mostFailing = 3    // sample batches that may fail before no more are tried
	// As a worker's: see its settings.
	sampleLockWait  = 200 * time.Millisecond
	sampleLockShare = 0.8 // of deadlock_timeout, if that is shorter
	shortestTimeout = 2 * time.Second
	timeoutTargets  = 20
	nearBlocks      = 64 // that are read for one key of a sample
)

// sampled is what one batch cost before it was rolled back.
type sampled struct {
	keys, rows float64
	fill       float64 // seconds of SQL time: the search for its end, planning and running
	proof      float64 // seconds to look at each of its rows once more
	fixed      float64 // seconds of a round trip with the settings
	wal        float64 // bytes
	images     float64 // bytes of it that were whole pages, about
	deferred   float64 // bytes that triggers wrote after the update, with what others wrote meanwhile
	hot        float64 // rows whose update wrote no index
	wider      float64 // bytes that the written columns take more than before
	open       float64 // rows that match `where` after the job's statement
}

// sampler runs batches and rolls them back.
type sampler struct {
	db       Database
	plan     *Plan
	opt      Sampling
	ends     time.Time // no batch begins later
	lockWait time.Duration
	heap     int64   // bytes of the rows alone, without TOAST
	density  float64 // rows a block, about
	keys     int     // of the next batch
	got      []sampled
	failed   []string
}

// spot is where a sample batch begins: in block order at a block, else at a key.
type spot struct {
	leaf  catalog.Leaf
	block int64
	key   ranges.Key
}

// sample fills in the plan's forecast. What stands in the way is a finding; a refusal is only that block order was asked for, and that a
// batch shows that rows could be done twice in it.
func sample(ctx context.Context, db Database, plan *Plan, opt Sampling) error {
	s := &sampler{db: db, plan: plan, opt: opt, ends: time.Now().Add(opt.Within), keys: warmupKeys}
	began := time.Now()
	spots, why, err := s.spots(ctx)
	if err == nil && why == "" && len(spots) == 0 {
		why = "no row was found where the table was looked at"
	}
	switch {
	case err != nil:
		plan.warn(Warning, "forecast", "was not made: "+postgres.Describe(err), "")
		return nil
	case why != "":
		plan.warn(Note, "forecast", "was not made: "+why, "")
		return nil
	}
	for i := range len(spots) + 1 {
		if ctx.Err() != nil || time.Now().After(s.ends) || len(s.failed) >= mostFailing {
			break
		}
		b, err := s.batch(ctx, spots[max(i-1, 0)]) // the first spot twice: its first batch only warms up
		switch {
		case errors.Is(err, errNothing):
		case err != nil:
			s.failed = append(s.failed, failure(err))
			s.keys = max(s.keys/4, fewestKeys)
		default:
			s.size(b)
			if i > 0 {
				s.got = append(s.got, b)
			}
		}
	}
	for _, text := range slices.Compact(slices.Sorted(slices.Values(s.failed))) {
		plan.warn(Warning, "sample", "a batch failed and was rolled back: "+text, "the job would isolate and quarantine such a row; mend it, or the expression, before")
	}
	if len(s.got) == 0 {
		if len(s.failed) == 0 {
			plan.warn(Note, "forecast", "was not made: no sample batch found a row", "")
		}
		return nil
	}
	var open, keys, rows float64
	for _, b := range s.got {
		open, keys, rows = open+b.open, keys+b.keys, rows+b.rows
	}
	if open > 0 && plan.blocks() {
		return plan.unproved(int64(open), int64(rows))
	}
	if open > 0 {
		plan.warn(Danger, "where", fmt.Sprintf("still matched %.0f of %.0f rows of the sample batches after the statement: as long as it does, the residual cannot reach zero and the job fails at its verification", open, keys),
			"write a where that the statement makes false, or leave it out to do every row once")
	}
	plan.Forecast = s.forecast(time.Now(), time.Since(began))
	return nil
}

// errNothing says that a batch held no key: its rows went meanwhile.
var errNothing = errors.New("no key")

// failure tells why a batch failed, with the row that the server names.
func failure(err error) string {
	text := postgres.Describe(err)
	if pe := sqlError(err); pe != nil && pe.Detail != "" {
		text += "; " + pe.Detail
	}
	return text
}

// size makes the next batch as long as the job's batches shall take.
func (s *sampler) size(b sampled) {
	want := s.plan.Spec.Batch.Target.D().Seconds() / max(b.fill/b.keys, 1e-9)
	s.keys = int(min(max(want, fewestKeys), mostKeys, float64(s.plan.Spec.Batch.MaxRows)))
}

// settings are a worker's own, so that a sample batch waits, fails and fires triggers as a batch would. It never commits.
func (s *sampler) settings() postgres.Settings {
	return postgres.Settings{
		Application: "backfleet plan", Job: s.plan.Spec.Name, SearchPath: s.plan.SearchPath, SynchronousCommit: "off", LockTimeout: s.lockWait,
		StatementTimeout: max(shortestTimeout, timeoutTargets*s.plan.Spec.Batch.Target.D()),
	}
}

// errBack ends a transaction of [postgres.InTx] without a commit.
var errBack = errors.New("rolled back")

// inTx runs fn under the settings in a transaction that never commits.
func (s *sampler) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	err := postgres.InTx(ctx, s.db, s.settings(), func(tx pgx.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errBack
	})
	if errors.Is(err, errBack) {
		return nil
	}
	return err
}

// spots finds keys that are spread evenly over the blocks of the table, or says why no sample may run now.
func (s *sampler) spots(ctx context.Context) (spots []spot, why string, err error) {
	p := s.plan
	if why := s.unfit(); why != "" {
		return nil, why, nil
	}
	s.lockWait = sampleLockWait
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if why, err = held(ctx, tx); err != nil || why != "" {
			return err
		}
		var deadlock float64
		if err := tx.QueryRow(ctx, `SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)::float8,
			set_config('enable_seqscan', 'off', true)`).Scan(&deadlock, nil); err != nil {
			return err
		}
		s.lockWait = min(s.lockWait, time.Duration(deadlock*sampleLockShare*float64(time.Second)))
		blocks := make([]int64, len(p.Leaves))
		var all int64
		for i, leaf := range p.Leaves {
			var n int64
			if err := tx.QueryRow(ctx, `SELECT pg_relation_size($1::oid), pg_relation_size($1::oid) / current_setting('block_size')::int`, leaf.OID).Scan(&n, &blocks[i]); err != nil {
				return err
			}
			s.heap, all = s.heap+n, all+blocks[i]
		}
		s.density = max(float64(p.Rows)/float64(max(all, 1)), 1)
		count := min(int64(s.opt.Batches)-1, all, p.Rows/usualKeys+1)
		for i := range count {
			at, leaf := all*(2*i+1)/(2*count), 0
			for at >= blocks[leaf] {
				at -= blocks[leaf]
				leaf++
			}
			l := p.Leaves[leaf]
			if p.blocks() {
				spots = append(spots, spot{leaf: l, block: at})
				continue
			}
			near := s.target(l).Near(at, nearBlocks)
			key, err := statement.OneKey(tx.Query(ctx, near.Text, near.Unkept()...))
			if err != nil {
				return err
			}
			if key != nil {
				spots = append(spots, spot{leaf: l, key: key})
			}
		}
		return nil
	})
	return spots, why, err
}

// unfit says why samples would do harm, or have no sense.
func (s *sampler) unfit() string {
	p := s.plan
	if p.Rows == 0 {
		return "the table is empty"
	}
	for _, r := range p.Replicas {
		if !r.Ignored && r.Lag > p.Spec.Throttle.Lag.Target.D().Seconds() {
			return "replica " + r.Name + " is over its lag target already, and sample batches write WAL"
		}
	}
	if p.volatile != "" {
		return p.volatile + "() is volatile and might do more than return a value"
	}
	return ""
}

// held says whether the database is held: then samples have no business there either.
func held(ctx context.Context, tx pgx.Tx) (string, error) {
	var readable bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = 'backfleet' AND c.relname = 'brake'
		   AND has_schema_privilege(n.oid, 'usage') AND has_table_privilege(c.oid, 'select'))`).Scan(&readable); err != nil || !readable {
		return "", err
	}
	var by string
	err := tx.QueryRow(ctx, "SELECT by FROM backfleet.brake WHERE until > clock_timestamp()").Scan(&by)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case err != nil:
		return "", err
	}
	return "the database is held by " + by, nil
}

func (s *sampler) target(l catalog.Leaf) statement.Target {
	t := statement.For(l.Schema, l.Name, s.plan.Key, s.plan.Spec, s.plan.Table.Name)
	t.Blocks = s.plan.blocks()
	return t
}

// batch updates the rows from a key on, measures that, and rolls it back. Its row locks are held no longer than a batch's.
func (s *sampler) batch(ctx context.Context, at spot) (b sampled, err error) {
	t := s.target(at.leaf)
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		since := func(t time.Time) float64 { return time.Since(t).Seconds() }
		began := time.Now()
		var block, hot float64 // hot counts earlier batches of this session too, until the server has taken them over
		var lsn string
		if err := tx.QueryRow(ctx, `SELECT current_setting('block_size')::float8, pg_current_wal_insert_lsn()::text,
			coalesce(pg_stat_get_xact_tuples_hot_updated($1::oid), 0)::float8`, pgx.QueryExecModeExec, at.leaf.OID).Scan(&block, &lsn, &hot); err != nil {
			return err
		}
		b.fixed = since(began)

		span := s.stretch(at)
		if !t.Blocks {
			began = time.Now()
			if span, err = s.keySpan(ctx, tx, t, at); err != nil {
				return err
			}
			b.fill = since(began)
		} else if err := b.before(ctx, tx, t, span); err != nil {
			return err
		}

		if t.Form != nil { // which may delete the rows, or write elsewhere
			began = time.Now()
			if b.keys, _, err = look(ctx, tx, t, span); err != nil {
				return err
			}
			b.proof = since(began)
		}
		before, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		var text []byte
		update := t.Measured(span)
		if err := queryRow(ctx, tx, update.Text, update.Args...).Scan(&text); err != nil {
			return err
		}
		var seen []measured
		if err := json.Unmarshal(text, &seen); err != nil || len(seen) == 0 || len(seen[0].Plan.Plans) == 0 {
			return fmt.Errorf("read the server's account of a batch: %w", errors.Join(err, errors.New(string(text))))
		}
		m := seen[0]
		b.fill += (m.Planning + m.Running) / 1000
		b.rows = m.rows()
		b.wal, b.images = m.Plan.Bytes, min(m.Plan.Images*block, m.Plan.Bytes)
		var written float64
		if err := tx.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::float8,
			pg_stat_get_xact_tuples_hot_updated($2::oid)::float8`, lsn, at.leaf.OID).Scan(&written, &b.hot); err != nil {
			return err
		}
		b.hot = min(max(0, b.hot-hot), b.rows)
		b.deferred = max(0, written-b.wal)

		if t.Form != nil {
			_, b.open, err = look(ctx, tx, t, span)
			return err
		}
		if t.Blocks {
			if err := before.Rollback(ctx); err != nil {
				return err
			}
			return b.tried(ctx, tx, t, span)
		}
		began = time.Now()
		if b.keys, _, err = look(ctx, tx, t, span); err != nil {
			return err
		}
		b.proof = since(began)

		wide := t.Widths(span)
		var after, old float64
		if err := queryRow(ctx, tx, wide.Text, wide.Args...).Scan(&after); err != nil {
			return err
		}
		if err := before.Rollback(ctx); err != nil {
			return err
		}
		if err := queryRow(ctx, tx, wide.Text, wide.Args...).Scan(&old); err != nil {
			return err
		}
		b.wider = after - old
		return nil
	})
	if err == nil && b.keys == 0 {
		err = errNothing
	}
	return b, err
}

// keySpan is the span of a sample batch from a key on.
func (s *sampler) keySpan(ctx context.Context, tx pgx.Tx, t statement.Target, at spot) (span ranges.Span, err error) {
	span.Lo = at.key
	find := t.Boundary(span, ranges.Pass{}, s.keys)
	if span.Hi, err = statement.OneKey(tx.Query(ctx, find.Text, find.Unkept()...)); err != nil || span.Hi != nil {
		return span, err
	}
	last := t.Bound()
	span.Hi, err = statement.OneKey(tx.Query(ctx, last.Text, last.Unkept()...))
	span.HiClosed = true
	return span, err
}

// warn adds a finding in its rank.
func (p *Plan) warn(s Severity, subject, text, fix string) {
	p.Warnings = append(p.Warnings, Finding{s, subject, text, fix})
	rankFindings(p.Warnings)
}

// result sums up what was run.
func (s *sampler) result(took time.Duration) job.SampleResult {
	r := job.SampleResult{Batches: len(s.got), Took: job.Duration(took.Round(time.Millisecond))}
	var hot, rows float64
	for _, b := range s.got {
		r.Keys, r.Rows = r.Keys+int64(b.keys), r.Rows+int64(b.rows)
		hot, rows = hot+b.hot, rows+b.rows
	}
	if rows > 0 {
		r.HOT = hot / rows
	}
	return r
}
