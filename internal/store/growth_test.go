package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The rows of a table are known once it has statistics, and its size at the freeze stays what it was.
func TestTheSizeOfAHeap(t *testing.T) {
	sc := submitted(t, 10)
	sc.exec("alter table t set (autovacuum_enabled = false)")
	sc.exec("insert into t (id) select i from generate_series(11, 5000) i")
	sc.freeze()
	base, size, rows, err := sc.s.HeapSizes(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Positive(t, base)
	require.Equal(t, base, size)
	require.Zero(t, rows, "never analyzed")

	sc.exec("insert into t (id) select i from generate_series(5001, 10000) i")
	sc.exec("analyze t")
	later, grown, rows, err := sc.s.HeapSizes(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Equal(t, base, later)
	require.Greater(t, grown, 1.5*base)
	require.InDelta(t, sc.one("select count(*) from t"), rows, 1)
}
