package dualwrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/statement"
)

// columnTriggers are those of new columns in the old table: BEFORE triggers, which write nothing of their own, need no rights of the
// writer's but those to the functions that the expressions call, and cannot recurse.
//
// They fire on each INSERT, and on each UPDATE that changes what the new columns follow from or the new columns themselves, whichever
// statement or trigger changed it: UPDATE OF goes by the columns that a statement names, and would miss what another BEFORE trigger
// changes. An UPDATE of anything else costs one comparison, unless the row is not filled yet: then it is filled, so that each row version
// written under the trigger is right and the watch can tell it from what the backfill has still to do.
func (p Pair) columnTriggers(d Direction, in inspection) []trigger {
	f := function{table: p.Source, name: p.object("", ""), pins: pins(in)}
	update := trigger{table: p.Source, name: p.object("zz_", "_u"), timing: "BEFORE", events: []string{"UPDATE"},
		watched: watch(p.Source, in.forward.whole, in.forward.reads, p.kept(), names(p.New))}
	if d == Both {
		f.body = p.columnsBoth(in)
		update.watched = watch(p.Source, in.forward.whole || in.backward.whole, in.forward.reads, in.backward.reads, p.kept(), names(p.New))
	} else {
		f.body = p.columnsForward(update.watched, in)
		update.unfilled = names(p.New)
	}
	insert := trigger{table: p.Source, name: p.object("zz_", "_i"), timing: "BEFORE", events: []string{"INSERT"}, function: f}
	update.function = f
	return []trigger{insert, update}
}

// fill sets columns of a record of the table from the expressions over the row that is written. Expressions that Postgres would take for a
// generated column hold no subquery, so the columns that they read can stand as variables, and PL/pgSQL evaluates them without a query: that
// is half of the trigger's cost. The block is named after the table, for expressions that qualify their columns.
func (p Pair) fill(record string, cs []Column, side inspected) string {
	if !side.plain(p.Source.Name) {
		return fmt.Sprintf("SELECT %s\n        INTO %s\n        FROM (SELECT NEW.*) AS %s;",
			expressions(cs, bare), quoted(record+".", names(cs)), alias(p.Source))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<<%s>>\n    DECLARE\n", alias(p.Source))
	for _, name := range side.reads {
		c, _ := p.Source.Column(name)
		fmt.Fprintf(&b, "        %[1]s %[2]s := NEW.%[1]s;\n", statement.Quote(name), c.Declared)
	}
	b.WriteString("    BEGIN\n")
	for _, c := range cs {
		fmt.Fprintf(&b, "        %s.%s := %s;\n", record, statement.Quote(c.Name), statement.Paren(c.Expression))
	}
	b.WriteString("    END;")
	return b.String()
}

// plain reports whether the expressions can be evaluated over variables, without one that hides what PL/pgSQL itself names.
func (s inspected) plain(table string) bool {
	if !s.immutable || s.whole {
		return false
	}
	return !slices.ContainsFunc(append([]string{table}, s.reads...), func(name string) bool {
		name = strings.ToLower(name)
		return slices.Contains([]string{"new", "old", "found", "sqlstate", "sqlerrm"}, name) || strings.HasPrefix(name, "tg_") || strings.HasPrefix(name, "backfleet_")
	})
}

func (p Pair) columnsForward(watched []string, in inspection) string {
	return fmt.Sprintf(`
#variable_conflict use_column
BEGIN
    IF TG_OP = 'UPDATE' AND %s THEN
        -- Something else of a row was written that is not filled yet. A value that the expression does not take has been there before, and
        -- is the backfill's to set aside: this write must not fail for it.
        BEGIN
        %s
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
            RETURN NEW;
        END;
        RETURN NEW;
    END IF;
    %s
    RETURN NEW;
END `, same(row("NEW", watched), row("OLD", watched)), p.fill("NEW", p.New, in.forward), p.fill("NEW", p.New, in.forward))
}

// columnsBoth has the side win that the statement wrote; where it wrote both and they disagree, the new one, from which reads come. A pair
// is left as it is when either side says what the other one says by its own expression.
func (p Pair) columnsBoth(in inspection) string {
	created := make([]string, len(p.New))
	for i, c := range p.New {
		created[i] = "CAST(" + c.Default + " AS " + c.Type + ")"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `
#variable_conflict use_column
DECLARE
    backfleet_new_written boolean;
    backfleet_follows record := NEW;
BEGIN
    IF TG_OP = 'INSERT' THEN
        backfleet_new_written := %s;
    ELSE
        backfleet_new_written := %s;
    END IF;
`, differs(row("NEW", names(p.New)), record(created)), differs(row("NEW", names(p.New)), row("OLD", names(p.New))))
	if len(p.Old) > 0 {
		fmt.Fprintf(&b, `    %s
    IF %s THEN
        RETURN NEW; -- old says what new says
    END IF;
`, p.fill("backfleet_follows", p.Old, in.backward), same(row("NEW", names(p.Old)), row("backfleet_follows", names(p.Old))))
	}
	fmt.Fprintf(&b, `    %s
    IF %s THEN
        RETURN NEW; -- new says what old says
    END IF;
    IF NOT backfleet_new_written THEN
%s    END IF;
`, p.fill("backfleet_follows", p.New, in.forward), same(row("NEW", names(p.New)), row("backfleet_follows", names(p.New))), p.take(p.New))
	if len(p.Old) > 0 {
		fmt.Fprintf(&b, "    IF backfleet_new_written THEN\n%s    END IF;\n", p.take(p.Old))
	}
	b.WriteString("    RETURN NEW;\nEND ")
	return b.String()
}

// take sets columns of the row to what follows from the other side.
func (Pair) take(cs []Column) string {
	var b strings.Builder
	for _, c := range cs {
		fmt.Fprintf(&b, "        NEW.%[1]s := backfleet_follows.%[1]s;\n", statement.Quote(c.Name))
	}
	return b.String()
}
