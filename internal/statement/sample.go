package statement

import (
	"maps"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/ranges"
)

// Near finds the key of one row that is stored in one of so many blocks from a block on; no row where they hold none. It reads those
// blocks only, if the planner is kept from a sequential scan.
func (t Target) Near(block, blocks int64) SQL {
	var p params
	return SQL{"SELECT " + t.keyText() + " FROM " + t.from() + " WHERE " + t.blocks(&p, ranges.BlockSpan(block, block+blocks)) + " LIMIT 1", p.args}
}

// Measured is the job's bare UPDATE over a span, run with the server's own account of time, rows and WAL. Run it only where it is
// rolled back.
func (t Target) Measured(s ranges.Span) SQL {
	u := t.Update(s)
	return SQL{"EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) " + u.Text, u.Args}
}

// Tried is the job's work over a span with an account of it: it returns how many rows were written, how many of them still match `where`,
// and how many bytes their written columns take. Run it only where it is rolled back.
func (t Target) Tried(s ranges.Span) SQL {
	var p params
	return SQL{"WITH backfleet_tried AS (\n" + t.work(t.todo(t.within(&p, s))) + "\n RETURNING " + Paren(t.Where) + " AS open, " + t.width() +
		" AS bytes)\nSELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried", p.args}
}

// Widths sums up how many bytes the columns that the job writes take in the rows of a span.
func (t Target) Widths(s ranges.Span) SQL {
	var p params
	return SQL{t.widths(t.within(&p, s)), p.args}
}

// Open is [Target.Widths] of the rows of a span that match `where`.
func (t Target) Open(s ranges.Span) SQL {
	var p params
	return SQL{t.widths(t.todo(t.within(&p, s))), p.args}
}

func (t Target) widths(condition string) string {
	return "SELECT coalesce(sum(" + t.width() + "), 0)::float8 FROM " + t.from() + " WHERE " + condition
}

// width is how many bytes the columns that the job writes take in a row.
func (t Target) width() string {
	cols := slices.Sorted(maps.Keys(t.Set))
	for i, c := range cols {
		cols[i] = "coalesce(pg_column_size(" + t.alias() + "." + Quote(c) + "), 0)"
	}
	return strings.Join(cols, " + ")
}
