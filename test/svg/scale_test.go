package svg_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/svg"
)

func TestScaleEndsAtTheNextRoundNumber(t *testing.T) {
	for v, want := range map[float64][2]float64{0: {1, 0.2}, 1: {1, 0.2}, 1.1: {2, 0.5}, 29.9: {30, 10}, 30: {30, 10}, 61000: {80000, 20000}, 81000: {100000, 20000}} {
		top, step := svg.Scale(v)
		require.InDeltaSlice(t, []float64{want[0], want[1]}, []float64{top, step}, 1e-9, "%v", v)
	}
}
