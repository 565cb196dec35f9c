package coordinator

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// night is a moment inside of the window of nightly, noon one outside of it.
var (
	night = time.Date(2026, 1, 15, 23, 0, 0, 0, time.UTC)
	noon  = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
)

func nightly(defaultRate *float64) job.ThrottleRules {
	return job.ThrottleRules{
		Windows:     []job.Window{{Cron: "0 22 * * *", TZ: "UTC", For: job.Duration(8 * time.Hour), Rate: 1}},
		DefaultRate: defaultRate,
	}
}

func jobWith(rules job.ThrottleRules) job.Job {
	j := job.Job{ID: "01J", Name: "j", State: job.Running, Limits: job.Spec{}.WithDefaults().Limits}
	rules.Lag = j.Limits.Throttle.Lag
	j.Limits.Throttle = rules
	return j
}

// settled is a job's terms under what was set for its database.
func settled(j job.Job, set job.DatabaseRules, at time.Time, d throttle.Decision, s supply) terms {
	var c calendars
	c.override(set)
	schedule, err := c.of(j)
	return termsOf(j, schedule, err, at, d, s)
}

func TestTermsOfAJob(t *testing.T) {
	third := 0.3
	fleet := supply{slots: 4, perSlot: 1000, perRow: 500}
	for name, c := range map[string]struct {
		rules    job.ThrottleRules
		set      job.DatabaseRules
		at       time.Time
		decision throttle.Decision
		factor   float64
		most     float64
		binding  string
	}{
		"no limit of its own":           {at: noon, factor: 1},
		"inside of its window":          {rules: nightly(nil), at: night, factor: 1},
		"outside of its window":         {rules: nightly(nil), at: noon, factor: 0, binding: "window"},
		"a part of what its slots can":  {rules: nightly(&third), at: noon, factor: 0.3, most: 1200, binding: "window"},
		"a part of the budget":          {rules: nightly(&third), at: noon, decision: throttle.Decision{RowsPerSec: 2000}, factor: 0.3, most: 600, binding: "window"},
		"a budget beyond what it could": {rules: nightly(&third), at: noon, decision: throttle.Decision{RowsPerSec: 1e6}, factor: 0.3, most: 1200, binding: "window"},
		"rows":                          {rules: job.ThrottleRules{MaxRowsPerSecond: 700}, at: noon, factor: 1, most: 700, binding: "cap"},
		"WAL":                           {rules: job.ThrottleRules{MaxWALBytesPerSecond: 100_000}, at: noon, factor: 1, most: 200, binding: "wal cap"},
		"the tighter of two": {rules: job.ThrottleRules{MaxRowsPerSecond: 700, MaxWALBytesPerSecond: 100_000}, at: noon,
			factor: 1, most: 200, binding: "wal cap"},
		"an override opens": {rules: nightly(nil), at: noon, factor: 1,
			set: job.DatabaseRules{Override: &job.Override{Rate: 1, Until: noon.Add(time.Hour), By: "ann"}}},
		"an override stops": {at: noon, factor: 0, binding: "window",
			set: job.DatabaseRules{Override: &job.Override{Rate: 0, Until: noon.Add(time.Hour), By: "ann"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := settled(jobWith(c.rules), c.set, c.at, c.decision, fleet)
			require.InDelta(t, c.factor, got.factor, 1e-9)
			require.InDelta(t, c.most, got.most, 1e-6)
			binding := ""
			if len(got.reasons) > 0 {
				binding = got.reasons[0].Signal
				require.NotEmpty(t, got.reasons[0].Text)
			}
			require.Equal(t, c.binding, binding)
		})
	}
}

func TestTermsOfAJobWhoseTableIsBounded(t *testing.T) {
	fleet := supply{slots: 4, perSlot: 1000}
	why := job.Reason{Signal: signalGrowth}
	for name, c := range map[string]struct {
		cap, rate float64
		factor    float64
		most      float64
		binding   string
	}{
		"it waits":                       {rate: 0, factor: 0, binding: signalGrowth},
		"below what its slots can":       {rate: 700, factor: 1, most: 700, binding: signalGrowth},
		"above what they can":            {rate: 5000, factor: 1},
		"rows that are not known":        {rate: math.Inf(1), factor: 1},
		"above a cap":                    {cap: 500, rate: 700, factor: 1, most: 500, binding: "cap"},
		"below a cap":                    {cap: 900, rate: 700, factor: 1, most: 700, binding: signalGrowth},
		"it waits, whatever else limits": {cap: 900, rate: 0, factor: 0, most: 900, binding: signalGrowth},
	} {
		t.Run(name, func(t *testing.T) {
			j := jobWith(job.ThrottleRules{MaxRowsPerSecond: int(c.cap)})
			got := settled(j, job.DatabaseRules{}, noon, throttle.Decision{}, fleet).growing(allowance{c.rate, why}, fleet)
			require.Equal(t, c.factor, got.factor)
			require.Equal(t, c.most, got.most)
			binding := ""
			if len(got.reasons) > 0 {
				binding = got.reasons[0].Signal
			}
			require.Equal(t, c.binding, binding)
		})
	}
}

func TestTheBindingCauseStandsFirst(t *testing.T) {
	replay := throttle.Reason{Signal: "replay of standby1", Text: "standby1 replays 2 MB/s"}
	lag := throttle.Reason{Signal: "lag of standby1", Text: "lag of standby1 2s over target 1s"}
	fleet := supply{slots: 4, perSlot: 1000, perRow: 500}
	for name, c := range map[string]struct {
		rules    job.ThrottleRules
		at       time.Time
		decision throttle.Decision
		fleet    supply
		given    int
		rate     float64
		binding  string
		lost     float64
	}{
		"held":           {at: noon, decision: throttle.Decision{Hold: true, Reasons: []throttle.Reason{lag, replay}}, fleet: fleet, given: 4, rate: 4000, binding: lag.Signal, lost: 1},
		"window closed":  {rules: nightly(nil), at: noon, fleet: fleet, binding: "window", lost: 1},
		"no worker":      {at: noon, binding: "workers", lost: 1},
		"slots are away": {at: noon, fleet: fleet, binding: "workers", lost: 1},
		"flat out":       {at: noon, fleet: fleet, given: 4, binding: "workers"},
		"budget": {at: noon, decision: throttle.Decision{RowsPerSec: 1000, Reasons: []throttle.Reason{replay}}, fleet: fleet, given: 2, rate: 1000,
			binding: replay.Signal, lost: 0.75},
		"budget above what the slots can": {at: noon, decision: throttle.Decision{RowsPerSec: 9000, Reasons: []throttle.Reason{replay}}, fleet: fleet, given: 4,
			rate: 9000, binding: "workers"},
		"own cap below the budget": {rules: job.ThrottleRules{MaxRowsPerSecond: 400}, at: noon,
			decision: throttle.Decision{RowsPerSec: 1000, Reasons: []throttle.Reason{replay}}, fleet: fleet, given: 2, rate: 400, binding: "cap", lost: 0.9},
		"budget below the own cap": {rules: job.ThrottleRules{MaxRowsPerSecond: 3000}, at: noon,
			decision: throttle.Decision{RowsPerSec: 1000, Reasons: []throttle.Reason{replay}}, fleet: fleet, given: 2, rate: 1000, binding: replay.Signal, lost: 0.75},
	} {
		t.Run(name, func(t *testing.T) {
			why, lost := settled(jobWith(c.rules), job.DatabaseRules{}, c.at, c.decision, c.fleet).explain(c.decision, c.given, c.rate, c.fleet)
			require.Equal(t, c.binding, why[0].Signal)
			require.InDelta(t, c.lost, lost, 1e-9)
		})
	}
}
