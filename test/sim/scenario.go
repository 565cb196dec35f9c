package main

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Span is a time in seconds since the start.
type Span struct{ From, To float64 }

func (s Span) holds(t float64) bool { return t >= s.From && t < s.To }

// Scenario is a plant and what befalls it. Equal seeds make equal scenarios.
type Scenario struct {
	Name       string
	Seed       uint64
	Seconds    float64
	Replicas   []Replica
	Foreground Course  // bytes of WAL per second that the application writes
	WALPerRow  Course  // bytes
	RowCost    Course  // times the nominal time of a row
	PerWorker  float64 // rows per second that one worker writes at cost 1
	Primary    float64 // rows per second that the primary can do at cost 1
	Workers    int
	FewUntil   float64   // only 4 workers are there until then
	Recover    []float64 // ends of stalls, and where capacity came back
	Outage     Span      // no leader
}

func (s Scenario) ticks() int { return int(s.Seconds / tickSeconds) }

// present is how many workers are there.
func (s Scenario) present(t float64) int {
	if t < s.FewUntil {
		return min(4, s.Workers)
	}
	return s.Workers
}

const megabyte = 1e6

// base is what the scenarios have in common: three replicas, of which the slowest counts, and an application of 5 MB/s.
func base(name string, seconds float64, workers int, seed uint64) (Scenario, *rand.Rand) {
	random := rand.New(rand.NewPCG(seed, 1))
	s := Scenario{
		Name: name, Seed: seed, Seconds: seconds, Workers: workers, PerWorker: 8000, Primary: 60000,
		WALPerRow: Constant(500), RowCost: Constant(1),
	}
	for i, capacity := range []float64{20, 17, 14} {
		s.Replicas = append(s.Replicas, Replica{
			Name:     fmt.Sprintf("standby%d", i+1),
			Capacity: scaled(Constant(capacity*megabyte), noise(random, s.Seconds, 0.03, 1)),
			Delay:    0.02 + 0.05*random.Float64(),
		})
	}
	s.Foreground = scaled(Constant(5*megabyte), noise(random, s.Seconds, 0.1, 2))
	return s, random
}

// Scenarios are the researched ones, for so many workers.
func Scenarios(workers int, seed uint64) []Scenario {
	var all []Scenario
	add := func(name string, change func(*Scenario, *rand.Rand)) {
		s, random := base(name, 600, workers, seed)
		change(&s, random)
		all = append(all, s)
	}
	add("steady", func(*Scenario, *rand.Rand) {})
	add("step", func(s *Scenario, _ *rand.Rand) {
		s.slow(2, steps(1, 200, 0.55, 400, 1.1))
		s.Recover = []float64{400}
	})
	add("stalls", func(s *Scenario, _ *rand.Rand) {
		s.stall(2, Span{100, 130})
		s.stall(1, Span{230, 290})
		s.stall(2, Span{430, 475})
	})
	add("checkpoint", func(s *Scenario, _ *rand.Rand) {
		pages := fullPages(120, 40)
		s.WALPerRow = scaled(s.WALPerRow, pages)
		s.Foreground = scaled(s.Foreground, func(t float64) float64 { return math.Sqrt(pages(t)) })
	})
	add("fgsurge", func(s *Scenario, _ *rand.Rand) {
		s.Foreground = scaled(s.Foreground, steps(0.6, 150, 2, 300, 0.6, 420, 1.6, 480, 0.6))
	})
	add("xregion", func(s *Scenario, _ *rand.Rand) {
		s.Replicas[2].Delay = 1
		s.stall(2, Span{150, 165})
		s.stall(2, Span{350, 375})
	})
	add("primary", func(s *Scenario, _ *rand.Rand) {
		for i := range s.Replicas {
			s.slow(i, Constant(8))
		}
	})
	add("noisy", func(s *Scenario, random *rand.Rand) {
		for i := range s.Replicas {
			s.slow(i, noise(random, s.Seconds, 0.3, 2))
		}
	})
	add("scaleup", func(s *Scenario, _ *rand.Rand) { s.FewUntil = 200 })
	add("mixed", func(s *Scenario, random *rand.Rand) {
		for i := range s.Replicas {
			s.slow(i, noise(random, s.Seconds, 0.15, 2))
		}
		pages := fullPages(200, 30)
		s.WALPerRow = scaled(s.WALPerRow, pages)
		s.Foreground = scaled(s.Foreground, steps(0.8, 180, 1.6, 250, 0.8))
		s.slow(2, steps(1, 420, 0.7, 520, 1))
		s.stall(1, Span{300, 340})
	})
	add("quarter", func(s *Scenario, _ *rand.Rand) {
		for i := range s.Replicas {
			s.slow(i, steps(1, 200, 0.4, 400, 1))
		}
		s.Foreground = scaled(s.Foreground, Constant(0.4))
	})
	add("costly", func(s *Scenario, _ *rand.Rand) { s.RowCost = steps(1, 200, 10, 400, 1) })
	return all
}

