package coordinator

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

// The leader watches what has dual-write, says what diverges, and does nothing where there is nothing to watch.
func TestTheLeaderWatchesMigrationsThatHaveDualWrite(t *testing.T) {
	pool := harness.Database(t).Pool
	ctx := t.Context()
	s := store.New(pool, "main")
	_, _, err := s.Migrate(ctx)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, "CREATE TABLE users (id bigint PRIMARY KEY, email text, email_norm text); INSERT INTO users SELECT i, 'A' || i FROM generate_series(1, 5000) i")
	require.NoError(t, err)
	logged, logs := observer.New(zap.WarnLevel)
	l := &leadership{log: zap.New(logged), ledger: &store.Leader{Store: s}}
	l.gov = &governor{leadership: l}
	w := &watcher{leadership: l}
	w.recorder = &divergence.Recorder{Pool: pool, Ledger: s, Tables: w.tables}
	turn := func() {
		w.look(ctx)
		w.walk(ctx)
	}
	lines := func() (n int) {
		require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM backfleet.activity").Scan(&n))
		return n
	}

	spec := migration.Spec{Name: "users-email-norm", Database: "main", Table: "public.users", From: migration.From{Columns: []string{"email"}},
		To: migration.To{Columns: []migration.Column{{Name: "email_norm", Type: "text"}}}, Forward: map[string]string{"email_norm": "lower(email)"}}
	_, _, err = s.StartMigration(ctx, spec, migration.Facts{SearchPath: "public"}, "ann", time.Now())
	require.NoError(t, err)
	turn()
	require.Zero(t, lines(), "without dual-write nothing is watched")

	now := time.Now()
	set := func(change func(pgx.Tx, *migration.Facts) error) {
		require.NoError(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := s.MoveMigration(ctx, tx, store.Move{Name: spec.Name, By: "ann", Action: "test", Now: now,
				Change: func(_ context.Context, tx pgx.Tx, _ migration.Migration, f *migration.Facts) (map[string]any, error) {
					return map[string]any{}, change(tx, f)
				}})
			return err
		}))
	}
	set(func(tx pgx.Tx, f *migration.Facts) error {
		f.DualWrite, f.WrittenBy = &now, migration.ByTrigger
		if err := dualwrite.Install(ctx, tx, spec, dualwrite.Forward, "public"); err != nil {
			return err
		}
		return s.BeginWatch(ctx, tx, spec.Name)
	})
	_, err = pool.Exec(ctx, "SELECT backfleet.hold('1 minute')")
	require.NoError(t, err)
	turn()
	series, err := s.Series(ctx, spec.Name, time.Time{})
	require.NoError(t, err)
	require.Empty(t, series, "the brake stops the watch too")
	_, err = pool.Exec(ctx, "SELECT backfleet.release(); ALTER TABLE users DISABLE TRIGGER USER; INSERT INTO users VALUES (9000, 'Bypass')")
	require.NoError(t, err)
	turn()
	series, err = s.Series(ctx, spec.Name, time.Time{})
	require.NoError(t, err)
	require.Len(t, series, 1)
	require.True(t, series[0].Complete())
	require.Equal(t, divergence.Tally{Walked: 5001, Waiting: 5000, Missing: 1}, series[0].Tally)
	require.GreaterOrEqual(t, lines(), 1)
	require.Equal(t, 1, logs.FilterMessage("rows diverge").Len())
	turn()
	again, err := s.Series(ctx, spec.Name, time.Time{})
	require.NoError(t, err)
	require.Equal(t, series, again, "a small table is not walked without a rest")

	set(func(_ pgx.Tx, f *migration.Facts) error {
		f.Stopped = &now
		return nil
	})
	w.look(ctx)
	require.Empty(t, w.snapshotWatched())
}
