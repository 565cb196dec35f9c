package harness_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/stretchr/testify/require"
)

func TestWriterCountsWhatItWrote(t *testing.T) {
	db := harness.Database(t)
	ctx := context.Background()
	db.Cluster.Exec(t, db.Name, "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int)")
	load := harness.Writer{Pool: db.Pool, Clients: 4, Rate: 2000, Ops: []harness.Op{
		harness.SQL("insert", 3, "INSERT INTO t (n) VALUES ($1)", func(r *rand.Rand) []any { return []any{r.IntN(100)} }),
		harness.SQL("fail", 1, "SELECT 1/0", nil),
	}}.Start(ctx)
	require.Eventually(t, func() bool { return load.Stats().Ops["insert"].Done >= 100 }, 30*time.Second, time.Millisecond)
	s := load.Stop()

	// A cancelled client's insert may be committed uncounted: at most one a client.
	var rows int64
	require.NoError(t, db.Pool.QueryRow(ctx, "SELECT count(*) FROM t").Scan(&rows))
	require.InDelta(t, s.Ops["insert"].Done, rows, 4)
	require.Positive(t, s.Ops["fail"].Errors)
	require.ErrorContains(t, s.Ops["fail"].LastError, "division by zero")
	require.Zero(t, s.Ops["fail"].Done)
	require.Equal(t, s.All.Done, s.Ops["insert"].Done)
	require.Positive(t, s.All.P50)
	require.LessOrEqual(t, s.All.P50, s.All.P99)
	require.LessOrEqual(t, s.All.P99, s.All.Max)
	require.Equal(t, s, load.Stop())
}

func TestHistogramQuantiles(t *testing.T) {
	var h harness.Histogram
	require.Zero(t, h.Quantile(0.5))
	for ms := range 1000 {
		h.Add(time.Duration(ms+1) * time.Millisecond)
	}
	require.InEpsilon(t, 500*time.Millisecond, h.Quantile(0.5), 0.06)
	require.InEpsilon(t, 990*time.Millisecond, h.Quantile(0.99), 0.06)
	require.Equal(t, time.Second, h.Max())
	h.Add(48 * time.Hour)
	require.Equal(t, 48*time.Hour, h.Quantile(1))
}
