package job

import (
	"strings"
	"testing"
)

// A bound that nothing could keep is refused, with what may be written.
func TestMaxGrowthIsAMultipleOfTheSize(t *testing.T) {
	for _, bad := range []string{"1", "1.04", "-1", "101", "NaN", "much"} {
		_, _, err := set(defaultLimits(), "throttle.max_growth", bad)
		if err == nil || !strings.Contains(err.Error(), "like 1.3, or 0 for no bound") {
			t.Errorf("max_growth %s: %v", bad, err)
		}
	}
}
