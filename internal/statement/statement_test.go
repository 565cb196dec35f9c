package statement_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// subject is a table with a job on it.
type subject struct {
	name   string
	create []string
	target statement.Target
	lo, hi ranges.Key
	row    ranges.Key // a row of the span; nil: that of lo
}

func subjects() []subject {
	return []subject{
		{
			name:   "bigint",
			create: []string{`create table users (id bigint primary key, email text, email_norm text)`},
			target: statement.Target{
				Schema: "public", Name: "users", Key: []job.Column{{Name: "id", Type: "bigint"}},
				Set: map[string]string{"email_norm": "lower(email)"}, Where: "email_norm IS NULL",
				Check: "email_norm = lower(email)",
			},
			lo: ranges.Key{"-5"}, hi: ranges.Key{"1000"},
		},
		{
			name:   "blocks",
			create: []string{`create table items (shop int, id uuid, name text, name_norm text, primary key (shop, id))`},
			target: statement.Target{
				Schema: "public", Name: "items", Blocks: true,
				Key: []job.Column{{Name: "shop", Type: "integer"}, {Name: "id", Type: "uuid"}},
				Set: map[string]string{"name_norm": "lower(name)"}, Where: "name_norm IS NULL AND name IS NOT NULL",
				Check: "name_norm IS NOT DISTINCT FROM lower(name)",
			},
			lo: ranges.Key{"(3,0)"}, hi: ranges.Key{"(7,0)"}, row: ranges.Key{"7", "00000000-0000-0000-0000-000000000001"},
		},
		{
			name:   "composite",
			create: []string{`create table orders (tenant int, id uuid, n int, m int, primary key (tenant, id))`},
			target: statement.Target{
				Schema: "public", Name: "orders",
				Key: []job.Column{{Name: "tenant", Type: "integer"}, {Name: "id", Type: "uuid"}},
				Set: map[string]string{"n": "n + 1", "m": "n"}, // every row, once: neither where nor check
			},
			lo: ranges.Key{"7", "00000000-0000-0000-0000-000000000001"}, hi: ranges.Key{"8", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
		},
		{
			name:   "collation",
			create: []string{`create table words (word text not null, n int)`, `create unique index on words (word collate "C")`},
			target: statement.Target{
				Schema: "public", Name: "words", Key: []job.Column{{Name: "word", Type: "text", Collation: `"pg_catalog"."C"`}},
				Set: map[string]string{"n": "length(word)"}, Check: "n = length(word)",
			},
			lo: ranges.Key{""}, hi: ranges.Key{`it's "quoted"`},
		},
		{
			name: "identifiers",
			create: []string{
				`create schema "s;p"`,
				`create table "s;p"."we""ird; drop table x_p1" ("select" bigint primary key, "a""b" text, "--" text)`,
			},
			target: statement.Target{
				Schema: "s;p", Name: `we"ird; drop table x_p1`, Alias: `we"ird; drop table x`,
				Key: []job.Column{{Name: "select", Type: "bigint"}},
				Set: map[string]string{`a"b`: `upper("--") -- a comment that ends with its line`}, Where: `"we""ird; drop table x"."a""b" IS NULL`,
			},
			lo: ranges.Key{"1"}, hi: ranges.Key{"2"},
		},
		{
			name: "insert",
			create: []string{
				`create table people (id bigint primary key, email text)`,
				`create table mails (person bigint primary key, email text)`,
			},
			target: statement.For("public", "people", []job.Column{{Name: "id", Type: "bigint"}}, job.Spec{
				Table: "public.people", Alias: "p",
				Statement: "INSERT INTO mails (person, email) -- FROM people p WHERE {{range}}\nSELECT p.id, lower(p.email) FROM people p WHERE {{range}}\n" +
					"FOR NO KEY UPDATE OF p\nON CONFLICT (person) DO NOTHING;",
				Where: "NOT EXISTS (SELECT FROM mails m WHERE m.person = p.id) -- to do",
				Check: "EXISTS (SELECT FROM mails m WHERE m.person = p.id AND m.email = lower(p.email))",
			}, "people"),
			lo: ranges.Key{"-5"}, hi: ranges.Key{"1000"},
		},
		{
			name: "move",
			create: []string{
				`create table events (tenant int, at timestamptz, v text, primary key (tenant, at)) partition by list (tenant)`,
				`create table events_1 partition of events default`,
				`create table archive (like events)`,
			},
			target: statement.For("public", "events_1", []job.Column{{Name: "tenant", Type: "integer"}, {Name: "at", Type: "timestamp with time zone"}}, job.Spec{
				Table:     "public.events",
				Statement: "WITH moved AS (DELETE FROM public.events WHERE v IS NULL AND {{range}} RETURNING *)\nINSERT INTO archive SELECT * FROM moved",
			}, "events"),
			lo: ranges.Key{"7", "2026-01-01 00:00:00+00"}, hi: ranges.Key{"8", "2026-01-01 00:00:00+00"},
		},
	}
}

// A table may be named as the statements name their own parts elsewhere.
func TestNoTableShadowsAStatement(t *testing.T) {
	db := harness.Database(t)
	for _, name := range []string{"s", "b", "q"} {
		_, err := db.Pool.Exec(t.Context(), fmt.Sprintf("create table %s (k1 int primary key, n int)", name))
		require.NoError(t, err)
		_, err = db.Pool.Exec(t.Context(), fmt.Sprintf("insert into %s select i, 0 from generate_series(1, 100) i", name))
		require.NoError(t, err)
		target := statement.Target{Schema: "public", Name: name, Key: []job.Column{{Name: "k1", Type: "integer"}}, Set: map[string]string{"n": "1"}}
		sql := target.Steps(ranges.Span{Hi: ranges.Key{"100"}, HiClosed: true}, 30, 10)
		bounds, err := statement.Keys(db.Pool.Query(t.Context(), sql.Text, sql.Args...))
		require.NoError(t, err, name)
		require.Equal(t, []ranges.Key{{"31"}, {"61"}, {"91"}}, bounds)
	}
}

// spans are the shapes a span can have.
func (s subject) spans() []struct {
	name string
	span ranges.Span
} {
	return []struct {
		name string
		span ranges.Span
	}{
		{"half-open", ranges.Span{Lo: s.lo, Hi: s.hi}},
		{"open below", ranges.Span{Hi: s.hi}},
		{"closed above", ranges.Span{Lo: s.lo, Hi: s.hi, HiClosed: true}},
		{"open above", ranges.Span{Lo: s.lo}},
		{"unbounded", ranges.Span{}},
	}
}

type named struct {
	name string
	statement.SQL
}

// statements builds every statement there is for a subject.
func (s subject) statements() []named {
	t := s.target
	row, id, file := s.lo, job.ID("01JD8Z7Q4T0000000000000001"), uint32(0)
	if t.Blocks {
		row, file = s.row, 16390
	}
	var all []named
	add := func(name string, sql statement.SQL) { all = append(all, named{name, sql}) }
	for _, shape := range s.spans() {
		add("update, "+shape.name, t.Update(shape.span))
		add("boundary, "+shape.name, t.Boundary(shape.span, ranges.Pass{}, 200))
		if t.Blocks {
			add("tried, "+shape.name, t.Tried(shape.span))
			add("open, "+shape.name, t.Open(shape.span))
			add("last look, "+shape.name, t.LastLook(id, 16384, shape.span))
		} else {
			add("steps, "+shape.name, t.Steps(shape.span, 50_000, 100))
		}
		add("look, "+shape.name, t.Look(shape.span))
	}
	add("measured", t.Measured(ranges.Span{Lo: s.lo, Hi: s.hi}))
	if t.Form == nil {
		add("widths", t.Widths(ranges.Span{Lo: s.lo, Hi: s.hi}))
	}
	if t.Blocks {
		add("file", statement.SQL{Text: statement.File, Args: []any{uint32(16384)}})
		add("rows in a block", statement.SQL{Text: statement.RowsPerBlock, Args: []any{uint32(16384)}})
	} else {
		add("near", t.Near(7, 64))
		add("bound", t.Bound())
	}
	add("first key", t.FirstKey(ranges.Span{Lo: s.lo, Hi: s.hi}, ranges.Pass{}))
	step := statement.Step{
		Claim: job.Claim{
			Ref: job.Ref{Database: "main", Job: "01JD8Z7Q4T0000000000000001", Name: "fill", Index: 3, Generation: 1}, Relation: 16384, File: file, Schema: t.Schema, Table: t.Name,
			Checkpoint: ranges.Checkpoint{ChunkLo: nil, ChunkHi: s.hi, K: 1, Key: s.lo}, Owner: "worker-1",
			Fence: 2, Token: "11111111-2222-3333-4444-555555555555",
		},
		Span: ranges.Span{Lo: s.lo, Hi: s.hi}, Keys: 200,
	}
	step.To = step.Claim.Checkpoint.Advance(s.hi)
	last := step
	last.Last, last.Exclude, last.Keys, last.Span.HiClosed = true, true, 0, true
	for _, v := range []struct {
		name string
		step statement.Step
	}{{"", step}, {", last, with rows in quarantine", last}} {
		add("fill"+v.name, t.Fill(v.step))
		add("proof"+v.name, t.Proof(v.step))
		add("repair the residual"+v.name, t.Repair(v.step, false))
		add("repair what fails its check too"+v.name, t.Repair(v.step, true))
		add("failing"+v.name, t.Failing(v.step))
		blocks := v.step
		blocks.Span = ranges.BlockSpan(7, 9)
		blocks.Span.HiClosed = v.step.Last
		add("count of blocks"+v.name, t.Count(blocks, s.hi))
		add("counted"+v.name, t.Counted(v.step, 2, 0, 1))
		add("quarantine"+v.name, t.Quarantine(v.step, row, 100, "23514", "violates a check", true))
	}
	// The batch that opens a chunk of four passes, one within its third pass, and the last of them all.
	opening, third, end := step, step, last
	chunk := step.Claim.Checkpoint.Open(s.hi, 4)
	opening.Pass, opening.To = chunk.Turn(), chunk.Advance(s.hi)
	chunk.Pass = 2
	third.Claim.Checkpoint, third.Pass, third.To = chunk, chunk.Turn(), chunk.Advance(s.hi)
	chunk.Pass = 3
	end.Claim.Checkpoint, end.Pass = chunk, chunk.Turn()
	end.To, _ = chunk.EndPass(end.Span)
	for _, v := range []struct {
		name string
		step statement.Step
	}{{"that opens a chunk", opening}, {"of a pass", third}, {"that ends the last pass, with rows in quarantine", end}} {
		add("fill "+v.name, t.Fill(v.step))
		add("quarantine "+v.name, t.Quarantine(v.step, row, 100, "23514", "violates a check", true))
	}
	add("boundary of a pass", t.Boundary(step.Span, chunk.Turn(), 200))
	add("first key of a pass", t.FirstKey(step.Span, chunk.Turn()))
	add("heat", statement.Heat(16384))
	add("quarantine, without a move", t.Quarantine(step, row, 100, "23514", "violates a check", false))
	add("quarantine, its turn", statement.QuarantineTurn("01JD8Z7Q4T0000000000000001"))
	add("ahead", t.Ahead(id, 16384, row))
	again := t.Again(id, 16384, row)
	add("again, its turn", again.Take)
	add("again", again.Work)
	add("again, counted", again.Count(3, 1))
	return all
}

// Any change of a statement's text is a change of these files, for a person to read.
func TestStatementsAreTheGoldenOnes(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			var b strings.Builder
			for _, n := range s.statements() {
				fmt.Fprintf(&b, "-- %s\n%s;\n", n.name, n.Text)
				for i, arg := range n.Args {
					fmt.Fprintf(&b, "-- $%d = %#v\n", i+1, arg)
				}
				b.WriteString("\n")
			}
			path := filepath.Join("testdata", s.name+".sql")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String(), "run `go test ./internal/statement -update` if this is meant")
		})
	}
}

func TestEveryStatementPreparesAndRuns(t *testing.T) {
	db := harness.Database(t)
	_, _, err := store.New(db.Pool, "main").Migrate(t.Context())
	require.NoError(t, err)
	conn, err := db.Pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for _, s := range subjects() {
		for _, sql := range s.create {
			_, err := conn.Exec(t.Context(), sql)
			require.NoError(t, err, sql)
		}
		for _, n := range s.statements() {
			_, err := conn.Conn().Prepare(t.Context(), s.name+" "+n.name, n.Text)
			require.NoError(t, err, "%s, %s:\n%s", s.name, n.name, n.Text)
			_, err = conn.Exec(t.Context(), n.Text, n.Args...)
			require.NoError(t, err, "%s, %s:\n%s", s.name, n.name, n.Text)
		}
	}
}

// An expression cannot end its parenthesis, and a comment in it ends with its line.
func TestAnExpressionStandsOnLinesOfItsOwn(t *testing.T) {
	require.Equal(t, "(\nlower(email) -- why\n)", statement.Paren("lower(email) -- why"))
	require.Equal(t, `"we""ird"`, statement.Quote(`we"ird`))
}
