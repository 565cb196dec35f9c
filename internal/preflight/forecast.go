package preflight

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

const (
	ledgerSeconds = 0.0005 // that fence and checkpoint add to a batch, as benchmarks measured
	ledgerWAL     = 600    // bytes of them, and of the commit
	leastSpread   = 0.15   // of a cost around its middle: few batches do not show all that a table holds
)

// commitSeconds is what waiting for a commit adds to a batch; a sample cannot measure what it does not do.
var commitSeconds = throttle.Interval{Low: 0.0005, High: 0.01}

// forecast lays what the batches cost over the whole job.
func (s *sampler) forecast(at time.Time, took time.Duration) *job.Forecast {
	p := s.plan
	work, bounds := s.work(), s.bounds()
	o := throttle.Forecast(work, bounds, at)
	result := s.result(took)
	var wider, rows float64
	for _, b := range s.got {
		wider, rows = wider+b.wider, rows+b.rows
	}
	heap, index := throttle.Growth(o.Rows, throttle.Relation{
		Rows: float64(p.Rows), Wider: wider / max(rows, 1), HeapBytes: float64(s.heap), IndexBytes: float64(p.IndexBytes), Fillfactor: float64(p.HOT.Fillfactor),
		HOT: result.HOT, Vacuumed: p.Autovacuum.On,
	})
	if p.Statement != nil { // what grows is another table, as far as its WAL
		heap, index = throttle.Interval{}, throttle.Interval{}
	}
	f := &job.Forecast{
		At: at, Keys: p.Rows, Rows: amount(o.Rows), Duration: times(o.Total), Fill: times(o.Fill), Proof: times(o.Proof), Rate: amount(o.RowsSec),
		WAL: amount(o.WAL), Heap: amount(heap), Index: amount(index), Binding: o.Binding, Slots: work.Slots, Assumes: o.Assumes,
		HeapSize: p.TableBytes, IndexSize: p.IndexBytes, Sample: result,
	}
	if o.Binding == "slots" {
		f.Binding = counted(int64(work.Slots), "slot")
	}
	f.Finish.Earliest, f.Finish.Latest = moment(o.FinishLow), moment(o.FinishHigh)
	return f
}

// bounds is what may make the job slower than its slots: its own limits, those of the database, and its windows.
func (s *sampler) bounds() throttle.Bounds {
	p, set := s.plan, s.opt.Rules
	own := p.Spec.Throttle
	capped := func(name string, text fmt.Stringer, value float64) throttle.Cap {
		return throttle.Cap{Name: name + " " + text.String(), Value: value}
	}
	b := throttle.Bounds{
		RowCaps: []throttle.Cap{
			capped("throttle.max_rows_per_second", whole(own.MaxRowsPerSecond), float64(own.MaxRowsPerSecond)),
			capped("the database's max_rows_per_second", whole(set.MaxRowsPerSecond), float64(set.MaxRowsPerSecond)),
		},
		WALCaps: []throttle.Cap{
			capped("throttle.max_wal_bytes_per_second", own.MaxWALBytesPerSecond, float64(own.MaxWALBytesPerSecond)),
			capped("the database's max_wal_bytes_per_second", set.MaxWALBytesPerSecond, float64(set.MaxWALBytesPerSecond)),
		},
	}
	for _, r := range p.Replicas {
		if !r.Ignored {
			b.Replicas++
		}
	}
	if windows, err := p.Spec.Schedule(); err == nil { // a spec that was checked has none that fail
		b.Calendar = set.Apply(windows)
	}
	return b
}

// whole is a number as a setting writes it.
type whole int

func (n whole) String() string { return strconv.Itoa(int(n)) }

