package throttle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
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

const (
	lagFar  = 0.25 // of the base delay, on top: what comes from afar comes less evenly
	lagHold = 0.25 // of the target: above the base delay by so much, a replica holds the fleet
	// lagResume is the part of the threshold below which a replica that was over it lets go, so that the fleet does not start
	// and stop on the noise of a reading.
	lagResume = 0.9
)

// LagConfig holds the thresholds of the controllers. Lag is counted from each replica's base delay. A zero field takes its default.
type LagConfig struct {
	// Target is the lag that shall not be exceeded. No batch starts above a quarter of it, for lag goes on to rise after a stop, for as
	// long as the backlog takes to be replayed.
	Target   time.Duration
	Soft     time.Duration // above it the rate falls, and the reason names this threshold instead
	Hard     time.Duration // above it the reason is hard as well
	Grace    time.Duration // how old the last successful reading may be
	Vanished time.Duration // how long a replica may be missing before its reason is hard and names the way out
}

func (c LagConfig) withDefaults() LagConfig {
	return LagConfig{
		Target:   positive(c.Target, DefaultLagTarget),
		Soft:     positive(c.Soft, DefaultLagSoft),
		Hard:     positive(c.Hard, DefaultLagHard),
		Grace:    positive(c.Grace, DefaultLagGrace),
		Vanished: positive(c.Vanished, DefaultVanished),
	}
}

// hold is the queue, in seconds above the base delay, over which no batch starts.
func (c LagConfig) hold(base float64) float64 { return lagHold*c.Target.Seconds() + lagFar*base }

// LagStop is the inner loop: it stops the fleet while a replica is too far behind, and else sets no limit. It is meant for a
// sample every 50 to 100 ms. It goes by the lag above the replica's base delay, and by the backlog over the rate of its replay where
// that is more: when a replay slows down, the backlog tells how far the lag will rise before the lag shows it.
//
// It fails closed: what it cannot see holds the fleet, be it all replicas, one that vanished, or one that it has no privilege to
// read. A database that never showed a replica is not limited.
type LagStop struct {
	cfg     LagConfig
	over    map[string]bool // members that hold the fleet for their lag
	replays replays         // unused below a Governor, which has its own
}

// NewLagStop returns a controller that has seen no sample.
func NewLagStop(cfg LagConfig) *LagStop {
	c := &LagStop{over: map[string]bool{}}
	c.SetConfig(cfg)
	return c
}

// SetConfig changes the thresholds from the next step on.
func (c *LagStop) SetConfig(cfg LagConfig) { c.cfg = cfg.withDefaults() }

// Step implements [Controller].
func (c *LagStop) Step(s Sample) Decision {
	c.replays.step(s)
	reasons := c.judge(s, &c.replays)
	return Decision{Hold: len(reasons) > 0, Reasons: reasons}
}

// judge returns why no batch may start, the worst first; nothing if one may.
func (c *LagStop) judge(s Sample, seen *replays) []Reason {
	var reasons []Reason
	if r, blind := c.blind(s); blind {
		reasons = append(reasons, r)
	}
	present := map[string]bool{}
	for _, m := range s.Members {
		present[m.Name] = true
		if r, holds := c.member(m, seen.members[m.Name], s); holds {
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
	return reasons
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

// member reports whether one member holds the fleet, and why. Seen is nil for one that is not there.
func (c *LagStop) member(m Member, seen *replay, s Sample) (Reason, bool) {
	switch {
	case m.Policy == PolicyIgnore:
		delete(c.over, m.Name)
		return Reason{}, false
	case m.Missing:
		return c.missing(m, s.At), true
	case m.State == "":
		return Reason{
			Signal: "state of " + m.Name,
			Text: fmt.Sprintf("state of %s is hidden from this role; run GRANT pg_monitor TO %s, or ignore %s under throttle.replicas",
				m.Name, cmp.Or(s.Role, "the role of Backfleet"), m.Name),
			Hard: true,
		}, true
	case m.Paused:
		return Reason{
			Signal: "replay of " + m.Name,
			Text:   fmt.Sprintf("replay of %s is paused; run SELECT pg_wal_replay_resume() on it, or ignore it under throttle.replicas", m.Name),
		}, true
	}
	return c.lag(m, seen)
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

func (c *LagStop) lag(m Member, seen *replay) (Reason, bool) {
	var base, ahead float64
	if seen != nil {
		base, ahead = seen.base, seen.ahead(c.cfg.hold(seen.base)/2)
	}
	limit := c.cfg.hold(base)
	if c.over[m.Name] {
		limit *= lagResume
	}
	queue := m.Lag - base
	if max(queue, ahead) <= limit { // a lag that is not a number holds
		delete(c.over, m.Name)
		return Reason{}, false
	}
	c.over[m.Name] = true
	switch {
	case math.IsNaN(queue):
		return Reason{Signal: "lag of " + m.Name, Threshold: base + limit, Text: fmt.Sprintf("lag of %s is not a number", m.Name)}, true
	case queue <= limit:
		return Reason{
			Signal: "backlog of " + m.Name, Observed: base + ahead, Threshold: base + limit,
			Text: fmt.Sprintf("%s has %s to replay at %s/s, which takes %s, over %s", m.Name, bytesText(seen.backlog), bytesText(seen.rate),
				seconds(ahead), c.limitText(limit, base)),
		}, true
	}
	r := Reason{Signal: "lag of " + m.Name, Observed: m.Lag, Threshold: base + limit}
	switch hard, soft := c.cfg.Hard.Seconds(), c.cfg.Soft.Seconds(); {
	case queue > hard:
		r.Threshold, r.Hard = base+hard, true
		r.Text = fmt.Sprintf("lag of %s %s over hard limit %s", m.Name, seconds(m.Lag), c.cfg.Hard)
	case queue > soft:
		r.Threshold = base + soft
		r.Text = fmt.Sprintf("lag of %s %s over soft limit %s", m.Name, seconds(m.Lag), c.cfg.Soft)
	case queue > c.cfg.Target.Seconds():
		r.Threshold = base + c.cfg.Target.Seconds()
		r.Text = fmt.Sprintf("lag of %s %s over target %s", m.Name, seconds(m.Lag), c.cfg.Target)
	default:
		r.Text = fmt.Sprintf("lag of %s %s over %s", m.Name, fine(m.Lag), c.limitText(limit, base))
	}
	return r, true
}

// limitText says where the threshold comes from.
func (c *LagStop) limitText(limit, base float64) string {
	text := fmt.Sprintf("%s of target %s", fine(limit), c.cfg.Target)
	if base >= 0.05 {
		text += fmt.Sprintf(" above its base delay %s", fine(base))
	}
	return text
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
