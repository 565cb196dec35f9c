package throttle

import (
	"fmt"
	"math"
	"time"
)

// Interval is where a value is expected, from Low to High.
type Interval struct{ Low, High float64 }

// Exactly is an interval of one value.
func Exactly(v float64) Interval { return Interval{v, v} }

// Mid is the geometric middle: as many times above Low as below High. With Low 0 it is half of High.
func (i Interval) Mid() float64 {
	if i.Low <= 0 {
		return i.High / 2
	}
	return math.Sqrt(i.Low * i.High)
}

// Times multiplies two intervals of values that are not negative.
func (i Interval) Times(o Interval) Interval { return Interval{i.Low * o.Low, i.High * o.High} }

func (i Interval) upTo(o Interval) Interval {
	return Interval{math.Min(i.Low, o.Low), math.Min(i.High, o.High)}
}

func (i Interval) plus(o Interval) Interval { return Interval{i.Low + o.Low, i.High + o.High} }

// Calendar is what a forecast asks of the windows; nil stands for none.
type Calendar interface {
	// At returns the part of the full speed that is allowed at t, from 0 to 1, and what decided it.
	At(t time.Time) (rate float64, why string)
	// Finish returns when work is done that takes that long at full speed; false if it is never done.
	Finish(start time.Time, work time.Duration) (time.Time, bool)
	// NextOpening returns when, from t on, anything is allowed; false if never.
	NextOpening(t time.Time) (time.Time, bool)
}

// Cap is a limit by its name.
type Cap struct {
	Name  string
	Value float64 // a second; 0 is without limit
}

// Work is what a job has before it, and what sample batches found of its cost.
type Work struct {
	Keys         float64  // to walk
	Written      Interval // rows written for a key that is walked, 0 to 1
	KeySeconds   Interval // of a slot, for a key in a batch
	ProofSeconds Interval // of a slot, for a key in the verification
	RowWAL       Interval // bytes, for a row written
	Slots        int
	Ranges       int // that the slots carry; 0: many
}

// Bounds is what may make a job slower than its slots.
type Bounds struct {
	RowCaps  []Cap // rows written a second
	WALCaps  []Cap // bytes of WAL a second
	Replicas int   // whose lag holds the fleet; what they can replay is not known
	Calendar Calendar
}

// Outlook is what a forecast says. Times are in seconds.
type Outlook struct {
	Fill      Interval // the rows, at full speed
	Proof     Interval // the verification, if it has nothing to repair
	Total     Interval // both, with the waits for windows; High is 0 where the windows never let it end
	Rows      Interval // written
	WAL       Interval // bytes
	RowsSec   Interval // rows written a second, at full speed
	Binding   string   // what limits the speed
	Waits     bool     // windows make it longer than it would be
	Assumes   []string // in words
	FinishLow time.Time
	// FinishHigh is zero where the windows never let it end.
	FinishHigh time.Time
}

const (
	// sharedGain is the exponent of the least gain that slots bring: four on two cores that were theirs did 1.4 times the work of
	// one (docs/benchmarks.md).
	sharedGain = 0.25
	// ownGain is that of the most they bring, on a server that has a core and more for each: they still share its WAL.
	ownGain = 0.85
	// replayDoubt is how much slower a run may be for a replica whose capacity is not known.
	replayDoubt = 2
	// disturbed is how much longer a run takes for what comes in between: a replica that lags, a retry, a worker that restarts.
	disturbed = 1.1
	// furthest is the longest work that is looked at.
	furthest = 3 * 365 * 24 * time.Hour
)

// overhead is what a job takes beside its batches: to freeze, to plan the first ranges, to begin the verification, and to wait until
// the replicas have flushed.
var overhead = Interval{0.5, 4}

