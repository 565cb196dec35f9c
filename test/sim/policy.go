package main

import (
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// Policy is one way to throttle a fleet: how it samples, what it decides, and how what it decided is shared out.
type Policy struct {
	Name  string
	Every time.Duration // from one sample to the next
	Dead  time.Duration // from a sample to its decision's arrival at the workers
	Stale time.Duration // how old a replica's position is in a sample; up to a quarter more or less, at random

	New   func() throttle.Controller // a new leader's controller
	Share func(d throttle.Decision, fleet []throttle.Slot, rowsPerSlot float64) []throttle.Grant
}

// Thresholds of the researched scenarios. A queue of 1.5 s is what the outer loop keeps at this target.
var sectionLag = throttle.LagConfig{Target: 10 * time.Second, Soft: 5 * time.Second, Hard: 10 * time.Second}

// How the product samples: twenty times a second, from the primary, which hears of a replica's replay some 100 to 125 ms late. On a real
// pair it is less under load, for a standby reports with every WAL that it receives.
const (
	oursEvery = 50 * time.Millisecond
	oursDead  = 40 * time.Millisecond
	oursStale = 100 * time.Millisecond
)

// Ours is the governor and the allocation that the coordinator runs, by the same code. The outer loop alone is sampled as it was when
// it was researched: twice a second, and half a second late.
func Ours(name string, loops throttle.Loops, lag throttle.LagConfig) Policy {
	p := Policy{
		Name: name, Every: oursEvery, Dead: oursDead, Stale: oursStale,
		New: func() throttle.Controller {
			probe := map[string]throttle.Rule{throttle.SignalProbe: throttle.Defaults()[throttle.SignalProbe]}
			return throttle.NewGovernor(throttle.Rules{Lag: lag, Loops: loops, Signals: probe})
		},
		Share: func(d throttle.Decision, fleet []throttle.Slot, rowsPerSlot float64) []throttle.Grant {
			return throttle.Allocate(throttle.Supply{Rate: d.RowsPerSec, Slots: fleet, Most: d.Slots, RowsPerSlot: rowsPerSlot}, []throttle.Demand{{Job: "job", Runnable: len(fleet)}})
		},
	}
	if loops == throttle.OuterOnly {
		p.Every, p.Dead, p.Stale = 500*time.Millisecond, 500*time.Millisecond, 0
	}
	return p
}

// Even shares a rate and all slots evenly, as processes that throttle each by itself would.
func Even(d throttle.Decision, fleet []throttle.Slot, _ float64) []throttle.Grant {
	if d.Slots > 0 {
		fleet = fleet[:min(d.Slots, len(fleet))]
	}
	grants := make([]throttle.Grant, len(fleet))
	for i, s := range fleet {
		grants[i] = throttle.Grant{Slot: s, Job: "job", Rate: d.RowsPerSec / float64(len(fleet))}
	}
	return grants
}
