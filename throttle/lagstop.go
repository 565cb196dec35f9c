package throttle

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Defaults of [LagConfig].
const (
	DefaultLagTarget = time.Second
	DefaultLagSoft   = 5 * time.Second
	DefaultLagHard   = 10 * time.Second
	DefaultLagGrace  = 3 * time.Second
	DefaultVanished  = 60 * time.Second
)

// lagResume is the part of the target below which a replica that was over it lets go, so that the fleet does not start and
// stop on the noise of a reading.
const lagResume = 0.8

// LagConfig holds the thresholds of [LagStop]. A zero field takes its default.
type LagConfig struct {
	Target   time.Duration // above it no batch starts
	Soft     time.Duration // above it the reason names this threshold instead
	Hard     time.Duration // above it the reason is hard as well
	Grace    time.Duration // how old the last successful reading may be
	Vanished time.Duration // how long a replica may be missing before its reason is hard and names the way out
}

// LagStop is the controller that stops the fleet while a replica is too far behind, and else sets no limit. It fails closed:
// what it cannot see holds the fleet, be it all replicas, one that vanished, or one that it has no privilege to read. A
// database that never showed a replica is not limited.
type LagStop struct {
	cfg  LagConfig
	over map[string]bool // members that hold the fleet for their lag
}

// NewLagStop returns a controller that has seen no sample.
func NewLagStop(cfg LagConfig) *LagStop {
	c := &LagStop{over: map[string]bool{}}
	c.SetConfig(cfg)
	return c
}

// SetConfig changes the thresholds from the next step on.
func (c *LagStop) SetConfig(cfg LagConfig) {
	c.cfg = LagConfig{
		Target:   positive(cfg.Target, DefaultLagTarget),
		Soft:     positive(cfg.Soft, DefaultLagSoft),
		Hard:     positive(cfg.Hard, DefaultLagHard),
		Grace:    positive(cfg.Grace, DefaultLagGrace),
		Vanished: positive(cfg.Vanished, DefaultVanished),
	}
}

// Step implements [Controller].
func (c *LagStop) Step(s Sample) Decision {
	var reasons []Reason
	if r, blind := c.blind(s); blind {
		reasons = append(reasons, r)
	}
	present := map[string]bool{}
	for _, m := range s.Members {
		present[m.Name] = true
		if r, holds := c.judge(m, s.At); holds {
			reasons = append(reasons, r)
		}
	}
	for name := range c.over {
		if !present[name] {
			delete(c.over, name)
		}
	}
	slices.SortStableFunc(reasons, func(a, b Reason) int {
		return cmp.Or(-compareBool(a.Hard, b.Hard), cmp.Compare(b.Observed, a.Observed))
	})
	return Decision{Hold: len(reasons) > 0, Reasons: reasons}
}

// blind reports that the members are not known well enough to act on.
func (c *LagStop) blind(s Sample) (Reason, bool) {
	r := Reason{Signal: "replica lag", Threshold: c.cfg.Grace.Seconds(), Hard: true}
	switch age := s.At.Sub(s.ReadAt); {
	case s.ReadAt.IsZero():
		r.Text = "replica lag has not been read yet"
	case age > c.cfg.Grace:
		r.Observed = age.Seconds()
		r.Text = fmt.Sprintf("replica lag was last read %s ago, over %s", seconds(age.Seconds()), c.cfg.Grace)
	default:
		return Reason{}, false
	}
	if s.Err != nil {
		r.Text += ": " + s.Err.Error()
	}
	return r, true
}

// judge reports whether one member holds the fleet, and why.
func (c *LagStop) judge(m Member, now time.Time) (Reason, bool) {
	switch {
	case m.Policy == PolicyIgnore:
		delete(c.over, m.Name)
		return Reason{}, false
	case m.Missing:
		return c.missing(m, now), true
	case m.State == "":
		return Reason{
			Signal: "state of " + m.Name,
			Text: fmt.Sprintf("state of %s is hidden from this role; run GRANT pg_monitor TO the role of Backfleet, "+
				"or ignore %s under throttle.replicas", m.Name, m.Name),
			Hard: true,
		}, true
	}
	return c.lag(m)
}

func (c *LagStop) missing(m Member, now time.Time) Reason {
	gone := now.Sub(m.Since)
	r := Reason{
		Signal:    "presence of " + m.Name,
		Observed:  gone.Seconds(),
		Threshold: c.cfg.Vanished.Seconds(),
		Text:      fmt.Sprintf("%s has been missing for %s, since %s", m.Name, seconds(gone.Seconds()), m.Since.UTC().Format(time.RFC3339)),
	}
	if gone >= c.cfg.Vanished {
		r.Hard = true
		r.Text += fmt.Sprintf("; bring it back, or ignore %s under throttle.replicas", m.Name)
	}
	return r
}

func (c *LagStop) lag(m Member) (Reason, bool) {
	target := c.cfg.Target.Seconds()
	limit := target
	if c.over[m.Name] {
		limit = lagResume * target
	}
	if m.Lag <= limit { // a lag that is not a number holds
		delete(c.over, m.Name)
		return Reason{}, false
	}
	c.over[m.Name] = true
	r := Reason{Signal: "lag of " + m.Name, Observed: m.Lag, Threshold: target}
	switch {
	case m.Lag > c.cfg.Hard.Seconds():
		r.Threshold, r.Hard = c.cfg.Hard.Seconds(), true
		r.Text = fmt.Sprintf("lag of %s %s over hard limit %s", m.Name, seconds(m.Lag), c.cfg.Hard)
	case m.Lag > c.cfg.Soft.Seconds():
		r.Threshold = c.cfg.Soft.Seconds()
		r.Text = fmt.Sprintf("lag of %s %s over soft limit %s", m.Name, seconds(m.Lag), c.cfg.Soft)
	case m.Lag > target:
		r.Text = fmt.Sprintf("lag of %s %s over target %s", m.Name, seconds(m.Lag), c.cfg.Target)
	default:
		r.Threshold = limit
		r.Text = fmt.Sprintf("lag of %s %s falling to %s after it was over target %s", m.Name, seconds(m.Lag), seconds(limit), c.cfg.Target)
	}
	return r, true
}

// seconds shows a measured time to a person with one decimal: "2.1s".
func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) + "s" }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
