package preflight

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// rowsOf is how many rows a part of a plan returned.
type rowsOf struct {
	Role  string  `json:"Parent Relationship"`
	Rows  float64 `json:"Actual Rows"`
	Loops float64 `json:"Actual Loops"`
}

// rows is how many rows the plan's last part was given to write; the parts of a WITH come before.
func (m measured) rows() float64 {
	for _, p := range m.Plan.Plans {
		if p.Role == "Outer" {
			return p.Rows * p.Loops
		}
	}
	return m.Plan.Plans[0].Rows * m.Plan.Plans[0].Loops
}

// measured is what is read of EXPLAIN (ANALYZE, WAL) in JSON.
type measured struct {
	Plan struct {
		Images float64  `json:"WAL FPI"`
		Bytes  float64  `json:"WAL Bytes"`
		Plans  []rowsOf `json:"Plans"`
	} `json:"Plan"`
	Planning float64 `json:"Planning Time"`  // milliseconds
	Running  float64 `json:"Execution Time"` // milliseconds, triggers included
}

// look counts the keys of a span and the rows that match `where`, as a proof does.
func look(ctx context.Context, tx pgx.Tx, t statement.Target, span ranges.Span) (keys, open float64, err error) {
	sql := t.Look(span)
	err = queryRow(ctx, tx, sql.Text, sql.Args...).Scan(&keys, &open, nil)
	return keys, open, err
}
