package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAComplaintIsNotRepeatedAtEachTick(t *testing.T) {
	var c complaints
	begun := time.Now()
	made := map[string]int{}
	for now := begun; now.Before(begun.Add(20 * time.Second)); now = now.Add(deliverEvery) {
		for _, what := range []string{"jobs not read", "sweep stopped"} {
			if c.due(what, now) {
				made[what]++
			}
		}
	}
	require.Equal(t, map[string]int{"jobs not read": 4, "sweep stopped": 4}, made)
}
