package main

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// Options are what a run does not take from scenario and policy.
type Options struct {
	Aim   float64       // seconds of queue that the oracle keeps
	Batch time.Duration // target time of a batch
	Trace bool          // fill Result.Trace
	// PerRow feeds the WAL of a row to the policy, times this; 0 feeds none, and the policy has to find it out.
	PerRow float64
	// Late lets replicas report late only under load, so that no rest shows how late it is.
	Late bool
}

// sectionOptions are those of the researched bounds.
var sectionOptions = Options{Aim: 1.5, Batch: 500 * time.Millisecond}

// productOptions are those of the product's defaults.
var productOptions = Options{Aim: 0.25, Batch: throttle.DefaultBatchTarget}

// Run lets a policy govern a fleet through a scenario. Equal arguments give equal results.
func Run(s Scenario, p Policy, o Options) Result {
	return measure(s, p, simulate(s, p, o), refer(s, o))
}

// pending is a decision on its way to the workers.
type pending struct {
	due      float64
	decision throttle.Decision
	slots    int
}

// leader samples the plant, decides, and publishes.
type leader struct {
	policy     Policy
	controller throttle.Controller
	random     *rand.Rand
	epoch, seq int64
	sent       []pending
	last       throttle.Decision
	lastSlots  int
	shared     bool
	next       float64
	lastBudget float64
}

func simulate(s Scenario, p Policy, o Options) run {
	plant, f := newPlant(s), newFleet(s, s.Workers, s.Seed, o.Batch)
	l := &leader{policy: p, controller: p.New(), random: rand.New(rand.NewPCG(s.Seed, 3)), epoch: 1}
	var r run
	down := false // the leader
	for n := range s.ticks() {
		t := plant.Now()
		was := down
		if down = s.Outage.holds(t); !down {
			if was {
				l = l.successor(t)
			}
			l.step(t, plant, f, s, o)
		}
		f.step(n, t, s.RowCost(t))
		if f.starts > 0 && t-l.lastBudget > 3+tickSeconds {
			r.late += f.starts
		}
		plant.Step((s.Foreground(t) * tickSeconds) + f.rows*s.WALPerRow(t))
		r.lag = append(r.lag, plant.Lag())
		r.rows = append(r.rows, f.rows)
		r.over = append(r.over, f.oversubscription())
		if o.Trace && n%25 == 24 {
			budget := l.last.RowsPerSec
			if budget == 0 && l.shared {
				budget = math.NaN()
			}
			r.trace = append(r.trace, Point{T: t, Lag: plant.Lag(), Budget: budget, Rate: rate(r.rows, t-0.48, t+tickSeconds), Hold: l.last.Hold})
		}
	}
	return r
}

// successor is the leader that takes over at t and has learned nothing.
func (l *leader) successor(t float64) *leader {
	return &leader{policy: l.policy, controller: l.policy.New(), random: l.random, epoch: l.epoch + 1, next: t, lastBudget: l.lastBudget}
}

func (l *leader) step(t float64, plant *Plant, f *fleet, s Scenario, o Options) {
	if t >= l.next-tickSeconds/2 {
		l.next += l.policy.Every.Seconds()
		slots := s.present(t)
		sample := l.sample(t, plant, f, slots, o.Late)
		sample.WALPerRow = o.PerRow * s.WALPerRow(t)
		d := l.controller.Step(sample)
		l.sent = append(l.sent, pending{t + l.policy.Dead.Seconds(), d, slots})
	}
	for len(l.sent) > 0 && l.sent[0].due <= t {
		l.publish(l.sent[0], t, f)
		l.sent = l.sent[1:]
	}
}

func (l *leader) publish(p pending, t float64, f *fleet) {
	d := p.decision
	var grants []throttle.Grant
	if !l.shared || d.RowsPerSec != l.last.RowsPerSec || d.Slots != l.last.Slots || p.slots != l.lastSlots {
		if !d.Hold || !l.shared {
			grants = l.policy.Share(d, f.slots[:p.slots], f.rowsPerSlot())
			l.shared = true
			l.last, l.lastSlots = d, p.slots
		}
	}
	l.last.Hold = d.Hold
	l.seq++
	f.clock.now = at(t)
	l.lastBudget = t
	f.apply(l.epoch, l.seq, d, grants)
}

// sample is what the leader sees at t. What it decides arrives at the workers after the policy's dead time.
func (l *leader) sample(t float64, plant *Plant, f *fleet, slots int, late bool) throttle.Sample {
	probe := f.oversubscription() * (0.95 + 0.1*l.random.Float64())
	s := throttle.Sample{
		At: at(t), ReadAt: at(t), WALPos: plant.wal[len(plant.wal)-1], Rows: f.reported(),
		RowsPerSlot: f.rowsPerSlot(), Active: f.holding(), Slots: slots,
		Signals: []throttle.Reading{{Signal: throttle.SignalProbe, Value: probe, At: at(t)}},
	}
	for _, r := range plant.replicas {
		stale := l.policy.Stale.Seconds() * (1 + 0.25*l.random.Float64())
		if late {
			flow := (s.WALPos - plant.At(t-0.5)) / 0.5
			stale *= min(1, 0.1+flow/(0.8*r.Capacity(t)+1))
		}
		pos := r.pos[max(0, len(r.pos)-1-int(stale/tickSeconds))]
		s.Members = append(s.Members, throttle.Member{
			Name: r.Name, State: "streaming", Pos: pos, Bytes: s.WALPos - pos, Lag: plant.lagAt(pos),
		})
	}
	return s
}
