package statement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/ranges"
)

// Near finds the key of one row that is stored in one of so many blocks from a block on; no row where they hold none. It reads those
// blocks only, if the planner is kept from a sequential scan.
func (t Target) Near(block, blocks int64) SQL {
	return SQL{fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE %[3]s.ctid >= '(%[4]d,0)'::tid AND %[3]s.ctid < '(%[5]d,0)'::tid LIMIT 1",
		t.keyText(), t.from(), t.alias(), block, block+blocks), nil}
}

// Measured is the job's bare UPDATE over a span, run with the server's own account of time, rows and WAL. Run it only where it is
// rolled back.
func (t Target) Measured(s ranges.Span) SQL {
	u := t.Update(s)
	return SQL{"EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) " + u.Text, u.Args}
}

// Widths sums up how many bytes the columns that the job writes take in the rows of a span.
func (t Target) Widths(s ranges.Span) SQL {
	var p params
	return SQL{"SELECT coalesce(sum(" + t.width() + "), 0)::float8 FROM " + t.from() + " WHERE " + t.within(&p, s), p.args}
}

// width is how many bytes the columns that the job writes take in a row.
func (t Target) width() string {
	cols := slices.Sorted(maps.Keys(t.Set))
	for i, c := range cols {
		cols[i] = "coalesce(pg_column_size(" + t.alias() + "." + Quote(c) + "), 0)"
	}
	return strings.Join(cols, " + ")
}

// Look counts the keys of a span, and of those the rows that match `where` and the rows whose `check` is not true, as a proof does.
func (t Target) Look(s ranges.Span) SQL {
	var p params
	text := "SELECT count(*)"
	if t.Where != "" {
		text += ", count(*) FILTER (WHERE " + Paren(t.Where) + ")"
	}
	if t.Check != "" {
		text += ", count(*) FILTER (WHERE " + Paren(t.Check) + " IS NOT TRUE)"
	}
	return SQL{text + " FROM " + t.from() + " WHERE " + t.within(&p, s), p.args}
}
