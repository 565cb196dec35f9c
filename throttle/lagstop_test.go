package throttle

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func lagSample(members ...Member) Sample {
	at := newFakeClock().t
	return Sample{At: at, ReadAt: at, Members: members}
}

func standby(lag float64) Member { return Member{Name: "standby1", Lag: lag, State: "streaming"} }

func TestLagStopHoldsAndResumes(t *testing.T) {
	c := NewLagStop(LagConfig{})
	require.Equal(t, Decision{}, c.Step(lagSample(standby(0.25))), "at the threshold is not over it")

	for _, step := range []struct {
		lag       float64
		hold      bool
		hard      bool
		threshold float64
		text      string
	}{
		{0.6, true, false, 0.25, "lag of standby1 0.6s over 0.25s of target 1s"},
		{2.1, true, false, 1, "lag of standby1 2.1s over target 1s"},
		{6, true, false, 5, "lag of standby1 6.0s over soft limit 5s"},
		{14.2, true, true, 10, "lag of standby1 14.2s over hard limit 10s"},
		{0.23, true, false, 0.225, "lag of standby1 0.23s over 0.23s of target 1s"},
		{0.225, false, false, 0, ""},
		{0.24, false, false, 0, ""},
		{math.NaN(), true, false, 0.25, ""},
	} {
		d := c.Step(lagSample(standby(step.lag)))
		require.Equal(t, step.hold, d.Hold, "at %v", step.lag)
		if step.text != "" {
			require.Equal(t, step.text, d.Reasons[0].Text)
			require.Equal(t, step.hard, d.Reasons[0].Hard)
			require.InDelta(t, step.threshold, d.Reasons[0].Threshold, 1e-9)
		}
	}
}

func TestLagStopWithoutReplicas(t *testing.T) {
	require.Equal(t, Decision{}, NewLagStop(LagConfig{}).Step(lagSample()))
}

func TestLagStopHoldsWhileBlind(t *testing.T) {
	c := NewLagStop(LagConfig{})
	at := newFakeClock().t
	d := c.Step(Sample{At: at})
	require.True(t, d.Hold)
	require.Equal(t, "replica lag has not been read yet", d.Reasons[0].Text)

	failed := errors.New("read replica lag: timeout")
	require.False(t, c.Step(Sample{At: at.Add(3 * time.Second), ReadAt: at, Err: failed}).Hold, "a short grace")
	d = c.Step(Sample{At: at.Add(4200 * time.Millisecond), ReadAt: at, Err: failed})
	require.True(t, d.Hold)
	require.Equal(t, "replica lag was last read 4.2s ago, over 3s: read replica lag: timeout", d.Reasons[0].Text)
	require.True(t, d.Reasons[0].Hard)
}

func TestLagStopHoldsWithoutPrivilege(t *testing.T) {
	d := NewLagStop(LagConfig{}).Step(lagSample(Member{Name: "standby1"}))
	require.True(t, d.Hold)
	require.Contains(t, d.Reasons[0].Text, "GRANT pg_monitor")
	s := lagSample(Member{Name: "standby1"})
	s.Role = `"ann"`
	d = NewLagStop(LagConfig{}).Step(s)
	require.Equal(t, `state of standby1 is hidden from this role; run GRANT pg_monitor TO "ann", or ignore standby1 under throttle.replicas`,
		d.Reasons[0].Text)
}

func TestLagStopHoldsForAPausedReplay(t *testing.T) {
	paused := standby(0)
	paused.Paused = true
	d := NewLagStop(LagConfig{}).Step(lagSample(paused))
	require.True(t, d.Hold)
	require.Contains(t, d.Reasons[0].Text, "pg_wal_replay_resume()")
}

func TestLagStopCountsFromTheBaseDelay(t *testing.T) {
	c := NewLagStop(LagConfig{})
	s := lagSample(standby(1.5))
	s.WALPos = 1e9
	for range 20 { // WAL flows steadily, and is replayed 1.5 s later
		s.At = s.At.Add(100 * time.Millisecond)
		s.ReadAt = s.At
		s.WALPos += 1e5
		s.Members[0].Pos = s.WALPos - 15e5
		c.Step(s)
	}
	require.False(t, c.Step(s).Hold)
	s.At = s.At.Add(100 * time.Millisecond)
	s.ReadAt, s.Members[0].Lag = s.At, 2.3
	d := c.Step(s)
	require.True(t, d.Hold)
	require.Equal(t, "lag of standby1 2.3s over 0.63s of target 1s above its base delay 1.5s", d.Reasons[0].Text)
	require.InDelta(t, 1.5+0.25+1.5/4, d.Reasons[0].Threshold, 1e-9)
}

func TestLagStopHoldsForAVanishedMember(t *testing.T) {
	c := NewLagStop(LagConfig{})
	s := lagSample()
	gone := standby(0)
	gone.Missing, gone.Since = true, s.At.Add(-30*time.Second)
	s.Members = []Member{gone}
	d := c.Step(s)
	require.True(t, d.Hold)
	require.False(t, d.Reasons[0].Hard)
	require.Equal(t, "standby1 has been missing for 30.0s, since 2025-12-31T23:59:30Z", d.Reasons[0].Text)

	s.At, s.ReadAt = s.At.Add(time.Minute), s.At.Add(time.Minute)
	d = c.Step(s)
	require.True(t, d.Reasons[0].Hard)
	require.Contains(t, d.Reasons[0].Text, "throttle.replicas")

	s.Members[0].Policy = PolicyIgnore
	require.False(t, c.Step(s).Hold)
}

func TestLagStopNamesTheBindingReasonFirst(t *testing.T) {
	d := NewLagStop(LagConfig{}).Step(lagSample(
		Member{Name: "near", Lag: 2, State: "streaming"},
		Member{Name: "far", Lag: 30, State: "streaming"},
		Member{Name: "reporting", Lag: 900, State: "streaming", Policy: PolicyIgnore},
		Member{Name: "mid", Lag: 3, State: "streaming"},
	))
	var names []string
	for _, r := range d.Reasons {
		names = append(names, r.Signal)
	}
	require.Equal(t, []string{"lag of far", "lag of mid", "lag of near"}, names)
}

func TestLagStopSetConfig(t *testing.T) {
	c := NewLagStop(LagConfig{})
	require.True(t, c.Step(lagSample(standby(2))).Hold)
	c.SetConfig(LagConfig{Target: 13 * time.Second})
	require.False(t, c.Step(lagSample(standby(2))).Hold)
}

func TestLagStopFailsClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewLagStop(LagConfig{})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			s := lagSample()
			s.ReadAt = s.At.Add(-time.Duration(rapid.IntRange(0, 6000).Draw(t, "age ms")) * time.Millisecond)
			must := s.At.Sub(s.ReadAt) > DefaultLagGrace
			for _, name := range []string{"a", "b", "c"} {
				m := Member{
					Name:    name,
					Lag:     rapid.Float64Range(0, 3).Draw(t, "lag"),
					State:   rapid.SampledFrom([]string{"", "streaming", "catchup"}).Draw(t, "state"),
					Policy:  rapid.SampledFrom([]Policy{"", PolicyHold, PolicyIgnore}).Draw(t, "policy"),
					Missing: rapid.Bool().Draw(t, "missing"),
				}
				s.Members = append(s.Members, m)
				must = must || m.Policy != PolicyIgnore && (m.Missing || m.State == "" || m.Lag > 0.5)
			}
			d := c.Step(s)
			require.Equal(t, d.Hold, len(d.Reasons) > 0)
			if must {
				require.True(t, d.Hold)
			}
		}
	})
}
