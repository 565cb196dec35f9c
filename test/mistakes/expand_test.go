package mistakes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
)

// reportLasts is how long the report's transaction lives. The mistake costs the application as much of it as is left.
const reportLasts = 2 * time.Second

// Phase 1. An ALTER TABLE that would take a millisecond waits for a report, and every later statement waits behind it: for as long as the report
// lives. The expand step waits for no lock longer than its lock_timeout.
func TestAPlainAlterBehindALongReportStopsTheApplication(t *testing.T) {
	s := stage(t, 1000)
	ctx := t.Context()
	report := func() (ended <-chan error) {
		conn, done := s.session("postgres"), make(chan error, 1)
		tx, err := conn.Begin(ctx)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, "SELECT count(*) FROM public.users")
		require.NoError(t, err)
		go func() {
			_, err := tx.Exec(ctx, "SELECT pg_sleep($1)", reportLasts.Seconds())
			if err == nil {
				err = tx.Commit(ctx)
			}
			done <- err
		}()
		return done
	}

	// The mistake.
	ended := report()
	altered := make(chan error, 1)
	go func() {
		_, err := s.Pool.Exec(ctx, "ALTER TABLE public.users ADD COLUMN mistake text")
		altered <- err
	}()
	require.Eventually(t, func() bool {
		return s.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'public.users'::regclass") == 1
	}, patience, 5*time.Millisecond, "the ALTER stands in the queue")
	stopped := s.slowestReadWhile(ended)
	require.NoError(t, <-altered)

	// Backfleet.
	var told []string
	s.guard.Tell = func(line string) { told = append(told, line) }
	ended = report()
	expanded := make(chan error, 1)
	go func() {
		_, err := s.guard.Expand(ctx, name, "")
		expanded <- err
	}()
	slowest := s.slowestReadWhile(ended)
	require.NoError(t, <-expanded)
	require.NotEmpty(t, told)
	require.Contains(t, told[0], "in the way", "it says who holds it up")
	m, err := s.guard.Store.Migration(ctx, name)
	require.NoError(t, err)
	require.NotNil(t, m.Facts.Expanded)
	p, _ := m.Phase()
	require.Equal(t, migration.Expand, p)

	t.Logf("a report of %s: the plain ALTER stopped a read for %s, expand for %s", reportLasts, stopped.Round(time.Millisecond), slowest.Round(time.Millisecond))
	require.Greater(t, stopped, reportLasts/2, "one read waited for nearly all of the report")
	require.Less(t, slowest, stopped/2)
}

// slowestReadWhile reads a row again and again until something ends, and says how long the slowest read took.
func (s *scene) slowestReadWhile(ended <-chan error) (slowest time.Duration) {
	s.Helper()
	conn := s.session("postgres")
	for {
		began := time.Now()
		var email string
		require.NoError(s, conn.QueryRow(s.Context(), "SELECT email FROM public.users WHERE id = 1").Scan(&email))
		slowest = max(slowest, time.Since(began))
		select {
		case err := <-ended:
			require.NoError(s, err)
			return slowest
		default:
		}
	}
}
