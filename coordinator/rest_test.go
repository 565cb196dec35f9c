package coordinator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// Loops turn slowly while there is nothing to do, begin at once when there is, and keep their pace while it lasts.
func TestLoopsRestWithoutWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		l := &leadership{}
		l.note(nil)
		var turns []time.Duration
		began := time.Now()
		go l.turns(ctx, 50*time.Millisecond, func(context.Context) { turns = append(turns, time.Since(began)) })

		time.Sleep(1250 * time.Millisecond)
		l.note([]job.Job{{State: job.Running}})
		time.Sleep(110 * time.Millisecond)
		l.note([]job.Job{{State: job.Paused}})
		time.Sleep(time.Second)
		end()
		synctest.Wait()
		ms := time.Millisecond
		require.Equal(t, []time.Duration{
			0, 500 * ms, 1000 * ms, // nothing to do
			1250 * ms, 1300 * ms, 1350 * ms, // at work
			1400 * ms, 1900 * ms, // the turn that sees the pause, and rest
		}, turns)
	})
}

// Who rings has every loop take its turn at once, also one that is at work; its pace goes on from there.
func TestABellEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		l := &leadership{bell: make(chan struct{})}
		l.note([]job.Job{{State: job.Running}})
		var turns []time.Duration
		began := time.Now()
		go l.turns(ctx, 100*time.Millisecond, func(context.Context) { turns = append(turns, time.Since(began)) })
		time.Sleep(130 * time.Millisecond)
		l.ring()
		time.Sleep(110 * time.Millisecond)
		end()
		synctest.Wait()
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 100 * ms, 130 * ms, 230 * ms}, turns)
		require.Equal(t, int64(1), l.rings())
	})
}

func TestWorkIsToPlanAndToRun(t *testing.T) {
	for state, want := range map[job.State]bool{
		job.Planning: true, job.Running: true, job.Verifying: true,
		job.Paused: false, job.Complete: false, job.Failed: false, job.Cancelled: false,
	} {
		require.Equal(t, want, works([]job.Job{{State: state}}), state)
	}
	require.False(t, works(nil))
}
