package ranges

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func key(n int) Key { return Key{strconv.Itoa(n)} }

func number(k Key) int {
	n, err := strconv.Atoi(k[0])
	if err != nil {
		panic(err)
	}
	return n
}

// table is the naive model of a relation: sorted distinct integers. It counts the time that its steps would take.
type table struct {
	keys    []int
	perRow  time.Duration
	clock   time.Time
	longest time.Duration
	steps   int
	fail    error
	answer  []Key // instead of a search
}

func (t *table) now() time.Time { return t.clock }

func (t *table) Step(_ context.Context, _ uint32, from, to Key, rows, count int) ([]Key, error) {
	if t.fail != nil {
		return nil, t.fail
	}
	if t.answer != nil {
		return t.answer, nil
	}
	at := 0
	if from != nil {
		at, _ = slices.BinarySearch(t.keys, number(from))
	}
	begin := at
	var bounds []Key
	for range count {
		at += rows
		if at >= len(t.keys) || t.keys[at] > number(to) {
			break
		}
		bounds = append(bounds, key(t.keys[at]))
	}
	d := time.Duration(min(at, len(t.keys))-begin) * t.perRow
	t.clock = t.clock.Add(d)
	t.longest = max(t.longest, d)
	t.steps++
	return bounds, nil
}

// bound is the frozen bound of the table now.
func (t *table) bound() Key {
	if len(t.keys) == 0 {
		return nil
	}
	return key(t.keys[len(t.keys)-1])
}

// plan cuts the whole table, with a planner of its own for each call if fresh is set, as after restarts.
func plan(t require.TestingT, tab *table, rows int, count func() int, fresh bool) []Range {
	p := NewPlanner(tab, rows, tab.now)
	var all []Range
	var from Key
	bound := tab.bound()
	for {
		if fresh {
			p = NewPlanner(tab, rows, tab.now)
		}
		rs, planned, err := p.Next(context.Background(), 7, len(all), from, bound, count())
		require.NoError(t, err)
		all = append(all, rs...)
		if planned {
			return all
		}
		require.NotEmpty(t, rs)
		from = all[len(all)-1].Hi
	}
}

func spansOf(rs []Range) []Span {
	var spans []Span
	for _, r := range rs {
		spans = append(spans, r.Span)
	}
	return spans
}

func (s Span) holds(n int) bool {
	return (s.Lo == nil || n >= number(s.Lo)) && (n < number(s.Hi) || s.HiClosed && n == number(s.Hi))
}

func drawTable(t *rapid.T) *table {
	keys := rapid.SliceOfNDistinct(rapid.IntRange(-5000, 5000), 0, 400, rapid.ID).Draw(t, "keys")
	slices.Sort(keys)
	return &table{keys: keys, perRow: time.Duration(rapid.IntRange(0, 50).Draw(t, "ms a row")) * time.Millisecond}
}

func TestPlanTilesTheKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := drawTable(t)
		rows := rapid.IntRange(1, 50).Draw(t, "rows")
		rs := plan(t, tab, rows, func() int { return rapid.IntRange(1, 20).Draw(t, "count") }, false)

		require.Empty(t, Gaps(spansOf(rs), tab.bound()))
		sizes := make([]int, len(rs))
		for _, n := range tab.keys {
			in := 0
			for i, r := range rs {
				if r.holds(n) {
					in++
					sizes[i]++
				}
			}
			require.Equal(t, 1, in, "key %d lies in %d ranges", n, in)
		}
		for i, r := range rs {
			require.Equal(t, i, r.Index)
			require.Equal(t, uint32(7), r.Relation)
			if i < len(rs)-1 {
				require.Equal(t, rows, sizes[i], "range %d of %d", i, len(rs))
			} else {
				require.LessOrEqual(t, sizes[i], rows)
				require.Positive(t, sizes[i])
			}
		}
	})
}

func TestPlanResumesAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := drawTable(t)
		rows := rapid.IntRange(1, 50).Draw(t, "rows")
		whole := plan(t, tab, rows, func() int { return 1000 }, false)
		pieces := plan(t, tab, rows, func() int { return rapid.IntRange(1, 3).Draw(t, "count") }, true)
		require.Equal(t, whole, pieces)
	})
}

func TestPlanOfAnEmptyRelation(t *testing.T) {
	rs, planned, err := NewPlanner(&table{}, 10, time.Now).Next(t.Context(), 7, 0, nil, nil, 10)
	require.NoError(t, err)
	require.True(t, planned)
	require.Empty(t, rs)
}

func TestPlanOfOneRow(t *testing.T) {
	tab := &table{keys: []int{42}}
	rs := plan(t, tab, 10, func() int { return 5 }, false)
	require.Equal(t, []Range{{Relation: 7, Span: Span{Hi: key(42), HiClosed: true}}}, rs)
}

func TestPlanIgnoresKeysBeyondTheBound(t *testing.T) {
	tab := &table{keys: []int{1, 2, 3, 4, 5, 6, 7, 8, 9}}
	rs, planned, err := NewPlanner(tab, 2, tab.now).Next(t.Context(), 7, 3, key(3), key(5), 1)
	require.NoError(t, err)
	require.False(t, planned)
	require.Equal(t, []Range{{Index: 3, Relation: 7, Span: Span{Lo: key(3), Hi: key(5)}}}, rs)

	rs, planned, err = NewPlanner(tab, 2, tab.now).Next(t.Context(), 7, 4, key(5), key(5), 1)
	require.NoError(t, err)
	require.True(t, planned)
	require.Equal(t, []Range{{Index: 4, Relation: 7, Span: Span{Lo: key(5), Hi: key(5), HiClosed: true}}}, rs)
}

func TestPlanKeepsStatementsShort(t *testing.T) {
	tab := &table{perRow: 1240 * time.Nanosecond}
	for i := range 2_000_000 {
		tab.keys = append(tab.keys, i)
	}
	rs := plan(t, tab, 10_000, func() int { return 10_000 }, false)
	require.Len(t, rs, 200)
	require.LessOrEqual(t, tab.longest, stepTarget+10_000*tab.perRow)
	require.Less(t, tab.steps, 25, "a step takes about its target, not one boundary")
}

func TestPlanAsksForLessAfterAnError(t *testing.T) {
	tab := &table{keys: make([]int, 0, 1000), fail: nil}
	for i := range 1000 {
		tab.keys = append(tab.keys, i)
	}
	p := NewPlanner(tab, 1, tab.now)
	rs, _, err := p.Next(t.Context(), 7, 0, nil, tab.bound(), 100)
	require.NoError(t, err)
	require.Len(t, rs, 1, "the first step is small")
	rs, _, err = p.Next(t.Context(), 7, 1, rs[0].Hi, tab.bound(), 100)
	require.NoError(t, err)
	require.Len(t, rs, 4)

	tab.fail = errors.New("statement timeout")
	_, _, err = p.Next(t.Context(), 7, 5, key(5), tab.bound(), 100)
	require.ErrorIs(t, err, tab.fail)
	require.ErrorContains(t, err, "find 16 boundaries of relation 7 from key 5")
	tab.fail = nil
	rs, _, err = p.Next(t.Context(), 7, 5, key(5), tab.bound(), 100)
	require.NoError(t, err)
	require.Len(t, rs, 8)
}

func TestPlanRefusesASearchThatStandsStill(t *testing.T) {
	for name, answer := range map[string][]Key{
		"same key":  {key(5)},
		"unbounded": {nil},
		"too many":  {key(6), key(7)},
	} {
		tab := &table{answer: answer}
		_, _, err := NewPlanner(tab, 1, tab.now).Next(t.Context(), 7, 0, key(5), key(9), 1)
		require.Error(t, err, name)
	}
}
