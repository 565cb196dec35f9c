package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func (sc *scene) freeze() {
	sc.Helper()
	require.NoError(sc, sc.l.Freeze(sc.Context(), sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	var err error
	sc.j, err = sc.s.Get(sc.Context(), sc.j.ID)
	require.NoError(sc, err)
	require.True(sc, sc.j.Frozen)
}

func (sc *scene) stillWriting() []string {
	sc.Helper()
	still, err := sc.s.StillWriting(sc.Context(), sc.j)
	require.NoError(sc, err)
	return still
}

// Invariant 1: the first batch waits for the transactions that held a write lock on the table at the freeze, and says which.
func TestTheFreezeWaitsForOpenWriteTransactions(t *testing.T) {
	sc := submitted(t, 10)
	writing, reading := sc.begin(), sc.begin()
	_, err := writing.Exec(t.Context(), "insert into t (id) values (3 - 10)")
	require.NoError(t, err)
	_, err = reading.Exec(t.Context(), "select count(*) from t")
	require.NoError(t, err)
	sc.freeze()
	still := sc.stillWriting()
	require.Len(t, still, 1, "a reader is nobody to wait for")
	require.Contains(t, still[0], "pid ")

	later := sc.begin()
	_, err = later.Exec(t.Context(), "insert into t (id) values (11)")
	require.NoError(t, err)
	require.NoError(t, writing.Commit(t.Context()))
	require.Empty(t, sc.stillWriting(), "who came after the freeze is not waited for")
}

// Invariant 1: prepared transactions too, whether they were prepared before the freeze or after it.
func TestTheFreezeWaitsForPreparedTransactions(t *testing.T) {
	sc := submitted(t, 10)
	before, after := sc.begin(), sc.begin()
	_, err := before.Exec(t.Context(), "insert into t (id) values (-1)")
	require.NoError(t, err)
	_, err = before.Exec(t.Context(), "prepare transaction 'before'")
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = sc.s.pool.Exec(t.Context(), "rollback prepared 'before'") })
	_, err = after.Exec(t.Context(), "insert into t (id) values (-2)")
	require.NoError(t, err)
	sc.freeze()
	require.Len(t, sc.stillWriting(), 2)
	_, err = after.Exec(t.Context(), "prepare transaction 'after'")
	require.NoError(t, err)
	require.Len(t, sc.stillWriting(), 2)
	sc.exec("commit prepared 'before'")
	require.Len(t, sc.stillWriting(), 1)
	sc.exec("commit prepared 'after'")
	require.Empty(t, sc.stillWriting())
}

// A freeze decides on the job as it stands: one that a person stopped meanwhile stays stopped.
func TestAFreezeRevivesNoStoppedJob(t *testing.T) {
	sc := begun(t, 10, 10)
	seen := sc.j
	_, err := sc.s.Cancel(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	require.NoError(t, sc.l.Freeze(t.Context(), seen, []Leaf{{OID: sc.relation + 1, Schema: "public", Name: "t", Leaf: true}}))
	j, err := sc.s.Get(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Equal(t, job.Cancelled, j.State)
	require.Equal(t, 1, sc.one("select count(*) from backfleet.relations"))
}

// A leaf partition that was detached and attached again goes on from its checkpoints.
func TestALeafThatComesBackGoesOn(t *testing.T) {
	sc := begun(t, 20, 10)
	sc.finish(sc.claim(sc.refs[0], "worker-1"))
	_, c := sc.fill(to(sc.claim(sc.refs[1], "worker-1"), key(15), false))
	rels, err := sc.s.Relations(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.NoError(t, sc.l.DropRelation(t.Context(), sc.j.ID, rels[0]))
	require.Equal(t, "dropped", sc.rangeState(c.Ref))

	sc.freeze()
	rels, err = sc.s.Relations(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.False(t, rels[0].Dropped)
	require.True(t, rels[0].Planned)
	require.Equal(t, key(20), rels[0].Bound, "the bound stays as it was first frozen")
	b, _ := sc.fill(to(c, key(20), true))
	require.Equal(t, fenced, b)
	require.Equal(t, "done", sc.rangeState(sc.refs[0]))
	require.Equal(t, "queued", sc.rangeState(sc.refs[1]))
	sc.j, err = sc.l.Start(t.Context(), sc.j.ID)
	require.NoError(t, err)
	refs, err := sc.l.Release(t.Context(), sc.j, 10)
	require.NoError(t, err)
	sc.finish(sc.claim(refs[0], "worker-2"))
	require.Equal(t, 20, sc.one("select count(*) from t where n = 1"))
}
