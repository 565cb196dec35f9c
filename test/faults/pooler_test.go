package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// A whole run through PgBouncer in transaction mode, beside an application that shares its backends, and over its restart: nothing of
// the fleet depends on a session, and nothing that it sets stays behind in one.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	db := harness.Database(t)
	bouncer := harness.StartPgBouncer(t, db.Cluster.Primary, 6)
	f := fleetOn(t, db.DSN, db.Pool, shape{rows: 150_000, perRange: perRange, rate: 12_000})
	f.dsn = bouncer.DSN(db.Name)
	coordinator, workers := f.begin(2)
	f.awaitShare(0.2)
	require.NoError(t, bouncer.Stop())
	time.Sleep(time.Second) // long enough that every part has met it
	require.NoError(t, bouncer.Start())
	started := time.Now()
	f.awaitMore()
	back := time.Since(started)
	require.LessOrEqual(t, back, 10*time.Second)
	f.awaitShare(0.5)
	f.unleash()
	f.prove(fmt.Sprintf("batches %s after PgBouncer's restart", short(back)))
	for _, p := range append(workers, coordinator) {
		for _, of := range []string{"26000", "42P05", "0A000"} {
			require.Empty(t, logged(p, of), "a prepared statement was missed")
		}
	}
}

// With a pooler beside each server, a failover ends no session: the clients keep theirs to the pooler of the former primary, and find
// themselves on a standby once that server is back. They leave it, as the DSN asks for a server that takes writes.
func TestFailoverBehindPgBouncer(t *testing.T) {
	t.Parallel()
	c, f := newPair(t, shape{rows: 150_000, perRange: perRange, rate: 8_000})
	before := harness.StartPgBouncer(t, c.Primary, 20)
	after := harness.StartPgBouncer(t, c.Standbys[0], 20)
	f.dsn = harness.FailoverDSN("postgres", harness.Local(before.Port), harness.Local(after.Port))
	coordinator, workers := f.begin(2)
	f.awaitShare(0.2)
	fleet := slices.Concat(workers, []*harness.Process{coordinator})
	for _, p := range fleet { // nobody of the fleet asks for anything while both poolers have no primary
		require.NoError(t, p.Stop())
	}
	failOver(t, c)
	require.NoError(t, c.Rejoin(0))
	for _, p := range fleet {
		require.NoError(t, p.Cont())
	}
	back := f.awaitMore()
	require.LessOrEqual(t, back, 15*time.Second)
	f.awaitShare(0.5)
	f.unleash()
	stayed := 0
	for _, p := range fleet {
		stayed += len(logged(p, "25006")) + len(logged(p, "during recovery"))
	}
	f.prove(fmt.Sprintf("told %d times of a session on a standby; batches again after %s", stayed, short(back)))
}
