package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// monolithic is one UPDATE in one transaction.
func monolithic(ctx context.Context, conn *pgx.Conn, t table) (int64, error) {
	return t.update(ctx, conn, t.where)
}

// The usual script: one session, 5,000 rows at a time, and a pause.
const (
	scriptRows  = 5_000
	scriptPause = 100 * time.Millisecond
)

// usualScript walks the key in the kindest form that people write: it looks up where a batch ends in the key's index, and never searches
// for rows that are left.
type usualScript struct {
	rows  int // of a batch
	pause time.Duration
}

func (s usualScript) fill(ctx context.Context, conn *pgx.Conn, t table) (written int64, err error) {
	var at []any
	for {
		from := bound{">", at}
		end, err := t.keyAt(ctx, conn, s.rows-1, from)
		if err != nil {
			return written, err
		}
		n, err := t.update(ctx, conn, t.where, from, bound{"<=", end})
		written += n
		if err != nil || end == nil || t.over() {
			return written, err
		}
		at = end
		if err := pause(ctx, s.pause); err != nil {
			return written, err
		}
	}
}

// cteRows is a batch of the keyset loop.
const cteRows = 1_000

// keysetCTE is a loop of one statement: a common table expression that picks and locks the next so many rows by key, an UPDATE of them,
// and where the next batch begins. It never pauses.
type keysetCTE int

func (c keysetCTE) fill(ctx context.Context, conn *pgx.Conn, t table) (written int64, err error) {
	var at []any
	for {
		after, args := t.within(bound{">", at})
		on := ""
		for i, column := range t.key {
			if i > 0 {
				on += " AND "
			}
			on += "t." + column + " = batch." + column
		}
		rows, err := conn.Query(ctx, fmt.Sprintf(`
			WITH batch AS (SELECT %[1]s FROM %[2]s WHERE %[3]s AND %[4]s ORDER BY %[1]s LIMIT %[5]d FOR UPDATE),
			     done AS (UPDATE %[2]s t SET %[6]s FROM batch WHERE %[7]s RETURNING %[8]s)
			SELECT count(*) OVER (), %[1]s FROM done ORDER BY %[9]s LIMIT 1`,
			t.keys(""), t.name, after, t.where, int(c), t.set, on, t.keys("t."), descending(t.key)), args...)
		if err != nil {
			return written, err
		}
		last, err := one(rows)
		if err != nil || last == nil {
			return written, err
		}
		n, ok := last[0].(int64)
		if !ok {
			return written, fmt.Errorf("read the rows of a batch: %v is no number", last[0])
		}
		written += n
		if n < int64(c) || t.over() {
			return written, nil
		}
		at = last[1:]
	}
}

func descending(key []string) (order string) {
	for i, column := range key {
		if i > 0 {
			order += ", "
		}
		order += column + " DESC"
	}
	return order
}
