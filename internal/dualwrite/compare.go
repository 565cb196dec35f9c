package dualwrite

import (
	"fmt"
	"strings"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// Kind is how a row diverges.
type Kind string

// The kinds of divergence.
const (
	Missing   Kind = "missing"   // a new column is null and its expression is not, or the new row is not there
	Differing Kind = "differing" // new says something else than old
	Orphan    Kind = "orphan"    // a new row without an old one
	Failing   Kind = "failing"   // the expression fails for the row, so it cannot be compared
)

// Judged says which rows that are missing are none of dual-write's: those that the backfill has still to do.
type Judged struct {
	Direction Direction
	Filled    bool // the backfill has ended: none
	// Since is the id of the transaction that installed the trigger: a row version of an earlier one waits for the backfill. 0: there is no
	// such point, and every missing row does.
	Since uint64
}

// Side is one table that the watch walks, and how.
type Side struct {
	Table   catalog.Table
	Orphans bool // the new table, for rows that no old one belongs to
}

// Sides are the tables to walk, in their order.
func (p Pair) Sides() []Side {
	if p.Target == nil {
		return []Side{{p.Source, false}}
	}
	return []Side{{p.Source, false}, {*p.Target, true}}
}

// Step finds the end of the next step of a walk; see [statement.Target.Boundary].
func (s Side) Step(leaf catalog.Leaf, span ranges.Span, keys int) statement.SQL {
	return s.target(leaf).Boundary(span, ranges.Pass{K: 1}, keys)
}

func (s Side) target(leaf catalog.Leaf) statement.Target {
	return statement.Target{Schema: leaf.Schema, Name: leaf.Name, Alias: s.Table.Name, Key: s.Table.Key}
}

// Compare counts the rows of a span of a leaf and lists up to most of those that diverge. It returns one row: keys walked, rows that wait
// for the backfill, missing, differing, and arrays of the diverging rows' keys (as JSON), kinds and transactions.
//
// A pair agrees where new says what forward says, each column cast to its type, or, once both sides are written, where old says what
// backward says. Types without an equality are compared as text.
func (p Pair) Compare(s Side, leaf catalog.Leaf, span ranges.Span, j Judged, most int) statement.SQL {
	t := s.target(leaf)
	where := t.Within(span)
	kind, from := p.judge(s, t)
	old := "true"
	switch {
	case j.Filled:
		old = "false"
	case j.Since != 0:
		// Ids wrap around: a row's is newer where it lies within half of their circle after the trigger's.
		old = fmt.Sprintf("(x < 3 OR (x - %d + 4294967296) %% 4294967296 >= 2147483648)", j.Since%(1<<32))
	}
	if p.Target != nil && !j.Filled {
		old = "true" // an update of anything else makes a new version of an old row, and the trigger of a new table lets it pass
	}
	return statement.SQL{Text: fmt.Sprintf(`WITH backfleet_w AS MATERIALIZED (
 SELECT %[1]s AS k, %[2]s AS s, %[3]s.xmin::text::bigint AS x
   FROM %[4]s
  WHERE %[5]s),
backfleet_d AS (SELECT k, s, x FROM backfleet_w WHERE s = 'differing' OR s = 'orphan' OR s = 'missing' AND NOT %[6]s LIMIT %[7]d)
SELECT count(*), count(*) FILTER (WHERE s = 'missing' AND %[6]s), count(*) FILTER (WHERE s = 'missing' AND NOT %[6]s),
       count(*) FILTER (WHERE s = 'differing'), count(*) FILTER (WHERE s = 'orphan'),
       ARRAY(SELECT pg_catalog.to_json(k)::text FROM backfleet_d), ARRAY(SELECT s FROM backfleet_d), ARRAY(SELECT x FROM backfleet_d)
  FROM backfleet_w`, t.KeyText(), kind(j.Direction), alias(s.Table), from, where.Text, old, most), Args: where.Args}
}

// judge is what names a row's kind, and what it is read from.
func (p Pair) judge(s Side, t statement.Target) (kind func(Direction) string, from string) {
	me := alias(s.Table)
	if s.Orphans {
		key, _ := p.keyed()
		return func(Direction) string {
			return fmt.Sprintf("CASE WHEN EXISTS (SELECT FROM %s AS backfleet_s WHERE %s) THEN '' ELSE 'orphan' END", p.Source, equal("backfleet_s", p.Link, me, key))
		}, t.From()
	}
	from = t.From()
	have, absent := me, ""
	var null []string
	switch {
	case p.Target == nil && len(p.Old) > 0:
		from += "\n  CROSS JOIN LATERAL (SELECT " + p.preceding() + " OFFSET 0) AS backfleet_n"
	case p.Target != nil:
		key, _ := p.keyed()
		have, absent = "backfleet_n", "backfleet_n.backfleet_there IS NULL"
		list := quoted(alias(*p.Target)+".", names(p.New))
		if len(p.Old) > 0 {
			list += ", " + p.preceding()
		}
		from += fmt.Sprintf("\n  LEFT JOIN LATERAL (SELECT true AS backfleet_there, %s FROM %s AS %s WHERE %s OFFSET 0) AS backfleet_n ON true",
			list, p.Target, alias(*p.Target), equal(alias(*p.Target), key, me, p.Link))
	}
	from += "\n  CROSS JOIN LATERAL (SELECT " + expressions(p.New, cast) + " OFFSET 0) AS backfleet_f"
	var agree []string
	for _, c := range p.New {
		name := statement.Quote(c.Name)
		a, b := have+"."+name, "backfleet_f."+name
		if p.Target == nil {
			null = append(null, a+" IS NULL AND "+b+" IS NOT NULL")
		}
		agree = append(agree, c.same(a, b))
	}
	if absent == "" {
		absent = strings.Join(null, " OR ")
	}
	back := p.backward(me)
	return func(d Direction) string {
		ok := strings.Join(agree, " AND ")
		if d == Both && back != "" {
			ok = "(" + ok + ") OR (" + back + ")"
		}
		if p.Target == nil {
			return fmt.Sprintf("CASE WHEN %s THEN '' WHEN %s THEN 'missing' ELSE 'differing' END", ok, absent)
		}
		return fmt.Sprintf("CASE WHEN %s THEN 'missing' WHEN %s THEN '' ELSE 'differing' END", absent, ok)
	}, from
}

// preceding is what backward says, under names that no column of a table has.
func (p Pair) preceding() string {
	all := make([]string, len(p.Old))
	for i, c := range p.Old {
		all[i] = fmt.Sprintf("CAST(%s AS %s) AS backfleet_%d", statement.Paren(c.Expression), c.Type, i)
	}
	return strings.Join(all, ", ")
}

// backward is the condition that old says what backward says; empty where there is no backward.
func (p Pair) backward(me string) string {
	all := make([]string, len(p.Old))
	for i, c := range p.Old {
		all[i] = c.same(me+"."+statement.Quote(c.Name), fmt.Sprintf("backfleet_n.backfleet_%d", i))
	}
	return strings.Join(all, " AND ")
}

// same is the condition that two values of the column's type are equal.
func (c Column) same(a, b string) string {
	if c.unequal {
		a, b = a+"::text", b+"::text"
	}
	return a + " IS NOT DISTINCT FROM " + b
}
