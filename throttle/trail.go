package throttle

import (
	"math"
	"sort"
	"time"
)

// trail remembers where a counter that only grows stood over a short time: a WAL position, or rows written.
type trail struct {
	points []mark
}

type mark struct {
	at    time.Time
	value float64
}

// add notes a value, and forgets what is older than span. A value below the last one is of another history and starts anew;
// a time that is not later, or a value that is no number, is left out.
func (t *trail) add(at time.Time, value float64, span time.Duration) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	if n := len(t.points); n > 0 {
		switch last := t.points[n-1]; {
		case value < last.value:
			t.points = t.points[:0]
		case !at.After(last.at):
			return
		}
	}
	t.points = append(t.points, mark{at, value})
	old := 0
	for old+1 < len(t.points) && at.Sub(t.points[old+1].at) >= span {
		old++
	}
	if old > 0 {
		t.points = t.points[:copy(t.points, t.points[old:])]
	}
}

// at is the value at a time, between two points by the straight line, and before the first point that of the first.
func (t *trail) at(when time.Time) float64 {
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].at.After(when) })
	switch {
	case len(t.points) == 0:
		return 0
	case i == 0:
		return t.points[0].value
	case i == len(t.points):
		return t.points[i-1].value
	}
	a, b := t.points[i-1], t.points[i]
	part := float64(when.Sub(a.at)) / float64(b.at.Sub(a.at))
	return a.value + part*(b.value-a.value)
}

// rate is the growth per second over the last span, or over what is known of it; 0 before the second point.
func (t *trail) rate(span time.Duration) float64 { return t.before(0, span) }

// before is the growth per second over span up to the given time before the last point, or over what is known of it.
func (t *trail) before(ago, span time.Duration) float64 {
	if len(t.points) < 2 {
		return 0
	}
	to := t.last().Add(-ago)
	from := to.Add(-span)
	if first := t.points[0].at; first.After(from) {
		from = first
	}
	if !to.After(from) {
		return 0
	}
	return (t.at(to) - t.at(from)) / to.Sub(from).Seconds()
}

// covers reports whether the trail reaches back for span.
func (t *trail) covers(span time.Duration) bool {
	n := len(t.points)
	return n > 1 && t.points[n-1].at.Sub(t.points[0].at) >= span
}

// moves reports whether the value grew in both halves of the last span.
func (t *trail) moves(span time.Duration) bool {
	if !t.covers(span) {
		return false
	}
	last := t.points[len(t.points)-1]
	half := t.at(last.at.Add(-span / 2))
	return last.value > half && half > t.at(last.at.Add(-span))
}

// last is the time of the last point; zero before the first.
func (t *trail) last() time.Time {
	if len(t.points) == 0 {
		return time.Time{}
	}
	return t.points[len(t.points)-1].at
}

// value is that of the last point; 0 before the first.
func (t *trail) value() float64 {
	if len(t.points) == 0 {
		return 0
	}
	return t.points[len(t.points)-1].value
}
