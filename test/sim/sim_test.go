package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
)

func TestSteady(t *testing.T) {
	for _, n := range []int{4, 16, 64} {
		r := Run(Scenarios(n, 1)[0], Ours("governor", throttle.Both, sectionLag), sectionOptions)
		require.GreaterOrEqual(t, r.Rows, 0.97)
		require.LessOrEqual(t, r.Over5, 0.005)
		require.LessOrEqual(t, r.Peak, 5.0)
	}
}
