package harness

import (
	"context"
	"errors"
	"strings"
	"time"
)

const (
	module    = "github.com/backfleet/backfleet"
	pollEvery = 20 * time.Millisecond
	// patience bounds every start and stop. Generous: continuous integration runs on loaded two-core machines.
	patience = 90 * time.Second
	// buildPatience bounds a compilation on a machine whose build cache is empty.
	buildPatience = 15 * time.Minute
)

// errHopeless marks a condition that waiting cannot mend, for instance that the awaited process has ended.
var errHopeless = errors.New("will not happen any more")

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func isModule(mod string) bool {
	for line := range strings.Lines(mod) {
		if strings.TrimSpace(line) == "module "+module {
			return true
		}
	}
	return false
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
