package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Where the fleet comes in bursts, the inner loop stops and starts it and the queue empties in between. A replica that became slower is
// known for it all the same: by what it replays while it has something to replay.
func TestGovernorLearnsASlowerReplayFromAQueueThatEmpties(t *testing.T) {
	b := newBench(Rules{})
	b.replay = 50e6
	b.run(20 * time.Second)
	require.InDelta(t, 50e6, b.g.budget.replicas["standby1"].rate, 15e6)
	b.replay, b.burst = 10e6, 4
	b.run(8 * time.Second)
	holds, empties, rates := 0, 0, 0.0
	for range 60 {
		if b.run(100 * time.Millisecond).Hold {
			holds++
		}
		if b.g.replays.members["standby1"].backlog < 1e4 {
			empties++
		}
		rates += b.g.budget.replicas["standby1"].rate
	}
	require.Greater(t, holds, 5, "the fleet is stopped")
	require.Greater(t, empties, 5, "and the queue empties")
	require.Less(t, b.g.budget.replicas["standby1"].rate, 16e6)
	require.Less(t, rates/60, 16e6, "nor does it swing back to what it was")
}
