package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	loadSessions = 2
	loadRows     = 500_000 // of one INSERT
)

// load makes the trial's database with its table: rows by several sessions, the primary key after them, every page all-visible, and the
// standby as far as the primary. It leaves nothing to be written out.
func (t *trial) load(ctx context.Context) error {
	began := time.Now()
	admin, err := pgx.Connect(ctx, t.cluster.DSN("postgres"))
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+t.name); err != nil {
		return err
	}
	if err := t.execute(ctx, `CREATE TABLE users (id bigint NOT NULL, email text NOT NULL, name text NOT NULL, status int NOT NULL,
		created_at timestamptz NOT NULL, visits int NOT NULL, note text NOT NULL, email_norm text)`); err != nil {
		return err
	}
	if err := t.insert(ctx); err != nil {
		return err
	}
	t.say("  %s rows in the table after %s", millions(t.table.rows), time.Since(began).Round(time.Second))
	if err := t.execute(ctx, "ALTER TABLE users ADD PRIMARY KEY (id)", "VACUUM (ANALYZE) users", "CHECKPOINT"); err != nil {
		return err
	}
	if err := restartPoints(ctx, t.cluster); err != nil {
		return err
	}
	t.say("  loaded, with its key, vacuumed, and on the standby, after %s", time.Since(began).Round(time.Second))
	return t.command(t.dsn(), "db", "init")
}

// execute runs statements of which none may stand in a transaction.
func (t *trial) execute(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, t.dsn())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", firstLine(sql), err)
		}
	}
	return nil
}

// insert fills the table, each session with pieces of the keys in turn.
func (t *trial) insert(ctx context.Context) error {
	var next atomic.Int64
	var sessions sync.WaitGroup
	failed := make([]error, loadSessions)
	for i := range failed {
		sessions.Go(func() { failed[i] = t.insertPieces(ctx, &next) })
	}
	sessions.Wait()
	return errors.Join(failed...)
}

func (t *trial) insertPieces(ctx context.Context, next *atomic.Int64) error {
	conn, err := pgx.Connect(ctx, t.dsn())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		hi := int(next.Add(loadRows))
		lo := hi - loadRows
		if lo >= t.table.rows {
			return nil
		}
		_, err := conn.Exec(ctx, `INSERT INTO users SELECT i, 'User.' || substr(md5(i::text), 1, 8) || '@Example.com', 'name of user ' || i, i % 7,
			timestamptz '2020-01-01' + i * interval '1 minute', 0, 'note ' || md5((i * 7)::text) FROM generate_series($1::bigint + 1, $2::bigint) AS i`,
			lo, min(hi, t.table.rows))
		if err != nil {
			return err
		}
		if hi%10_000_000 == 0 {
			t.say("  %s rows inserted", millions(hi))
		}
	}
}