// Outage is a stall in which there is no leader either: it dies as the stall begins.
func Outage(workers int, seed uint64) Scenario {
	s, _ := base("outage", 300, workers, seed)
	s.stall(2, Span{100, 145})
	s.Outage = Span{100, 160}
	return s
}

// Long is the steady scenario for an hour and a half.
func Long(workers int, seed uint64) Scenario {
	s, _ := base("long", 90*60, workers, seed)
	return s
}

// Random is one of many plants that nothing was tuned on.
func Random(i, workers int) Scenario {
	r := rand.New(rand.NewPCG(uint64(i), 60))
	s := Scenario{
		Name: fmt.Sprintf("random%02d", i), Seed: uint64(i), Seconds: 400, Workers: workers,
		PerWorker: logUniform(r, 3000, 20000), WALPerRow: Constant(logUniform(r, 180, 3000)), RowCost: Constant(1),
	}
	s.Primary = s.PerWorker * (4 + 8*r.Float64())
	capacity := logUniform(r, 4*megabyte, 160*megabyte)
	for k := range 1 + r.IntN(3) {
		s.Replicas = append(s.Replicas, Replica{
			Name:     fmt.Sprintf("standby%d", k+1),
			Capacity: scaled(Constant(capacity*(1+0.4*r.Float64())), noise(r, s.Seconds, 0.02+0.2*r.Float64(), 1+3*r.Float64())),
			Delay:    logUniform(r, 0.01, 0.5),
		})
	}
	s.Foreground = scaled(Constant(capacity*(0.05+0.45*r.Float64())), noise(r, s.Seconds, 0.05+0.2*r.Float64(), 2))
	if r.Float64() < 0.5 {
		from := 60 + 100*r.Float64()
		s.slow(0, steps(1, from, 0.4+0.4*r.Float64(), from+80, 1))
	}
	if r.Float64() < 0.4 {
		from := 230 + 60*r.Float64()
		s.stall(r.IntN(len(s.Replicas)), Span{from, from + 10 + 20*r.Float64()})
	}
	if r.Float64() < 0.3 {
		s.WALPerRow = scaled(s.WALPerRow, fullPages(90+60*r.Float64(), 30))
	}
	return s
}

// slow multiplies a replica's capacity.
func (s *Scenario) slow(replica int, by Course) {
	s.Replicas[replica].Capacity = scaled(s.Replicas[replica].Capacity, by)
}

// stall stops a replica's replay.
func (s *Scenario) stall(replica int, when Span) {
	s.slow(replica, func(t float64) float64 {
		if when.holds(t) {
			return 0
		}
		return 1
	})
	s.Recover = append(s.Recover, when.To)
}

func scaled(a, b Course) Course { return func(t float64) float64 { return a(t) * b(t) } }

// steps begins at a value and takes another from each time on: steps(1, 200, 0.5) halves at 200 s.
func steps(first float64, changes ...float64) Course {
	return func(t float64) float64 {
		v := first
		for i := 0; i+1 < len(changes) && t >= changes[i]; i += 2 {
			v = changes[i+1]
		}
		return v
	}
}

// fullPages is what a checkpoint does to the WAL of a row: four times as much after it, falling off within fade seconds.
func fullPages(every, fade float64) Course {
	return func(t float64) float64 { return 1 + 3*math.Exp(-3*math.Mod(t+every/2, every)/fade) }
}

// noise is a factor around 1 that wanders with the given deviation and correlation time; never below 0.1.
func noise(random *rand.Rand, length, deviation, correlation float64) Course {
	const every = 0.25
	keep := math.Exp(-every / correlation)
	values := make([]float64, int(length/every)+2)
	x := random.NormFloat64()
	for i := range values {
		values[i] = max(0.1, 1+deviation*x)
		x = keep*x + math.Sqrt(1-keep*keep)*random.NormFloat64()
	}
	return func(t float64) float64 {
		i := min(int(t/every), len(values)-2)
		part := t/every - float64(i)
		return values[i] + part*(values[i+1]-values[i])
	}
}

func logUniform(r *rand.Rand, from, to float64) float64 {
	return from * math.Exp(r.Float64()*math.Log(to/from))
}
