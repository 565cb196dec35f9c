package ranges

import "fmt"

// mostFindings is how many findings a Tiling keeps; the first tell the story.
const mostFindings = 20

// Tiling checks, span by span, that the ranges of one relation tile its keys from the start to the frozen bound. Feed it the spans in
// the order of their index; then Gaps says what is wrong. It is given that each Lo is not above its Hi in the table's order, which
// the boundary search ensures: keys are compared by identity only. It remembers the last span alone, however many there are: where
// each begins at the end of the one before it, and none is empty, no key can come twice.
type Tiling struct {
	bound Key
	n     int
	first Span
	last  Span
	found []string
	more  int
}

// NewTiling begins a check up to bound; nil: the relation was empty at the freeze.
func NewTiling(bound Key) *Tiling { return &Tiling{bound: bound} }

// Len is how many spans were added.
func (t *Tiling) Len() int { return t.n }

func (t *Tiling) report(format string, args ...any) {
	if len(t.found) == mostFindings {
		t.more++
		return
	}
	t.found = append(t.found, fmt.Sprintf(format, args...))
}

// Add takes the next span in the order of the index.
func (t *Tiling) Add(s Span) {
	if t.n == 0 {
		t.first = s
		if !s.Lo.Unbounded() {
			t.report("gap: the first range %s leaves out the keys below %s", s, s.Lo)
		}
	}
	if s.Lo != nil && s.Lo.Equal(s.Hi) && !s.HiClosed {
		t.report("range %d of the relation, %s, holds no key", t.n, s)
	}
	if t.n > 0 {
		prev := t.last
		switch {
		case s.Lo.Unbounded() || s.Lo.Equal(prev.Lo):
			t.report("overlap: %s begins again at %s after %s", s, s.Lo, prev)
		case prev.HiClosed && prev.Hi.Equal(s.Lo):
			t.report("overlap: key %s lies in %s and in %s", s.Lo, prev, s)
		case !prev.HiClosed && !prev.Hi.Unbounded() && !prev.Hi.Equal(s.Lo):
			t.report("gap or overlap: %s is followed by %s, which does not begin at %s", prev, s, prev.Hi)
		case prev.HiClosed:
			t.report("gap or overlap: %s ends closed at %s, but %s follows", prev, prev.Hi, s)
		}
	}
	if s.Hi.Unbounded() {
		t.report("overlap: %s goes beyond the frozen bound %s", s, t.bound)
	}
	t.last = s
	t.n++
}

// Gaps says in words where the spans fail to tile the keys. An empty answer is the proof that every key up to the bound lies in
// exactly one span.
func (t *Tiling) Gaps() []string {
	switch {
	case t.bound.Unbounded() && t.n > 0:
		return []string{fmt.Sprintf("the relation was empty at the freeze, but %d ranges stand, first %s", t.n, t.first)}
	case t.bound.Unbounded():
		return nil
	case t.n == 0:
		return []string{fmt.Sprintf("gap: no range covers %s", Span{Hi: t.bound, HiClosed: true})}
	}
	found := t.found
	switch {
	case t.last.Hi.Unbounded():
	case !t.last.Hi.Equal(t.bound):
		found = append(found, fmt.Sprintf("gap: the last range %s does not end at the frozen bound %s", t.last, t.bound))
	case !t.last.HiClosed:
		found = append(found, fmt.Sprintf("gap: the last range %s leaves out the frozen bound %s", t.last, t.bound))
	}
	if t.more > 0 {
		found = append(found, fmt.Sprintf("and %d more", t.more))
	}
	return found
}

// Gaps checks all spans of a relation at once.
func Gaps(spans []Span, bound Key) []string {
	t := NewTiling(bound)
	for _, s := range spans {
		t.Add(s)
	}
	return t.Gaps()
}
