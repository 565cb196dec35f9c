package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The usual script: one session, 5,000 rows at a time, and a pause.
const (
	scriptRows  = 5_000
	scriptPause = 100 * time.Millisecond
)

var usual = contender{"the usual script", startScript}

// script compares rates where there is nothing to spare: the table is the fleet's own.
func script(ctx context.Context, b *bench) error {
	free := fleetContender("backfleet, 4 workers", 4, "batch: {synchronous_commit: 'on'}\n")
	without, err := b.contend(ctx, b.reps, false, usual, free)
	if err != nil {
		return err
	}
	rate := func(p pressed) float64 { return p.rate }
	for _, c := range []contender{usual, free} {
		b.add("script", "without traffic: "+c.name, "rows/s", of(without[c.name], rate), nil)
	}
	b.add("script", "without traffic: rate of backfleet / script", "x", of(without[free.name], rate).over(of(without[usual.name], rate)), atLeast(4))
	return nil
}

// startScript runs the usual script in the kindest form that people write: by key, without a search for what is left.
func startScript(ctx context.Context, t *trial) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- t.runScript(ctx) }()
	return func() error {
		cancel()
		if err := <-ended; ctx.Err() == nil {
			return err
		}
		return nil
	}, nil
}

func (t *trial) runScript(ctx context.Context) error {
	return t.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		for at := 1; at <= t.table.rows; at += scriptRows {
			tag, err := conn.Exec(ctx, "UPDATE users SET email_norm = "+set+" WHERE id >= $1 AND id < $2 AND "+where, at, at+scriptRows)
			if err != nil {
				return err
			}
			t.scripted.Add(tag.RowsAffected())
			if err := sleep(ctx, scriptPause); err != nil {
				return err
			}
		}
		return nil
	})
}
