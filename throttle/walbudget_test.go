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
	b.replay, b.burst = 10e6, 3
	b.run(6 * time.Second)
	holds, empties := 0, 0
	for range 60 {
		if b.run(100 * time.Millisecond).Hold {
			holds++
		}
		if b.g.replays.members["standby1"].backlog < 1e4 {
			empties++
		}
	}
	require.Greater(t, holds, 5, "the fleet is stopped")
	require.Greater(t, empties, 1, "and the queue empties")
	require.Less(t, b.g.budget.replicas["standby1"].rate, 16e6)
}

// A queue that stands at two readings proves that the replica worked in between only if it was not replayed whole: else the replica may
// have waited for more, and its speed is not known.
func TestAShortQueueDoesNotTellTheSpeed(t *testing.T) {
	for _, c := range []struct {
		name   string
		behind float64 // bytes at each reading
		known  bool
	}{
		{"a queue of less than is replayed between two readings", 0.6e6, false},
		{"a queue of more", 1.5e6, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen replays
			at := time.Unix(0, 0)
			for n := range 20 {
				at = at.Add(100 * time.Millisecond)
				written := 1e8 + float64(n)*1e6
				seen.step(Sample{ReadAt: at, WALPos: written, Members: []Member{
					{Name: "standby1", State: "streaming", Pos: written - c.behind, Lag: 0.05}}})
			}
			rate, known := seen.members["standby1"].busy.rate()
			require.Equal(t, c.known, known)
			if known {
				require.InDelta(t, 10e6, rate, 1e5)
			}
		})
	}
}
