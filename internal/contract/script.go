package contract

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// Back says how the rows of an undone drop get their values: by a backfill of the columns for which there is an expression of what remains.
type Back struct {
	Name     string            // of the job
	Database string            // by the name that specs call it
	Values   map[string]string // expression by dropped column
}

// Script makes again what a drop takes, made before it. It runs outside of a transaction, statement by statement, for indexes are built
// CONCURRENTLY. A column comes back as the last one. The rows' values are what Job brings back; what no expression tells is lost.
type Script struct {
	Target Target   `json:"target"`
	Add    []string `json:"add"`           // at once: the schema, without what would read the whole table
	Job    string   `json:"job,omitempty"` // the backfill, as a spec file; empty where nothing tells the values
	Finish []string `json:"finish"`        // afterwards: NOT NULL, indexes, constraints
	Lost   []string `json:"lost,omitempty"`
}

// String is the script as a file for psql, with the job's spec in its comments.
func (s Script) String() string {
	var b strings.Builder
	b.WriteString("-- Undoes the drop of " + oneLine(s.Target.String()) + ". Run it with psql -v ON_ERROR_STOP=1, not in one transaction.\n")
	b.WriteString("SET lock_timeout = '2s';\n\n-- 1. The schema. No statement reads the table; one that fails by lock_timeout can be run again.\n")
	for _, sql := range s.Add {
		b.WriteString(sql + ";\n")
	}
	if s.Job != "" {
		b.WriteString("\n-- 2. The values: save this as a file, take the comment marks off, and submit it. Go on when it is complete.\n")
		for line := range strings.Lines(s.Job) {
			b.WriteString("--   " + line)
		}
	}
	for _, l := range s.Lost {
		b.WriteString("\n-- Not undone: " + oneLine(l))
	}
	b.WriteString("\n-- 3. What needs the values.\n")
	for _, sql := range s.Finish {
		b.WriteString(sql + ";\n")
	}
	return b.String()
}

// UndoScript writes down how the target comes back. Make it before the drop, in the same transaction if it shall be exact. The error is a
// [job.Refusals] for a whole table that is partitioned or inherits: that is pg_dump's to write down.
func UndoScript(ctx context.Context, q Querier, t Target, back Back) (Script, error) {
	s := Script{Target: t}
	rs, err := t.find(ctx, q)
	if err != nil {
		return s, err
	}
	if t.whole() && (len(rs) > 1 || rs[0].kind != "r" || rs[0].parent != "") {
		return s, job.Refusals{{Field: "undo", Value: t.String(), Why: "is partitioned, or inherits, and such a table is not written down whole", Fix: "keep the output of pg_dump --schema-only of it and its partitions"}}
	}
	w := &scriptWriter{Script: &s, q: q, table: rs[0]}
	if err := w.path(ctx); err != nil {
		return s, err
	}
	if t.whole() {
		if err := w.relation(ctx); err != nil {
			return s, err
		}
	}
	columns := t.Columns
	if columns == nil {
		columns = []string{}
	}
	if err := w.columns(ctx, columns); err != nil {
		return s, err
	}
	_, pairs, numbers := t.arrays(rs)
	if err := w.objects(ctx, pairs, numbers); err != nil {
		return s, err
	}
	if t.whole() { // and its columns' own grants
		for _, c := range w.numbers {
			pairs, numbers = append(pairs, rs[0].oid), append(numbers, int32(c))
		}
	}
	granted, err := w.grants(ctx, pairs, numbers)
	if err != nil {
		return s, err
	}
	s.Add = append(s.Add, granted...)
	if granted, err = w.grants(ctx, w.sequences, make([]int32, len(w.sequences))); err != nil {
		return s, err
	}
	s.Finish = append(s.Finish, granted...)
	w.values(back)
	return s, nil
}

// scriptWriter collects the statements of one script.
type scriptWriter struct {
	*Script
	q       Querier
	table   relation
	numbers []int16  // of the columns
	attach  []string // partitions' indexes to their table's

	sequences []uint32 // that the columns own
}

func (w *scriptWriter) add(format string, args ...any) {
	w.Add = append(w.Add, fmt.Sprintf(format, args...))
}
func (w *scriptWriter) finish(format string, args ...any) {
	w.Finish = append(w.Finish, fmt.Sprintf(format, args...))
}

