package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// Invariant 8: poison rows at the start, side by side, in the middle and at the closed end are set aside, and every other row is
// updated once.
func TestEachPoisonRowIsIsolated(t *testing.T) {
	for _, passes := range []string{"1", "2", "4", "8"} {
		t.Run(passes, func(t *testing.T) {
			spec := job.Spec{Set: map[string]string{"n": "n + 1 / (CASE WHEN id IN (1, 2, 50, 99, 100) THEN 0 ELSE 1 END)"}}
			spec.Batch.Passes = passes
			w := walking(t, spec)
			require.NoError(t, w.c.carry(t.Context(), t.Context()))
			require.Equal(t, 95, w.one("select count(*) from t where n = 1"))
			require.Equal(t, 5, w.one("select count(*) from t where n = 0"))
			require.Equal(t, 5, w.one("select count(*) from backfleet.quarantine where key[1]::int in (1, 2, 50, 99, 100)"))
			require.Equal(t, 95, w.one("select rows from backfleet.ranges where state = 'done' and key = hi"))
		})
	}
}

// A constraint that is checked at commit fails there, with no row to point at.
func TestARowThatFailsAtCommitIsIsolated(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "CASE WHEN id = 70 THEN 2 ELSE 1 END"}})
	w.exec("create table allowed (n int primary key)")
	w.exec("insert into allowed values (0), (1)")
	w.exec("alter table t add foreign key (n) references allowed deferrable initially deferred")
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	require.Equal(t, 99, w.one("select count(*) from t where n = 1"))
	require.Equal(t, 70, w.one("select key[1]::int from backfleet.quarantine where sqlstate = '23503'"))
}

// A row whose `where` itself fails is set aside, and stops neither the proof nor the repair of another row.
func TestARowThatFailsItsOwnPredicateStopsNoRepair(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "1"}, Where: "n = 0 AND 1 / (id - 60) IS NOT NULL"})
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	require.Equal(t, 60, w.one("select key[1]::int from backfleet.quarantine"))
	w.exec("update t set n = 0 where id = 61")
	w.verify()
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	require.Equal(t, 1, w.one("select count(*) from t where n = 0"), "only the quarantined one")
	require.Equal(t, 1, w.one("select residual from backfleet.ranges where kind = 'verify' and state = 'done'"))
}
