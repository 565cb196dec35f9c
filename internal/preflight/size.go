package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

const (
	countable  = 200_000   // rows that are counted rather than guessed
	manyRows   = 1_000_000 // rows from which walking the whole key is felt
	indexedAt  = 10_000    // rows from which the planner should prefer the index by itself
	manyRanges = 1_000_000 // ranges beyond which the ledger itself becomes large
)

func explain(ctx context.Context, tx pgx.Tx, q statement.SQL) (node, error) {
	var text []byte
	if err := queryRow(ctx, tx, "EXPLAIN (VERBOSE, FORMAT JSON) "+q.Text, q.Args...).Scan(&text); err != nil {
		return node{}, err
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) == 0 {
		return node{}, fmt.Errorf("read the server's plan: %w", errors.Join(err, errors.New(string(text))))
	}
	return plans[0].Plan, nil
}

// size finds how many rows there are, by the planner or for a small table by counting, and so how many ranges.
func (c *check) size(ctx context.Context) error {
	p := &c.plan
	var analyzed bool
	if err := c.tx.QueryRow(ctx, `
		SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint, coalesce(sum(pg_indexes_size(oid)), 0)::bigint, coalesce(bool_and(reltuples >= 0), true)
		  FROM pg_class WHERE oid = ANY($1::oid[])`, c.oids()).Scan(&p.TableBytes, &p.IndexBytes, &analyzed); err != nil {
		return fmt.Errorf("read the size of %s: %w", c.table, err)
	}
	whole, err := c.guess(ctx, "")
	if err != nil {
		return err
	}
	p.Rows, p.RowsBy = whole, "estimated from reltuples and the present size"
	if !analyzed {
		p.RowsBy = "guessed from the size alone: never analyzed"
	}
	if p.Rows <= countable {
		err := c.probe(ctx, func(tx pgx.Tx) error {
			return queryRow(ctx, tx, "SELECT count(*) FROM "+c.from()).Scan(&p.Rows)
		})
		switch {
		case err == nil:
			p.RowsBy = "counted"
		case !tooSlow(err):
			return fmt.Errorf("count the rows of %s: %w", c.table, err)
		}
	}
	if p.RowsBy != "counted" && !analyzed {
		c.warn(Warning, "statistics", c.table.String()+" was never analyzed: row counts and the time left are guesses", "run ANALYZE "+c.table.String())
	}
	if c.spec.Where != "" {
		matching, err := c.guess(ctx, " WHERE "+statement.Paren(c.spec.Where))
		if err != nil {
			return err
		}
		matching = min(matching, p.Rows)
		p.Matching = &matching
		if p.Rows > manyRows && matching < p.Rows/100 {
			c.warn(Note, "where", "few rows match: every key of the table is walked all the same", "")
		}
	}
	per := int64(c.spec.RowsPerRange)
	p.Ranges = (p.Rows + per - 1) / per
	if n := int64(len(c.table.Leaves)); p.Rows > 0 && c.table.Partitioned && p.Ranges < n {
		p.Ranges = n
	}
	if p.Ranges > manyRanges {
		c.warn(Warning, "rows_per_range", fmt.Sprintf("%s ranges make the ledger itself large", grouped(p.Ranges)), "raise rows_per_range")
	}
	return nil
}

