package throttle

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// nights is a calendar of one window a day, from 22:00 for eight hours UTC, and a part of the speed outside of it.
type nights struct{ outside float64 }

func (n nights) At(t time.Time) (float64, string) {
	if h := t.UTC().Hour(); h >= 22 || h < 6 {
		return 1, "window"
	}
	return n.outside, "outside every window"
}

func (n nights) edge(t time.Time) time.Time {
	h := t.UTC().Truncate(time.Hour)
	for h = h.Add(time.Hour); h.Hour() != 22 && h.Hour() != 6; h = h.Add(time.Hour) {
		continue
	}
	return h
}

func (n nights) NextOpening(t time.Time) (time.Time, bool) {
	if rate, _ := n.At(t); rate > 0 {
		return t, true
	}
	return n.edge(t), true
}

func (n nights) Finish(start time.Time, work time.Duration) (time.Time, bool) {
	left := work.Seconds()
	for t := start; t.Before(start.AddDate(1, 0, 0)); {
		rate, _ := n.At(t)
		until := n.edge(t)
		if can := rate * until.Sub(t).Seconds(); can < left {
			left -= can
			t = until
			continue
		}
		return t.Add(time.Duration(left / rate * float64(time.Second))), true
	}
	return time.Time{}, false
}

// never is a calendar that lets nothing run.
type never struct{}

func (never) At(time.Time) (float64, string)                    { return 0, "closed" }
func (never) Finish(time.Time, time.Duration) (time.Time, bool) { return time.Time{}, false }
func (never) NextOpening(time.Time) (time.Time, bool)           { return time.Time{}, false }

