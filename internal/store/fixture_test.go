package store

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// scene is a job on a table t (id 1..rows, n 0, v null) in a ledger of its own, with its leader.
type scene struct {
	testing.TB
	s        *Store
	l        *Leader
	j        job.Job
	relation uint32
	refs     []job.Ref
}

func counterSpec() job.Spec {
	return job.Spec{Name: "count", Database: "main", Table: "public.t", Set: map[string]string{"n": "n + 1"}, LateRows: "ignore"}.WithDefaults()
}

func newJob(spec job.Spec) NewJob {
	return NewJob{Spec: spec, Key: []job.Column{{Name: "id", Type: "bigint"}}, SearchPath: "public", Estimate: 10, EstimateBy: "the test"}
}

// submitted makes the table and submits a job that counts its rows.
func submitted(t testing.TB, rows int) *scene {
	t.Helper()
	sc := &scene{TB: t, s: migrated(t)}
	sc.exec("create table t (id bigint primary key, n int not null default 0, v text)")
	sc.exec(fmt.Sprintf("insert into t select i, 0 from generate_series(1, %d) i", rows))
	require.NoError(t, sc.s.pool.QueryRow(t.Context(), "select 't'::regclass::oid").Scan(&sc.relation))
	var err error
	sc.l, err = sc.s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	sc.j, err = sc.s.Submit(t.Context(), "ann", newJob(counterSpec()))
	require.NoError(t, err)
	return sc
}

// begun brings the job to where all its ranges, of per keys each, are released.
func begun(t testing.TB, rows, per int) *scene {
	t.Helper()
	sc := submitted(t, rows)
	ctx := t.Context()
	require.NoError(t, sc.l.Freeze(ctx, sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	var rs []ranges.Range
	var lo ranges.Key
	for at := 1; at <= rows; at += per {
		r := ranges.Range{Index: len(rs), Relation: sc.relation, Span: ranges.Span{Lo: lo, Hi: key(at + per)}}
		if at+per > rows {
			r.Hi, r.HiClosed = key(rows), true
		}
		rs, lo = append(rs, r), r.Hi
	}
	require.NoError(t, sc.l.AddRanges(ctx, sc.j.ID, sc.relation, 0, rs, true))
	require.NoError(t, sc.l.Planned(ctx, sc.j.ID))
	var err error
	sc.j, err = sc.l.Start(ctx, sc.j.ID)
	require.NoError(t, err)
	sc.refs, err = sc.l.Release(ctx, sc.j, 1000)
	require.NoError(t, err)
	require.Len(t, sc.refs, len(rs))
	return sc
}

func key(n int) ranges.Key { return ranges.Key{strconv.Itoa(n)} }

func (sc *scene) exec(sql string, args ...any) {
	sc.Helper()
	_, err := sc.s.pool.Exec(sc.Context(), sql, args...)
	require.NoError(sc, err, sql)
}

func (sc *scene) one(sql string, args ...any) (n int) {
	sc.Helper()
	require.NoError(sc, sc.s.pool.QueryRow(sc.Context(), sql, args...).Scan(&n), sql)
	return n
}

func (sc *scene) text(sql string, args ...any) (s string) {
	sc.Helper()
	require.NoError(sc, sc.s.pool.QueryRow(sc.Context(), sql, args...).Scan(&s), sql)
	return s
}

func (sc *scene) begin() pgx.Tx {
	sc.Helper()
	tx, err := sc.s.pool.Begin(sc.Context())
	require.NoError(sc, err)
	sc.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

func (sc *scene) claim(ref job.Ref, owner string) job.Claim {
	sc.Helper()
	c, err := sc.s.Claim(sc.Context(), ref, owner, "reply."+owner, nil)
	require.NoError(sc, err)
	return c
}

// expire lets the lease of a claim run out.
func (sc *scene) expire(c job.Claim) {
	sc.Helper()
	sc.exec("update backfleet.ranges set lease_until = clock_timestamp() - interval '1 second' where job_id = $1 and index = $2", c.Ref.Job, c.Ref.Index)
}

func (sc *scene) rangeState(ref job.Ref) string {
	sc.Helper()
	return sc.text("select state from backfleet.ranges where job_id = $1 and index = $2", ref.Job, ref.Index)
}

func (sc *scene) target() statement.Target {
	return statement.For("public", "t", sc.j.Key, sc.j.Spec, "t")
}

// to is the step from a claim's checkpoint to a key; last ends the range.
func to(c job.Claim, next ranges.Key, last bool) statement.Step {
	return statement.Step{Claim: c, Span: ranges.Span{Lo: c.Checkpoint.Key, Hi: next, HiClosed: last && c.Span.HiClosed}, To: c.Checkpoint.Advance(next), Last: last, Keys: 1}
}

// batch is what one fill statement said.
type batch struct {
	held        bool
	moved, rows int64
}

var (
	fenced = batch{}
	braked = batch{held: true}
)

type queryer interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}

func (sc *scene) fillOn(db queryer, s statement.Step) (b batch, err error) {
	sql := sc.target().Fill(s)
	err = db.QueryRow(sc.Context(), sql.Text, sql.Args...).Scan(&b.held, &b.moved, &b.rows)
	return b, err
}

// fill runs a batch that must not fail, and returns the claim at its new checkpoint.
func (sc *scene) fill(s statement.Step) (batch, job.Claim) {
	sc.Helper()
	b, err := sc.fillOn(sc.s.pool, s)
	require.NoError(sc, err)
	c := s.Claim
	if b.moved > 0 {
		c.Checkpoint = s.To
	}
	return b, c
}

// finish carries a claimed range to its end in one batch.
func (sc *scene) finish(c job.Claim) {
	sc.Helper()
	b, _ := sc.fill(to(c, c.Span.Hi, true))
	require.Equal(sc, int64(1), b.moved)
}

// start runs a function beside the test and returns where its answer comes.
func start[T any](f func() (T, error)) <-chan answer[T] {
	c := make(chan answer[T], 1)
	go func() {
		v, err := f()
		c <- answer[T]{v, err}
	}()
	return c
}

type answer[T any] struct {
	value T
	err   error
}

// waitsForLock returns once a session of this database waits for a lock.
func (sc *scene) waitsForLock() {
	sc.Helper()
	require.Eventually(sc, func() bool {
		return sc.one("select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0") > 0
	}, 10*time.Second, 5*time.Millisecond, "nobody waits for a lock")
}

// handBack hands a claim back, and returns whether its message is to be delivered again.
func (sc *scene) handBack(c job.Claim, redeliver bool) (again bool) {
	sc.Helper()
	again, err := sc.s.HandBack(sc.Context(), c, redeliver)
	require.NoError(sc, err)
	return again
}

// handBackRefused asserts that a hand-back finds its claim gone.
func (sc *scene) handBackRefused(c job.Claim, redeliver bool) {
	sc.Helper()
	_, err := sc.s.HandBack(sc.Context(), c, redeliver)
	require.ErrorIs(sc, err, job.ErrFenced)
}
