package coordinator

import (
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// rulesFor is what the governor of a database obeys: the strictest of what its active jobs ask for, for one database has one lag and
// one load, and what a person set for the database. Checks are what has to be read beside the builtin signals.
func rulesFor(active []job.Job, set job.DatabaseRules) (rules throttle.Rules, checks []job.Check) {
	rules = throttle.Rules{
		Lag:           lagConfig(active),
		MaxRowsPerSec: float64(set.MaxRowsPerSecond),
		MaxWALPerSec:  float64(set.MaxWALBytesPerSecond),
	}
	rules.Signals, checks = job.Strictest(active)
	if len(active) == 0 { // other tools may ask all the same
		rules.Signals = throttle.Defaults()
	}
	return rules, checks
}

// lagConfig is the strictest of the jobs' thresholds.
func lagConfig(active []job.Job) throttle.LagConfig {
	var c throttle.LagConfig
	least := func(have *time.Duration, want job.Duration) {
		if want.D() > 0 && (*have == 0 || want.D() < *have) {
			*have = want.D()
		}
	}
	for _, j := range active {
		least(&c.Target, j.Limits.Throttle.Lag.Target)
		least(&c.Soft, j.Limits.Throttle.Lag.Soft)
		least(&c.Hard, j.Limits.Throttle.Lag.Hard)
	}
	return c
}

// policy ignores a replica only if every job says so.
func policy(active []job.Job, name string) throttle.Policy {
	if len(active) == 0 {
		return throttle.PolicyHold
	}
	for _, j := range active {
		if throttle.Policy(j.Limits.Throttle.Replicas[name]) != throttle.PolicyIgnore {
			return throttle.PolicyHold
		}
	}
	return throttle.PolicyIgnore
}
