package coordinator

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

func slotsOf(n int) []throttle.Slot {
	var slots []throttle.Slot
	for i := range n {
		slots = append(slots, throttle.Slot{Worker: fmt.Sprintf("w%d", i)})
	}
	return slots
}

func named(id job.ID, rules job.ThrottleRules) job.Job {
	j := jobWith(rules)
	j.ID, j.Name = id, string(id)
	return j
}

func TestAJobOutsideOfItsWindowLeavesItsSlotsToOthers(t *testing.T) {
	var s shares
	slots := slotsOf(2)
	fleet := supply{slots: 2}
	of := func(at time.Time) []terms {
		return []terms{
			settled(named("A", nightly(nil)), job.DatabaseRules{}, at, throttle.Decision{}, fleet),
			settled(named("B", job.ThrottleRules{}), job.DatabaseRules{}, at, throttle.Decision{}, fleet),
		}
	}
	holding := map[job.ID][]throttle.Slot{"A": slots[:1], "B": slots[1:]}
	runnable := map[job.ID]int{"A": 10, "B": 10}
	jobs := func(leases []job.Lease) (all []job.ID) {
		for _, l := range leases {
			all = append(all, l.Job)
		}
		return all
	}
	require.Equal(t, []job.ID{"A", "B"}, jobs(s.allocate(night, throttle.Decision{}, of(night), slots, holding, runnable, 0)))
	require.Equal(t, []job.ID{"B", "B"}, jobs(s.allocate(noon, throttle.Decision{}, of(noon), slots, holding, runnable, 0)))
}

func TestAnOldLeaseIsOverWhereAnotherSlotWaits(t *testing.T) {
	var s shares
	slots := slotsOf(2)
	all := []terms{{job: named("A", job.ThrottleRules{}), factor: 1}}
	decision := throttle.Decision{Slots: 1}
	leases := s.allocate(night, decision, all, slots, nil, map[job.ID]int{"A": 10}, 0)
	require.Equal(t, []job.Lease{{Worker: "w0", Job: "A"}}, leases)
	holding := map[job.ID][]throttle.Slot{"A": slots[:1]}
	later := night.Add(time.Second)
	s.allocate(later, decision, all, slots, holding, map[job.ID]int{"A": 9}, 0)
	later = later.Add(10 * time.Second)
	leases = s.allocate(later, decision, all, slots, holding, map[job.ID]int{"A": 9}, 0)
	require.Equal(t, []job.Lease{{Worker: "w0", Job: "A", Over: true}}, leases, "it may end its range")
	leases = s.allocate(later, decision, all, slots, nil, map[job.ID]int{"A": 9}, 0)
	require.Equal(t, []job.Lease{{Worker: "w1", Job: "A"}}, leases)
}

func TestTheStrictestOfTheJobsRulesCounts(t *testing.T) {
	a, b := named("A", job.ThrottleRules{}), named("B", job.ThrottleRules{})
	a.Limits.Throttle.Lag.Target = job.Duration(3 * time.Second)
	b.Limits.Throttle.Replicas = map[string]string{"reporting": "ignore"}
	rules, _ := rulesFor([]job.Job{a, b}, job.DatabaseRules{MaxRowsPerSecond: 9})
	require.Equal(t, b.Limits.Throttle.Lag.Target.D(), rules.Lag.Target)
	require.InDelta(t, 9.0, rules.MaxRowsPerSec, 0)
	require.Equal(t, throttle.PolicyHold, policy([]job.Job{a, b}, "reporting"), "one job waits for it")
	require.Equal(t, throttle.PolicyIgnore, policy([]job.Job{b}, "reporting"))
	require.Equal(t, throttle.PolicyHold, policy(nil, "reporting"))
}

func TestProgressLearnsTheSpeedOfASlot(t *testing.T) {
	p := newProgress()
	j := []job.Job{named("A", job.ThrottleRules{})}
	work := job.Work{Job: "A"}
	now := night
	for range 100 {
		p.note(now, j, func(job.ID) job.Work { return work })
		now = now.Add(500 * time.Millisecond)
		work.Rows += 2000
		work.Seconds += 0.8 // two slots, each busy for 0.4 of the half second
	}
	require.InDelta(t, 2500, p.perSlot, 1)
	require.InDelta(t, 99*2000, p.rows, 1e-6)

	p.note(now, nil, nil) // no job runs
	work.Rows += 1e6      // which nobody watched
	p.note(now, j, func(job.ID) job.Work { return work })
	require.InDelta(t, 99*2000, p.rows, 1e-6, "what was done unseen is no flow of now")
	require.False(t, math.IsNaN(p.perSlot))
}

// The governor may leave one slot for hours: a job that has it must not keep it from the others until its own end.
func TestJobsTakeTurnsAtTheSlotsThatTheGovernorLeaves(t *testing.T) {
	var s shares
	slots := slotsOf(8)
	var all []terms
	runnable := map[job.ID]int{}
	for _, id := range []job.ID{"A", "B", "C"} {
		all = append(all, terms{job: named(id, job.ThrottleRules{}), factor: 1})
		runnable[id] = 100
	}
	had, holding := map[job.ID]int{}, map[job.ID][]throttle.Slot{}
	for i := range 120 {
		leases := s.allocate(night.Add(time.Duration(i)*500*time.Millisecond), throttle.Decision{Slots: 1}, all, slots, holding, runnable, 0)
		require.Len(t, leases, 1)
		l := leases[0]
		had[l.Job]++
		holding = map[job.ID][]throttle.Slot{l.Job: {{Worker: l.Worker, Slot: l.Slot}}}
	}
	for id := range runnable {
		require.InDelta(t, 40, had[id], 2, id)
	}
}
