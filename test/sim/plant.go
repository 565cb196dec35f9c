package main

import (
	"math"
	"sort"
	"time"
)

// tick is the resolution of the simulation.
const tick = 20 * time.Millisecond

const tickSeconds = float64(tick) / float64(time.Second)

// walStart is where the primary's WAL stands when a run begins: 0 would say that it is not known.
const walStart = 1e9

// Course is how a quantity goes over time, in seconds since the start.
type Course func(t float64) float64

// Constant is a course that never changes.
func Constant(v float64) Course { return func(float64) float64 { return v } }

// Replica is one standby: it replays the WAL as one queue, first in, first out.
type Replica struct {
	Name     string
	Capacity Course  // bytes of WAL per second that it can replay
	Delay    float64 // seconds that WAL is on its way to it
}

// Plant is a primary and its replicas: WAL goes in, lag comes out. It knows nothing of workers and budgets.
type Plant struct {
	replicas []*standby
	wal      []float64 // the primary's position at the end of each tick; wal[0] is the start
}

type standby struct {
	Replica
	pos    []float64 // replayed at the end of each tick
	passed int       // the tick at which the primary was last at or before pos
}

func newPlant(s Scenario) *Plant {
	ticks := s.ticks() + 1
	p := &Plant{wal: append(make([]float64, 0, ticks), walStart)}
	for _, r := range s.Replicas {
		p.replicas = append(p.replicas, &standby{Replica: r, pos: append(make([]float64, 0, ticks), walStart)})
	}
	return p
}

// Now is the time of the last tick's end, in seconds.
func (p *Plant) Now() float64 { return float64(len(p.wal)-1) * tickSeconds }

// Step lets one tick pass in which the primary writes so many bytes of WAL.
func (p *Plant) Step(bytes float64) {
	t := p.Now()
	last := p.wal[len(p.wal)-1] + bytes
	p.wal = append(p.wal, last)
	for _, r := range p.replicas {
		r.step(p, t)
	}
}

func (r *standby) step(p *Plant, t float64) {
	at := r.pos[len(r.pos)-1]
	arrived := p.At(t + tickSeconds - r.Delay)
	at = min(max(at, arrived), at+max(0, r.Capacity(t))*tickSeconds)
	r.pos = append(r.pos, at)
	for r.passed+1 < len(p.wal) && p.wal[r.passed+1] <= at {
		r.passed++
	}
}

// At is the primary's position at a time, by the straight line between ticks.
func (p *Plant) At(t float64) float64 {
	n := t / tickSeconds
	i := int(math.Floor(n))
	switch {
	case i < 0:
		return p.wal[0]
	case i >= len(p.wal)-1:
		return p.wal[len(p.wal)-1]
	}
	return p.wal[i] + (n-float64(i))*(p.wal[i+1]-p.wal[i])
}

// Lag is the true lag of the replica that is furthest behind, in seconds: what a heartbeat read on it would say.
func (p *Plant) Lag() float64 {
	worst := 0.0
	for _, r := range p.replicas {
		if r.passed < len(p.wal)-1 {
			worst = max(worst, p.Now()-p.passedAt(r.passed, r.pos[len(r.pos)-1]))
		}
	}
	return worst
}

// lagAt is how long ago the primary passed a position; 0 if it has not gone beyond.
func (p *Plant) lagAt(pos float64) float64 {
	beyond := sort.Search(len(p.wal), func(i int) bool { return p.wal[i] > pos })
	if beyond == len(p.wal) {
		return 0
	}
	return p.Now() - p.passedAt(max(0, beyond-1), pos)
}

// passedAt is when the primary was at pos, between tick i and the next.
func (p *Plant) passedAt(i int, pos float64) float64 {
	part := 0.0
	if step := p.wal[i+1] - p.wal[i]; step > 0 {
		part = (pos - p.wal[i]) / step
	}
	return (float64(i) + part) * tickSeconds
}
