package faults

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// An upgrade in mid-run: the ledger first, then coordinators, then workers. The previous release's processes go on with the newer
// ledger, its workers obey a newer coordinator, newer workers an older one, and old and new workers finish the job beside each other.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 300_000, perRange: perRange, rate: 5_000})
	now := f.bin
	before, revision := harness.PreviousRelease(t)
	f.bin = before
	old, oldWorkers := f.begin(2)
	f.awaitShare(0.1)

	f.bin = now
	t.Logf("%s", f.must("db", "init")) // the ledger is upgraded under the old fleet
	ledger := f.awaitMore()
	f.coordinator()
	workers := slices.Concat(oldWorkers, []*harness.Process{f.worker(1), f.worker(1)})
	f.awaitGrip("w3", perRange) // a new worker under the old leader

	require.NoError(t, old.Term())
	ends(t, old, 10*time.Second, 0)
	began := time.Now()
	f.awaitLeader(old)
	led := time.Since(began)
	require.LessOrEqual(t, led, 10*time.Second)
	f.awaitMore()
	f.must("pause", f.job)
	paused := f.awaitReleased()
	require.LessOrEqual(t, paused, reactsIn, "old workers obey the new leader")
	f.must("resume", f.job)

	old0, new0 := f.rowsBy("w1", "w2"), f.rowsBy("w3", "w4")
	f.await("old and new workers work on under the new leader", func(context.Context) (bool, error) {
		return f.rowsBy("w1", "w2") > old0 && f.rowsBy("w3", "w4") > new0, nil
	})
	g := f.awaitGrip("w1", perRange)
	require.NoError(t, workers[0].Kill())
	killed := time.Now()
	heir := f.awaitHeir(g)
	gap := time.Since(killed)
	require.LessOrEqual(t, gap, heirMost)
	f.unleash()
	f.prove(fmt.Sprintf("from %.12s: batches %s after the ledger's upgrade, led by the new one %s after the old one left, paused in %s, an old worker killed, its range taken over by %s after %s; %d rows by old workers, %d by new ones",
		revision, short(ledger), short(led), short(paused), heir.owner, short(gap), f.rowsBy("w1", "w2"), f.rowsBy("w3", "w4")))
	for _, w := range workers[1:] {
		require.True(t, w.Running(), w.Output())
	}
}

// rowsBy counts the rows of ranges that these workers had last.
func (f *fleet) rowsBy(owners ...string) (n int64) {
	f.t.Helper()
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT coalesce(sum(rows), 0) FROM backfleet.ranges WHERE owner = ANY ($1)", owners).Scan(&n))
	return n
}
