package preflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/sqltext"
)

// blockRows is the size from which `auto` walks a table by block: a smaller one is done before its order is felt.
const blockRows = 100_000

// Walk is in which order a job walks its table, and why.
type Walk struct {
	Order       job.Order `json:"order"`                 // key or block
	Why         string    `json:"why,omitempty"`         // where it is not the usual one
	Correlation *float64  `json:"correlation,omitempty"` // of the rows' order with that of the key's first column, 0..1; nil: no statistics
}

// walk decides in which order the table is walked. Block order is for rows that lie in another order than their keys, where a batch in the
// key's order touches a page or more a row. It is allowed only where a row that is done cannot be done again when it is met at its new place:
// where the `set` makes the `where` false, and nothing else than the row's own columns makes it true again.
func (c *check) walk(ctx context.Context) error {
	w := &c.plan.Walk
	w.Order = job.OrderKey
	asked := c.spec.Order == job.OrderBlock
	if c.spec.Order == job.OrderKey || c.spec.Where == "" || c.spec.Statement != "" {
		return nil
	}
	correlation, other, err := c.lie(ctx)
	if err != nil {
		return err
	}
	w.Correlation = correlation
	barred, err := c.barred(ctx)
	if err != nil {
		return err
	}
	if other != "" {
		barred = "table access method " + other + " of a relation is not heap"
	}
	random := correlation != nil && *correlation < leastCorrelation || correlation == nil && c.table.Key[0].Type == "uuid"
	pays := random && c.plan.Rows >= blockRows
	switch {
	case asked && barred != "":
		c.refuse("order", string(job.OrderBlock), "is not possible: "+barred, "write key, or leave it out")
		return nil
	case asked:
		w.Why = "as `order` says"
	case !pays:
		return nil
	case barred != "":
		c.warn(Note, "order", "rows lie in another order than their keys, so that each batch touches a page a row; they cannot be walked by block: "+barred, "")
		return nil
	case !c.falsified:
		c.warn(Note, "order", "rows lie in another order than their keys, so that each batch touches a page a row; they are not walked by block, "+
			"because it was not shown that `set` makes `where` false", "if it does, write order: block")
		return nil
	case correlation == nil:
		w.Why = "its keys are random"
	default:
		w.Why = fmt.Sprintf("its rows lie in another order than their keys (correlation %.2f)", *correlation)
	}
	c.byBlock()
	return nil
}

// byBlock takes block order. The updates of a random key write to a random page of the key's index, unless they are HOT: so passes pay
// with the key's index alone.
func (c *check) byBlock() {
	c.plan.Walk.Order = job.OrderBlock
	c.plan.HOT.Passes = 1
	if c.plan.HOT.Possible {
		c.plan.HOT.Passes = blockPasses
	}
}

// lie reads how well the order of the rows follows that of the key's first column, and the access method of a relation that is no heap.
func (c *check) lie(ctx context.Context) (correlation *float64, other string, err error) {
	err = c.scanAll(ctx, "the order of the rows", `
		SELECT avg(abs(s.correlation))::float8, coalesce(max(m.amname::text) FILTER (WHERE m.amname <> 'heap'), '')
		  FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace JOIN pg_am m ON m.oid = r.relam
		  LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = r.relname AND s.attname = $2 AND NOT s.inherited
		 WHERE r.oid = ANY($1::oid[])`, []any{c.oids(), c.table.Key[0].Name}, []any{&correlation, &other}, func() {})
	return correlation, other, err
}

// barred says why a row that is done might match `where` again by itself.
func (c *check) barred(ctx context.Context) (why string, err error) {
	tokens, _ := sqltext.Scan(c.spec.Where)
	if hasSubquery(tokens) {
		return "`where` holds a subquery, so a row that is done may match it again", nil
	}
	found, err := c.volatile(ctx, tokens)
	if err != nil || len(found) == 0 {
		return "", err
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.Name + "()"
	}
	return "`where` calls " + strings.Join(names, ", ") + ", so a row that is done may match it again", nil
}

// unproved takes block order back where rows still matched `where` after the sample batches had set them, or refuses a job that asks for it.
func (p *Plan) unproved(open, rows int64) error {
	text := fmt.Sprintf("%s of %s rows of the sample batches matched `where` still after `set`", grouped(open), grouped(rows))
	if p.Spec.Order == job.OrderBlock {
		return Refusals{{Field: "order", Value: string(job.OrderBlock), Why: "is not possible: " + text + ", and would be done again at their new place",
			Fix: "write a where that `set` makes false, or order: key"}}
	}
	p.Walk.Order, p.Walk.Why = job.OrderKey, ""
	p.warn(Warning, "order", text+", so the table is walked in the order of its key; as long as they do, the residual cannot reach zero",
		"write a where that `set` makes false")
	return nil
}
