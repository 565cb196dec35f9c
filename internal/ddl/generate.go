package ddl

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// Wanted is what an expand is to add: columns of a table, or a table.
type Wanted struct {
	Table   Name
	Columns []Column // Type and Default are SQL, as they would stand in CREATE TABLE
	Key     []string // of a new table: its primary key. Empty: the table is there
}

// Generate returns the additive statements for what is wanted: each safe on a table of any size, repeatable, with every identifier quoted.
// A default that may differ from row to row becomes one for new rows only; the job fills the old ones. facts may be those of [Read], whose
// knowledge of functions counts; without them a function that is not known counts as volatile.
//
// It refuses, by [job.Refusals], what cannot be added safely, and a type or default that is not one.
func Generate(w Wanted, facts Facts) ([]Statement, error) {
	if len(w.Columns) == 0 {
		return nil, job.Refusals{{Field: "columns", Why: "names no column", Fix: "name at least one, with its type"}}
	}
	var refused job.Refusals
	var lines, elements []string
	for _, c := range w.Columns {
		later, refusal := c.readable(facts)
		if refusal == nil && len(w.Key) == 0 && c.NotNull && (c.Default == "" || later) {
			refusal = &job.Refusal{Field: "columns." + c.Name, Value: "not null", Why: "the rows that are there would be NULL",
				Fix: "leave it out until the backfill is done, or give it a default that is the same for all rows"}
		}
		if refusal != nil {
			refused = append(refused, *refusal)
			continue
		}
		elements = append(elements, c.definition(true))
		lines = append(lines, fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s", w.Table.quoted(), c.definition(!later)))
		if later {
			lines = append(lines, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s", w.Table.quoted(), pgx.Identifier{c.Name}.Sanitize(), c.Default))
		}
	}
	if err := refused.Err(); err != nil {
		return nil, err
	}
	if len(w.Key) > 0 {
		key := make([]string, len(w.Key))
		for i, k := range w.Key {
			key[i] = pgx.Identifier{k}.Sanitize()
		}
		elements = append(elements, "PRIMARY KEY ("+strings.Join(key, ", ")+")")
		lines = []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n\t%s\n)", w.Table.quoted(), strings.Join(elements, ",\n\t"))}
	}
	return Parse(strings.Join(lines, ";\n") + ";\n")
}

func (c Column) definition(withDefault bool) string {
	s := pgx.Identifier{c.Name}.Sanitize() + " " + c.Type
	if c.NotNull {
		s += " NOT NULL"
	}
	if withDefault && c.Default != "" {
		s += " DEFAULT " + c.Default
	}
	return s
}

// readable refuses a type or a default that would say more than that, and tells whether the default must come later.
func (c Column) readable(facts Facts) (later bool, refusal *job.Refusal) {
	field := "columns." + c.Name
	for _, part := range []struct{ name, value, definition string }{
		{"type", c.Type, Column{Name: c.Name, Type: c.Type}.definition(false)},
		{"default", c.Default, Column{Name: c.Name, Type: "text", Default: c.Default}.definition(true)},
	} {
		statements, err := Parse("ALTER TABLE t ADD COLUMN " + part.definition + "\n")
		var n *alterTable
		if err == nil && len(statements) == 1 {
			n, _ = statements[0].node.(*alterTable)
		}
		wants := 0
		if part.name == "default" && c.Default != "" {
			wants = 1
		}
		if n == nil || len(n.Commands) != 1 || n.Commands[0].Command.Def.Column == nil || len(n.Commands[0].Command.Def.Column.Constraints) != wants {
			return false, &job.Refusal{Field: field + "." + part.name, Value: part.value, Why: "is not a " + part.name + " and nothing else",
				Fix: `write it as in CREATE TABLE, such as "numeric(10,2)" or "now()"`}
		}
		d := n.Commands[0].Command.Def.Column
		for _, k := range d.Constraints {
			if k.Constraint.Type != "CONSTR_DEFAULT" {
				return false, &job.Refusal{Field: field + "." + part.name, Value: part.value, Why: "is not a default and nothing else", Fix: "leave the rest out"}
			}
			j := judge{facts: facts}
			later = j.volatile(k.Constraint.Expression) != ""
		}
		if part.name == "type" {
			for _, s := range serials {
				if d.Type.written() == s {
					return false, &job.Refusal{Field: field + ".type", Value: c.Type, Why: "numbers every row, which rewrites the table",
						Fix: "make it bigint, with a sequence as the default of new rows, and number the old ones by a job"}
				}
			}
		}
	}
	return later, nil
}
