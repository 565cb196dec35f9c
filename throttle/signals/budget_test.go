package signals_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle/signals"
)

// All sampling together, the lag reader too, takes at most 3 % of one core of the server while batches run and 0.5 % while none may.
// What counts is the time of the server's processes that serve it on the processor, which other load on the machine hardly changes.
func TestWhatSamplingCostsTheServer(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	exec(t, db.DSN, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 10000) n")
	cfg, err := pgxpool.ParseConfig(db.DSN)
	require.NoError(t, err)
	cfg.MaxConns = 2
	cfg.ConnConfig.RuntimeParams["application_name"] = "backfleet sampling"
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	for range 50 { // sessions that the sampling has to look through
		connect(t, db.DSN, "app").do("SELECT 1")
	}

	d, lag := signals.NewDatabase(pool, time.Now), signals.NewLag(pool, time.Now, 0)
	d.SetTables(oid(t, db, "t"))
	s := signals.NewSampler(time.Now)
	s.Use(d, signals.NewBlocked(pool), signals.NewProbe(signals.Dial(pool), time.Now), signals.NewSlots(pool, nil),
		signals.NewSQLCheck("rows", "SELECT count(*) FROM t WHERE id = 1", time.Second, pool))
	run(t, s)

	// during calls what the governor calls, at its intervals.
	during := func(span, read, beat time.Duration) {
		end := time.After(span)
		reads, beats := time.NewTicker(read), time.NewTicker(beat)
		defer reads.Stop()
		defer beats.Stop()
		for {
			select {
			case <-reads.C:
				require.NoError(t, lag.Read(t.Context()).Err)
			case <-beats.C:
				require.NoError(t, lag.Beat(t.Context()))
			case <-end:
				return
			}
		}
	}
	measure := func(what string, span, read, beat time.Duration) float64 {
		during(time.Second, read, beat) // connections and plans are made once
		before, began := onProcessor(t, db), time.Now()
		during(span, read, beat)
		after := onProcessor(t, db)
		require.NotEmpty(t, before)
		var used time.Duration
		for pid, ns := range after {
			used += ns - before[pid]
		}
		share := used.Seconds() / time.Since(began).Seconds()
		t.Logf("%s: %.2f %% of one core, over %d sessions", what, 100*share, len(after))
		return share
	}

	s.SetBusy(true)
	ctx, stop := context.WithCancel(t.Context())
	batches := make(chan error, 1)
	go func() {
		batches <- update(ctx, db)
	}()
	busy := measure("while batches run", 10*time.Second, 100*time.Millisecond, 200*time.Millisecond)
	for _, c := range s.Cost() {
		t.Logf("%-15s %3d readings, %.2f ms each", c.Name, c.Reads, 1000*c.Seconds/float64(c.Reads))
	}
	stop()
	require.NoError(t, <-batches)
	require.LessOrEqual(t, busy, 0.03)

	s.SetBusy(false)
	require.LessOrEqual(t, measure("idle", 10*time.Second, 2*time.Second, time.Hour), 0.005)
}

// update is a load of batches, until ctx ends.
func update(ctx context.Context, db *harness.TestDatabase) error {
	for from := 0; ctx.Err() == nil; from = (from + 100) % 10000 {
		if _, err := db.Pool.Exec(context.WithoutCancel(ctx), "UPDATE t SET n = n + 1 WHERE id > $1 AND id <= $1 + 100", from); err != nil {
			return err
		}
	}
	return nil
}

// onProcessor is how long each of the server's processes that serve the sampling was on a processor.
func onProcessor(t *testing.T, db *harness.TestDatabase) map[int]time.Duration {
	t.Helper()
	rows, err := db.Pool.Query(t.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'backfleet sampling'")
	require.NoError(t, err)
	used := map[int]time.Duration{}
	for rows.Next() {
		var pid int
		require.NoError(t, rows.Scan(&pid))
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		require.NoError(t, err)
		var ns int64
		_, err = fmt.Sscan(strings.Fields(string(stat))[0], &ns)
		require.NoError(t, err)
		used[pid] = time.Duration(ns)
	}
	require.NoError(t, rows.Err())
	return used
}
