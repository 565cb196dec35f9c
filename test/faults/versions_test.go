package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// On every version of PostgreSQL that is supported: a job over a table under writes, one worker killed, and a failover to the standby.
func TestVersions(t *testing.T) {
	for _, major := range harness.Majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			c, f := newPair(t, shape{rows: 60_000, perRange: perRange, rate: 10_000}, harness.WithVersion(major))
			var version int
			require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version))
			require.Equal(t, major, version)
			_, workers := f.begin(3)
			g := f.awaitGrip("", perRange)
			require.NoError(t, byID(workers, g.owner).Kill())
			began := time.Now()
			f.awaitShare(0.4)
			killed := failOver(t, c)
			f.awaitMore()
			resumed := time.Since(killed)
			require.LessOrEqual(t, resumed, 15*time.Second)
			f.awaitHeir(g)
			f.unleash()
			f.prove(fmt.Sprintf("PostgreSQL %d: %s killed, its range taken over after %s; batches %s after the primary was killed", version, g.owner,
				short(time.Since(began)), short(resumed)))
		})
	}
}
