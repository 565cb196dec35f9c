package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// Where a boundary falls on the bound, the plan is not whole until the range that is closed above is there.
func TestALeafThatComesBackInMidPlanIsPlannedToItsEnd(t *testing.T) {
	sc := begun(t, 20, 10)
	sc.exec("delete from backfleet.ranges where index = 1")
	sc.exec("update backfleet.ranges set hi = '{20}'")
	sc.exec("update backfleet.relations set planned_to = '{20}', planned = false")
	rels, err := sc.s.Relations(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.NoError(t, sc.l.DropRelation(t.Context(), sc.j.ID, rels[0]))
	require.NoError(t, sc.l.Freeze(t.Context(), sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	rels, err = sc.s.Relations(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.False(t, rels[0].Planned)
}

// A row in quarantine that somebody has mended by hand leaves it at the retry, and the job is proved again all the same.
func TestARetryOfARowThatIsMendedProvesTheJobAgain(t *testing.T) {
	sc := begun(t, 10, 10)
	sc.exec(`update backfleet.jobs set spec = jsonb_set(spec, '{where}', '"n = 0"'), state = 'complete_with_errors', verify_round = 1`)
	sc.exec("update t set n = 1")
	sc.exec("update backfleet.ranges set state = 'done'")
	sc.exec("insert into backfleet.quarantine (job_id, relation, key, range_index, sqlstate, error, by) values ($1, $2, '{5}', 0, '22012', 'x', 'w1')",
		sc.j.ID, sc.relation)
	res, err := sc.s.Retry(t.Context(), sc.j.ID, "ann")
	require.NoError(t, err)
	require.Zero(t, res.Rows)
	require.Equal(t, job.Running, res.State)
	require.Zero(t, sc.one("select count(*) from backfleet.quarantine"))
}
