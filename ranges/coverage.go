package ranges

import "fmt"

// Gaps says in words where the spans of one relation, given in the order of their index, fail to tile its keys from the
// start to bound, the frozen bound (nil: the relation was empty at the freeze). An empty answer is the proof that every key
// up to bound lies in exactly one span, given that each Lo is not above its Hi in the table's order, which the boundary
// search ensures: keys are compared by identity only.
func Gaps(spans []Span, bound Key) []string {
	switch {
	case bound.Unbounded() && len(spans) > 0:
		return []string{fmt.Sprintf("the relation was empty at the freeze, but %d ranges stand, first %s", len(spans), spans[0])}
	case bound.Unbounded():
		return nil
	case len(spans) == 0:
		return []string{fmt.Sprintf("gap: no range covers %s", Span{Hi: bound, HiClosed: true})}
	}
	var found []string
	report := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	if first := spans[0]; !first.Lo.Unbounded() {
		report("gap: the first range %s leaves out the keys below %s", first, first.Lo)
	}
	starts := map[string]bool{}
	for i, s := range spans {
		last := i == len(spans)-1
		if s.Lo != nil && s.Lo.Equal(s.Hi) && !s.HiClosed {
			report("range %d of the relation, %s, holds no key", i, s)
		}
		if i > 0 {
			prev := spans[i-1]
			switch {
			case s.Lo.Unbounded() || starts[FormatKey(s.Lo)]:
				report("overlap: %s begins again at %s after %s", s, s.Lo, prev)
			case prev.HiClosed && prev.Hi.Equal(s.Lo):
				report("overlap: key %s lies in %s and in %s", s.Lo, prev, s)
			case !prev.HiClosed && !prev.Hi.Unbounded() && !prev.Hi.Equal(s.Lo):
				report("gap or overlap: %s is followed by %s, which does not begin at %s", prev, s, prev.Hi)
			case prev.HiClosed:
				report("gap or overlap: %s ends closed at %s, but %s follows", prev, prev.Hi, s)
			}
		}
		if s.Hi.Unbounded() {
			report("overlap: %s goes beyond the frozen bound %s", s, bound)
		} else if last && !s.Hi.Equal(bound) {
			report("gap: the last range %s does not end at the frozen bound %s", s, bound)
		} else if last && !s.HiClosed {
			report("gap: the last range %s leaves out the frozen bound %s", s, bound)
		}
		starts[FormatKey(s.Lo)] = true
	}
	return found
}
