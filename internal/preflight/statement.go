package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/backfleet/backfleet/internal/sqltext"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// mergeFrom is the first server_version_num that knows MERGE.
const mergeFrom = 150000

// Effects is what a job's statement does, as the server understands it.
type Effects struct {
	Kind   string  `json:"kind"` // insert, update, delete or merge
	Writes []Write `json:"writes"`
	Reads  []Read  `json:"reads"` // tables that it reads and does not write, with the job's own
	Locks  bool    `json:"locks"` // the rows that it reads of the job's table cannot change before it commits
}

// Write is one thing that a statement does to one table.
type Write struct {
	Relation   string `json:"relation"` // quoted
	Operation  string `json:"operation"`
	OnConflict string `json:"on_conflict,omitempty"` // nothing or update

	schema, name, alias string
}

// Read is a table that a statement reads.
type Read struct {
	Relation string `json:"relation"` // quoted
	Locked   bool   `json:"locked"`   // by a locking clause that keeps its rows from being changed
}

// statement prepares the job's statement as a batch will have it, and asks the server what it does: its parser's table locks tell what
// is read and locked, its plan what is written. Nothing runs.
func (c *check) statement(ctx context.Context) error {
	if c.target.Form == nil || len(c.refused) > 0 {
		return nil
	}
	c.plan.Columns = []Written{}
	t := c.firstLeaf()
	if sound, err := c.prepared(ctx, t); err != nil || !sound {
		return err
	}
	locks, err := c.locks(ctx, t)
	if err != nil || len(c.refused) > 0 {
		return err
	}
	var n, none node // none: of a batch without rows
	err = c.probe(ctx, func(tx pgx.Tx) (err error) {
		if n, err = explain(ctx, tx, t.Update(ranges.Span{})); err == nil {
			none, err = explain(ctx, tx, t.Bare("false"))
		}
		return err
	})
	if pe := sqlError(err); pe != nil && !tooSlow(err) {
		fix := pe.Hint
		if pe.Code == "42501" {
			fix = "grant that to role " + c.plan.Server.Role + "; `plan` shows what is written and read once it may"
		}
		c.refuse("statement", "", "cannot run: "+pe.Message, fix)
		return nil
	}
	if err != nil {
		return fmt.Errorf("explain the statement: %w", err)
	}
	if n.Type != "ModifyTable" {
		c.refuse("statement", "", "returns rows and writes nothing by its last part", "let it end in an INSERT, UPDATE, DELETE or MERGE: that one's rows are counted")
		return nil
	}
	if !none.barren() {
		c.refuse("statement", "", "may write rows also where {{range}} is false, so a batch would do more than its own rows",
			"join {{range}} by AND to the other conditions of each part that writes; in an outer join, "+c.target.Alias+" is the side whose rows are all kept")
		return nil
	}
	moving, err := c.partitioning(ctx)
	if err != nil {
		return err
	}
	for _, k := range c.table.Key {
		moving = append(moving, k.Name)
	}
	c.effects(t, n, locks, moving)
	return c.repeatable(ctx)
}

// firstLeaf is the target of the first relation that batches will name.
func (c *check) firstLeaf() statement.Target {
	t := c.target
	if len(c.table.Leaves) > 0 {
		t.Schema, t.Name = c.table.Leaves[0].Schema, c.table.Leaves[0].Name
	}
	return t
}

// prepared refuses a statement that the server does not take, or in which it does not see {{range}} where Backfleet sees it.
func (c *check) prepared(ctx context.Context, t statement.Target) (bool, error) {
	bare := t
	bare.Where = ""
	key := make(ranges.Key, len(t.Key)) // for its form alone: nothing is run
	for _, form := range []struct{ field, sql, more string }{
		{"statement", t.Bare("true").Text, ""},
		{"alias", bare.Update(ranges.Span{Lo: key}).Text, "{{range}} must stand where the columns of alias " + t.Alias + " may be named"},
		{"where", t.Update(ranges.Span{Lo: key}).Text, "write its columns with the alias before them, as " + t.Alias + ".id"},
	} {
		_, err := c.describe(ctx, form.sql)
		if pe := sqlError(err); pe != nil && !tooSlow(err) {
			value := map[string]string{"alias": t.Alias, "where": t.Where}[form.field]
			fix := form.more
			if fix == "" {
				fix = c.statementAdvice(pe)
			}
			c.refuse(form.field, value, choose(form.field == "statement", "does not prepare: ", "does not prepare in the statement: ")+pe.Message, fix)
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("prepare the statement: %w", err)
		}
	}
	d, err := c.describe(ctx, t.Bare("$1::boolean").Text)
	if err != nil {
		return false, fmt.Errorf("prepare the statement with a condition: %w", err)
	}
	if len(d.ParamOIDs) != 1 || d.ParamOIDs[0] != pgtype.BoolOID {
		c.refuse("statement", "", "holds {{range}} where Postgres sees no condition", "write it in a WHERE, like WHERE {{range}}")
		return false, nil
	}
	return true, nil
}