// path begins both parts with the search_path under which the catalog tells its definitions now: they name by it what they name.
func (w *scriptWriter) path(ctx context.Context) error {
	rows, err := w.q.Query(ctx, "SELECT current_setting('search_path')")
	if err != nil {
		return fmt.Errorf("read the search_path: %w", err)
	}
	path, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the search_path: %w", err)
	}
	for _, part := range []*[]string{&w.Add, &w.Finish} {
		*part = append(*part, "SELECT pg_catalog.set_config('search_path', "+literal(path)+", false)")
	}
	return nil
}

// relation begins a table, without its columns.
func (w *scriptWriter) relation(ctx context.Context) error {
	rows, err := w.q.Query(ctx, undoTableSQL, w.table.oid)
	if err != nil {
		return fmt.Errorf("read the catalog of %s: %w", w.table, err)
	}
	var owner, method, space, options, identity, comment, bound, parent string
	var unlogged, security, forced bool
	if _, err := pgx.ForEachRow(rows, []any{&owner, &unlogged, &method, &space, &options, &security, &forced, &identity, &comment, &bound, &parent}, func() error { return nil }); err != nil {
		return fmt.Errorf("read the catalog of %s: %w", w.table, err)
	}
	create := "CREATE TABLE "
	if unlogged {
		create = "CREATE UNLOGGED TABLE "
	}
	create += w.table.String() + " ()"
	if method != "" && method != "heap" {
		create += " USING " + quote(method)
	}
	if options != "" {
		create += " WITH (" + options + ")"
	}
	if space != "" {
		create += " TABLESPACE " + quote(space)
	}
	w.add("%s", create)
	w.add("ALTER TABLE %s OWNER TO %s", w.table, owner)
	if comment != "" {
		w.add("COMMENT ON TABLE %s IS %s", w.table, literal(comment))
	}
	if security {
		w.add("ALTER TABLE %s ENABLE ROW LEVEL SECURITY", w.table)
		w.Lost = append(w.Lost, "row level security is on again, but policies block a drop, so none was there to be written down")
	}
	if forced {
		w.add("ALTER TABLE %s FORCE ROW LEVEL SECURITY", w.table)
	}
	switch identity {
	case "n":
		w.add("ALTER TABLE %s REPLICA IDENTITY NOTHING", w.table)
	case "f":
		w.add("ALTER TABLE %s REPLICA IDENTITY FULL", w.table)
	}
	return nil
}

// column is one column as the catalog holds it.
type column struct {
	name                                    string
	number                                  int16
	kind, collation, storage, compression   string
	statistics                              int
	options                                 string
	notNull                                 bool
	generated, identity, value, comment     string
	notNullName                             string
	sequence, sequenceOptions, sequenceLast string
	sequenceUnlogged                        bool
	sequenceOID                             uint32
}

func (w *scriptWriter) columns(ctx context.Context, names []string) error {
	rows, err := w.q.Query(ctx, undoColumnsSQL, w.table.oid, names)
	if err != nil {
		return fmt.Errorf("read the columns of %s: %w", w.table, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		return c, row.Scan(&c.name, &c.number, &c.kind, &c.collation, &c.storage, &c.compression, &c.statistics, &c.options, &c.notNull, &c.generated, &c.identity,
			&c.value, &c.comment, &c.notNullName, &c.sequence, &c.sequenceOptions, &c.sequenceLast, &c.sequenceUnlogged, &c.sequenceOID)
	})
	if err != nil {
		return fmt.Errorf("read the columns of %s: %w", w.table, err)
	}
	for _, c := range all {
		w.numbers = append(w.numbers, c.number)
		if c.sequenceOID != 0 {
			w.sequences = append(w.sequences, c.sequenceOID)
		}
		w.column(c)
	}
	return nil
}

