package preflight

import (
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
)

// painter colours text for a terminal, or leaves it.
type painter bool

func (p painter) paint(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) bold(s string) string { return p.paint("1", s) }

// Render writes the plan for a person to read, with terminal colours if color is set.
func (p Plan) Render(w io.Writer, color bool) error {
	d := document{paint: painter(color)}
	d.line("%s %s", d.paint.bold("Backfleet will backfill "+p.Table.String()), "as job "+d.paint.bold(p.Spec.Name))
	d.line("in database %s (%s, PostgreSQL %s) as role %s. Nothing was changed.", p.Spec.Database, p.Server.Database, p.Server.Version, p.Server.Role)

	d.head("Table")
	d.fact("rows", "%s (%s)", grouped(p.Rows), p.RowsBy)
	if p.Matching != nil {
		d.fact("matching", "about %s match `where`, as the planner guesses", grouped(*p.Matching))
	}
	d.fact("size", "%s, indexes %s", bytesText(p.TableBytes), bytesText(p.IndexBytes))
	if p.Table.Partitioned {
		d.fact("partitions", "%d leaves, each walked by itself", len(p.Leaves))
	}
	d.fact("key", "%s", keyText(p))
	d.fact("ranges", "about %s of %s rows", grouped(p.Ranges), grouped(int64(p.Spec.RowsPerRange)))
	d.fact("index", "%s", orElse(p.Index, "not known: the table is empty"))

	if p.Statement != nil {
		d.effects(p)
	} else {
		d.columns(p)
	}
	d.fact("where", "%s", orElse(oneLine(p.Spec.Where), "none: every row once"))
	if p.Spec.Check != "" {
		d.fact("check", "%s", oneLine(p.Spec.Check))
	}
	d.fact("twice", "%s", choose(p.Idempotent, "doing a row again would change nothing", "doing a row again would change it: each row is done exactly once"))
	d.fact("new rows", "%s", newRows(p))

	d.head("Cost of a row")
	if p.Statement == nil {
		hot := "HOT: no index names a written column"
		if !p.HOT.Possible {
			hot = "not HOT, because of " + few(p.HOT.Blocking)
		}
		d.fact("updates", "%s; fillfactor %d", hot, p.HOT.Fillfactor)
	}
	d.fact("order", "%s", order(p))
	d.list("triggers", len(p.Triggers), func(i int) string {
		t := p.Triggers[i]
		return fmt.Sprintf("%s, %s, %s%s", t.Name, t.Timing, t.Function, choose(t.Aware, " (looks at backfleet.job)", ""))
	})
	d.list("foreign keys", len(p.ForeignKeys), func(i int) string {
		f := p.ForeignKeys[i]
		return fmt.Sprintf("%s of %s: %s", f.Name, f.From, f.Definition)
	})

	d.forecast(p)

	d.head("Server")
	d.list("replicas", len(p.Replicas), func(i int) string {
		r := p.Replicas[i]
		return fmt.Sprintf("%s, %s, %s, %.1f s and %s behind%s", r.Name, r.State, r.Sync, r.Lag, bytesText(r.Bytes), choose(r.Ignored, ", ignored", ""))
	})
	d.list("slots", len(p.Slots), func(i int) string {
		s := p.Slots[i]
		return fmt.Sprintf("%s, %s, %s, keeps %s", s.Name, s.Kind, choose(s.Active, "active", "inactive"), bytesText(s.Retained))
	})
	d.fact("connections", "%d of %d in use; the job may use %d", p.Connections.InUse, p.Connections.Max, p.Connections.Need)
	d.fact("transaction ids", "%s left, age %s", grouped(p.Transactions.Headroom), grouped(p.Transactions.Age))
	vacuumed := "never vacuumed"
	if p.Autovacuum.LastVacuum != nil {
		vacuumed = "vacuumed " + p.Autovacuum.LastVacuum.UTC().Format("2006-01-02 15:04 MST")
	}
	d.fact("autovacuum", "%s; %s, %s dead rows", choose(p.Autovacuum.On, "on", "off"), vacuumed, grouped(p.Autovacuum.Dead))

	if len(p.Warnings) > 0 {
		d.head("Warnings")
	}
	for _, f := range p.Warnings {
		mark := map[Severity]string{Danger: d.paint.paint("31;1", "!! danger "), Warning: d.paint.paint("33", "!  warning"), Note: d.paint.paint("2", "   note   ")}[f.Severity]
		d.line("  %s %s: %s", mark, d.paint.bold(f.Subject), f.Text)
		if f.Fix != "" {
			d.line("             %s", d.paint.paint("2", f.Fix))
		}
	}
	d.line("")
	d.line("%s", p.promise())
	takes := ""
	if p.Forecast != nil {
		takes = ", " + DurationText(p.Forecast.Duration)
	}
	writes := counted(int64(len(p.Columns)), "column")
	if p.Statement != nil {
		writes = counted(int64(len(p.Statement.Writes)), "table")
	}
	d.line("%s %s, %s to write%s, %s.", d.paint.bold("Plan:"), counted(p.Ranges, "range"), writes, takes,
		counted(int64(len(p.Warnings)), "finding"))
	_, err := io.WriteString(w, d.text.String())
	return err
}

