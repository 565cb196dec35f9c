package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

func hello(worker string, rows int64, holding ...job.Held) job.Hello {
	return job.Hello{Version: job.ProtocolVersion, Worker: worker, Slots: 2, Databases: []string{"main"}, Holding: holding,
		Work: []job.Work{{Job: "A", Rows: rows, Batches: rows / 10, Seconds: float64(rows) / 1000}}}
}

func TestTheRosterCountsWhatIsDoneWhileItListens(t *testing.T) {
	now := night
	r := newRoster(func() time.Time { return now })
	r.hear(hello("w1", 5000)) // it worked before: that is not this coordinator's to count
	require.Zero(t, r.work("A"))
	r.hear(hello("w1", 5300))
	r.hear(hello("w1", 5200)) // sent before, heard after
	r.hear(hello("w1", 5300))
	r.hear(hello("w2", 0))
	r.hear(hello("w2", 40))
	require.Equal(t, int64(340), r.work("A").Rows)
}

func TestTheRosterCountsSlotsThatWaitForALock(t *testing.T) {
	now := night
	r := newRoster(func() time.Time { return now })
	waits := job.Held{Slot: 0, Job: "A", Range: 3, Waits: true}
	r.hear(hello("w1", 0, waits, job.Held{Slot: 1, Job: "A", Range: 4}))
	moves := r.moved()
	r.hear(hello("w2", 0, job.Held{Slot: 0, Job: "elsewhere", Waits: true}))
	require.Equal(t, 1, r.waiting(map[job.ID]bool{"A": true}))
	require.NotEqual(t, moves, r.moved())
	moves = r.moved()
	waits.Waits = false
	r.hear(hello("w1", 0, waits, job.Held{Slot: 1, Job: "A", Range: 4}))
	require.NotEqual(t, moves, r.moved(), "leases are shared out anew at once")
	require.Zero(t, r.waiting(map[job.ID]bool{"A": true}))
	waits.Waits = true
	r.hear(hello("w1", 0, waits))
	now = now.Add(silence + time.Second)
	require.Zero(t, r.waiting(map[job.ID]bool{"A": true}), "a worker that is gone waits for nothing")
}

func TestTheRosterTellsWhenSlotsMove(t *testing.T) {
	now := night
	r := newRoster(func() time.Time { return now })
	moves := r.moved()
	moved := func(h job.Hello) bool {
		r.hear(h)
		before := moves
		moves = r.moved()
		return moves != before
	}
	require.True(t, moved(hello("w1", 0)), "a worker comes")
	require.False(t, moved(hello("w1", 10)))
	require.True(t, moved(hello("w1", 10, job.Held{Slot: 0, Job: "A", Range: 1})), "a slot takes a range")
	require.False(t, moved(hello("w1", 10, job.Held{Slot: 0, Job: "A", Range: 2})), "and the next of the same job")
	require.True(t, moved(hello("w1", 10)), "it holds none")
	leaving := hello("w1", 10)
	leaving.Leaving = true
	require.True(t, moved(leaving))
	require.False(t, moved(leaving))
}

func TestTheRosterForgetsSilentWorkers(t *testing.T) {
	now := night
	r := newRoster(func() time.Time { return now })
	r.hear(hello("w1", 0, job.Held{Slot: 1, Job: "A", Range: 7}, job.Held{Slot: 0, Job: "elsewhere"}))
	slots, holding := r.slots("main", map[job.ID]bool{"A": true})
	require.Equal(t, []throttle.Slot{{Worker: "w1", Slot: 1}}, slots, "the other carries a range of another database")
	require.Equal(t, map[job.ID][]throttle.Slot{"A": {{Worker: "w1", Slot: 1}}}, holding)
	now = now.Add(silence + time.Second)
	slots, _ = r.slots("main", map[job.ID]bool{"A": true})
	require.Empty(t, slots)
}
