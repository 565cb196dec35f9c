package coordinator

import (
	"context"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
)

// governing is a governor of one job and four slots, whose ledger and queue are the test's.
func governing(t *testing.T) (g *governor, active []job.Job, sent *[]job.Budget) {
	t.Helper()
	j := named("A", job.ThrottleRules{})
	c := New(Config{Logger: zap.NewNop(), Now: time.Now})
	for _, w := range []string{"w1", "w2"} {
		c.roster.hear(hello(w, 0))
	}
	l := &leadership{c: c, log: zap.NewNop(), ledger: &store.Leader{Store: store.New(nil, "main")}, jobs: []job.Job{j}, readJobs: true, growth: &growth{}}
	sent = &[]job.Budget{}
	g = &governor{
		leadership: l, ledger: l.ledger, progress: newProgress(), shares: &shares{}, control: throttle.NewGovernor(throttle.Rules{}),
		runnable:  func(context.Context, []job.ID, int) (map[job.ID]int, error) { return map[job.ID]int{"A": 9}, nil },
		send:      func(b job.Budget) error { *sent = append(*sent, b); return nil },
		connected: func() error { return nil },
	}
	return g, []job.Job{j}, sent
}

func TestAHoldWaitsForNoCountOfRanges(t *testing.T) {
	g, active, sent := governing(t)
	g.act(t.Context(), true, active, throttle.Decision{RowsPerSec: 1000})
	require.Len(t, (*sent)[0].Leases, 4)
	g.runnable = func(context.Context, []job.ID, int) (map[job.ID]int, error) {
		last := (*sent)[len(*sent)-1]
		require.True(t, last.Hold, "the hold is out before the ledger is asked")
		require.Len(t, last.Leases, 4, "and withdraws no lease")
		return nil, context.DeadlineExceeded
	}
	g.act(t.Context(), true, active, throttle.Decision{Hold: true})
	require.True(t, (*sent)[len(*sent)-1].Hold)
}

// While it holds, a decision has no rate: leases that were shared out of it are without limit.
func TestAReleaseHasLeasesOfItsOwn(t *testing.T) {
	g, active, sent := governing(t)
	g.act(t.Context(), true, active, throttle.Decision{Hold: true})
	require.True(t, (*sent)[len(*sent)-1].Hold)
	g.act(t.Context(), false, active, throttle.Decision{RowsPerSec: 500, Slots: 1})
	last := (*sent)[len(*sent)-1]
	require.False(t, last.Hold)
	require.Len(t, last.Leases, 1)
	require.InDelta(t, 500, last.Leases[0].Rate, 1e-9)
	before := len(*sent)
	g.act(t.Context(), false, active, throttle.Decision{RowsPerSec: 500, Slots: 1})
	require.Len(t, *sent, before, "nothing has changed")
}

// After an outage of NATS the roster has forgotten everybody, and nobody has been heard yet.
func TestAnOutageOfNATSWithdrawsNoLease(t *testing.T) {
	g, active, sent := governing(t)
	now := time.Now()
	g.c.roster.now = func() time.Time { return now }
	g.act(t.Context(), true, active, throttle.Decision{RowsPerSec: 1000})
	require.Len(t, g.budget.Leases, 4)

	now = now.Add(time.Minute)
	g.connected = func() error { return context.DeadlineExceeded }
	held := throttle.Decision{Hold: true, Reasons: g.deaf()}
	require.NotEmpty(t, held.Reasons)
	g.act(t.Context(), true, active, held)
	require.Len(t, g.budget.Leases, 4)

	back := time.Now()
	g.c.returned.Store(&back)
	g.connected = func() error { return nil }
	held.Reasons = g.deaf()
	require.NotEmpty(t, held.Reasons, "they are about to be heard")
	g.act(t.Context(), true, active, held)
	require.Len(t, (*sent)[len(*sent)-1].Leases, 4)

	back = back.Add(-allHeard)
	g.c.returned.Store(&back)
	require.Empty(t, g.deaf())
	g.c.roster.hear(hello("w1", 10))
	g.act(t.Context(), true, active, throttle.Decision{RowsPerSec: 1000})
	require.Len(t, g.budget.Leases, 2, "w2 has not come back")
}

func TestABudgetCanBeWrittenWhateverASignalSays(t *testing.T) {
	g, active, sent := governing(t)
	g.act(t.Context(), true, active, throttle.Decision{Reasons: []throttle.Reason{
		{Signal: "up", Observed: math.Inf(1), Threshold: 5}, {Signal: "down", Observed: math.Inf(-1), Threshold: math.NaN()},
	}})
	data, err := json.Marshal((*sent)[0])
	require.NoError(t, err)
	require.Contains(t, string(data), `"signal":"up","observed":1.79`)
}
