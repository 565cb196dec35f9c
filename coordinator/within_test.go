package coordinator

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A call that hangs holds its loop up no longer than it may, and the next one has its own time.
func TestALoopOutlivesACallThatHangs(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	calls := 0
	every(ctx, time.Millisecond, within(10*time.Millisecond, func(ctx context.Context) {
		if calls++; calls == 3 {
			end()
		}
		<-ctx.Done()
	}))
	require.Equal(t, 3, calls)
}
