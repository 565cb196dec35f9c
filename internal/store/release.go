package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// Release marks up to n queued ranges as released, each under a new generation, and returns what to publish. It commits before
// anything is published: a crash between leaves a range without a message, which the reconciler finds.
func (l *Leader) Release(ctx context.Context, j job.Job, n int) ([]job.Ref, error) {
	var refs []job.Ref
	err := l.tx(ctx, "release", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, q("release"), j.ID, n)
		if err != nil {
			return err
		}
		refs, err = pgx.CollectRows(rows, refScanner(j))
		return err
	})
	return refs, err
}

func refScanner(j job.Job) pgx.RowToFunc[job.Ref] {
	return func(row pgx.CollectableRow) (job.Ref, error) {
		ref := job.Ref{Database: j.Database, Job: j.ID, Name: j.Name}
		err := row.Scan(&ref.Index, &ref.Generation, &ref.Blocks)
		ref.Blocks = ref.Blocks && j.Order == job.OrderBlock // a proof by block that an older worker passes counts for nothing
		return ref, err
	}
}

// Unrelease takes released ranges back whose messages are not in the stream. Ranges that were claimed meanwhile stay.
func (l *Leader) Unrelease(ctx context.Context, id job.ID, refs []job.Ref) (int64, error) {
	indexes, generations := make([]int32, len(refs)), make([]int32, len(refs))
	for i, r := range refs {
		indexes[i], generations[i] = int32(r.Index), int32(r.Generation)
	}
	var n int64
	err := l.tx(ctx, "unrelease", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q("unrelease"), id, indexes, generations)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// Room says how many ranges of a job may be released now, if most may stand released or running at once; 0 where none is queued.
func (s *Store) Room(ctx context.Context, id job.ID, most int) (int, error) {
	var n int
	if err := s.pool.QueryRow(ctx, q("room"), id, most).Scan(&n); err != nil {
		return 0, s.explain("count released ranges", err)
	}
	return n, nil
}

// HasOpen reports whether any range of a job is not at its end.
func (s *Store) HasOpen(ctx context.Context, id job.ID) (bool, error) {
	var open bool
	if err := s.pool.QueryRow(ctx, q("open_any"), id).Scan(&open); err != nil {
		return false, s.explain("look for open ranges", err)
	}
	return open, nil
}

// Runnable counts the ranges of each job that a slot could take now, up to most, in one query for all jobs.
func (s *Store) Runnable(ctx context.Context, ids []job.ID, most int) (map[job.ID]int, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	rows, err := s.pool.Query(ctx, q("runnable"), texts, most)
	if err != nil {
		return nil, s.explain("count runnable ranges", err)
	}
	counts := make(map[job.ID]int, len(ids))
	var id job.ID
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, s.explain("count runnable ranges", err)
	}
	return counts, nil
}

// ReleasedFor lists ranges that were released at least so many seconds ago and that nobody has claimed.
func (s *Store) ReleasedFor(ctx context.Context, j job.Job, seconds float64) ([]job.Ref, error) {
	return list(ctx, s, "list released ranges", refScanner(j), "released_list", j.ID, seconds)
}

// Expired is a range that was taken back from a worker whose lease ran out.
type Expired struct {
	Index        int
	Generation   int
	Owner        string
	ReplySubject string // where a NAK has the message delivered again
}

// Sweep takes back every range of a job whose lease has run out by the database's clock.
func (l *Leader) Sweep(ctx context.Context, id job.ID) ([]Expired, error) {
	var out []Expired
	err := l.tx(ctx, "sweep", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, q("expired"), id)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Expired])
		return err
	})
	return out, err
}

// GivenBack lists the ranges whose message was given back and that nobody has claimed since. A NATS server that restarts forgets
// that it was told, and would wait for the ack to time out.
func (s *Store) GivenBack(ctx context.Context, id job.ID) ([]Expired, error) {
	return list(ctx, s, "list ranges given back", pgx.RowToStructByPos[Expired], "given_back", id)
}

// StreamCleared notes that an ended job left nothing in the stream.
func (l *Leader) StreamCleared(ctx context.Context, id job.ID) error {
	return l.tx(ctx, "clear", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("job_stream_clear"), id)
		return err
	})
}