func (w *scriptWriter) column(c column) {
	alter := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s", w.table, quote(c.name))
	define := fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", w.table, quote(c.name), c.kind)
	if c.collation != "" {
		define += " COLLATE " + c.collation
	}
	switch c.generated {
	case "s":
		define += " GENERATED ALWAYS AS (" + c.value + ") STORED"
		w.Lost = append(w.Lost, "nothing, but adding "+c.name+" computes it in every row, under a lock that nobody passes")
	case "v":
		define += " GENERATED ALWAYS AS (" + c.value + ") VIRTUAL"
	}
	w.add("%s", define)
	if c.storage != "" {
		w.add("%s SET STORAGE %s", alter, c.storage)
	}
	if c.compression != "" {
		w.add("%s SET COMPRESSION %s", alter, c.compression)
	}
	if c.statistics >= 0 {
		w.add("%s SET STATISTICS %d", alter, c.statistics)
	}
	if c.options != "" {
		w.add("%s SET (%s)", alter, c.options)
	}
	if c.comment != "" {
		w.add("COMMENT ON COLUMN %s.%s IS %s", w.table, quote(c.name), literal(c.comment))
	}
	if c.notNull {
		w.notNull(c, alter)
	}
	switch {
	case c.identity != "":
		w.finish("%s ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s %s)", alter, c.identity, c.sequence, c.sequenceOptions)
	case c.sequence != "":
		create := "CREATE SEQUENCE"
		if c.sequenceUnlogged {
			create = "CREATE UNLOGGED SEQUENCE"
		}
		w.add("%s %s AS %s %s", create, c.sequence, sequenceType(c.kind), c.sequenceOptions)
		w.add("ALTER SEQUENCE %s OWNED BY %s.%s", c.sequence, w.table, quote(c.name))
	}
	if c.sequenceLast != "" {
		set := fmt.Sprintf("SELECT pg_catalog.setval(%s, %s)", literal(c.sequence), c.sequenceLast)
		if c.identity != "" {
			w.finish("%s", set)
		} else {
			w.add("%s", set)
		}
	}
	if c.value != "" && c.generated == "" { // after the column, so that no row is written
		w.add("%s SET DEFAULT %s", alter, c.value)
	}
}

// notNull is set after the values are there, without a scan under a lock that nobody passes.
func (w *scriptWriter) notNull(c column, alter string) {
	if c.notNullName != "" { // since version 18 of Postgres it is a constraint
		w.finish("ALTER TABLE %s ADD CONSTRAINT %s NOT NULL %s NOT VALID", w.table, quote(c.notNullName), quote(c.name))
		w.finish("ALTER TABLE %s VALIDATE CONSTRAINT %s", w.table, quote(c.notNullName))
		return
	}
	const proof = `"backfleet proves not null"`
	w.finish("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", w.table, proof, quote(c.name))
	w.finish("ALTER TABLE %s VALIDATE CONSTRAINT %s", w.table, proof)
	w.finish("%s SET NOT NULL", alter)
	w.finish("ALTER TABLE %s DROP CONSTRAINT %s", w.table, proof)
}

func sequenceType(kind string) string {
	if kind == "smallint" || kind == "integer" {
		return kind
	}
	return "bigint"
}

// grants are the statements that grant on columns and relations what was granted on them, each by the role that did.
func (w *scriptWriter) grants(ctx context.Context, pairs []uint32, numbers []int32) (all []string, err error) {
	rows, err := w.q.Query(ctx, undoGrantsSQL, pairs, numbers)
	if err != nil {
		return nil, fmt.Errorf("read the grants on %s: %w", w.Target, err)
	}
	var grant, grantor string
	if _, err := pgx.ForEachRow(rows, []any{&grant, &grantor}, func() error {
		if grantor == "" {
			all = append(all, grant)
		} else {
			all = append(all, "SET ROLE "+grantor, grant, "RESET ROLE")
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the grants on %s: %w", w.Target, err)
	}
	return all, nil
}

// values writes the job that fills the columns, and says of which nothing tells the values.
func (w *scriptWriter) values(back Back) {
	if w.Target.whole() {
		w.Lost = append(w.Lost, "the rows: restore them from a backup, or fill the table by a backfill of its own")
		return
	}
	set := map[string]string{}
	for _, c := range w.Target.Columns {
		if x := back.Values[c]; x != "" {
			set[c] = x
		} else {
			w.Lost = append(w.Lost, "the values of column "+quote(c)+": the migration has no `backward` expression for it; restore them from a backup")
		}
	}
	if len(set) == 0 {
		return
	}
	var conditions []string
	for _, c := range slices.Sorted(maps.Keys(set)) {
		x := set[c]
		if strings.Contains(x, "--") {
			x = "\n" + x + "\n"
		}
		conditions = append(conditions, "("+quote(c)+" IS NULL AND ("+x+") IS NOT NULL)")
	}
	spec := yaml.MapSlice{
		{Key: "name", Value: back.Name}, {Key: "database", Value: back.Database}, {Key: "table", Value: w.Target.relation()},
		{Key: "set", Value: set}, {Key: "where", Value: strings.Join(conditions, " OR ")},
	}
	if text, err := yaml.Marshal(spec); err == nil {
		w.Job = string(text)
	} else { // texts always marshal; should one not, nothing is hidden
		w.Lost = append(w.Lost, "the job's spec could not be written: "+err.Error())
	}
}

// literal is a text as SQL writes it.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
