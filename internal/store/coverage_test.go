package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Invariant 1: the report finds every way in which ranges can fail to tile the key space.
func TestTheReportFindsWhatIsNotCovered(t *testing.T) {
	sc := begun(t, 30, 10)
	for _, ref := range sc.refs {
		sc.finish(sc.claim(ref, "worker-1"))
	}
	gaps := func() []string {
		t.Helper()
		r, err := sc.s.Report(t.Context(), sc.j.ID)
		require.NoError(t, err)
		require.Len(t, r.Coverage, 1)
		return r.Coverage[0].Gaps
	}
	require.Empty(t, gaps())
	for _, damage := range []string{
		"delete from backfleet.ranges where index = 0",
		"delete from backfleet.ranges where index = 1",
		"delete from backfleet.ranges where index = 2",
		"update backfleet.ranges set hi = '{10}', key = '{10}' where index = 0",
		"update backfleet.ranges set lo = '{10}' where index = 1",
		"update backfleet.ranges set lo = '{2}' where index = 0",
		"update backfleet.ranges set hi = '{29}', key = '{29}' where index = 2",
		"update backfleet.ranges set hi_inclusive = false where index = 2",
		"update backfleet.ranges set state = 'queued' where index = 1",
		"update backfleet.ranges set key = '{15}' where index = 1",
		"update backfleet.ranges set relation = 1 where index = 1",
		"insert into backfleet.ranges (job_id, index, relation, lo, hi, key, state) select job_id, 9, relation, lo, hi, key, state from backfleet.ranges where index = 1",
		"delete from backfleet.ranges",
	} {
		sc.exec("create table kept as select * from backfleet.ranges")
		sc.exec(damage)
		require.NotEmpty(t, gaps(), damage)
		sc.exec("delete from backfleet.ranges")
		sc.exec("insert into backfleet.ranges select * from kept")
		sc.exec("drop table kept")
		require.Empty(t, gaps())
	}
}

func TestAnEmptyRelationIsCoveredByNoRange(t *testing.T) {
	sc := submitted(t, 0)
	require.NoError(t, sc.l.Freeze(t.Context(), sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	r, err := sc.s.Report(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Nil(t, r.Coverage[0].Bound)
	require.Empty(t, r.Coverage[0].Gaps)
}
