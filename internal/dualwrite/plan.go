package dualwrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/statement"
)

// function is a trigger function. It stands in its table's schema: what drops the ledger must not end dual-write in silence.
type function struct {
	table   catalog.Table
	name    string
	body    string
	definer bool     // it runs with its owner's rights
	pins    []string // the settings that it states for itself, besides search_path
}

// trigger is one trigger, by rows and enabled always.
type trigger struct {
	table    catalog.Table
	name     string
	timing   string // BEFORE or AFTER
	events   []string
	watched  []string // an update that changes none of these columns does not fire it; empty: each update does
	unfilled []string // unless one of these is null
	function function
}

// inspection is what the server says of the expressions.
type inspection struct{ forward, backward inspected }

// inspected is what it says of those of one direction.
type inspected struct {
	reads     []string // columns of the table that they name
	whole     bool     // any of its columns may change what they say
	immutable bool     // no setting of a session changes what they say
	uses      []used
}

// used is a function or table that an expression needs.
type used struct {
	Kind     string
	OID      uint32
	Name     string
	Schema   uint32
	InSchema string
}

// formats are the settings that change how a value reads as text and how text reads as a value. Batches and the watch run under these, so
// an expression that depends on them must do so here.
var formats = []string{"DateStyle = 'ISO, MDY'", "TimeZone = 'UTC'", "IntervalStyle = 'postgres'", "extra_float_digits = '1'"}

// maxName is Postgres' limit of an identifier in bytes.
const maxName = 63

// object is the name of what belongs to the migration. BEFORE triggers fire in the order of their names: "zz_" has ours see what others
// made of the row. An AFTER trigger reads the row as it is by then, so its place matters only before the checks of foreign keys
// ("RI_..."), which it must precede where the new table refers to the old one.
func (p Pair) object(prefix, suffix string) string {
	room := maxName - len(prefix) - len("backfleet_dw_") - len(suffix)
	return prefix + "backfleet_dw_" + p.Name[:min(len(p.Name), room)] + suffix
}

// plan is everything that dual-write consists of.
func (p Pair) plan(d Direction, in inspection) []trigger {
	ts := p.columnTriggers
	if p.Target != nil {
		ts = p.tableTriggers
	}
	all := ts(d, in)
	for i := range all {
		all[i].function.body = headerOf(d, in).line() + all[i].function.body
	}
	return all
}

// functions lists the functions of triggers, each once.
func functions(ts []trigger) (fs []function) {
	for _, t := range ts {
		if !slices.ContainsFunc(fs, func(f function) bool { return f.name == t.function.name }) {
			fs = append(fs, t.function)
		}
	}
	return fs
}

// String is the function's qualified name.
func (f function) String() string { return inSchema(f.table, f.name) }

// config is the function's settings as the catalog lists them, each to be written with SET.
func (f function) config(searchPath string) []string {
	return append([]string{"search_path = " + searchPath}, f.pins...)
}

// create is the statement that makes the function, or replaces it.
func (f function) create(searchPath string) string {
	tag := "$backfleet$"
	for n := 1; strings.Contains(f.body, tag); n++ {
		tag = fmt.Sprintf("$backfleet%d$", n)
	}
	security := "INVOKER"
	if f.definer {
		security = "DEFINER"
	}
	return fmt.Sprintf("CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY %s\n    SET %s\nAS %s%s%s",
		f, security, strings.Join(f.config(searchPath), "\n    SET "), tag, f.body, tag)
}

// create is the statement that makes the trigger, or replaces it.
func (t trigger) create() string {
	when := ""
	if len(t.watched) > 0 {
		when = "\n    WHEN (" + differs(row("NEW", t.watched), row("OLD", t.watched))
		for _, c := range t.unfilled {
			when += " OR NEW." + statement.Quote(c) + " IS NULL"
		}
		when += ")"
	}
	return fmt.Sprintf("CREATE OR REPLACE TRIGGER %s %s %s ON %s FOR EACH ROW%s\n    EXECUTE FUNCTION %s()",
		statement.Quote(t.name), t.timing, strings.Join(t.events, " OR "), t.table, when, t.function)
}

// always has the trigger fire in sessions too that apply what another server has sent.
func always(table pgx.Identifier, name string) string {
	return "ALTER TABLE " + table.Sanitize() + " ENABLE ALWAYS TRIGGER " + statement.Quote(name)
}

// watch is the columns of a table that are in any of the lists, or all where whole, in the table's order, for a trigger to watch. Generated
// ones change with those that they are generated from.
func watch(t catalog.Table, whole bool, lists ...[]string) (all []string) {
	for _, c := range t.Columns {
		if !c.Generated && (whole || slices.ContainsFunc(lists, func(l []string) bool { return slices.Contains(l, c.Name) })) {
			all = append(all, c.Name)
		}
	}
	return all
}

func (p Pair) kept() []string {
	all := make([]string, len(p.Kept))
	for i, c := range p.Kept {
		all[i] = c.Name
	}
	return all
}

// pins are what the functions must state for themselves.
func pins(in inspection) []string {
	if in.forward.immutable {
		return nil
	}
	return formats
}
