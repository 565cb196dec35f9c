package mistakes

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/contract"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/phase"
	"github.com/backfleet/backfleet/internal/postgres"
)

// Phase 5. The report that runs once a month is nowhere in the database, so nothing shows it before the drop; after the drop it fails for good.
// A rehearsal makes it fail at once and ends in less than a second; and without one the guard does not drop.
func TestADropBreaksTheMonthlyReport(t *testing.T) {
	s := stage(t, 1000)
	s.expanded()
	code, err := s.fleet().Wait(time.Minute)
	require.NoError(t, err)
	require.Zero(t, code)
	s.exec("DO $$ BEGIN CREATE ROLE reporting LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$", "GRANT SELECT ON public.users TO reporting")
	report := func(column string) error {
		conn := s.session("reporting")
		defer conn.Close(context.Background())
		_, err = conn.Exec(t.Context(), "SELECT country, count(DISTINCT "+column+") FROM public.users GROUP BY country")
		return err
	}
	require.NoError(t, report("lower(email)"))

	// The mistake, in a copy of the table: nothing warned, and the rows are gone.
	s.exec("CREATE TABLE public.copied AS TABLE public.users", "ALTER TABLE public.copied DROP COLUMN email", "GRANT SELECT ON public.copied TO reporting")
	conn := s.session("reporting")
	_, err = conn.Exec(t.Context(), "SELECT count(DISTINCT lower(email)) FROM public.copied")
	require.Equal(t, "42703", postgres.SQLState(err), "the report fails after the drop")

	// Backfleet.
	job, err := s.guard.Store.Find(t.Context(), name)
	require.NoError(t, err)
	s.facts(func(f *migration.Facts, now time.Time) {
		f.Job = string(job.ID)
		f.DualWrite, f.WrittenBy, f.Backfilled, f.Ramped, f.Stopped, f.Percent = &now, migration.ByTrigger, &now, &now, &now, 100
	})
	s.ticked("undo-kept")
	m, err := s.guard.Store.Migration(t.Context(), name)
	require.NoError(t, err)
	readers, err := s.guard.Readers(t.Context(), m)
	require.NoError(t, err)
	require.Empty(t, contract.Forbidding(readers), "nothing in the database knows of the report")
	_, _, err = s.guard.Drop(t.Context(), name)
	s.refused(err, migration.GateDrop, "a rehearsal of the drop ran its whole time")

	_, rehearsing, err := s.guard.Rehearse(t.Context(), name, phase.Rehearsal{Mode: contract.Revoke, For: time.Second, Accept: []string{"postgres"}})
	require.NoError(t, err)
	require.Equal(t, "42501", postgres.SQLState(report("lower(email)")), "the report fails in the rehearsal")
	require.NoError(t, report("email_norm"), "what reads the new schema goes on")
	_, _, err = s.guard.Drop(t.Context(), name)
	s.refused(err, migration.GateDrop, "one is under way")
	require.Eventually(t, func() bool { return s.number("SELECT (clock_timestamp() > $1)::int", rehearsing.Until) == 1 }, patience, 20*time.Millisecond)
	began := time.Now()
	_, exact, err := s.guard.Undo(t.Context(), name)
	require.NoError(t, err)
	t.Logf("the undo took %s", time.Since(began).Round(time.Millisecond))
	require.True(t, exact)
	require.NoError(t, report("lower(email)"), "it works again")

	// Its owner knows now, and the drop breaks nothing.
	_, undo, err := s.guard.Drop(t.Context(), name)
	require.NoError(t, err)
	require.Contains(t, undo, `ADD COLUMN "email" text`)
	require.NoError(t, report("email_norm"))
	require.Equal(t, "42703", postgres.SQLState(report("lower(email)")))
}