// work is a hundred million keys at 10 µs each: 1,000 s of one slot.
func work(change func(*Work)) Work {
	w := Work{Keys: 1e8, Written: Exactly(1), KeySeconds: Exactly(10e-6), ProofSeconds: Exactly(1e-6), RowWAL: Interval{200, 400}, Slots: 4}
	if change != nil {
		change(&w)
	}
	return w
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestForecastNamesWhatBinds(t *testing.T) {
	for _, c := range []struct {
		name    string
		work    func(*Work)
		bounds  Bounds
		binding string
		fill    Interval
	}{
		{"slots", nil, Bounds{}, "slots", Interval{308, 778}},
		{"one slot", func(w *Work) { w.Slots = 1 }, Bounds{}, "slots", Interval{1000, 1100}},
		{"no slot counts as one", func(w *Work) { w.Slots = 0 }, Bounds{}, "slots", Interval{1000, 1100}},
		{"a cost that varies", func(w *Work) { w.KeySeconds = Interval{5e-6, 20e-6} }, Bounds{}, "slots", Interval{154, 1556}},
		{"few ranges", func(w *Work) { w.Ranges = 6 }, Bounds{}, "slots", Interval{308, 1167}},
		{"replicas", nil, Bounds{Replicas: 2}, "slots", Interval{308, 1556}},
		{"rows", nil, Bounds{RowCaps: []Cap{{"rows", 50_000}, {"of the database", 80_000}}}, "rows", Interval{2000, 2200}},
		{"rows of the database", nil, Bounds{RowCaps: []Cap{{"rows", 0}, {"of the database", 40_000}}}, "of the database", Interval{2500, 2750}},
		{"a cap that does not bind", nil, Bounds{RowCaps: []Cap{{"rows", 1e9}}}, "slots", Interval{308, 778}},
		{"a cap on few rows", func(w *Work) { w.Written = Interval{0.05, 0.1} }, Bounds{RowCaps: []Cap{{"rows", 10_000}}}, "rows", Interval{500, 1100}},
		{"WAL", nil, Bounds{WALCaps: []Cap{{"WAL", 10e6}}}, "WAL", Interval{2000, 4400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Forecast(work(c.work), c.bounds, noon)
			require.Equal(t, c.binding, o.Binding)
			require.InEpsilon(t, c.fill.Low, o.Fill.Low, 0.01)
			require.InEpsilon(t, c.fill.High, o.Fill.High, 0.01)
			require.Greater(t, o.Total.Low, o.Fill.Low, "the verification counts")
			require.Equal(t, noon.Add(time.Duration(o.Total.High*float64(time.Second))), o.FinishHigh)
			require.False(t, o.Waits)
		})
	}
}

func TestForecastCounts(t *testing.T) {
	o := Forecast(work(func(w *Work) { w.Written = Interval{0.1, 0.2} }), Bounds{}, noon)
	require.Equal(t, Interval{1e7, 2e7}, o.Rows)
	require.Equal(t, Interval{2e9, 8e9}, o.WAL)
	require.InEpsilon(t, 100/math.Pow(4, 0.85), o.Proof.Low, 1e-9)
	require.InEpsilon(t, 0.2*1e5*math.Pow(4, 0.85), o.RowsSec.High, 1e-9)
	o = Forecast(work(func(w *Work) { w.Written = Interval{0.1, 0.2} }), Bounds{RowCaps: []Cap{{"rows", 1000}}}, noon)
	require.Equal(t, Exactly(1000), o.RowsSec)
	o = Forecast(work(nil), Bounds{WALCaps: []Cap{{"WAL", 1e6}}}, noon)
	require.Equal(t, Interval{2500, 5000}, o.RowsSec)
}

func TestForecastKeepsToWindows(t *testing.T) {
	long := work(func(w *Work) { w.Slots, w.KeySeconds = 1, Exactly(360e-6) }) // ten hours and a little
	o := Forecast(long, Bounds{Calendar: nights{}}, noon)
	require.True(t, o.Waits)
	require.Equal(t, 3, o.FinishLow.Day(), "eight hours in the first night, two in the second: %s", o.FinishLow)
	require.InDelta(t, 36*3600, o.Total.Low, 600)
	require.Contains(t, o.Assumes, "the windows stay as they are")

	at := Forecast(long, Bounds{Calendar: nights{outside: 0.5}}, noon)
	require.Equal(t, 2, at.FinishLow.Day())
	require.Less(t, at.Total.High, o.Total.High)

	o = Forecast(long, Bounds{Calendar: never{}}, noon)
	require.True(t, o.Waits)
	require.Zero(t, o.Total)
	require.True(t, o.FinishHigh.IsZero())
}

func TestForecastIsARangeWhateverComes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		between := func(name string, low, high float64) Interval {
			a, b := rapid.Float64Range(low, high).Draw(t, name), rapid.Float64Range(low, high).Draw(t, name)
			return Interval{min(a, b), max(a, b)}
		}
		w := Work{
			Keys: rapid.Float64Range(0, 1e11).Draw(t, "keys"), Written: between("written", 0, 1), KeySeconds: between("seconds", 1e-9, 1),
			ProofSeconds: between("proof", 0, 1), RowWAL: between("WAL", 0, 1e6), Slots: rapid.IntRange(0, 1024).Draw(t, "slots"),
		}
		b := Bounds{
			RowCaps: []Cap{{"rows", rapid.Float64Range(0, 1e6).Draw(t, "rows")}}, WALCaps: []Cap{{"WAL", rapid.Float64Range(0, 1e9).Draw(t, "bytes")}},
			Replicas: rapid.IntRange(0, 3).Draw(t, "replicas"),
		}
		o := Forecast(w, b, noon)
		for _, i := range []Interval{o.Fill, o.Proof, o.Total, o.Rows, o.WAL, o.RowsSec} {
			require.False(t, math.IsNaN(i.Low) || math.IsNaN(i.High), "%+v", o)
			require.GreaterOrEqual(t, i.Low, 0.0)
			require.GreaterOrEqual(t, i.High, i.Low)
		}
		require.False(t, o.FinishHigh.Before(o.FinishLow))
		slower := b
		slower.RowCaps = append(slower.RowCaps, Cap{"more", 1})
		require.GreaterOrEqual(t, Forecast(w, slower, noon).Fill.Low, o.Fill.Low, "a cap never makes it faster")
	})
}

func TestGrowth(t *testing.T) {
	whole := Relation{Rows: 1e6, HeapBytes: 1e8, IndexBytes: 2e7, Fillfactor: 100}
	heap, index := Growth(Exactly(1e6), whole)
	require.Equal(t, Interval{9e7, 1.2e8}, heap)
	require.InDelta(t, 2.2e7, index.High, 1)

	r := whole
	r.HOT, r.Vacuumed, r.Wider = 1, true, 100
	heap, index = Growth(Exactly(1e6), r)
	require.InDelta(t, 5e7, heap.Low, 1, "vacuum keeps up, and each row is twice as wide")
	require.InDelta(t, 2.4e8, heap.High, 1)
	require.Zero(t, index)

	r = whole
	r.Fillfactor = 50
	heap, _ = Growth(Exactly(5e5), r)
	require.Equal(t, Interval{0, 1e7}, heap, "into the room that is kept free")
	heap, index = Growth(Exactly(0), Relation{})
	require.Zero(t, heap)
	require.Zero(t, index)
}
