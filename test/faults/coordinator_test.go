package faults

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// A coordinator that dies is replaced by one started after it, and, where two run, by the other within ten seconds. Workers go on
// from the ledger.
func TestKillCoordinator(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 10_000})
	first, _ := f.begin(2)
	f.awaitShare(0.1)
	require.NoError(t, first.Kill())
	killed := time.Now()
	f.coordinator()
	f.coordinator()
	f.awaitLeader(first)
	led := time.Since(killed)
	f.awaitMore()
	resumed := time.Since(killed)

	f.awaitShare(0.4)
	leader := f.awaitLeader(first)
	require.NoError(t, leader.Kill())
	killed = time.Now()
	next := f.awaitLeader(leader)
	takeover := time.Since(killed)
	require.NotEqual(t, leader.PID(), next.PID())
	require.LessOrEqual(t, takeover, 10*time.Second)
	f.awaitMore()
	again := time.Since(killed)
	f.unleash()
	f.prove(fmt.Sprintf("killed: a new one led after %s, batches after %s; killed beside another: it led after %s, batches after %s",
		short(led), short(resumed), short(takeover), short(again)))
}

var ownerPID = regexp.MustCompile(`-([0-9]+)-[0-9a-f]{8}$`)

// awaitLeader waits until a coordinator other than the one given leads, and returns its process.
func (f *fleet) awaitLeader(not *harness.Process) (p *harness.Process) {
	f.t.Helper()
	f.await("a coordinator leads", func(ctx context.Context) (bool, error) {
		var owner string
		if err := f.pool.QueryRow(ctx, "SELECT owner FROM backfleet.leadership WHERE until > clock_timestamp()").Scan(&owner); err != nil {
			return false, err
		}
		m := ownerPID.FindStringSubmatch(owner)
		if m == nil {
			return false, fmt.Errorf("the leader %q names no process", owner)
		}
		pid, err := strconv.Atoi(m[1])
		for _, c := range f.coordinators {
			if c.PID() == pid && c != not && c.Running() {
				p = c
			}
		}
		return p != nil, err
	})
	return p
}
