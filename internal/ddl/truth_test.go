package ddl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// The heart of the package: every rule is held against what servers really lock, scan and rewrite.
func TestTheServerAgrees(t *testing.T) {
	for _, major := range []int{14, 15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			c := harness.Postgres(t, harness.WithVersion(major), harness.WithSetting("max_connections", "30"), harness.WithSetting("autovacuum", "off"))
			conn := connect(t, c.DSN("postgres"))
			var docs strings.Builder
			for i, k := range ddlCases {
				t.Run(k.sql, func(t *testing.T) {
					s := stage(t, conn, c.DSN("postgres"), fmt.Sprintf("s%d", i), k.setup)
					statements, err := Parse(k.sql)
					require.NoError(t, err)
					facts, err := Read(t.Context(), conn, statements)
					require.NoError(t, err)
					s.judge(t, k, statements, facts)
					if major == docsMajor {
						page(&docs, k, s.schema, statements, facts)
					}
				})
			}
			if major == docsMajor && strings.Count(docs.String(), "\n| `") >= len(ddlCases) { // -run may have chosen some
				golden(t, "../../docs/ddl.md", docs.String())
			}
		})
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// scene is a schema of its own with the scenery in it.
type scene struct {
	conn   *pgx.Conn
	dsn    string
	schema string
}

func stage(t *testing.T, conn *pgx.Conn, dsn, schema string, setup []string) scene {
	t.Helper()
	s := scene{conn, dsn, schema}
	s.exec(t, "set timezone to 'UTC'", "create schema "+schema, "set search_path to "+schema)
	t.Cleanup(func() {
		_, err := conn.Exec(context.Background(), "set client_min_messages to error; drop schema if exists "+schema+" cascade; drop table if exists public.big; drop schema if exists other; reset client_min_messages")
		require.NoError(t, err)
	})
	s.exec(t, scenery...)
	s.exec(t, setup...)
	return s
}

func (s scene) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		_, err := s.conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
}

// seen is what the server shows of a statement: locks on relations that were there, and its work.
type seen struct {
	Locks map[string]string
	Work  Work
}

func (s scene) judge(t *testing.T, k ddlCase, statements []Statement, facts Facts) {
	findings := Check(statements, facts, Contract)
	version := facts.Version
	require.NotEmpty(t, findings)
	said := seen{Locks: map[string]string{}}
	modes := map[Name]LockMode{}
	refused := false
	for _, f := range findings {
		said.Work = max(said.Work, f.Work)
		refused = refused || f.Verdict == Refuse
		for _, l := range f.Locks {
			modes[l.Relation] = max(modes[l.Relation], l.Mode)
		}
	}
	for name, mode := range modes {
		said.Locks[name.Name] = mode.String()
	}
	fails := k.fails
	if strings.Contains(k.sql, "alter table part add constraint c foreign key") {
		fails = version < 18
	}
	if fails {
		_, err := s.conn.Exec(t.Context(), k.sql)
		require.Error(t, err)
		require.True(t, refused, "it fails with %v, and Check says %+v", err, findings)
		return
	}
	var shown seen
	if k.hold != "" {
		shown = s.outside(t, k)
	} else {
		shown = s.inside(t, k.sql)
	}
	if k.partly {
		require.Subset(t, shown.Locks, said.Locks)
		require.True(t, refused)
		return
	}
	require.Equal(t, shown.Locks, said.Locks)
	require.Equal(t, shown.Work.String(), said.Work.String(), "work")
}

const (
	relationsSQL = `select oid, relname::text, relkind::text, relfilenode, coalesce((select indrelid from pg_index where indexrelid = c.oid), 0)
		from pg_class c where relnamespace = $1::regnamespace`
	locksSQL = `select l.relation, l.mode, l.granted from pg_locks l where l.pid = $1 and l.locktype = 'relation' and l.database = (
		select oid from pg_database where datname = current_database())`
	scansSQL = `select relid, coalesce(seq_scan, 0) from pg_stat_xact_all_tables where schemaname = $1`
)

type relation struct {
	name, kind string
	file       uint32
	table      uint32
}

func (s scene) relations(t *testing.T, q Querier) map[uint32]relation {
	t.Helper()
	out := map[uint32]relation{}
	rows, err := q.Query(t.Context(), relationsSQL, s.schema)
	require.NoError(t, err)
	var oid uint32
	var r relation
	_, err = pgx.ForEachRow(rows, []any{&oid, &r.name, &r.kind, &r.file, &r.table}, func() error {
		out[oid] = r
		return nil
	})
	require.NoError(t, err)
	return out
}