// guess asks the planner how many rows of the table match.
func (c *check) guess(ctx context.Context, where string) (int64, error) {
	var n node
	err := c.probe(ctx, func(tx pgx.Tx) (err error) {
		n, err = explain(ctx, tx, statement.SQL{Text: "SELECT 1 FROM " + c.from() + where})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("estimate the rows of %s: %w", c.table, err)
	}
	return int64(n.Rows), nil
}

// batchIndex explains a real batch and refuses one that no index serves.
func (c *check) batchIndex(ctx context.Context) error {
	for _, leaf := range c.table.Leaves {
		t := c.target
		t.Schema, t.Name = leaf.Schema, leaf.Name
		span, err := c.someSpan(ctx, t)
		if tooSlow(err) {
			c.warn(Warning, "index", "no batch of "+leaf.String()+" could be explained: finding one took too long", "run VACUUM "+leaf.String())
			return nil
		}
		if err != nil {
			return fmt.Errorf("find a batch of %s: %w", leaf, err)
		}
		if span.Lo.Unbounded() {
			continue // empty: nothing to explain here
		}
		return c.explainBatch(ctx, t, span)
	}
	return nil
}

// someSpan is a stretch of at most a small batch at the start of a relation; its Lo is unbounded where the relation is empty.
func (c *check) someSpan(ctx context.Context, t statement.Target) (ranges.Span, error) {
	var span ranges.Span
	err := c.probe(ctx, func(tx pgx.Tx) error {
		first := t.FirstKey(ranges.Span{}, ranges.Pass{})
		var lo, hi []string
		if err := queryRow(ctx, tx, first.Text, first.Args...).Scan(&lo); err != nil {
			return err
		}
		span.Lo = lo
		next := t.Boundary(ranges.Span{Lo: lo}, ranges.Pass{}, 100)
		if err := queryRow(ctx, tx, next.Text, next.Args...).Scan(&hi); err == nil {
			span.Hi = hi
			return nil
		} else if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		span.Hi, span.HiClosed = lo, true
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ranges.Span{}, nil
	}
	return span, err
}

func (c *check) explainBatch(ctx context.Context, t statement.Target, span ranges.Span) error {
	index := node.conditioned
	if t.Form != nil { // another table's index serves no range
		index = func(n node) string { return n.enters(t, false) }
	}
	var free, forced node
	err := c.probe(ctx, func(tx pgx.Tx) (err error) {
		if free, err = explain(ctx, tx, t.Update(span)); err != nil || index(free) != "" {
			return err
		}
		if _, err = tx.Exec(ctx, "SET LOCAL enable_seqscan = off"); err != nil {
			return err
		}
		forced, err = explain(ctx, tx, t.Update(span))
		return err
	})
	if pe := sqlError(err); pe != nil && !tooSlow(err) {
		c.refuse("table", t.Schema+"."+t.Name, "Postgres refuses "+choose(t.Form == nil, "an UPDATE", "a batch")+" of it: "+pe.Message, pe.Hint)
		return nil
	}
	if err != nil {
		return fmt.Errorf("explain a batch of %s: %w", t.Relation(), err)
	}
	if t.Form != nil {
		if err := c.wholeReads(ctx, t, free); err != nil {
			return err
		}
	}
	switch {
	case index(free) != "":
		c.plan.Index = index(free)
	case index(forced) == "":
		c.refuse("key", "", "no index serves a batch of "+t.Relation()+" by its key", "look at EXPLAIN "+oneBatch(t, span))
	default:
		c.plan.Index = index(forced)
		if c.plan.Rows > indexedAt {
			c.warn(Warning, "index", "the planner prefers a sequential scan to index "+c.plan.Index+" for a batch of "+t.Relation(),
				"run ANALYZE "+t.Relation()+", and look at random_page_cost")
		}
	}
	return nil
}

// wholeReads warns of other tables that each batch of a statement would read from their beginning to their end.
func (c *check) wholeReads(ctx context.Context, t statement.Target, n node) error {
	var large []string
	for _, other := range n.scanned() {
		if other == t.Relation() {
			continue
		}
		var rows float64
		if err := c.tx.QueryRow(ctx, "SELECT coalesce((SELECT reltuples FROM pg_class WHERE oid = to_regclass($1)), 0)", other).Scan(&rows); err != nil {
			return fmt.Errorf("read the size of %s: %w", other, err)
		}
		if rows >= indexedAt && !slices.Contains(large, other) {
			large = append(large, other)
		}
	}
	if len(large) > 0 {
		c.warn(Warning, "index", "each batch reads the whole of "+few(large)+", as the planner has it", "make sure that an index serves the join; look at EXPLAIN "+oneLine(oneBatch(t, ranges.Span{})))
	}
	return nil
}

func oneBatch(t statement.Target, span ranges.Span) string { return t.Update(span).Text }
