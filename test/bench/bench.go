package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/test/bench/compare"
	"github.com/backfleet/backfleet/test/harness"
)

// bench owns the servers that the parts share, and what was found.
type bench struct {
	options
	env      *harness.Env
	cluster  *harness.Cluster // without a standby
	paired   *harness.Cluster // with one; started by the first part that needs it
	nats     *harness.NATSServer
	bin      string
	findings findings
	run      compare.Run // of the part compare
	// The programs that stand for the peers, in that part.
	peersBin, pgrollBin string
	trials              int
	began               time.Time
}

func newBench(o options) (_ *bench, err error) {
	b := &bench{options: o, began: time.Now()}
	if b.env, err = harness.NewEnv(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.bin, err = b.env.BuildBackfleet(); err != nil {
		return nil, err
	}
	if b.nats, err = b.env.StartNATS(); err != nil {
		return nil, err
	}
	b.cluster, err = b.start()
	return b, err
}

// start starts a cluster on which everything fits into memory, and no checkpoint and no autovacuum falls into one trial and not
// into another.
func (b *bench) start(more ...harness.PostgresOption) (*harness.Cluster, error) {
	return b.env.StartPostgres(append([]harness.PostgresOption{harness.WithFsync(),
		harness.WithSetting("shared_buffers", "3GB"), harness.WithSetting("wal_level", "replica"),
		harness.WithSetting("max_wal_size", "24GB"), harness.WithSetting("min_wal_size", "3GB"),
		harness.WithSetting("checkpoint_timeout", "1h"), harness.WithSetting("autovacuum", "off")}, more...)...)
}

func (b *bench) close() {
	if err := b.env.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// say tells the person who waits what happens, with the time since the start.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// table is a table to copy for each trial.
type table struct {
	template string
	rows     int
	indexed  bool
	shape    // what else it is made of; the zero shape has a dense bigint key
}

func (b *bench) plain() table { return table{template: "plain", rows: b.rows} }
func (b *bench) long() table  { return table{template: "long", rows: b.longRows} }
func (b *bench) indexed() table {
	return table{template: "indexed", rows: b.indexedRows, indexed: true}
}

// prepare makes the template database of a table on a cluster, once, with an empty ledger beside the table.
func (b *bench) prepare(ctx context.Context, c *harness.Cluster, t table) error {
	admin, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	var there bool
	if err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", t.template).Scan(&there); err != nil || there {
		return err
	}
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+t.template); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, c.DSN(t.template))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range slices.Concat([]string{"CREATE EXTENSION pg_prewarm"}, t.statements(), []string{"VACUUM (ANALYZE) users"}) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", firstLine(sql), err)
		}
	}
	return b.command(c.DSN(t.template), "db", "init")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// fresh copies a table's template for one trial, with every page in memory and nothing left to write out.
func (b *bench) fresh(ctx context.Context, t table) (*trial, error) {
	return b.freshOn(ctx, b.cluster, t)
}

// freshOn does so on a cluster of choice, whose standbys have replayed it all.
func (b *bench) freshOn(ctx context.Context, c *harness.Cluster, t table) (*trial, error) {
	if err := b.prepare(ctx, c, t); err != nil {
		return nil, fmt.Errorf("prepare the table: %w", err)
	}
	b.trials++
	tr := &trial{bench: b, cluster: c, table: t, name: fmt.Sprintf("trial%d", b.trials)}
	admin, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+tr.name+" TEMPLATE "+t.template+" STRATEGY file_copy"); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(tr.dsn())
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 16
	if tr.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, err
	}
	for _, sql := range []string{
		"SELECT sum(pg_prewarm(c.oid)) FROM pg_class c WHERE c.oid = 'users'::regclass OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'users'::regclass)",
		"ANALYZE users", // a copy has no statistics of its own, and a table in use has some
		"CHECKPOINT",
	} {
		if _, err := tr.pool.Exec(ctx, sql); err != nil {
			tr.end(ctx)
			return nil, err
		}
	}
	err = restartPoints(ctx, c)
	if err == nil {
		err = b.calm(ctx)
	}
	if err == nil {
		err = tr.pool.QueryRow(ctx, "SELECT pg_relation_size('users'), pg_current_wal_insert_lsn()::text").Scan(&tr.heap, &tr.lsn)
	}
	if err == nil {
		tr.cpu, err = tr.sessionTime(ctx)
	}
	if err != nil {
		tr.end(ctx)
		return nil, err
	}
	return tr, nil
}

// restartPoints waits until the standbys have replayed the primary's checkpoint, and makes it theirs, which frees their WAL.
func restartPoints(ctx context.Context, c *harness.Cluster) error {
	if len(c.Standbys) == 0 {
		return nil
	}
	if err := c.WaitReplayed(); err != nil {
		return err
	}
	for _, s := range c.Standbys {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "CHECKPOINT")
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			return fmt.Errorf("make a restart point on %s: %w", s.Name, err)
		}
	}
	return nil
}

// trial is one copy of a table and the fleet that works on it.
type trial struct {
	*bench
	cluster *harness.Cluster
	table   table
	name    string
	pool    *pgxpool.Pool
	fleet   []*harness.Process
	environ []string      // of the fleet's processes, beside the database's
	truth   *truth        // of the lag, where a part measures it
	heap    int64         // bytes of the table when the trial was fresh,
	lsn     string        // where the WAL was,
	cpu     time.Duration // and what the server's sessions had used
	check   *httpCheck
	// scripted counts the rows that the usual script has written.
	scripted atomic.Int64
}

func (t *trial) dsn() string { return t.cluster.DSN(t.name) }

// end stops the fleet and drops the copy.
func (t *trial) end(ctx context.Context) {
	t.stopFleet()
	t.pool.Close()
	ctx = context.WithoutCancel(ctx)
	admin, err := pgx.Connect(ctx, t.cluster.DSN("postgres"))
	if err == nil {
		_, err = admin.Exec(ctx, "DROP DATABASE "+t.name+" WITH (FORCE)")
		admin.Close(ctx)
	}
	if err != nil {
		t.say("drop the copy %s: %v", t.name, err)
	}
}
