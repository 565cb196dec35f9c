package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
)

// Invariant 5: a table that took the name of the job's in mid-run is not touched, not even by a session that has the statement prepared.
func TestATableThatTookTheNameIsNotTouched(t *testing.T) {
	sc := begun(t, 20, 20)
	conn, err := sc.s.pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	c := sc.claim(sc.refs[0], "worker-1")
	for _, k := range []int{5, 10} {
		b, err := sc.fillOn(conn, to(c, key(k), false))
		require.NoError(t, err)
		require.Equal(t, int64(1), b.moved)
		c.Checkpoint = c.Checkpoint.Advance(key(k))
	}
	sc.exec("create table other (like t including all)")
	sc.exec("insert into other select i, 0 from generate_series(1, 20) i")
	sc.exec("alter table t rename to old")
	sc.exec("alter table other rename to t")
	b, err := sc.fillOn(conn, to(c, key(15), false))
	require.NoError(t, err)
	require.Equal(t, fenced, b)
	require.Zero(t, sc.one("select count(*) from t where n > 0"))

	// Swapped back, it goes on.
	sc.exec("alter table t rename to other")
	sc.exec("alter table old rename to t")
	b, err = sc.fillOn(conn, to(c, key(15), false))
	require.NoError(t, err)
	require.Equal(t, batch{moved: 1, rows: 5}, b)
	require.Equal(t, 14, sc.one("select count(*) from t where n = 1"))
}

// The name is looked up when the fence is taken and again when the job's UPDATE is parsed. Where the swap commits between the two, the
// batch writes nothing, and says so as an error that is tried again.
func TestASwapBetweenFenceAndUpdateWritesNothing(t *testing.T) {
	sc := begun(t, 20, 20)
	c := sc.claim(sc.refs[0], "worker-1")
	sc.exec("create table other (like t including all)")
	sc.exec("insert into other select i, 0 from generate_series(1, 20) i")
	swap := sc.begin()
	for _, sql := range []string{"alter table t rename to old", "alter table other rename to t"} {
		_, err := swap.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	filling := start(func() (batch, error) { return sc.fillOn(sc.s.pool, to(c, key(5), false)) })
	sc.waitsForLock()
	require.NoError(t, swap.Commit(t.Context()))
	got := <-filling
	require.Equal(t, postgres.Contention, postgres.Classify(got.err), "%v", got.err)
	require.ErrorContains(t, got.err, "was swapped for another")
	require.Zero(t, sc.one("select count(*) from t where n > 0")+sc.one("select count(*) from old where n > 0"))
	require.Equal(t, 0, sc.one("select rows from backfleet.ranges"))
}
