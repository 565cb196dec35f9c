package mistakes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
)

// Phase 3. One UPDATE of the whole table holds a lock on every row until its end, and hands a replica all of it in one transaction. The fleet's
// transactions are small: the application gets at every row all the time.
func TestOneUpdateOfAllRowsLocksThemAll(t *testing.T) {
	const rows, probes = 20_000, 20
	// lockTimeout is what the application waits for a row. A batch of the fleet is over long before.
	const lockTimeout = "SET lock_timeout = '2s'"

	mistake := stage(t, rows)
	mistake.expanded()
	ctx := t.Context()
	tx, err := mistake.session("postgres").Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "UPDATE public.users SET email_norm = lower(email)")
	require.NoError(t, err)
	application := mistake.session("postgres")
	_, err = application.Exec(ctx, "SET lock_timeout = '20ms'")
	require.NoError(t, err)
	locked := 0
	for i := range probes {
		if _, err := application.Exec(ctx, "UPDATE public.users SET country = 'FR' WHERE id = $1", 1+i*rows/probes); err != nil {
			require.Equal(t, "55P03", postgres.SQLState(err))
			locked++
		}
	}
	require.Equal(t, probes, locked, "no row can be written until the whole of it is committed")
	require.NoError(t, tx.Commit(ctx))
	require.Equal(t, rows, mistake.largestTransaction())

	s := stage(t, rows)
	s.expanded()
	run := s.fleet()
	application = s.session("postgres")
	_, err = application.Exec(ctx, lockTimeout)
	require.NoError(t, err)
	written := 0
	for i := 0; run.Running(); i++ {
		_, err := application.Exec(ctx, "UPDATE public.users SET country = 'FR' WHERE id = $1", 1+i*rows/probes%rows)
		require.NoError(t, err, "a row was locked for too long")
		written++
	}
	code, err := run.Wait(time.Minute)
	require.NoError(t, err)
	require.Zero(t, code, run.Output())
	require.Zero(t, s.number("SELECT count(*) FROM public.users WHERE email_norm IS DISTINCT FROM lower(email)"))
	largest := s.largestTransaction()
	t.Logf("rows locked at once: %d by one UPDATE, %d by the fleet's largest batch; %d writes of the application got through", rows, largest, written)
	require.LessOrEqual(t, largest, rows/5)
	require.Greater(t, written, probes)
}

// largestTransaction is the most rows that one transaction left behind.
func (s *scene) largestTransaction() int {
	s.Helper()
	return s.number("SELECT max(n) FROM (SELECT count(*) AS n FROM public.users GROUP BY xmin::text) AS transactions")
}
