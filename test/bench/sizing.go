package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

const (
	sizingRows   = 1_000_000
	manyRanges   = 2_000_000
	sizingWorker = 4 // slots
	workFor      = 30 * time.Second
)

// sizing measures what docs/sizing.md computes with: a range's bytes in the ledger and in the stream, the sessions that the fleet
// holds, and what it takes to sum up a ledger. It takes one round, as sizes do not vary.
func sizing(ctx context.Context, b *bench) error {
	tr, err := b.fresh(ctx, table{template: "sizing", rows: sizingRows})
	if err != nil {
		return err
	}
	defer tr.end(ctx)
	if _, err := tr.coordinate(); err != nil {
		return err
	}
	if _, err := tr.work("worker1", sizingWorker); err != nil {
		return err
	}
	before, err := resident(tr.nats.Process(), "VmRSS")
	if err != nil {
		return err
	}
	if _, err := tr.pool.Exec(ctx, "SELECT backfleet.hold('1 hour')"); err != nil {
		return err
	}
	if err := tr.submit(fmt.Sprintf("rows_per_range: %d\n", sizingRows/scaleRanges)); err != nil {
		return err
	}
	if err := tr.awaitStream(ctx, scaleRanges); err != nil {
		return err
	}
	if err := tr.streamSize(ctx, before); err != nil {
		return err
	}
	if err := tr.ledgerSize(ctx, "planned and released"); err != nil {
		return err
	}
	if err := tr.sessions(ctx); err != nil {
		return err
	}
	if _, err := tr.pool.Exec(ctx, "SELECT backfleet.release()"); err != nil {
		return err
	}
	if err := sleep(ctx, workFor); err != nil {
		return err
	}
	var done int64
	if err := tr.pool.QueryRow(ctx, "SELECT count(*) FROM backfleet.ranges WHERE state = 'done'").Scan(&done); err != nil {
		return err
	}
	b.say("  %d ranges of %d rows done in %s", done, sizingRows/scaleRanges, workFor)
	if err := tr.ledgerSize(ctx, "at work"); err != nil {
		return err
	}
	if err := tr.command(tr.dsn(), "pause", tr.name); err != nil {
		return err
	}
	return tr.sums(ctx)
}

// streamSize says what a message takes on disk and in the server's memory.
func (t *trial) streamSize(ctx context.Context, before float64) error {
	nc, err := nats.Connect(t.nats.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "BACKFLEET")
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	var disk int64
	err = filepath.WalkDir(t.nats.StoreDir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // a file that the server has just removed takes nothing
		}
		if info, err := d.Info(); err == nil {
			disk += info.Size()
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := resident(t.nats.Process(), "VmRSS")
	if err != nil {
		return err
	}
	per := func(bytes float64) float64 { return bytes / float64(state.Msgs) }
	t.say("  %d messages: %.0f bytes each by JetStream's count, %.0f on disk, %.0f of memory", state.Msgs,
		per(float64(state.Bytes)), per(float64(disk)), per((after-before)*1e6))
	return nil
}

// ledgerSize says what a range takes in the ledger, with its indexes.
func (t *trial) ledgerSize(ctx context.Context, when string) error {
	var n, heap, indexes, rest int64
	err := t.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM backfleet.ranges), pg_table_size('backfleet.ranges'), pg_indexes_size('backfleet.ranges'),
		(SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relnamespace = 'backfleet'::regnamespace AND relkind = 'r' AND relname <> 'ranges')`).
		Scan(&n, &heap, &indexes, &rest)
	if err != nil {
		return err
	}
	t.say("  ledger %s: %d ranges, %.0f bytes each in the table and %.0f in its indexes; all other tables %.0f kB", when, n,
		float64(heap)/float64(n), float64(indexes)/float64(n), float64(rest)/1e3)
	return nil
}

// sessions says what the fleet holds open to the database.
func (t *trial) sessions(ctx context.Context) error {
	rows, err := t.pool.Query(ctx, `SELECT regexp_replace(application_name, '(coordinator|worker) .*', '\1'), count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'backfleet%' GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return err
		}
		t.say("  sessions of %s: %d", name, n)
	}
	return rows.Err()
}

// sums says how long a scrape and a status take over a ledger as it is, and over one of millions of ranges, of which a tenth is open.
func (t *trial) sums(ctx context.Context) error {
	ledger := store.New(t.pool, "main")
	j, err := ledger.Find(ctx, t.name)
	if err != nil {
		return err
	}
	if err := t.status(ctx, ledger, j.ID); err != nil {
		return err
	}
	began := time.Now()
	_, err = t.pool.Exec(ctx, `INSERT INTO backfleet.ranges (job_id, index, relation, lo, hi, state, generation, fence, claim_token, rows, walked, batches, started_at, ended_at)
		SELECT $1, 10000000 + i, 'users'::regclass, ARRAY[(i * 50000)::text], ARRAY[(i * 50000 + 50000)::text],
			CASE WHEN i % 10 = 0 THEN 'queued' ELSE 'done' END, 1, 1, gen_random_uuid(), 50000, 50000, 12, now(), now()
		FROM generate_series(1::bigint, $2) i`, j.ID, manyRanges)
	if err != nil {
		return err
	}
	if _, err := t.pool.Exec(ctx, "VACUUM (ANALYZE) backfleet.ranges"); err != nil {
		return err
	}
	t.say("  %d ranges more written in %s", manyRanges, time.Since(began).Round(time.Second))
	return t.status(ctx, ledger, j.ID)
}

func (t *trial) status(ctx context.Context, ledger *store.Store, id job.ID) error {
	var took series
	for range 5 {
		began := time.Now()
		if _, err := ledger.Status(ctx, id); err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds()*1e3)
	}
	var n int64
	if err := t.pool.QueryRow(ctx, "SELECT count(*) FROM backfleet.ranges").Scan(&n); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "  a status over %d ranges: %.0f ms (%.0f to %.0f)\n", n, took.median(), slices.Min(took), slices.Max(took))
	return nil
}
