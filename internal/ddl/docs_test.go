package ddl

import (
	"fmt"
	"strings"
)

const docsHead = `# What each DDL statement does to a running application

This page is written by a test from the cases that ` + "`internal/ddl`" + ` is tested with: each statement below is really run on PostgreSQL 14, 15 and 18, and a rule
that says another lock than ` + "`pg_locks`" + ` shows, or other work than the files and statistics show, fails the build. Where versions differ, this is PostgreSQL %d.

How to read it:

- **Lock**: the strongest on each table that was there before. ACCESS EXCLUSIVE makes reads and writes wait, SHARE, SHARE ROW EXCLUSIVE and EXCLUSIVE make
  writes wait, the others neither. While a statement waits for its lock, all that would wait for it wait as well: that is why expand applies each under a
  short ` + "`lock_timeout`" + `, again and again.
- **Work**: what it does with the rows while it holds the lock. A scan is taken to go at 200 MB/s, an index build at 40 MB/s, a rewrite at 25 MB/s, on a
  busy machine. Only the order of magnitude matters.
- **Verdict**: of ` + "`phase expand`" + ` for a table of 100 GB, such as ` + "`big`" + ` and every partition of ` + "`part`" + ` here. Work that blocks the application for more than
  250 ms is refused; on a smaller table the same statement is a warning, on an empty one it is ok.

The tables: ` + "`big`" + ` has a foreign key to ` + "`ref`" + `, a check on ` + "`a`" + ` and indexes; ` + "`part`" + ` has two partitions, ` + "`rest`" + ` a default partition as well; ` + "`loose`" + ` has the shape
of a partition of ` + "`part`" + `; ` + "`vol()`" + ` is volatile and ` + "`stab()`" + ` is stable; the domain ` + "`positive`" + ` has a check and ` + "`free_int`" + ` has none.
`

// docsMajor is the version whose rules the page shows.
const docsMajor = 15

// page writes the rows of a case, judged as for a large table.
func page(b *strings.Builder, k ddlCase, schema string, statements []Statement, facts Facts) {
	if b.Len() == 0 {
		fmt.Fprintf(b, docsHead, docsMajor)
	}
	for name, table := range facts.Tables {
		if table.Bytes > 0 {
			table.Bytes = 100e9
			facts.Tables[name] = table
		}
	}
	if k.group != "" {
		fmt.Fprintf(b, "\n## %s\n\n| statement | lock | work | verdict | why | the safe way |\n|---|---|---|---|---|---|\n", k.group)
	}
	for _, f := range Check(statements, facts, Additive) {
		b.WriteString(row(k, f, schema))
	}
}

func row(k ddlCase, f Finding, schema string) string {
	statement := "`" + k.sql + "`"
	if len(k.setup) > 0 {
		statement += " after `" + strings.Join(k.setup, "; ") + "`"
	}
	var locks []string
	for _, l := range f.Locks {
		locks = append(locks, l.Relation.Name+": "+l.Mode.String())
	}
	work := f.Work.String()
	if f.Work != Nothing {
		work += ", " + roughly(f.Takes)
	}
	cell := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`), schema+".", "")
	}
	fix := cell(f.Fix)
	if strings.Contains(fix, ";") {
		fix = "`" + fix + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", cell(statement), strings.Join(locks, "<br>"), work, f.Verdict, cell(f.Why), fix)
}