// Forecast says how long work takes from start on. It is arithmetic on a few measurements: it knows nothing of locks, of other
// load that comes or goes, or of rows that get dearer on the way.
func Forecast(w Work, b Bounds, start time.Time) Outlook {
	slots := float64(max(w.Slots, 1))
	gain := Interval{math.Pow(slots, sharedGain), math.Pow(slots, ownGain)}
	o := Outlook{
		Rows: w.Written.Times(Exactly(w.Keys)), Binding: "slots",
		Assumes: []string{fmt.Sprintf("%d slots, which together do between %.1f and %.1f times the work of one", int(slots), gain.Low, gain.High)},
	}
	o.WAL = o.Rows.Times(w.RowWAL)
	speed := Interval{ratio(gain.Low, w.KeySeconds.High), ratio(gain.High, w.KeySeconds.Low)} // keys a second
	if b.Replicas > 0 {
		speed.Low /= replayDoubt
		o.Assumes = append(o.Assumes, fmt.Sprintf("what the replicas can replay is not known: they may make it %d times slower", replayDoubt))
	}
	o.RowsSec = speed.Times(w.Written)
	// A key costs so much of the cap, and a row that is written so much.
	limit := func(c Cap, cost, row Interval) {
		if c.Value <= 0 {
			return
		}
		most := Interval{ratio(c.Value, cost.High), ratio(c.Value, cost.Low)}
		if most.Mid() < speed.Mid() {
			o.Binding = c.Name
		}
		speed = speed.upTo(most)
		o.RowsSec = o.RowsSec.upTo(Interval{ratio(c.Value, row.High), ratio(c.Value, row.Low)})
	}
	for _, c := range b.RowCaps {
		limit(c, w.Written, Exactly(1))
	}
	for _, c := range b.WALCaps {
		limit(c, w.Written.Times(w.RowWAL), w.RowWAL)
	}
	tail := 1.0 // the last ranges may leave all slots but one without work
	if w.Ranges > 0 {
		tail += (slots - 1) / float64(w.Ranges)
	}
	o.Fill = Interval{w.Keys / speed.High, w.Keys / speed.Low * disturbed * tail}
	o.Proof = Interval{w.Keys * w.ProofSeconds.Low / gain.High, w.Keys * w.ProofSeconds.High / gain.Low}
	o.lay(b.Calendar, start)
	return o
}

// lay puts the work into the windows.
func (o *Outlook) lay(c Calendar, start time.Time) {
	busy := o.Fill.plus(o.Proof).plus(overhead)
	low, fast := finish(c, start, busy.Low)
	high, slow := finish(c, start, busy.High)
	if fast {
		o.FinishLow, o.Total.Low = low, low.Sub(start).Seconds()
	}
	if slow {
		o.FinishHigh, o.Total.High = high, high.Sub(start).Seconds()
	}
	o.Waits = !slow || o.Total.High > busy.High+1
	if o.Waits {
		o.Assumes = append(o.Assumes, "the windows stay as they are")
	}
}

// finish is when so many seconds of work at full speed are done; false where the calendar never lets that be.
func finish(c Calendar, start time.Time, work float64) (time.Time, bool) {
	if c == nil {
		return start.Add(span(work)), true
	}
	return c.Finish(start, span(work))
}

// span is a duration of so many seconds, at most furthest.
func span(seconds float64) time.Duration {
	return time.Duration(math.Min(seconds, furthest.Seconds()) * float64(time.Second))
}

// ratio divides by what may be 0: then it is without limit.
func ratio(a, b float64) float64 {
	if b <= 0 {
		return math.Inf(1)
	}
	return a / b
}

// Relation is what growth is estimated from.
type Relation struct {
	Rows       float64
	HeapBytes  float64
	Wider      float64 // bytes that a row takes more once it is written
	IndexBytes float64
	Fillfactor float64 // percent
	HOT        float64 // part of the updates that wrote no index, 0 to 1
	Vacuumed   bool    // autovacuum is on
}

// Bloat as measured on tables that were rewritten whole, in parts of their size: 1.17 of the heap without a vacuum and from 0.27 with a
// frequent one; 1.0 of an index that took a new entry for each row.
var (
	heapBloat  = Interval{0.9, 1.2}
	indexBloat = Interval{0.3, 1.1}
)

const vacuumedBloat = 0.25 // of the heap, where vacuum keeps up

// Growth says how much larger heap and indexes are right after rows were written, before a later vacuum gives space back for use
// again. It knows nothing of what the application writes.
func Growth(rows Interval, r Relation) (heap, index Interval) {
	if r.Rows <= 0 {
		return Interval{}, Interval{}
	}
	parts := heapBloat
	if r.Vacuumed {
		parts.Low = vacuumedBloat
	}
	free := r.HeapBytes * math.Max(0, 1-r.Fillfactor/100)
	heap = rows.Times(Exactly(math.Max(0, r.HeapBytes/r.Rows+r.Wider))).Times(parts)
	heap = Interval{math.Max(0, heap.Low-free), math.Max(0, heap.High-free)}
	index = rows.Times(Exactly(r.IndexBytes / r.Rows * (1 - r.HOT))).Times(indexBloat)
	return heap, index
}
