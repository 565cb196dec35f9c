package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

const (
	batchOverhead = 2e-3 // seconds of a batch beside its rows
	batchRows     = 20000
	helloEvery    = 25 // ticks from one report of a worker's rows to the next
)

// epoch is when simulated time begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is simulated time.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func at(t float64) time.Time { return epoch.Add(time.Duration(t * float64(time.Second))) }

// fleet is the workers: each is one slot with the limiter, sizer and gate of the product.
type fleet struct {
	clock   *clock
	random  *rand.Rand
	workers []*worker
	slots   []throttle.Slot
	index   map[throttle.Slot]int
	perRow  float64 // seconds of SQL time that the fleet's last reports took for a row
	speed   float64 // rows per second of one worker at cost 1
	primary float64 // the same of the primary
	batch   time.Duration
	scale   float64 // of batch, as the last budget had it

	busy   float64 // slots in a batch during the last tick
	starts int     // batches begun in the last tick
	rows   float64 // written in the last tick
}

type worker struct {
	gate    *throttle.Gate
	limiter *throttle.Limiter
	sizer   *throttle.Sizer
	leased  bool
	held    bool
	wake    float64 // it sleeps until then

	size  int
	total float64 // seconds of work at full speed that the batch is
	left  float64 // what is left of it
	began float64

	done, reported   float64 // rows committed, and those that the leader knows of
	spent, spentSeen float64 // seconds of SQL time, likewise
	phase            int
}

func newFleet(s Scenario, most int, seed uint64, batch time.Duration) *fleet {
	f := &fleet{clock: &clock{epoch}, random: rand.New(rand.NewPCG(seed, 7)), speed: s.PerWorker, primary: s.Primary, batch: batch, scale: 1}
	f.index = map[throttle.Slot]int{}
	for i := range most {
		f.slots = append(f.slots, throttle.Slot{Worker: fmt.Sprintf("w%03d", i)})
		f.index[f.slots[i]] = i
		f.workers = append(f.workers, &worker{
			gate: throttle.NewGate(3 * time.Second), limiter: throttle.NewLimiter(f.clock.Now, f.random.Float64()),
			sizer: throttle.NewSizer(throttle.SizerConfig{Target: batch, Max: batchRows}), phase: f.random.IntN(helloEvery),
		})
	}
	return f
}

// apply hands a budget to the workers. Grants are nil if they are as before.
func (f *fleet) apply(epoch, seq int64, d throttle.Decision, grants []throttle.Grant) {
	for _, w := range f.workers {
		w.gate.Accept(epoch, seq, d.Hold, f.clock.now)
	}
	if scale := d.BatchScale; scale > 0 && scale != f.scale {
		f.scale = scale
		for _, w := range f.workers {
			w.sizer.SetLimits(time.Duration(scale*float64(f.batch)), batchRows)
		}
	}
	if grants == nil {
		return
	}
	for _, w := range f.workers {
		w.leased = false
	}
	for _, g := range grants {
		w := f.workers[f.index[g.Slot]]
		w.leased = true
		w.limiter.SetRate(g.Rate)
		w.wake = 0
	}
}

// step lets the workers work for one tick that begins at t, at so many times the nominal cost of a row.
func (f *fleet) step(n int, t, cost float64) {
	f.rows, f.busy, f.starts = 0, 0, 0
	active := 0
	for _, w := range f.workers {
		if w.left > 0 || f.start(w, t, cost) {
			active++
		}
	}
	speed := 1.0
	if demand := float64(active) * f.speed; demand > f.primary {
		speed = f.primary / demand
	}
	for i, w := range f.workers {
		f.work(w, t, cost, speed)
		if (n+i)%helloEvery == w.phase {
			f.hello(w)
		}
	}
}

// start begins a batch if the worker may, and reports whether it did.
func (f *fleet) start(w *worker, t, cost float64) bool {
	if !w.leased || t < w.wake {
		return false
	}
	f.clock.now = at(t)
	if !w.gate.Open(f.clock.now) {
		w.held = true
		return false
	}
	if w.held {
		w.held = false
		w.limiter.Forfeit()
	}
	rows, wait := w.limiter.Reserve(w.sizer.Next(1 << 30))
	if rows <= 0 {
		w.wake = t + wait.Seconds()
		return false
	}
	noise := 0.9 + 0.2*f.random.Float64()
	w.size, w.began = rows, t
	w.total = batchOverhead + float64(rows)*cost*noise/f.speed
	w.left = w.total
	f.starts++
	return true
}

// work spends one tick of a worker's time.
func (f *fleet) work(w *worker, t, cost, speed float64) {
	now, end := t, t+tickSeconds
	for now < end {
		if w.left <= 0 {
			if w.wake > now && w.wake < end {
				now = w.wake
			}
			if !f.start(w, now, cost) {
				return
			}
		}
		spent := min(end-now, w.left/speed)
		f.rows += float64(w.size) * spent * speed / w.total
		f.busy += spent / tickSeconds
		w.spent += spent
		now += spent
		w.left -= spent * speed
		if w.left > 1e-9 {
			return
		}
		w.left = 0
		f.clock.now = at(now)
		w.limiter.Charge(w.size)
		w.sizer.Observe(w.size, time.Duration((now-w.began)*float64(time.Second)))
		w.done += float64(w.size)
	}
}

// hello tells the leader what the worker has done.
func (f *fleet) hello(w *worker) {
	if rows, spent := w.done-w.reported, w.spent-w.spentSeen; rows > 0 && spent > 0 {
		gain := min(1, rows/float64(len(f.workers))/f.speed+0.05)
		if f.perRow == 0 {
			gain = 1
		}
		f.perRow += gain * (spent/rows - f.perRow)
	}
	w.reported, w.spentSeen = w.done, w.spent
}

// oversubscription is the demand of the workers over what the primary can do, at least 1.
func (f *fleet) oversubscription() float64 { return max(1, f.busy*f.speed/f.primary) }

func (f *fleet) reported() (rows float64) {
	for _, w := range f.workers {
		rows += w.reported
	}
	return rows
}

func (f *fleet) rowsPerSlot() float64 {
	if f.perRow <= 0 {
		return 0
	}
	return 1 / f.perRow
}

func (f *fleet) holding() (n int) {
	for _, w := range f.workers {
		if w.leased {
			n++
		}
	}
	return n
}
