package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestATripIsTheQuickestOfTheLast(t *testing.T) {
	const ms = time.Millisecond
	var trips trips
	require.Equal(t, 90*ms, trips.without(90*ms), "nothing is known of the way")
	trips.add(300 * ms) // it had to connect first
	trips.add(80 * ms)
	trips.add(85 * ms)
	require.Equal(t, 10*ms, trips.without(90*ms))
	require.Zero(t, trips.without(70*ms))
	for range tripsKept {
		trips.add(100 * ms) // another way by now
	}
	require.Equal(t, 20*ms, trips.without(120*ms))
}
