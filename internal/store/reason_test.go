package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The coordinator explains from a view that may be a moment old: what a person said at a pause stands.
func TestAnExplanationOverwritesNoPause(t *testing.T) {
	sc := begun(t, 10, 10)
	require.NoError(t, sc.l.Explain(t.Context(), sc.j.ID, "planning: trouble"))
	require.Equal(t, "planning: trouble", sc.text("select reason from backfleet.jobs"))
	_, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "the sale begins")
	require.NoError(t, err)
	require.NoError(t, sc.l.Explain(t.Context(), sc.j.ID, "planning: trouble"))
	require.Equal(t, "the sale begins", sc.text("select reason from backfleet.jobs"))
}
