package job

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
)

// The spec reference names every setting, and every signal with its defaults.
func TestTheReferenceIsWhole(t *testing.T) {
	raw, err := os.ReadFile("../../docs/spec.md")
	require.NoError(t, err)
	doc := string(raw)
	for _, s := range limits.all {
		path := s.path
		if path == "throttle.lag.hard" {
			path = ".hard" // beside .soft
		}
		require.Contains(t, doc, "`"+path+"`")
	}
	for _, b := range throttle.Builtins() {
		row := fmt.Sprintf("| %#q | %s | %s |", b.Name, documented(b.Rule, b.Rule.Soft), documented(b.Rule, b.Rule.Hard))
		require.Contains(t, doc, row)
	}
	examples := 0
	for _, block := range strings.Split(doc, "```yaml\n")[1:] {
		if text, _, _ := strings.Cut(block, "```"); strings.HasPrefix(text, "name:") {
			_, err = ParseSpec([]byte(text), "spec.md")
			require.NoError(t, err, "its example")
			examples++
		}
	}
	require.Equal(t, 2, examples, "one of a set, one of a statement")
}

func documented(r throttle.Rule, v float64) string {
	side := ""
	if r.Below {
		side = "≤ "
	}
	switch {
	case math.IsNaN(v):
		return "–"
	case r.Unit == throttle.UnitShare:
		return side + strconv.FormatFloat(100*v, 'g', -1, 64) + " %"
	case r.Unit == throttle.UnitSeconds:
		return side + strings.TrimSuffix(time.Duration(v*float64(time.Second)).String(), "0s")
	case v >= 1e6:
		return fmt.Sprintf("%s%.0f M", side, v/1e6)
	}
	return side + strconv.FormatFloat(v, 'g', -1, 64)
}
