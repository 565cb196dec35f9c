package phases

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
)

// Whoever answers for the table may pass a gate before its time, with a reason, and everybody sees it for ever; but not what would lose data,
// and not what came to be unmet later.
func TestAnOverride(t *testing.T) {
	s := newScene(t, sameTable)
	s.phase("expand")
	s.tick("schema-deployed")
	s.phase("dual-write")
	s.phase("check")
	require.Contains(t, s.refused("override", "backfill"), "--reason")
	s.exec("GRANT USAGE ON SCHEMA backfleet TO " + stranger)
	s.exec("GRANT ALL ON ALL TABLES IN SCHEMA backfleet TO " + stranger)
	s.exec("GRANT SELECT ON public.users TO " + stranger)
	a := s.as(as(s.dsn, stranger), "phase", "override", "norm", "backfill", "--reason", "I may")
	require.Equal(t, 2, a.code, a.stderr)
	require.Contains(t, a.stderr, "role "+stranger+" does not own public.users; it is for "+owner)
	require.Empty(t, s.facts().Overrides)

	s.refused("backfill")
	s.phase("override", "backfill", "--reason", "CHG-4711: a legal deadline")
	visible := func() {
		t.Helper()
		for _, text := range []string{s.must("phase"), s.phase("show"), s.phase("log")} {
			for _, part := range []string{"backfill", "CHG-4711: a legal deadline", "both schemas have been written for 24h", "every writer of the table is known"} {
				require.Contains(t, text, part)
			}
		}
	}
	visible()

	s.exec("ALTER TABLE users DISABLE TRIGGER USER")
	require.Contains(t, s.refused("backfill"), "both schemas are written", "no override passes what would lose data")
	s.exec("UPDATE users SET email_norm = 'wrong', email = 'Right' WHERE id = 1")
	s.exec("ALTER TABLE users ENABLE ALWAYS TRIGGER " + s.trigger("_u"))
	s.exec("ALTER TABLE users ENABLE ALWAYS TRIGGER " + s.trigger("_i"))
	require.Equal(t, 3, s.cli("phase", "check", "norm").code)
	require.Contains(t, s.refused("backfill"), "no row newly diverged", "it was met when the gate was overridden")
	s.exec("UPDATE users SET email = 'Ann1@X' WHERE id = 1")
	s.phase("check")
	s.exec("UPDATE backfleet.divergence_rows SET first_seen = first_seen - interval '1 day'")
	s.phase("backfill")
	visible()

	end := s.briefly()
	s.await("the backfill is complete", func() bool { return s.show().Phase == migration.Switch })
	end()
	require.Contains(t, s.refused("override", "stop", "--reason", "a hurry"), "the next one is switch")
	s.phase("override", "switch", "--reason", "a hurry")
	s.phase("switch", "--to", "1")
	require.Contains(t, s.refused("switch", "--to", "10"), "since reads are at 1 %", "one step was overridden")
	s.phase("abandon", "--reason", "the end")
	visible()
}

func (s *scene) trigger(end string) (name string) {
	s.Helper()
	require.NoError(s, s.pool.QueryRow(s.Context(), "SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = 'users'::regclass AND right(tgname, 2) = $1", end).Scan(&name))
	return name
}

// The last gates cannot be overridden while anything reads what is to be dropped.
func TestNoOverrideDropsWhatIsRead(t *testing.T) {
	s := stopped(t)
	s.exec("CREATE VIEW monthly AS SELECT email FROM users")
	s.phase("override", "drop", "--reason", "the disk is full")
	said := s.refused("drop")
	require.Contains(t, said, "nothing in the database reads the old schema")
	require.Equal(t, 1, strings.Count(said, "\n"), said)
	s.exec("DROP VIEW monthly")
	s.phase("drop")
	require.Contains(t, s.must("phase"), "the disk is full")
}

// A soak shorter than the rule needs the owner and a reason too.
func TestAShortSoakNeedsAReason(t *testing.T) {
	s := newScene(t, sameTable)
	path := s.file("short.yaml", strings.Replace(sameTable, "name: norm", "name: short", 1)+"soak: {dual_write: 1h}\n")
	a := s.cli("phase", "start", path)
	require.Equal(t, 2, a.code)
	require.Contains(t, a.stderr, "dual_write 1h instead of 24h")
	s.must("phase", "start", path, "--reason", "a rehearsal on staging")
	require.Contains(t, s.must("phase"), "OVERRIDE of soak in short")
	require.Contains(t, s.must("phase", "show", "short"), "a rehearsal on staging")
}

// Under a million rows nothing is waited for between phases 1 and 2, and 3 and 4; the weeks of 4 and 5 stay.
func TestSmallTablesMergePhases(t *testing.T) {
	s := newScene(t, sameTable)
	s.rows(999_999)
	s.phase("expand")
	s.tick("schema-deployed", "writers-known", "dashboards-watched")
	s.phase("dual-write")
	require.Contains(t, s.refused("backfill"), "no row newly diverged", "a round of the watch is asked for all the same")
	s.phase("check")
	require.Contains(t, s.phase("show"), "under 1,000,000 phases 1 and 2 may be merged")
	s.phase("backfill")
	end := s.briefly()
	s.await("the backfill is complete", func() bool { return s.show().Phase == migration.Switch })
	end()
	for _, to := range []string{"1", "10", "100"} {
		s.phase("check")
		s.phase("switch", "--to", to)
	}
	s.tick("no-old-readers", "rollback-given-up")
	s.phase("check")
	require.Contains(t, s.refused("stop"), "for 7d: ")
}

// Over 100 million rows nothing begins without a plan, and a plan not without what must not be left to a default.
func TestAHugeTableNeedsAPlan(t *testing.T) {
	for name, file := range map[string]string{"new columns": sameTable, "a new table": newTable} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, file)
			s.rows(100_000_000)
			require.Contains(t, s.refused("expand"), "an operational plan is written")
			s.phase("override", "expand", "--reason", "a hurry")
			said := s.refused("expand")
			require.Equal(t, 1, strings.Count(said, "\n"), said)
			require.Contains(t, said, "an operational plan is written", "no override passes it")
			said = s.refused("plan")
			for _, field := range []string{"people", "backfill.throttle.windows", "backfill.throttle.signals.io_operations"} {
				require.Contains(t, said, field)
			}
			s.exec("DELETE FROM backfleet.migration_log")
			s.exec("DELETE FROM backfleet.migrations")
			s.must("phase", "start", s.file("m.yaml", strings.Replace(file, "throttle: {signals: {",
				`throttle: {windows: [{cron: "0 0 * * *", tz: UTC, for: 24h}], signals: {io_operations: {soft: 8000}, `, 1)))
			s.rows(100_000_000)
			require.Contains(t, s.refused("plan"), "--people")
			text := s.phase("plan", "--people", "dba-oncall,#payments")
			for _, part := range []string{"# Operational plan: norm", "100,000,000 rows", "- dba-oncall", "- #payments", "io_operations", "0 0 * * *", "## The way back", "duration "} {
				require.Contains(t, text, part)
			}
			require.Contains(t, s.phase("log", "-o", "json"), "dba-oncall", "the ledger keeps it")
			said = s.refused("expand")
			require.Contains(t, said, "phase tick norm restore-tested")
			require.Contains(t, said, "phase tick norm people-told")
			s.tick("restore-tested", "people-told")
			s.phase("expand")
		})
	}
}