// columns writes what the job sets.
func (d *document) columns(p Plan) {
	d.head("Columns")
	for _, c := range p.Columns {
		note := ""
		if c.Reads {
			note = d.paint.paint("33", "   reads a written column")
		}
		d.line("  %s %s %s = %s%s", d.paint.paint("33", "~"), c.Name, d.paint.paint("2", c.Type), oneLine(c.Expression), note)
	}
}

// effects writes what the job's statement does.
func (d *document) effects(p Plan) {
	d.head("Statement")
	for line := range strings.Lines(p.Spec.Statement) {
		d.line("  %s", strings.TrimRight(line, " \t\n"))
	}
	d.list("writes", len(p.Statement.Writes), func(i int) string {
		w := p.Statement.Writes[i]
		return fmt.Sprintf("%s, %s%s", w.Relation, w.Operation, choose(w.OnConflict != "", ", on conflict "+choose(w.OnConflict == "update", "do update", "do nothing"), ""))
	})
	d.list("reads", len(p.Statement.Reads), func(i int) string {
		r := p.Statement.Reads[i]
		return r.Relation + choose(r.Locked, ", its rows locked", ", its rows not locked")
	})
}

// document gathers the lines of a plan.
type document struct {
	text  strings.Builder
	paint painter
}

func (d *document) line(format string, args ...any) { fmt.Fprintf(&d.text, format+"\n", args...) }

func (d *document) head(s string) { d.line("\n%s", d.paint.bold(s)) }

func (d *document) fact(name, format string, args ...any) {
	d.line("    %-16s%s", name, fmt.Sprintf(format, args...))
}

// list writes one line an entry under one name, or "none".
func (d *document) list(name string, n int, entry func(int) string) {
	if n == 0 {
		d.fact(name, "none")
	}
	for i := range n {
		d.fact(choose(i == 0, name, ""), "%s", entry(i))
	}
}

func keyText(p Plan) string {
	parts := make([]string, len(p.Key))
	for i, k := range p.Key {
		parts[i] = k.Name + " " + k.Type + choose(k.Collation != "", " COLLATE "+k.Collation, "")
	}
	return strings.Join(parts, ", ") + choose(p.KeyIndex != "", " by "+p.KeyIndex, "")
}

func newRows(p Plan) string {
	switch {
	case p.Grows:
		return "get keys above the frozen bound: they are not this job's"
	case p.Spec.LateRows == "ignore":
		return "below the frozen bound are ignored, as late_rows says"
	}
	return "that match `where` are found by the verification, and repaired"
}

// order says in which order a batch takes its rows.
func order(p Plan) string {
	if p.blocks() {
		return "by block, as the rows lie in the table: " + p.Walk.Why + "; " + passes(p, "one pass")
	}
	return passes(p, "that of the key")
}

// passes says in how many passes a chunk is walked; plain is the word for one.
func passes(p Plan, plain string) string {
	switch asked := p.Spec.Batch.Passes; {
	case asked == "1", asked == "auto" && p.HOT.Passes == 1:
		return plain
	case asked == "auto":
		return fmt.Sprintf("%d passes over each chunk, so that most updates can be HOT; %s where few are", p.HOT.Passes, plain)
	default:
		return asked + " passes over each chunk, as batch.passes says"
	}
}

// Promise says in words what a job's "exactly once" covers.
const Promise = "Each row that its batch can see, and whose key does not change, is updated exactly once. Rows that come later belong to dual-write."

// StatementPromise is the same for a job with a statement.
const StatementPromise = "Each row that its batch can see, and whose key does not change, is given to the statement exactly once. Rows that come later belong to dual-write."

// BlockPromise is the same for a job in block order.
const BlockPromise = "Each row that matches `where` is updated exactly once, for it matches no longer; the whole table is looked at in one snapshot after that. Rows that come later belong to dual-write."

func (p Plan) promise() string {
	switch {
	case p.Statement != nil:
		return StatementPromise
	case p.blocks():
		return BlockPromise
	}
	return Promise
}

func choose(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func orElse(s, other string) string { return choose(s != "", s, other) }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func grouped(n int64) string { return humanize.Comma(n) }

func bytesText(n int64) string {
	if n < 0 {
		n = 0
	}
	return humanize.IBytes(uint64(n))
}

func counted(n int64, what string) string {
	return grouped(n) + " " + what + choose(n == 1, "", "s")
}
