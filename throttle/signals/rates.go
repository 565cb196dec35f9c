package signals

import "time"

// window counts how far a counter of the server rose within a span. A counter that falls was reset: the count begins anew.
type window struct {
	points []counted
}

type counted struct {
	at    time.Time
	value float64
}

// since notes the counter and returns its rise over [checkpointSpan], or since the first note where that is later.
func (w *window) since(at time.Time, value float64) float64 {
	if n := len(w.points); n > 0 && value < w.points[n-1].value {
		w.points = nil
	}
	w.points = append(w.points, counted{at, value})
	// The last point at or before the span's begin stays: the rise since then is the rise within.
	for len(w.points) > 1 && at.Sub(w.points[1].at) >= checkpointSpan {
		w.points = w.points[1:]
	}
	return value - w.points[0].value
}

// rates turns a pair of the server's counters into their rise a second.
type rates struct {
	at   time.Time
	last [2]float64
}

// next notes the counters; false at the first note, after a reset, and where no time has passed.
func (r *rates) next(at time.Time, a, b float64) (per [2]float64, ok bool) {
	passed := at.Sub(r.at).Seconds()
	known := !r.at.IsZero() && passed > 0 && a >= r.last[0] && b >= r.last[1]
	if known {
		per = [2]float64{(a - r.last[0]) / passed, (b - r.last[1]) / passed}
	}
	r.at, r.last = at, [2]float64{a, b}
	return per, known
}