var modeNames = map[string]LockMode{
	"AccessShareLock": AccessShare, "RowShareLock": RowShare, "RowExclusiveLock": RowExclusive, "ShareUpdateExclusiveLock": ShareUpdateExclusive,
	"ShareLock": Share, "ShareRowExclusiveLock": ShareRowExclusive, "ExclusiveLock": Exclusive, "AccessExclusiveLock": AccessExclusive,
}

// locks are the strongest that a session has, or waits for, on tables and views that were there before.
func (s scene) locks(t *testing.T, q Querier, pid uint32, before map[uint32]relation) (held map[string]LockMode, waits bool) {
	t.Helper()
	held = map[string]LockMode{}
	rows, err := q.Query(t.Context(), locksSQL, pid)
	require.NoError(t, err)
	var oid uint32
	var mode string
	var granted bool
	_, err = pgx.ForEachRow(rows, []any{&oid, &mode, &granted}, func() error {
		waits = waits || !granted
		if r, ok := before[oid]; ok && slices.Contains([]string{"r", "p", "v", "m", "f"}, r.kind) {
			held[r.name] = max(held[r.name], modeNames[mode])
		}
		return nil
	})
	require.NoError(t, err)
	return held, waits
}

// inside runs the statement in a transaction, looks, and rolls back.
func (s scene) inside(t *testing.T, sql string) seen {
	ctx := t.Context()
	before := s.relations(t, s.conn)
	tx, err := s.conn.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	scans := s.scans(t, tx) // the session's statistics that are not yet flushed count as the transaction's
	_, err = tx.Exec(ctx, sql)
	require.NoError(t, err)
	held, _ := s.locks(t, tx, s.conn.PgConn().PID(), before)
	scanned := false
	for oid, n := range s.scans(t, tx) {
		_, there := before[oid]
		scanned = scanned || there && n > scans[oid]
	}
	return seen{names(held), workOf(before, s.relations(t, tx), scanned)}
}

func (s scene) scans(t *testing.T, q Querier) map[uint32]int64 {
	t.Helper()
	out := map[uint32]int64{}
	rows, err := q.Query(t.Context(), scansSQL, s.schema)
	require.NoError(t, err)
	var oid uint32
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&oid, &n}, func() error {
		out[oid] = n
		return nil
	})
	require.NoError(t, err)
	return out
}

func names(held map[string]LockMode) map[string]string {
	out := map[string]string{}
	for name, mode := range held {
		out[name] = mode.String()
	}
	return out
}

// workOf compares files: a table with another file was rewritten; an index with another file, on a table that is not new, was built.
func workOf(before, after map[uint32]relation, scanned bool) Work {
	work := Nothing
	if scanned {
		work = Scan
	}
	files := map[uint32]bool{}
	for _, r := range before {
		files[r.file] = true
	}
	for oid, r := range after {
		old, there := before[oid]
		_, ofOld := before[r.table]
		switch {
		case (r.kind == "r" || r.kind == "m") && there && old.file != r.file:
			work = Rewrite
		case r.kind == "i" && ofOld && !files[r.file]:
			work = max(work, Build)
		}
	}
	return work
}

// outside runs a statement that needs no transaction around it, while another session keeps it waiting.
func (s scene) outside(t *testing.T, k ddlCase) seen {
	ctx := t.Context()
	before := s.relations(t, s.conn)
	blocker := connect(t, s.dsn)
	for _, sql := range []string{"set search_path to " + s.schema, "begin", k.hold} {
		_, err := blocker.Exec(ctx, sql)
		require.NoError(t, err)
	}
	runner := connect(t, s.dsn)
	_, err := runner.Exec(ctx, "set search_path to "+s.schema)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { _, err := runner.Exec(ctx, k.sql); done <- err }()
	var held map[string]LockMode
	require.Eventually(t, func() bool {
		var waits bool
		rows, err := s.conn.Query(ctx, `select coalesce(wait_event_type = 'Lock', false) from pg_stat_activity where pid = $1`, runner.PgConn().PID())
		require.NoError(t, err)
		waits, err = pgx.CollectOneRow(rows, pgx.RowTo[bool])
		require.NoError(t, err)
		held, _ = s.locks(t, s.conn, runner.PgConn().PID(), before)
		return waits
	}, 10*time.Second, 10*time.Millisecond)
	_, err = blocker.Exec(ctx, "rollback")
	require.NoError(t, err)
	require.NoError(t, <-done)
	return seen{names(held), workOf(before, s.relations(t, s.conn), false)}
}

// Cases must differ, or one hides what the other shows.
func TestCasesAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range ddlCases {
		key := k.sql + strings.Join(k.setup, ";")
		require.False(t, seen[key], "twice: %s", k.sql)
		seen[key] = true
	}
	require.Greater(t, len(slices.Collect(maps.Keys(seen))), 120)
}
