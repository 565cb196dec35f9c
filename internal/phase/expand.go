package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/ddl"
	"github.com/backfleet/backfleet/internal/migration"
)

// Expansion is the DDL of the first phase with what was found of it.
type Expansion struct {
	Statements []ddl.Statement `json:"statements"`
	Findings   []ddl.Finding   `json:"findings"`
}

// Refused reports whether a statement must not run.
func (e Expansion) Refused() bool {
	for _, f := range e.Findings {
		if f.Verdict == ddl.Refuse {
			return true
		}
	}
	return false
}

// CheckExpand parses and judges the DDL that adds the new schema: text, or what the migration's file asks for where it is empty. It changes
// nothing.
func (g *Guard) CheckExpand(ctx context.Context, name, text string) (Expansion, error) {
	m, err := g.Store.Migration(ctx, name)
	if err != nil {
		return Expansion{}, err
	}
	if text == "" {
		if text, err = generate(m.Spec); err != nil {
			return Expansion{}, err
		}
	}
	statements, err := ddl.Parse(text)
	if err != nil {
		return Expansion{}, fmt.Errorf("migration %s: expand: %w", name, err)
	}
	facts, err := ddl.Read(ctx, g.Pool, statements)
	if err != nil {
		return Expansion{}, fmt.Errorf("migration %s: expand: %w", name, err)
	}
	return Expansion{statements, ddl.Check(statements, facts, ddl.Additive)}, nil
}

// Expand applies the DDL that adds the new schema, statement by statement, each with a lock_timeout and tried again. What an earlier try left
// behind is found and gone on with.
func (g *Guard) Expand(ctx context.Context, name, text string) (migration.Migration, error) {
	m, err := g.Store.Migration(ctx, name)
	if err != nil {
		return m, err
	}
	now, err := g.now(ctx)
	if err != nil {
		return m, err
	}
	if m.Facts.DualWrite != nil {
		return m, &WrongStepError{name, "expand", "both schemas are written already", "go on with: backfleet phase show " + name}
	}
	if err := g.judge(ctx, m, migration.GateExpand, 0, now); err != nil {
		return m, err
	}
	found, err := g.CheckExpand(ctx, name, text)
	if err != nil {
		return m, err
	}
	if found.Refused() {
		return m, &WrongStepError{name, "expand", "its DDL is refused", "see why: backfleet phase expand " + name + " --dry-run"}
	}
	if err := g.apply(ctx, found.Statements); err != nil {
		return m, fmt.Errorf("migration %s: expand: %w", name, err)
	}
	return g.take(ctx, name, step{action: "expand", gate: migration.GateExpand, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if m.Facts.Expanded != nil {
			return nil, nil
		}
		missing, err := g.missing(ctx, m.Spec)
		if err != nil {
			return nil, err
		}
		if len(missing) > 0 {
			return nil, &WrongStepError{name, "expand", "the DDL ran, but the new schema is not there: " + missing[0], "add it to the DDL"}
		}
		sql := make([]string, len(found.Statements))
		for i, s := range found.Statements {
			sql[i] = s.SQL
		}
		facts.Expanded = &now
		return map[string]any{"statements": sql}, nil
	}})
}