// describe prepares a statement and forgets it.
func (c *check) describe(ctx context.Context, sql string) (d *pgconn.StatementDescription, err error) {
	err = c.probe(ctx, func(tx pgx.Tx) error {
		d, err = tx.Prepare(ctx, "", sql)
		return err
	})
	return d, err
}

func (c *check) statementAdvice(pe *pgconn.PgError) string {
	tokens, _ := sqltext.Scan(c.spec.Statement)
	switch {
	case pe.Hint != "":
		return pe.Hint
	case tokens[0].Is("merge") && c.plan.Server.Number < mergeFrom:
		return "MERGE needs PostgreSQL 15; write INSERT ... ON CONFLICT, or UPDATE"
	}
	return "try it in psql with EXPLAIN, and true in the place of {{range}}"
}

// lock is a table that a statement names, and how.
type lock struct {
	relation, schema string
	locked, writes   bool
}

// locks lists the tables that the statement names, by the locks that preparing it takes. `where` is left out: what it looks at is not
// what is written.
func (c *check) locks(ctx context.Context, t statement.Target) (all []lock, err error) {
	err = c.probe(ctx, func(tx pgx.Tx) error {
		before, err := tableLocks(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.Prepare(ctx, "", t.Bare("true").Text); err != nil {
			return err
		}
		after, err := tableLocks(ctx, tx)
		for _, l := range after {
			if l.relation == t.Relation() || !slices.Contains(before, l) { // the checks have looked at it, and hold a lock of it
				all = append(all, l)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what the statement names: %w", err)
	}
	for _, l := range all {
		if l.schema == "backfleet" {
			c.refuse("statement", "", "names "+l.relation+" of the ledger, which Backfleet alone writes", "leave it out")
		}
	}
	return all, nil
}

// tableLocks lists the tables that this transaction has locked.
func tableLocks(ctx context.Context, tx pgx.Tx) (all []lock, err error) {
	rows, err := tx.Query(ctx, `
		SELECT n.nspname::text, r.relname::text, bool_or(l.mode = 'RowShareLock'), bool_or(l.mode = 'RowExclusiveLock')
		  FROM pg_locks l JOIN pg_class r ON r.oid = l.relation JOIN pg_namespace n ON n.oid = r.relnamespace
		 WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		   AND r.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
		 GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	var l lock
	var name string
	_, err = pgx.ForEachRow(rows, []any{&l.schema, &name, &l.locked, &l.writes}, func() error {
		l.relation = statement.Target{Schema: l.schema, Name: name}.Relation()
		all = append(all, l)
		return nil
	})
	return all, err
}

// effects gathers what the statement writes and reads, and refuses and warns of what would go wrong. moving are the columns of the job's
// table that decide in which range or partition a row is.
func (c *check) effects(t statement.Target, n node, locks []lock, moving []string) {
	e := &Effects{Kind: strings.ToLower(n.Operation), Writes: n.writes(), Reads: []Read{}}
	c.plan.Statement = e
	tokens, _ := sqltext.Scan(c.spec.Statement)
	weak := slices.ContainsFunc(ngrams(tokens, 3), func(w string) bool { return w == "for key share" })
	var unlocked []string
	for _, l := range locks {
		own := l.relation == t.Relation()
		locked := l.writes || l.locked && !weak
		if own {
			e.Locks = locked
		}
		if l.writes {
			continue
		}
		e.Reads = append(e.Reads, Read{l.relation, locked})
		if !own && !locked {
			unlocked = append(unlocked, l.relation)
		}
	}
	for _, w := range e.Writes {
		if !c.own(w) {
			continue
		}
		switch {
		case w.Operation == "insert":
			c.warn(Danger, "statement", "inserts into the table that it walks: a new row whose key lies in a range that is still to come is done, too",
				"make sure that new rows get keys above all that are there")
		case w.alias != c.target.Alias && !strings.HasPrefix(w.alias, c.target.Alias+"_"):
			c.warn(Danger, "statement", "writes rows of "+c.table.String()+" by another name than "+c.target.Alias+", so not only those of the batch's own range",
				"write the table once, as "+c.target.Alias)
		}
		for _, column := range assigned(tokens) {
			if slices.Contains(moving, column) {
				c.refuse("statement", column, "is set, and is a column of the key, or of the partition key: its rows would move between ranges while they are walked",
					"leave it out, or walk the table by another key")
			}
		}
	}
	lockIt := fmt.Sprintf("write FOR NO KEY UPDATE OF %s behind the SELECT that holds {{range}}; what it costs is that the application waits for a batch", c.target.Alias)
	if !e.Locks {
		c.warn(Warning, "race", fmt.Sprintf("rows of %s are read without a lock: what the application changes or deletes between a batch's read and its write "+
			"may be overwritten with, or followed by, what the batch had read, also where a dual-write trigger stands", t.Relation()), lockIt)
	}
	if len(unlocked) > 0 {
		c.warn(Note, "race", "rows of "+few(unlocked)+" are read without a lock: what the batch takes from them may be old by the time that it is written",
			"lock them too, if they change while the job runs")
	}
	if slices.ContainsFunc(tokens, func(t sqltext.Token) bool { return t.Is("limit", "offset", "fetch") }) {
		c.warn(Warning, "statement", "holds LIMIT, OFFSET or FETCH: a row of the range that a batch leaves out is not done later", "leave it out, unless it is within a subquery of one row")
	}
	if c.spec.Where == "" {
		c.warn(Note, "where", "is missing: the proof is that each range was walked"+choose(c.spec.Check != "", ", and `check`", "")+"; nothing finds a row that was left out",
			"write what is still to do: "+todoLike[e.Kind])
	}
}

// todoLike tells what a `where` of each kind of statement says.
var todoLike = map[string]string{
	"insert": "NOT EXISTS (SELECT FROM the_new_table n WHERE n.id = alias.id)",
	"update": "what is not as the statement makes it",
	"delete": "the condition by which rows are deleted, in `where` instead of the statement",
	"merge":  "what is not as the statement makes it",
}

// own reports whether a write is to the job's table, or a leaf of it.
func (c *check) own(w Write) bool {
	if w.schema == c.table.Schema && w.name == c.table.Name {
		return true
	}
	for _, l := range c.table.Leaves {
		if w.schema == l.Schema && w.name == l.Name {
			return true
		}
	}
	return false
}

// repeatable decides whether doing a row again leaves what doing it once leaves, as far as that can be seen: a DELETE, and an INSERT that
// leaves a row that is there alone, or sets it to what it would insert. Calls of volatile functions give other values each time.
func (c *check) repeatable(ctx context.Context) error {
	tokens, _ := sqltext.Scan(c.spec.Statement)
	found, err := c.volatile(ctx, tokens)
	if err != nil {
		return err
	}
	for _, f := range found {
		if !f.Builtin {
			c.plan.volatile = f.Name
		}
		c.warn(Warning, "statement", "calls "+f.Name+"(), which gives another value at each call, so a retried batch writes other values", "make sure that any value is right")
	}
	e := c.plan.Statement
	if len(e.Writes) != 1 || len(found) > 0 {
		c.plan.Idempotent = false
		return nil
	}
	w := e.Writes[0]
	c.plan.Idempotent = w.Operation == "delete" || w.OnConflict == "nothing" || w.OnConflict == "update" && onlyExcluded(tokens)
	return nil
}

// onlyExcluded reports whether the DO UPDATE of an INSERT is a list of `column = excluded.column` and nothing else.
func onlyExcluded(tokens []sqltext.Token) bool {
	at := slices.Index(ngrams(tokens, 3), "do update set")
	if at < 0 {
		return false
	}
	rest := tokens[at+3:]
	for {
		if len(rest) < 5 || !rest[0].Name || !rest[1].Is("=") || !rest[2].Is("excluded") || !rest[3].Is(".") || !rest[4].Name {
			return false
		}
		if rest = rest[5:]; len(rest) == 0 || rest[0].Is("where", "returning", ";") {
			return true
		}
		if !rest[0].Is(",") {
			return false
		}
		rest = rest[1:]
	}
}

// assigned lists the columns that the SETs of a statement name on their left sides.
func assigned(tokens []sqltext.Token) (columns []string) {
	for i := range tokens {
		if !tokens[i].Is("set") {
			continue
		}
		depth := 0
		for j := i + 1; j < len(tokens) && depth >= 0 && (depth > 0 || !tokens[j].Is("from", "where", "returning", "when", ";")); j++ {
			switch t := tokens[j]; {
			case t.Is("("):
				depth++
			case t.Is(")"):
				depth--
			case depth == 0 && t.Name && j+1 < len(tokens) && tokens[j+1].Is("=") && (j == i+1 || tokens[j-1].Is(",")):
				columns = append(columns, t.Text)
			case depth == 1 && t.Name && list(tokens, i, j):
				columns = append(columns, t.Text)
			}
		}
	}
	return columns
}

// list reports whether token j stands in the (a, b) of a SET (a, b) = ...: in a parenthesis that begins an assignment.
func list(tokens []sqltext.Token, set, j int) bool {
	open := j
	for open > set && !tokens[open].Is("(") {
		open--
	}
	return (open == set+1 || tokens[open-1].Is(",")) && tokens[j-1].Is("(", ",") && j+1 < len(tokens) && tokens[j+1].Is(",", ")")
}

// ngrams joins each run of n unquoted tokens by spaces, in the order of their first.
func ngrams(tokens []sqltext.Token, n int) []string {
	var all []string
	for i := range len(tokens) - n + 1 {
		words := make([]string, n)
		for k := range n {
			if t := tokens[i+k]; !t.Quoted {
				words[k] = t.Text
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}
