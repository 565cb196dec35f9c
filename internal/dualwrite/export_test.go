package dualwrite

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/ranges"
)

// SQLOf is every statement of a migration, as the golden files hold it.
func SQLOf(ctx context.Context, tx pgx.Tx, spec migration.Spec, d Direction, searchPath string) (string, error) {
	p, in, err := read(ctx, tx, spec, searchPath)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	ts := p.plan(d, in)
	for _, f := range functions(ts) {
		b.WriteString(f.create(p.path()) + ";\n\n")
	}
	for _, t := range ts {
		b.WriteString(t.create() + ";\n\n")
	}
	span := ranges.Span{Lo: ranges.Key{"1"}, Hi: ranges.Key{"2"}}
	if len(p.Source.Key) == 2 {
		span = ranges.Span{Lo: ranges.Key{"1", "2"}, Hi: ranges.Key{"3", "4"}}
	}
	for _, s := range p.Sides() {
		b.WriteString("-- watch\n" + p.Compare(s, s.Table.Leaves[0], span, Judged{Direction: d, Since: 1<<32 + 7}, 1000).Text + ";\n\n")
	}
	return b.String(), nil
}

// BareColumn is bareColumn.
var BareColumn = bareColumn
