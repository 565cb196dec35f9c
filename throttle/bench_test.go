package throttle

import (
	"fmt"
	"testing"
	"time"
)

// One op is what one batch asks of its limiter.
func BenchmarkLimiterTake(b *testing.B) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0)
	l.SetRate(8000)
	clock.advance(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		clock.advance(25 * time.Millisecond)
		rows, _ := l.Reserve(1000)
		l.Charge(min(rows, 200))
	}
}

// One op is a budget that changes a slot's rate.
func BenchmarkLimiterSetRate(b *testing.B) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0)
	rate := 1000.0
	b.ReportAllocs()
	for b.Loop() {
		rate = 3000 - rate
		l.SetRate(rate)
	}
}

func BenchmarkSizerBatch(b *testing.B) {
	s := NewSizer(SizerConfig{})
	b.ReportAllocs()
	for b.Loop() {
		rows := s.Next(10_000)
		s.Observe(rows, time.Duration(rows)*25*time.Microsecond)
	}
}

func BenchmarkGateOpen(b *testing.B) {
	at := newFakeClock().t
	g := NewGate(3 * time.Second)
	g.Accept(1, 1, false, at)
	b.ReportAllocs()
	for b.Loop() {
		if !g.Open(at) {
			b.Fatal("closed")
		}
	}
}

// settled is a governor with a primary and replicas in steady work, and every builtin signal read.
func settled(replicas int) *bench {
	p := newBench(Rules{Signals: Defaults()})
	p.s.Members = nil
	for i := range replicas {
		p.s.Members = append(p.s.Members, Member{Name: fmt.Sprintf("standby%d", i), State: "streaming", Pos: 1e9})
	}
	for name, rule := range Defaults() {
		value := 0.0
		if rule.Below {
			value = 1e12
		}
		p.s.Signals = append(p.s.Signals, Reading{Signal: name, Value: value, At: p.s.At})
	}
	p.run(10 * time.Second)
	return p
}

// One op is a sample of the inner loop; every fifth steps the outer one too.
func BenchmarkGovernorStep(b *testing.B) {
	for _, replicas := range []int{0, 1, 5} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			p := settled(replicas)
			b.ReportAllocs()
			for b.Loop() {
				p.s.At = p.s.At.Add(100 * time.Millisecond)
				p.s.ReadAt = p.s.At
				p.s.Rows += 800
				p.s.WALPos += 500_000
				for i := range p.s.Members {
					p.s.Members[i].Pos = p.s.WALPos - 10_000
				}
				for i := range p.s.Signals {
					p.s.Signals[i].At = p.s.At
				}
				p.g.Step(p.s)
			}
		})
	}
}

// One op is a step of the outer loop alone.
func BenchmarkWALBudgetStep(b *testing.B) {
	p := settled(3)
	b.ReportAllocs()
	for b.Loop() {
		p.g.budget.step(p.s, &p.g.replays, p.g.flow, 0.5)
	}
}

// One op shares a budget among jobs on many slots, most of which hold a range.
func BenchmarkAllocate(b *testing.B) {
	for _, workers := range []int{4, 64} {
		slots := slotsOf(workers, 4)
		demands := make([]Demand, 3)
		for i := range demands {
			demands[i] = Demand{Job: fmt.Sprint("job", i), Weight: i + 1, Runnable: 1000, Holding: slots[i*workers : (i+1)*workers]}
		}
		b.Run(fmt.Sprintf("slots=%d", len(slots)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if grants := Allocate(Supply{Rate: 1e6, Slots: slots}, demands); len(grants) != len(slots) {
					b.Fatal(len(grants))
				}
			}
		})
	}
}
