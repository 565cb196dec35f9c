package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScheduleIsDecidedByItsSeed(t *testing.T) {
	one := Schedule(1, 10*time.Minute, kinds())
	require.Equal(t, one, Schedule(1, 10*time.Minute, kinds()))
	require.NotEqual(t, one, Schedule(2, 10*time.Minute, kinds()))
	require.Greater(t, len(one), 200)
}

func TestScheduleDealsEveryKind(t *testing.T) {
	for seed := range uint64(20) {
		dealt := map[string]int{}
		for _, e := range Schedule(seed, 3*time.Minute, kinds()) {
			dealt[e.Kind]++
		}
		for _, k := range kinds() {
			require.Positive(t, dealt[k.Name], "seed %d has no %s", seed, k.Name)
		}
	}
}

// What a fault hits is whole when the next one hits it, and all is whole at the end.
func TestScheduleMendsWhatItBreaks(t *testing.T) {
	const lasts = 5 * time.Minute
	byName := map[string]Kind{}
	for _, k := range kinds() {
		byName[k.Name] = k
	}
	for seed := range uint64(50) {
		whole := map[Place]time.Duration{}
		var last time.Duration
		for _, e := range Schedule(seed, lasts, kinds()) {
			k := byName[e.Kind]
			require.Len(t, e.Places, len(k.Hits))
			require.GreaterOrEqual(t, e.At, last)
			for n, p := range e.Places {
				require.Equal(t, k.Hits[n].Name, p.Target)
				require.Less(t, p.Number, k.Hits[n].Some)
				require.GreaterOrEqual(t, e.At, whole[p], "seed %d: %s is hit while it is broken", seed, p)
				whole[p] = e.At + e.For
			}
			require.LessOrEqual(t, e.At+e.For, lasts)
			require.LessOrEqual(t, e.For, k.Most)
			last = e.At
		}
	}
}
