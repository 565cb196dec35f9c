package phase

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/ddl"
	"github.com/backfleet/backfleet/internal/job"
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
	statements, facts, err := g.statements(ctx, m.Spec, text)
	if err != nil {
		return Expansion{}, err
	}
	return Expansion{statements, ddl.Check(statements, facts, ddl.Additive)}, nil
}

// statements are those of a text or, where it is empty, those that the migration's file asks for, with what the server knows of them.
func (g *Guard) statements(ctx context.Context, spec migration.Spec, text string) (statements []ddl.Statement, facts ddl.Facts, err error) {
	written := func() ([]ddl.Statement, error) { return ddl.Parse(text) }
	if text == "" {
		w, err := wanted(spec)
		if err != nil {
			return nil, facts, err
		}
		written = func() ([]ddl.Statement, error) { return ddl.Generate(w, facts) }
	}
	if statements, err = written(); err != nil {
		return nil, facts, explained(spec, err)
	}
	if facts, err = ddl.Read(ctx, g.Pool, statements); err != nil {
		return nil, facts, explained(spec, err)
	}
	if statements, err = written(); err != nil { // what is generated depends on what the server knows of the defaults
		return nil, facts, explained(spec, err)
	}
	return statements, facts, nil
}

// explained says of what migration an error is; a refusal stays one.
func explained(spec migration.Spec, err error) error {
	var syntax *ddl.SyntaxError
	if errors.As(err, &syntax) {
		return job.Refusals{{Where: fmt.Sprintf("ddl:%d", syntax.Line), Why: syntax.Error(), Fix: "write statements that PostgreSQL can read"}}
	}
	return fmt.Errorf("migration %s: expand: %w", spec.Name, err)
}

// wanted is the new schema.
func wanted(spec migration.Spec) (w ddl.Wanted, err error) {
	table := spec.Table
	if spec.NewTable() {
		table, w.Key = spec.To.Table, spec.To.Key
	}
	w.Table.Schema, w.Table.Name, err = job.SplitTable(table)
	for _, c := range spec.To.Columns {
		w.Columns = append(w.Columns, ddl.Column{Name: c.Name, Type: c.Type, Default: c.Default})
	}
	return w, err
}

// apply runs the statements, and tells what happens.
func (g *Guard) apply(ctx context.Context, statements []ddl.Statement) error {
	conn, err := g.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	options := ddl.Options{LockTimeout: g.LockTimeout, Patience: g.Patience, Application: "backfleet phase"}
	return ddl.Apply(ctx, conn.Conn(), statements, options, func(e ddl.Event) {
		switch e.Kind {
		case ddl.Applied:
			g.tell("applied in %s: %s", e.Took.Round(time.Millisecond), oneLine(e.Statement.SQL))
		case ddl.Already:
			g.tell("is there already: %s", oneLine(e.Statement.SQL))
		case ddl.Swept:
			g.tell("an invalid index of an earlier try was dropped, for: %s", oneLine(e.Statement.SQL))
		case ddl.Blocked:
			who := "another session"
			if len(e.Blockers) > 0 {
				who = e.Blockers[0].String()
			}
			g.tell("try %d was in the way of %s and lets the application pass; again in %s: %s", e.Attempt, who, e.Pause.Round(100*time.Millisecond), oneLine(e.Statement.SQL))
		}
	})
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

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
	s := step{action: "expand", gate: migration.GateExpand, may: func(m migration.Migration) error {
		if m.Facts.DualWrite != nil {
			return &WrongStepError{name, "expand", "both schemas are written already", "go on with: backfleet phase show " + name}
		}
		return nil
	}}
	if err := g.before(ctx, m, s, now); err != nil {
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
	s.do = func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
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
	}
	return g.take(ctx, name, s)
}
