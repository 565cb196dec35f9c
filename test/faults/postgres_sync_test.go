package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// A synchronous standby that is dead hangs every commit of the application. It holds the fleet like any replica that is away, but hangs
// none of its commands and processes; ignored by name, the job goes on to its end while the application still hangs.
func TestDeadSynchronousStandby(t *testing.T) {
	t.Parallel()
	c := harness.Postgres(t, harness.WithStandby(1), harness.WithSetting("synchronous_standby_names", "standby1"))
	f := fleetOn(t, c.DSN("postgres"), c.Pool(t, "postgres"), shape{rows: 100_000, perRange: perRange, rate: 8_000})
	f.begin(2)
	api := f.api()
	f.awaitShare(0.2)
	f.load.Stop() // a commit that hangs keeps its row locks, and the rows they are on can then be nobody's
	require.NoError(t, c.Standbys[0].Kill())
	killed := time.Now()
	f.awaitReason("missing", api)
	held := time.Since(killed)
	f.awaitStill()
	prompt := func(args ...string) (took time.Duration) {
		t.Helper()
		began := time.Now()
		f.must(args...)
		took = time.Since(began)
		require.LessOrEqual(t, took, 2*time.Second, "a command hangs: %v", args)
		return took
	}
	longest := prompt("set", f.job, "throttle.replicas.standby1=ignore")
	ignored := time.Now()
	f.awaitMore()
	back := time.Since(ignored)
	require.LessOrEqual(t, back, 5*time.Second)
	application, giveUp := context.WithTimeout(t.Context(), time.Second)
	_, err := f.pool.Exec(application, "UPDATE public.accounts SET note = 'hangs' WHERE counter = 1 AND id = 1")
	giveUp()
	require.ErrorIs(t, err, context.DeadlineExceeded, "the application's commit does not hang: nothing was tested")
	longest = max(longest, prompt("pause", f.job))
	f.awaitReleased()
	longest = max(longest, prompt("resume", f.job))
	f.awaitMore()
	f.unleash()
	f.prove(fmt.Sprintf("held %s after the standby's death, batches %s after it was ignored; no command took longer than %s", short(held), short(back), short(longest)))
}
