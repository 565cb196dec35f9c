package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// A last look that began before its job was planned anew may end in a round of the same number: it counts for nothing then. A limit that is set
// meanwhile takes nothing from it.
func TestALastLookOfAnEarlierRoundOfTheSameNumberIsNotKept(t *testing.T) {
	sc := submitted(t, 10)
	ctx, id := t.Context(), sc.j.ID
	sc.exec("update backfleet.jobs set state = 'verifying', verify_round = 1")
	moved, err := sc.s.Moved(ctx, id)
	require.NoError(t, err)
	kept := func() int { return sc.one("select count(*) from backfleet.jobs where last_look is not null") }

	require.NoError(t, sc.l.Freeze(ctx, sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}})) // a partition was attached
	sc.exec("update backfleet.jobs set state = 'verifying', verify_round = 1")
	require.NoError(t, sc.l.NoteLastLook(ctx, id, moved, job.LastLook{Round: 1}))
	require.Zero(t, kept())

	moved, err = sc.s.Moved(ctx, id)
	require.NoError(t, err)
	limits := sc.j.Limits
	limits.Throttle.MaxRowsPerSecond = 100
	_, err = sc.s.SetLimits(ctx, id, "ann", limits, 0)
	require.NoError(t, err)
	require.NoError(t, sc.l.NoteLastLook(ctx, id, moved, job.LastLook{Round: 2}), "of another round")
	require.Zero(t, kept())
	require.NoError(t, sc.l.NoteLastLook(ctx, id, moved, job.LastLook{Round: 1}))
	require.Equal(t, 1, kept())
}
