package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// `backfleet run` may end in any way at any moment; run again it goes on from the committed checkpoints, with its state directory or
// without.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 10_000})
	f.write()
	state := filepath.Join(f.dir, "state")
	run := func() *harness.Process {
		return f.start("run", f.file, "--workers", "3", "--state-dir", state)
	}
	goesOn := regexp.MustCompile(`goes on from its checkpoints`)

	p := run()
	f.awaitShare(0.1)
	require.NoError(t, p.Kill())
	began := time.Now()
	done := f.rowsDone()

	p = run()
	_, err := p.WaitForOutput(goesOn, patience)
	require.NoError(t, err)
	f.awaitMore()
	again := time.Since(began)
	require.GreaterOrEqual(t, f.rowsDone(), done)
	f.awaitShare(0.2)
	require.NoError(t, p.Kill())
	began = time.Now()
	require.NoError(t, os.RemoveAll(state))

	p = run()
	_, err = p.WaitForOutput(goesOn, patience)
	require.NoError(t, err)
	f.awaitMore()
	anew := time.Since(began)
	f.awaitShare(0.3)
	require.NoError(t, p.Term())
	stop := ends(t, p, 10*time.Second, 130)
	require.Less(t, stop, 3*time.Second)
	require.Regexp(t, `stopped at [0-9.]+ ?%, every range handed back; go on with: backfleet run .*JOB\.yaml`, p.Output())
	var running int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FROM backfleet.ranges WHERE state = 'running' AND owner LIKE $1",
		fmt.Sprintf("%%-%d-%%", p.PID())).Scan(&running))
	require.Zero(t, running, "every range is handed back")

	p = run()
	f.awaitMore()
	f.unleash()
	ends(t, p, patience, 0)
	require.Contains(t, p.Output(), "complete")
	f.awaitEnd()
	r := f.proveRows("complete")
	f.proveEmbedded(filepath.Join(state, "nats"))
	t.Logf("%d rows once each, %d takeovers; batches %s after SIGKILL and start, %s after SIGKILL without the state directory; SIGTERM took %s",
		r.Rows, r.Takeovers, short(again), short(anew), short(stop))
}

// The second Ctrl-C ends `backfleet run` at once, in the middle of a batch.
func TestRunInterruptedTwice(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 100_000, perRange: perRange, rate: 10_000})
	f.slowRow(f.rows/2 + perRange/2)
	f.write()
	args := []string{"run", f.file, "--workers", "2", "--state-dir", filepath.Join(f.dir, "state")}
	p := f.start(args...)
	f.awaitSlowRow()
	require.NoError(t, p.Signal(syscall.SIGINT))
	f.await("the first signal is taken", func(context.Context) (bool, error) { return !pending(p, syscall.SIGINT), nil })
	require.True(t, p.Running(), "it finishes its batch first")
	require.NoError(t, p.Signal(syscall.SIGINT))
	took := ends(t, p, time.Second, 130)

	p = f.start(args...)
	f.awaitMore()
	f.unleash()
	ends(t, p, patience, 0)
	f.awaitEnd()
	f.proveRows("complete")
	f.proveEmbedded(filepath.Join(f.dir, "state", "nats"))
	t.Logf("ended %s after the second signal", short(took))
}
