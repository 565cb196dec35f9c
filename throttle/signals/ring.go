package signals

import (
	"sort"
	"time"
)

// ringSpan is how far back the ring remembers where the primary stood.
const ringSpan = 10 * time.Minute

// ringGap is the longest time between two points in which the primary is taken to have written evenly. Of a longer one nobody knows
// when what was written: a position in it counts as passed when it began.
const ringGap = 1500 * time.Millisecond

// ring remembers when the primary's WAL stood where, and so turns the position of a replica into a lag in time. It compares
// no two clocks and asks no replica.
type ring struct {
	points []point // in the order of time and of position
}

type point struct {
	at  time.Time
	pos int64
}

// add notes that the primary stood at pos. A position before the last one is of another history: it starts the ring anew.
// Points that are not later than the last are left out.
func (r *ring) add(at time.Time, pos int64) {
	if n := len(r.points); n > 0 {
		last := r.points[n-1]
		switch {
		case pos < last.pos:
			r.reset()
		case !at.After(last.at):
			return
		case n > 1 && pos == last.pos && pos == r.points[n-2].pos:
			r.points[n-1].at = at // a standstill needs only its two ends
			return
		}
	}
	r.points = append(r.points, point{at, pos})
	old := sort.Search(len(r.points), func(i int) bool { return at.Sub(r.points[i].at) <= ringSpan })
	if old > len(r.points)/2 { // now and then, so that a point costs the same on average
		r.points = append([]point(nil), r.points[old:]...)
	}
}

func (r *ring) reset() { r.points = nil }

// lag is the time since the primary passed pos; 0 where it has not gone beyond. Covered is false where the ring does not
// reach back to pos: the lag is then the least that it can be. After a gap in the readings it is the most that it can be.
func (r *ring) lag(now time.Time, pos int64) (lag time.Duration, covered bool) {
	if len(r.points) == 0 {
		return 0, false
	}
	beyond := sort.Search(len(r.points), func(i int) bool { return r.points[i].pos > pos })
	switch beyond {
	case len(r.points):
		return 0, true
	case 0:
		return max(0, now.Sub(r.points[0].at)), false
	}
	a, b := r.points[beyond-1], r.points[beyond]
	passed, gap := a.at, b.at.Sub(a.at)
	if gap <= ringGap {
		part := float64(pos-a.pos) / float64(b.pos-a.pos)
		passed = passed.Add(time.Duration(part * float64(gap)))
	}
	return max(0, now.Sub(passed)), true
}

// at is where the primary stood at a time, as far as the ring remembers.
func (r *ring) at(t time.Time) int64 {
	after := sort.Search(len(r.points), func(i int) bool { return r.points[i].at.After(t) })
	switch {
	case len(r.points) == 0:
		return 0
	case after == 0:
		return r.points[0].pos
	case after == len(r.points):
		return r.points[after-1].pos
	}
	a, b := r.points[after-1], r.points[after]
	part := float64(t.Sub(a.at)) / float64(b.at.Sub(a.at))
	return a.pos + int64(part*float64(b.pos-a.pos))
}
