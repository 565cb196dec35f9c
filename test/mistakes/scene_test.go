package mistakes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const name = "users-email-norm"

// patience is for what must come; a test that waits so long fails.
const patience = 30 * time.Second

// scene is a database with users, and the guard of a migration of their addresses.
type scene struct {
	*harness.TestDatabase
	*testing.T
	guard *phase.Guard
}

func stage(t *testing.T, rows int) *scene {
	s := &scene{TestDatabase: harness.Database(t), T: t}
	s.exec("CREATE TABLE public.users (id bigint PRIMARY KEY, email text NOT NULL, country text NOT NULL DEFAULT 'DE')",
		fmt.Sprintf("INSERT INTO public.users SELECT i, 'User.' || i || '@Example.COM' FROM generate_series(1, %d) AS i", rows), "ANALYZE public.users")
	s.guard = &phase.Guard{Store: store.New(s.Pool, "main"), Pool: s.Pool, By: "ann", LockTimeout: 100 * time.Millisecond, Patience: patience}
	_, _, err := s.guard.Store.Migrate(t.Context())
	require.NoError(t, err)
	spec, err := migration.ParseSpec([]byte(`name: users-email-norm
database: main
table: public.users
from: {columns: [email]}
to: {columns: [{name: email_norm, type: text}]}
forward: {email_norm: lower(email)}
soak: {drop: 0s}
`), "m.yaml")
	require.NoError(t, err)
	_, created, err := s.guard.Start(t.Context(), spec, "a test has no week")
	require.NoError(t, err)
	require.True(t, created)
	return s
}

func (s *scene) exec(statements ...string) {
	s.Helper()
	for _, sql := range statements {
		_, err := s.Pool.Exec(s.Context(), sql)
		require.NoError(s, err, sql)
	}
}

func (s *scene) number(sql string, args ...any) (n int) {
	s.Helper()
	require.NoError(s, s.Pool.QueryRow(s.Context(), sql, args...).Scan(&n), sql)
	return n
}

// session is a connection of its own, of a role.
func (s *scene) session(role string) *pgx.Conn {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.Cluster.Primary.DSNAs(role, s.Name))
	require.NoError(s, err)
	s.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// expanded takes the migration through phase 1.
func (s *scene) expanded() {
	s.Helper()
	_, err := s.guard.Expand(s.Context(), name, "")
	require.NoError(s, err)
}

// ticked says that a person saw to an item.
func (s *scene) ticked(items ...string) {
	s.Helper()
	for _, item := range items {
		_, err := s.guard.Tick(s.Context(), name, item, "")
		require.NoError(s, err)
	}
}

// facts makes it so that steps were taken which this test is not about.
func (s *scene) facts(change func(f *migration.Facts, now time.Time)) {
	s.Helper()
	now := time.Now().Add(-time.Minute)
	require.NoError(s, postgres.InTx(s.Context(), s.Pool, postgres.Settings{Application: "test", SearchPath: "pg_catalog", SynchronousCommit: "local",
		LockTimeout: time.Second, StatementTimeout: time.Second}, func(tx pgx.Tx) error {
		_, err := s.guard.Store.MoveMigration(s.Context(), tx, store.Move{Name: name, By: "test", Action: "set", Now: now,
			Change: func(_ context.Context, _ pgx.Tx, _ migration.Migration, f *migration.Facts) (map[string]any, error) {
				change(f, now)
				return map[string]any{"by": "a test"}, nil
			}})
		return err
	}))
}

// early requires that a step is refused because another one comes first.
func (s *scene) early(err error, comesFirst migration.Gate) {
	s.Helper()
	var wrong *phase.WrongStepError
	require.ErrorAs(s, err, &wrong)
	require.ErrorContains(s, err, "gate "+string(comesFirst)+" comes first")
}

// refused requires that a gate holds a step up, and for this.
func (s *scene) refused(err error, gate migration.Gate, what string) {
	s.Helper()
	var held *phase.GateError
	require.ErrorAs(s, err, &held)
	require.Equal(s, gate, held.Gate)
	require.ErrorContains(s, err, what)
}

// script is the backfill that people write first: all rows of before, in batches.
func (s *scene) script(from, to int) {
	s.Helper()
	const batch = 1000
	for lo := from; lo < to; lo += batch {
		_, err := s.Pool.Exec(s.Context(), "UPDATE public.users SET email_norm = lower(email) WHERE id >= $1 AND id < least($2::bigint, $3)", lo, lo+batch, to)
		require.NoError(s, err)
	}
}

// fleet carries the migration's backfill in a process of its own, which ends when the job is verified.
func (s *scene) fleet() *harness.Process {
	s.Helper()
	job := filepath.Join(s.TempDir(), "job.yaml")
	require.NoError(s, os.WriteFile(job, []byte(`name: users-email-norm
database: main
table: public.users
set: {email_norm: lower(email)}
where: email_norm IS NULL
rows_per_range: 5000
throttle: {signals: {foreground: off}}
`), 0o600))
	return harness.Start(s.T, harness.Backfleet(s.T), []string{"run", job, "--workers", "2", "--no-sample", "--state-dir", s.TempDir()},
		[]string{"BACKFLEET_DATABASE_MAIN=" + s.DSN})
}
