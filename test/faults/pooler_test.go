package faults

import (
	"fmt"
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
