package ranges

import (
	"context"
	"fmt"
	"time"
)

// Stepper finds boundaries in a table. It is the planner's only sight of the database, and the only one who knows the order
// of keys.
type Stepper interface {
	// Step returns up to count boundaries in the order of the key: each is `rows` keys after the one before it, the first
	// `rows` keys after from. From is inclusive and nil where the relation begins; no boundary lies beyond to, the frozen
	// bound. Fewer than count means that the bound was reached.
	Step(ctx context.Context, relation uint32, from, to Key, rows, count int) (bounds []Key, err error)
}

const (
	stepTarget = 200 * time.Millisecond // how long one statement of the boundary search should take
	stepGrowth = 4                      // the most a step grows beyond the last
)

// Planner cuts relations into ranges of about the same number of keys, one short statement at a time. It keeps no position:
// the caller stores ranges and where the next search begins together, so a plan resumes at any point with the same result
// as long as the table's keys stay the same.
//
// It is not safe for concurrent use.
type Planner struct {
	stepper Stepper
	rows    int
	now     func() time.Time
	cost    float64 // nanoseconds a boundary; 0 before the first
	most    int     // boundaries of the next step
}

// NewPlanner returns a planner that puts rowsPerRange keys in each range but a relation's last, which has at most as many.
// The clock measures its steps; it may be time.Now.
func NewPlanner(s Stepper, rowsPerRange int, now func() time.Time) *Planner {
	return &Planner{stepper: s, rows: max(1, rowsPerRange), now: now, most: 1}
}

// Next returns up to count ranges of a relation, numbered from index on, in one call of the stepper. From is where to begin:
// nil at the start of the relation, else the Hi of the range before. Bound is the relation's frozen bound; nil means that it
// was empty at the freeze, which yields no range.
//
// The ranges are half-open and tile the keys from the start to bound: the first is open below, the last ends closed at bound.
// Planned reports that the last one is among them. Fewer than count ranges without planned is no end: the planner asks for no
// more than a short statement can find. After an error nothing was planned, and a later call asks for less.
func (p *Planner) Next(ctx context.Context, relation uint32, index int, from, bound Key, count int) (rs []Range, planned bool, err error) {
	if bound.Unbounded() {
		return nil, true, nil
	}
	if count <= 0 {
		return nil, false, nil
	}
	count = min(count, p.most)
	began := p.now()
	bounds, err := p.stepper.Step(ctx, relation, from, bound, p.rows, count)
	if err != nil {
		p.most = max(1, count/2)
		return nil, false, fmt.Errorf("find %d boundaries of relation %d from key %s: %w", count, relation, from, err)
	}
	p.learn(p.now().Sub(began), count, len(bounds))

	if len(bounds) > count {
		return nil, false, fmt.Errorf("find boundaries of relation %d from key %s: asked for %d, got %d", relation, from, count, len(bounds))
	}
	for _, hi := range bounds {
		if hi.Unbounded() || hi.Equal(from) {
			return nil, false, fmt.Errorf("find boundaries of relation %d: the search did not advance beyond key %s", relation, from)
		}
		rs = append(rs, Range{Index: index + len(rs), Relation: relation, Span: Span{Lo: from, Hi: hi}})
		from = hi
	}
	if len(bounds) == count {
		return rs, false, nil
	}
	return append(rs, Range{Index: index + len(rs), Relation: relation, Span: Span{Lo: from, Hi: bound, HiClosed: true}}), true, nil
}

// learn fits the next step to the target from what this one took to find its boundaries; one that reached the bound has
// searched for one more than it found.
func (p *Planner) learn(d time.Duration, asked, found int) {
	cost := float64(max(d, time.Microsecond)) / float64(min(asked, found+1))
	if p.cost > 0 {
		cost = (p.cost + cost) / 2
	}
	p.cost = cost
	p.most = max(1, min(int(float64(stepTarget)/cost), stepGrowth*max(asked, p.most)))
}
