package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// The number to scale a fleet to does not depend on the fleet that is there, and nothing is worth a worker while the database is held.
func TestWantedSlots(t *testing.T) {
	g, active, _ := governing(t)
	known := func(d throttle.Decision) int {
		t.Helper()
		g.decision, g.decided = d, time.Now()
		g.act(t.Context(), true, active, d)
		n, ok := g.wants(time.Now())
		require.True(t, ok)
		return n
	}
	_, ok := g.wants(time.Now())
	require.False(t, ok, "nothing was decided yet")

	require.Equal(t, 1, known(throttle.Decision{}), "the speed of a slot is not known: one tells")
	g.progress.perSlot = 1000
	require.Equal(t, 9, known(throttle.Decision{}), "four slots are there; nine ranges wait, and the job may have sixteen slots")
	require.Equal(t, 4, known(throttle.Decision{RowsPerSec: 1700, Whole: throttle.Whole{RowsPerSec: 1700}}), "1700 rows/s at 600 a slot, and one to spare")
	require.Zero(t, known(throttle.Decision{Hold: true}))
	require.Equal(t, 2, known(throttle.Decision{Slots: 2, Whole: throttle.Whole{Slots: 2}}), "the guard leaves two")

	g.c.roster.hear(job.Hello{Version: job.ProtocolVersion, Worker: "w1", Leaving: true})
	g.c.roster.hear(job.Hello{Version: job.ProtocolVersion, Worker: "w2", Leaving: true})
	require.Equal(t, 9, known(throttle.Decision{}), "a fleet of none is told what it lacks")

	g.decided = time.Now().Add(-2 * decisionStale)
	_, ok = g.wants(time.Now())
	require.False(t, ok)
}

// A window's part of the rate is a part of the fleet that the job may have: else each worker that leaves would make it smaller.
func TestAWindowWantsItsPartOfTheJobsFleet(t *testing.T) {
	g, _, _ := governing(t)
	g.progress.perSlot = 1000
	part := 0.3
	j := named("A", job.ThrottleRules{DefaultRate: &part})
	fleet := supply{slots: 1, perSlot: 1000}
	n := g.want(night, throttle.Decision{}, []job.Job{j}, nil, map[job.ID]int{"A": 99}, fleet)
	require.Equal(t, 9, n, "0.3 of 16 slots is 4800 rows/s, and a lease counts on 600 a slot")
}
