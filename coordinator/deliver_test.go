package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ledger and stream are compared now and then, sooner in doubt, and soon again after an error.
func TestWhenToCompare(t *testing.T) {
	begun := time.Now()
	for name, c := range map[string]struct {
		d          delivery
		early, due time.Duration
	}{
		"as a rule":      {delivery{compared: begun}, reconcileEvery, reconcileEvery + 1},
		"in doubt":       {delivery{compared: begun, doubt: true}, doubtEvery, doubtEvery + 1},
		"after an error": {delivery{compared: begun.Add(-time.Hour), tried: begun}, doubtEvery, doubtEvery + 1},
		"never yet":      {delivery{tried: begun}, doubtEvery, doubtEvery + 1},
	} {
		require.False(t, c.d.due(begun.Add(c.early)), name)
		require.True(t, c.d.due(begun.Add(c.due)), name)
		require.False(t, c.d.doubt, "%s: the comparison settles it", name)
	}
}