// work is the job's cost by its batches.
func (s *sampler) work() throttle.Work {
	p := s.plan
	slots := s.opt.Slots
	if slots == 0 {
		slots = DefaultSlots
	}
	w := throttle.Work{Keys: float64(p.Rows), Slots: int(min(int64(slots), int64(p.Spec.Workers.Max), max(p.Ranges, 1))), Ranges: int(p.Ranges)}
	fixed := quantile(s.got, 0.5, func(b sampled) float64 { return b.fixed }) + ledgerSeconds
	commit := throttle.Exactly(0)
	if p.Spec.Batch.SynchronousCommit != "off" {
		commit = commitSeconds
	}
	fill := spread(s.got, func(b sampled) float64 { return b.fill / b.keys })
	proof := spread(s.got, func(b sampled) float64 { return b.proof / b.keys })
	w.KeySeconds = s.perKey(fill, fixed+commit.Low, fixed+commit.High)
	w.ProofSeconds = s.perKey(proof, fixed+commit.Low, fixed+commit.High)

	var keys, rows float64
	for _, b := range s.got {
		keys, rows = keys+b.keys, rows+b.rows
	}
	w.Written = throttle.Exactly(1)
	switch {
	case p.Statement != nil: // which may write several rows for one that it reads
		w.Written = spread(s.got, func(b sampled) float64 { return b.rows / b.keys })
	case p.Spec.Where != "":
		share := min(rows/keys, 1)
		least := quantile(s.got, 0, func(b sampled) float64 { return b.rows / b.keys })
		most := quantile(s.got, 1, func(b sampled) float64 { return b.rows / b.keys })
		// The spread among batches, the chance among keys, and three in n: what n keys without a match do not rule out.
		doubt := (most-least)/math.Sqrt(float64(len(s.got))) + 2*math.Sqrt(share*(1-share)/keys) + 3/keys
		w.Written = throttle.Interval{Low: max(0, share-doubt), High: min(1, share+doubt)}
	}
	w.RowWAL = s.rowWAL(rows, rows/keys)
	return w
}

// perKey adds a batch's fixed cost to that of a key, at the size that the batch would have.
func (s *sampler) perKey(cost throttle.Interval, low, high float64) throttle.Interval {
	b := s.plan.Spec.Batch
	each := func(cost, fixed float64) float64 {
		size := min(max((b.Target.D().Seconds()-fixed)/cost, fewestKeys), float64(b.MaxRows))
		return cost + fixed/size
	}
	return throttle.Interval{Low: each(cost.Low, low), High: each(cost.High, high)}
}

// rowWAL is the WAL of a row that is written. Whole pages come once after each checkpoint, so how many depends on when checkpoints
// come: at least a part of the pages that are touched, at most each of them half as often again.
func (s *sampler) rowWAL(rows, share float64) throttle.Interval {
	var with []sampled
	for _, b := range s.got {
		if b.rows > 0 {
			with = append(with, b)
		}
	}
	if len(with) == 0 {
		return throttle.Interval{}
	}
	own := spread(with, func(b sampled) float64 { return (b.wal - b.images) / b.rows })
	if s.plan.Statement != nil {
		own.High = max(own.High, quantile(with, 1, func(b sampled) float64 { return b.wal / b.rows }))
	}
	if len(s.plan.Triggers)+len(s.plan.ForeignKeys) > 0 {
		// What others write meanwhile stands in it, too: the least is the truest.
		more := quantile(with, 0, func(b sampled) float64 { return b.deferred / b.rows })
		own.Low, own.High = own.Low+more, own.High+more
	}
	var hot float64
	for _, b := range with {
		hot += b.hot
	}
	touched := (float64(s.heap) + float64(s.plan.IndexBytes)*(1-hot/rows)) / float64(max(s.plan.Rows, 1))
	pages := throttle.Interval{High: 1.5 * touched / max(share, 0.01)}
	if s.plan.Statement != nil {
		pages.High = 0 // of which table is not known: what the samples wrote says it
	} else if quantile(with, 0.5, func(b sampled) float64 { return b.images }) > 0 {
		pages.Low = 0.2 * touched
	}
	ledger := ledgerWAL / (usualKeys * max(share, 0.01))
	return throttle.Interval{Low: own.Low + pages.Low, High: own.High + pages.High + ledger}
}

// spread is what a figure is expected to be on the whole table: from the lower to the upper values that batches had, never
// narrower than leastSpread.
func spread(of []sampled, figure func(sampled) float64) throttle.Interval {
	mid := max(quantile(of, 0.5, figure), 1e-9)
	return throttle.Interval{
		Low:  max(min(quantile(of, 0.25, figure), mid*(1-leastSpread)), 1e-9),
		High: max(quantile(of, 0.9, figure), mid*(1+leastSpread)),
	}
}

// quantile is a figure's value at a rank from 0 to 1.
func quantile(of []sampled, rank float64, figure func(sampled) float64) float64 {
	values := make([]float64, len(of))
	for i, b := range of {
		values[i] = figure(b)
	}
	slices.Sort(values)
	return values[int(math.Round(rank*float64(len(values)-1)))]
}

func amount(i throttle.Interval) job.Amount {
	round := func(f float64) int64 { return int64(math.Min(math.Round(f), 1e18)) }
	return job.Amount{Low: round(i.Low), High: round(i.High)}
}

func times(i throttle.Interval) job.Times {
	d := func(s float64) job.Duration {
		return job.Duration(time.Duration(math.Min(s, 1e9) * float64(time.Second)).Round(time.Millisecond))
	}
	return job.Times{Low: d(i.Low), High: d(i.High)}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Round(time.Second)
	return &t
}
