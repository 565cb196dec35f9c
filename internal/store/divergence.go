package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/migration"
)

// mostDiverging is how many diverging rows of a migration are kept by key. Their number is always exact.
const mostDiverging = 10000

// BeginWatch notes that every transaction that begins to write from now on writes under dual-write. Call it in the transaction that installs
// the trigger, READ COMMITTED, once it holds the locks for that; a later call changes nothing.
func (s *Store) BeginWatch(ctx context.Context, tx pgx.Tx, name string) error {
	if _, err := tx.Exec(ctx, q("watch_begin"), name); err != nil {
		return s.explain("begin the watch of "+name, err)
	}
	return nil
}

// Watch reads where the watch of a migration stands. One that nobody began begins here, without a transaction to go by.
func (s *Store) Watch(ctx context.Context, name string) (w divergence.Watch, err error) {
	for {
		var since *int64
		var started, ended *time.Time
		err = s.pool.QueryRow(ctx, q("watch"), name).Scan(&since, &w.SinceAt, &w.Round, &w.Walking, &w.Side, &w.Leaf, &w.Key, &started, &ended, &w.Before)
		if errors.Is(err, pgx.ErrNoRows) {
			if _, err := s.exec(ctx, "watch "+name, "watch_ensure", name); err != nil {
				return w, err
			}
			continue
		}
		if err != nil {
			return w, s.explain("read the watch of "+name, err)
		}
		if since != nil {
			w.SinceXID = uint64(*since)
		}
		if started != nil {
			w.Started = *started
		}
		if ended != nil {
			w.Ended = *ended
		}
		return w, nil
	}
}

// AddStride stores what was seen together with the position, or nothing: the error is [divergence.ErrWatchMoved] where the watch does not stand at From.
func (s *Store) AddStride(ctx context.Context, name string, x divergence.Stride) error {
	err := s.tx(ctx, "watch "+name, func(tx pgx.Tx) error {
		var at divergence.Position
		if err := tx.QueryRow(ctx, q("watch_lock"), name).Scan(&at.Round, &at.Walking, &at.Side, &at.Leaf, &at.Key); err != nil {
			return err
		}
		if !samePosition(at, x.From) {
			return divergence.ErrWatchMoved
		}
		if x.To.Round != x.From.Round {
			if _, err := tx.Exec(ctx, q("round_begin"), name, x.To.Round); err != nil {
				return err
			}
		}
		more := x.More
		if len(x.Found) > 0 {
			full, err := s.addFound(ctx, tx, name, x)
			if err != nil {
				return err
			}
			more = more || full
		}
		t := x.Tally
		if _, err := tx.Exec(ctx, q("round_add"), name, x.To.Round, t.Walked, t.Waiting, t.Missing, t.Differing, t.Orphans, t.Failing,
			x.Took.Seconds(), more, !x.To.Walking); err != nil {
			return err
		}
		if !x.To.Walking {
			if _, err := tx.Exec(ctx, q("round_end"), name, x.To.Round); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, q("watch_move"), name, x.To.Round, x.To.Walking, x.To.Side, x.To.Leaf, x.To.Key)
		return err
	})
	if errors.Is(err, divergence.ErrWatchMoved) {
		return divergence.ErrWatchMoved
	}
	return err
}

func samePosition(a, b divergence.Position) bool {
	return a.Round == b.Round && a.Walking == b.Walking && a.Side == b.Side && a.Leaf == b.Leaf && fmt.Sprintf("%q", a.Key) == fmt.Sprintf("%q", b.Key)
}

// addFound keeps the diverging rows, and names who was at work when the new ones came to diverge. full says that some had no room.
func (s *Store) addFound(ctx context.Context, tx pgx.Tx, name string, x divergence.Stride) (full bool, err error) {
	n := len(x.Found)
	relations, keys, kinds, xids := make([]string, n), make([]string, n), make([]string, n), make([]int64, n)
	for i, f := range x.Found {
		relations[i], keys[i], kinds[i], xids[i] = f.Relation, f.Key, f.Kind, f.XID
	}
	var now time.Time
	if err := tx.QueryRow(ctx, "select clock_timestamp()").Scan(&now); err != nil {
		return false, err
	}
	var since, until []time.Time
	if err := tx.QueryRow(ctx, q("found_add"), name, relations, keys, kinds, xids, mostDiverging, x.Before, now, x.CommitsAt).Scan(&full, &since, &until); err != nil {
		return false, err
	}
	for i := range since {
		rows, err := tx.Query(ctx, q("activity_between"), since[i], until[i])
		if err != nil {
			return false, err
		}
		var at time.Time
		var seen, all []divergence.Activity
		if _, err := pgx.ForEachRow(rows, []any{&at, &seen}, func() error {
			all = append(all, seen...)
			seen = nil
			return nil
		}); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, q("bucket_blame"), name, since[i], until[i], jsonb{divergence.Suspects(all, x.Tables)}); err != nil {
			return false, err
		}
	}
	return full, nil
}

// AddActivity keeps what was going on in the database since the last such line.
func (s *Store) AddActivity(ctx context.Context, seen []divergence.Activity) error {
	if seen == nil {
		seen = []divergence.Activity{}
	}
	_, err := s.exec(ctx, "note the activity", "activity_add", jsonb{seen})
	return err
}

// Series reads the rounds of a migration's watch that were under way at or after since, the oldest first.
func (s *Store) Series(ctx context.Context, name string, since time.Time) ([]divergence.Round, error) {
	return list(ctx, s, "read the divergence of "+name, func(row pgx.CollectableRow) (r divergence.Round, err error) {
		return r, row.Scan(&r.Number, &r.Started, &r.At, &r.Ended, &r.Walked, &r.Waiting, &r.Missing, &r.Differing, &r.Orphans, &r.Failing, &r.More, &r.Seconds)
	}, "series", name, since)
}

// Growth reads in which times rows came to diverge, the oldest first, with who was at work then.
func (s *Store) Growth(ctx context.Context, name string) ([]divergence.Bucket, error) {
	return list(ctx, s, "read the divergence of "+name, func(row pgx.CollectableRow) (b divergence.Bucket, err error) {
		return b, row.Scan(&b.Since, &b.Until, &b.How, &b.Missing, &b.Differing, &b.Orphans, &b.Failing, &b.Suspects)
	}, "growth", name)
}

// Diverging reads rows that diverge now, those that were found first to begin with, most at the most.
func (s *Store) Diverging(ctx context.Context, name string, most int) ([]divergence.Row, error) {
	return list(ctx, s, "read the divergence of "+name, pgx.RowToStructByPos[divergence.Row], "diverging", name, most)
}

// Divergence reads what the gates go by.
func (s *Store) Divergence(ctx context.Context, name string) (d migration.Divergence, err error) {
	err = s.pool.QueryRow(ctx, q("divergence"), name).Scan(&d.FirstSeen, &d.Clean, &d.Round, &d.Missing, &d.Differing)
	if err != nil {
		return d, s.explain("read the divergence of "+name, err)
	}
	return d, nil
}
