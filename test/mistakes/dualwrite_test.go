package mistakes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
)

// Phase 2. Rows that are written after a backfill passed them are stale, and so are new ones. With dual-write the same script and the same
// writes leave none; and without it the guard does not let a backfill begin.
func TestABackfillWithoutDualWriteLeavesStaleRows(t *testing.T) {
	const rows, changed, added = 10_000, 200, 50
	backfillUnderWrites := func(s *scene) (stale int) {
		s.script(1, rows/2)
		s.exec("UPDATE public.users SET email = 'Moved.' || id || '@Example.COM' WHERE id <= 200", // behind the script
			"INSERT INTO public.users SELECT i, 'New.' || i || '@Example.COM' FROM generate_series(10001, 10050) AS i")
		s.script(rows/2, rows+1)
		return s.number("SELECT count(*) FROM public.users WHERE email_norm IS DISTINCT FROM lower(email)")
	}

	mistake := stage(t, rows)
	mistake.expanded()
	require.Equal(t, changed+added, backfillUnderWrites(mistake))
	_, _, err := mistake.guard.Backfill(t.Context(), name)
	mistake.early(err, migration.GateDualWrite)

	s := stage(t, rows)
	s.expanded()
	s.ticked("schema-deployed")
	_, err = s.guard.DualWrite(t.Context(), name, migration.ByTrigger)
	require.NoError(t, err)
	require.Zero(t, backfillUnderWrites(s))
	t.Logf("%d of %d rows stale without dual-write, 0 with it", changed+added, rows+added)
}
