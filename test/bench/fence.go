package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

const (
	fenceRows   = 1_000 // a batch
	fenceRounds = 100   // batches of each kind in one repetition
	fenceWarm   = 20    // batches before the measured ones
)

// fenceCost compares batches of 1,000 rows with and without the ledger: the same pipeline of settings, boundary search, UPDATE and
// commit, once with the fence, the checkpoint and the exact count in the UPDATE's statement and once with the UPDATE alone. The
// two alternate in one session over one table, so that both meet the same pages, the same WAL and the same neighbours.
func fenceCost(ctx context.Context, b *bench) error {
	var cost, with, without series
	for rep := range b.reps {
		fenced, bare, err := b.fenceRound(ctx, b.plain())
		if err != nil {
			return err
		}
		with, without = append(with, fenced*1000), append(without, bare*1000)
		cost = append(cost, 100*(fenced/bare-1))
		b.say("  round %d: %.2f ms fenced, %.2f ms bare", rep+1, fenced*1000, bare*1000)
	}
	b.add("fence", "batch of 1,000 rows, fenced, median", "ms", with, nil)
	b.add("fence", "batch of 1,000 rows, UPDATE alone, median", "ms", without, nil)
	b.add("fence", "cost of the ledger", "%", cost, atMost(8))
	return nil
}

// fenceRound returns the median seconds of a fenced and of a bare batch on a table with a dense key.
func (b *bench) fenceRound(ctx context.Context, t table) (fenced, bare float64, err error) {
	tr, err := b.fresh(ctx, t)
	if err != nil {
		return 0, 0, err
	}
	defer tr.end(ctx)
	var withFence, alone series
	err = tr.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		w, err := newWalk(ctx, tr, conn)
		if err != nil {
			return err
		}
		for i := range fenceWarm + 2*fenceRounds {
			isFenced := i%4 == 0 || i%4 == 3 // ABBA: a drift hits both alike
			took, err := w.batch(ctx, isFenced)
			switch {
			case err != nil:
				return err
			case i < fenceWarm:
			case isFenced:
				withFence = append(withFence, took.Seconds())
			default:
				alone = append(alone, took.Seconds())
			}
		}
		return nil
	})
	return withFence.median(), alone.median(), err
}

// walk goes over the table batch by batch, as a worker does.
type walk struct {
	conn   *pgxpool.Conn
	target statement.Target
	claim  job.Claim
	at     int
}

// newWalk stores a job whose only range, all of the table, this walk has claimed.
func newWalk(ctx context.Context, t *trial, conn *pgxpool.Conn) (*walk, error) {
	st := store.New(t.pool, "main")
	spec := job.Spec{Name: t.name, Database: "main", Table: "public.users", Set: map[string]string{"email_norm": set}, Where: where}.WithDefaults()
	key := []job.Column{{Name: "id", Type: "bigint"}}
	j, err := st.Submit(ctx, "bench", store.NewJob{Spec: spec, Key: key, SearchPath: "public", Estimate: int64(t.table.rows), EstimateBy: "bench"})
	if err != nil {
		return nil, err
	}
	_, err = t.pool.Exec(ctx, `WITH r AS (INSERT INTO backfleet.relations (job_id, ordinal, relation, name, leaf, bound, planned)
		VALUES ($1, 0, 'users'::regclass, 'public.users', false, $2, true) RETURNING *)
		INSERT INTO backfleet.ranges (job_id, index, relation, lo, hi, key, state, generation)
		SELECT job_id, 0, relation, '{1}', bound, '{1}', 'released', 1 FROM r`, j.ID, []string{strconv.Itoa(t.table.rows)})
	if err == nil {
		_, err = t.pool.Exec(ctx, "UPDATE backfleet.jobs SET state = 'running' WHERE id = $1", j.ID)
	}
	if err != nil {
		return nil, err
	}
	w := &walk{conn: conn, target: statement.For("public", "users", key, spec, "users"), at: 1}
	w.claim, err = st.Claim(ctx, job.Ref{Database: "main", Job: j.ID, Name: t.name, Generation: 1}, "bench", "", nil)
	return w, err
}

// batch does the next 1,000 rows in one transaction and one round trip.
func (w *walk) batch(ctx context.Context, fenced bool) (time.Duration, error) {
	lo, hi := ranges.Key{strconv.Itoa(w.at)}, ranges.Key{strconv.Itoa(w.at + fenceRows)}
	w.at += fenceRows
	s := statement.Step{Claim: w.claim, Span: ranges.Span{Lo: lo, Hi: hi}, To: w.claim.Checkpoint.Advance(hi), Keys: fenceRows}
	sql := w.target.Update(s.Span)
	if fenced {
		sql = w.target.Fill(s)
	}
	look := w.target.Boundary(ranges.Span{Lo: hi, Hi: w.claim.Span.Hi}, ranges.Pass{}, fenceRows)
	settings, args := postgres.Settings{
		Application: "backfleet bench", Job: w.claim.Ref.Name, SearchPath: "public", SynchronousCommit: "off",
		LockTimeout: time.Second, StatementTimeout: time.Minute,
	}.Statement()

	var b pgx.Batch
	b.Queue(postgres.Begin)
	b.Queue(settings, args...)
	b.Queue(look.Text, look.Args...)
	rows := int64(-1)
	if fenced {
		var held bool
		var moved int64
		b.Queue(sql.Text, sql.Args...).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(&held, &moved, &rows); err != nil {
				return err
			}
			if moved != 1 {
				return job.ErrFenced
			}
			return nil
		})
	} else {
		update := b.Queue(sql.Text, sql.Args...)
		update.Fn = func(results pgx.BatchResults) error {
			tag, err := results.Exec()
			rows = tag.RowsAffected()
			return err
		}
	}
	b.Queue("commit")
	began := time.Now()
	err := w.conn.SendBatch(ctx, &b).Close()
	took := time.Since(began)
	if err == nil && rows != fenceRows {
		err = fmt.Errorf("a batch wrote %d rows, not %d", rows, fenceRows)
	}
	if fenced {
		w.claim.Checkpoint = s.To
	}
	return took, err
}
