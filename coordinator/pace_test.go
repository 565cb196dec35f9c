package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// opens is a calendar that lets nothing run before a moment, and everything from then on.
type opens time.Time

func (o opens) At(t time.Time) (float64, string) {
	if t.Before(time.Time(o)) {
		return 0, "closed"
	}
	return 1, ""
}

func (o opens) NextOpening(t time.Time) (time.Time, bool) {
	if at := time.Time(o); t.Before(at) {
		return at, true
	}
	return t, true
}

func (o opens) Finish(start time.Time, work time.Duration) (time.Time, bool) {
	from, _ := o.NextOpening(start)
	return from.Add(work), true
}

func TestETA(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	forecast := &job.Forecast{
		Fill:  job.Times{Low: job.Duration(80 * time.Second), High: job.Duration(125 * time.Second)},
		Proof: job.Times{Low: job.Duration(5 * time.Second), High: job.Duration(10 * time.Second)},
	}
	type at struct {
		job.Status
		seconds int // that it has run at one part in a hundred a second
		windows throttle.Calendar
	}
	running := at{Status: job.Status{State: job.Running}, seconds: 50}
	for _, c := range []struct {
		name      string
		change    func(*at)
		low, high time.Duration // that the ETA must hold; 0: none can be told
		note      string
	}{
		{"half way", nil, 45 * time.Second, 55 * time.Second, "then verification"},
		{"with a forecast", func(a *at) { a.Forecast = forecast }, 55 * time.Second, 60 * time.Second, "verification included"},
		{"verifying", func(a *at) { a.State, a.Round, a.Forecast = job.Verifying, 1, forecast }, 45 * time.Second, 50 * time.Second, "if nothing must be repaired"},
		{"just begun", func(a *at) { a.seconds = 1 }, 0, 0, "not known yet"},
		{"just begun, with a forecast", func(a *at) { a.seconds, a.Forecast = 1, forecast }, 90 * time.Second, 130 * time.Second, "verification included"},
		{"planning", func(a *at) { a.State, a.seconds = job.Planning, 0 }, 0, 0, "planning"},
		{"paused", func(a *at) { a.State = job.Paused }, 0, 0, "paused"},
		{"not approved", func(a *at) { a.State = job.AwaitingApproval }, 0, 0, "awaiting approval"},
		{"outside its windows", func(a *at) { a.windows = opens(noon.Add(3*time.Hour + 50*time.Second)) },
			3*time.Hour + 45*time.Second, 3*time.Hour + time.Minute, "outside its windows, opens in 3h0m; then verification"},
		{"in its window", func(a *at) { a.windows = opens(noon.Add(-time.Hour)) }, 45 * time.Second, 55 * time.Second, "then verification"},
		{"before its first window", func(a *at) { a.windows, a.seconds = opens(noon.Add(90*time.Second)), 1 }, 0, 0, "outside its windows, opens in 1m29s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := running
			if c.change != nil {
				c.change(&a)
			}
			p := &pace{}
			now := noon
			for i := range a.seconds + 1 {
				now = noon.Add(time.Duration(i) * time.Second)
				st := a.Status
				st.Fraction, st.Rows = float64(i)/100, int64(i)*1000
				// What it learned came before the windows closed.
				if a.seconds > 1 {
					st.State = job.Running
					if a.State == job.Verifying {
						st.State = job.Verifying
					}
					p.note(st, now, nil)
				} else {
					p.note(st, now, a.windows)
				}
				a.Fraction, a.Rows = st.Fraction, st.Rows
			}
			eta := p.eta(a.Status, now, a.windows, 0)
			require.Equal(t, c.note, eta.Note)
			if c.high == 0 {
				require.False(t, eta.Known())
				return
			}
			require.True(t, eta.Known())
			require.LessOrEqual(t, eta.Low.D(), c.low)
			require.GreaterOrEqual(t, eta.High.D(), c.high)
			require.Less(t, (eta.High - eta.Low).D(), 100*time.Second)
		})
	}
	require.Nil(t, (&pace{}).eta(job.Status{State: job.Complete}, noon, nil, 0))
}

// A cap that was set just now counts before any speed shows it.
func TestETAUnderACap(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p, now, st := &pace{}, noon, job.Status{State: job.Running}
	for i := range 51 {
		now = noon.Add(time.Duration(i) * time.Second)
		st.Fraction, st.Rows = float64(i)/100, int64(i)*1000
		p.note(st, now, nil)
	}
	free := p.eta(st, now, nil, 0)
	require.Equal(t, free, p.eta(st, now, nil, 5000), "one that does not bind")
	capped := p.eta(st, now, nil, 100)
	require.Equal(t, 450*time.Second, capped.Low.D(), "50,000 rows at 100 a second, less a tenth")
	require.Equal(t, 550*time.Second, capped.High.D())
	st.State, st.Round = job.Verifying, 1
	p.note(st, now, nil)
	require.False(t, p.eta(st, now, nil, 100).Known(), "nothing is written there")
}

func TestPaceAveragesTheRate(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := &pace{}
	for i := range 31 {
		p.note(job.Status{State: job.Running, Rows: int64(i) * 500}, noon.Add(time.Duration(i)*time.Second), nil)
	}
	require.InDelta(t, 500, p.rate, 1)
	p.note(job.Status{State: job.Running, Rows: 3}, noon.Add(31*time.Second), nil)
	require.InDelta(t, 500, p.rate, 1, "rows that a failover took back are no negative rate")
	for i := range 60 {
		p.note(job.Status{State: job.Running, Rows: 3}, noon.Add(time.Duration(32+i)*time.Second), nil)
	}
	require.Less(t, p.rate, 5.0)
	require.Equal(t, "no progress now", p.eta(job.Status{State: job.Running, Rows: 3}, noon, nil, 0).Note)
}

func TestViewsSumUpWhatWasLost(t *testing.T) {
	v := newViews()
	at := time.Now()
	v.lose("main", "j", at, "lag of standby1", 1)
	v.lose("main", "j", at.Add(time.Second), "", 0)
	v.lose("main", "j", at.Add(3*time.Second), "", 0)
	watched, lost := v.lost("main", "j")
	require.InDelta(t, 3, watched, 1e-6)
	require.Equal(t, []throttle.Loss{{Signal: "lag of standby1", Seconds: 1}}, lost)
	v.keep("main", map[job.ID]bool{})
	watched, _ = v.lost("main", "j")
	require.Zero(t, watched)
}

// A job stands still since its last batch; not since before a pause, nor since before this coordinator led.
func TestPaceKnowsSinceWhenAJobStands(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var p pace
	for _, turn := range []struct {
		second  int
		state   job.State
		batches int64
		moved   int
	}{
		{0, job.Running, 100, 0},
		{60, job.Running, 100, 0},
		{61, job.Running, 101, 61},
		{120, job.Running, 101, 61},
		{121, job.Paused, 101, 121},
		{900, job.Paused, 101, 900},
		{901, job.Verifying, 101, 900},
	} {
		at := noon.Add(time.Duration(turn.second) * time.Second)
		p.note(job.Status{State: turn.state, Batches: turn.batches}, at, nil)
		require.Equal(t, noon.Add(time.Duration(turn.moved)*time.Second), p.moved, "%+v", turn)
	}
}
