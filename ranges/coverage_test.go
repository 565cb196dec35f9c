package ranges

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func span(lo, hi int) Span { return Span{Lo: key(lo), Hi: key(hi)} }

func TestGaps(t *testing.T) {
	head, tail := Span{Hi: key(3)}, Span{Lo: key(6), Hi: key(9), HiClosed: true}
	for _, c := range []struct {
		name  string
		spans []Span
		bound Key
		want  []string
	}{
		{"tiled", []Span{head, span(3, 6), tail}, key(9), nil},
		{"one range", []Span{{Hi: key(9), HiClosed: true}}, key(9), nil},
		{"a bound of one key", []Span{{Hi: key(9)}, {Lo: key(9), Hi: key(9), HiClosed: true}}, key(9), nil},
		{"empty relation", nil, nil, nil},
		{"ranges of an empty relation", []Span{head}, nil, []string{"the relation was empty at the freeze, but 1 ranges stand, first [unbounded, 3)"}},
		{"no range", nil, key(9), []string{"gap: no range covers [unbounded, 9]"}},
		{"hole", []Span{head, tail}, key(9), []string{"gap or overlap: [unbounded, 3) is followed by [6, 9], which does not begin at 3"}},
		{"no start", []Span{span(3, 6), tail}, key(9), []string{"gap: the first range [3, 6) leaves out the keys below 3"}},
		{"no end", []Span{head, span(3, 6)}, key(9), []string{"gap: the last range [3, 6) does not end at the frozen bound 9"}},
		{"open end", []Span{head, span(3, 9)}, key(9), []string{"gap: the last range [3, 9) leaves out the frozen bound 9"}},
		{"twice", []Span{head, span(3, 6), span(3, 6), tail}, key(9), []string{"overlap: [3, 6) begins again at 3 after [3, 6)"}},
		{"start twice", []Span{head, head, span(3, 6), tail}, key(9), []string{"overlap: [unbounded, 3) begins again at unbounded after [unbounded, 3)"}},
		{"closed inside", []Span{{Hi: key(3), HiClosed: true}, span(3, 6), tail}, key(9), []string{"overlap: key 3 lies in [unbounded, 3] and in [3, 6)"}},
		{"closed inside, then a hole", []Span{{Hi: key(3), HiClosed: true}, tail}, key(9), []string{"gap or overlap: [unbounded, 3] ends closed at 3, but [6, 9] follows"}},
		{"no key", []Span{head, span(3, 3), span(3, 6), tail}, key(9), []string{
			"range 1 of the relation, [3, 3), holds no key", "overlap: [3, 6) begins again at 3 after [3, 3)"}},
		{"open above", []Span{head, {Lo: key(3)}}, key(9), []string{"overlap: [3, unbounded) goes beyond the frozen bound 9"}},
	} {
		require.Equal(t, c.want, Gaps(c.spans, c.bound), c.name)
	}
}

func TestGapsFindsEveryDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := drawTable(t)
		if len(tab.keys) == 0 {
			return
		}
		spans := spansOf(plan(t, tab, rapid.IntRange(1, 50).Draw(t, "rows"), func() int { return 100 }, false))
		i := rapid.IntRange(0, len(spans)-1).Draw(t, "range")
		switch rapid.SampledFrom([]string{"drop", "repeat", "move lo", "move hi", "close"}).Draw(t, "damage") {
		case "drop":
			spans = slices.Delete(spans, i, i+1)
		case "repeat":
			spans = slices.Insert(spans, i, spans[i])
		case "move lo":
			spans[i].Lo = key(9999)
		case "move hi":
			spans[i].Hi = key(9999)
		case "close":
			spans[i].HiClosed = !spans[i].HiClosed
		}
		require.NotEmpty(t, Gaps(spans, tab.bound()), "%v", spans)
	})
}
