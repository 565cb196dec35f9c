package mistakes

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
)

// Phase 4. A script that skipped locked rows leaves some behind, and says that it is done. All reads switched at once serve each of them wrong. The
// guard does not switch without a proof; and had nobody looked, one percent of the reads would have met one percent of them.
func TestAllReadsSwitchedOnAnUnverifiedBackfillAreWrong(t *testing.T) {
	const rows = 20_000
	s := stage(t, rows)
	s.expanded()
	s.ticked("schema-deployed")
	_, err := s.guard.DualWrite(t.Context(), name, migration.ByTrigger)
	require.NoError(t, err)

	// A writer holds every tenth row, for a second.
	tx, err := s.session("postgres").Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM public.users WHERE id % 10 = 0 FOR UPDATE")
	require.NoError(t, err)
	s.exec(`UPDATE public.users SET email_norm = lower(email)
		WHERE id IN (SELECT id FROM public.users WHERE email_norm IS NULL FOR UPDATE SKIP LOCKED)`)
	require.NoError(t, tx.Commit(t.Context()))

	// What every user is told, each asked once. The application falls back to nothing.
	wrong := func(percent int) int {
		require.NoError(t, pgx.BeginFunc(t.Context(), s.Pool, func(tx pgx.Tx) error {
			_, _, err := s.guard.Store.SetFlag(t.Context(), tx, name, percent, "test")
			return err
		}))
		return s.number(`SELECT count(*) FROM (SELECT CASE WHEN backfleet.flag('users-email-norm', id::text) THEN email_norm ELSE lower(email) END AS answer, lower(email) AS right_one
			FROM public.users) AS asked WHERE answer IS DISTINCT FROM right_one`)
	}
	all := wrong(100)
	require.Equal(t, rows/10, all)
	one := wrong(1)
	require.Zero(t, wrong(0))
	t.Logf("wrong answers of %d: %d with all reads switched at once, %d at 1 %%", rows, all, one)
	require.InDelta(t, float64(all)/100, float64(one), float64(all)/100)
	require.Positive(t, one, "one percent is enough to see it")

	// The guard does not switch: not without a backfill that it knows the proof of. The watch shows what is open.
	s.ticked("dashboards-watched")
	_, err = s.guard.Switch(t.Context(), name, 1)
	s.early(err, migration.GateBackfill)
	watched, err := s.guard.Check(t.Context(), name)
	require.NoError(t, err)
	require.NotEmpty(t, watched.Series)
	require.Equal(t, int64(all), watched.Series[len(watched.Series)-1].Waiting, "rows that the backfill has still to do")

	// The fleet's backfill ends with a proof, and there is nothing wrong to serve.
	run := s.fleet()
	code, err := run.Wait(time.Minute)
	require.NoError(t, err)
	require.Zero(t, code, run.Output())
	require.Zero(t, wrong(100))
	require.Zero(t, wrong(0))
}
