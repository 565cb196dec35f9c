package phases

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

// blow is a step whose process is killed, at each message that it sends, in a database as it is before the step.
type blow struct {
	name     string
	template string
	args     []string
	partly   bool // it takes more than one transaction: what is between them is gone on with
}

// A process that is killed at any moment leaves a step undone or done, and never both in part: the same command again always ends as if nothing
// had happened. What takes several transactions is gone on with.
func TestKilledAtEveryMessage(t *testing.T) {
	for name, file := range map[string]string{"new columns": sameTable, "a new table": newTable} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, file)
			for _, b := range course(s) {
				if file == newTable && once[b.name] {
					continue
				}
				t.Run(b.name, func(t *testing.T) {
					t.Parallel()
					strikeEverywhere(t, s, b)
				})
			}
		})
	}
}

// once are the steps that do the same wherever the new schema is, and the one whose process takes its time.
var once = map[string]bool{"expand": true, "backfill": true, "tick dashboards-watched": true, "rollback": true, "rehearse by revoke": true}

// course takes the migration from step to step and keeps a copy of the database before each.
func course(s *scene) (blows []blow) {
	aside := func(name string, partly bool, args ...string) []string {
		args = append([]string{"phase", args[0], "norm"}, args[1:]...)
		blows = append(blows, blow{name, s.copied(), args, partly})
		return args
	}
	then := func(partly bool, args ...string) {
		s.must(aside(strings.Join(args, " "), partly, args...)...)
	}
	then(true, "expand")
	s.tick("schema-deployed")
	then(false, "dual-write")
	aside("abandon", false, "abandon", "--reason", "a test")
	s.exec("ALTER TABLE public.users DISABLE TRIGGER USER")
	then(false, "dual-write") // which mends it
	s.tick("writers-known")
	s.phase("check")
	aside("override", false, "override", "backfill", "--reason", "a test")
	s.pass(day)
	then(true, "backfill")
	end := s.briefly()
	s.await("the backfill is complete", func() bool { return s.show().Phase == migration.Switch })
	end()
	then(true, "tick", "dashboards-watched") // the first step after its end notes that too
	s.phase("check")
	then(false, "switch", "--to", "1")
	aside("rollback", false, "rollback", "--reason", "a test")
	aside("abandon at 1", false, "abandon", "--reason", "a test")
	for _, to := range []string{"10", "100"} {
		s.phase("check")
		then(false, "switch", "--to", to)
	}
	s.pass(7 * day)
	s.tick("no-old-readers", "rollback-given-up")
	s.phase("check")
	then(false, "stop")
	aside("rehearse by revoke", false, "rehearse", "--for", "24h", "--detach", "--accept", owner+",postgres")
	then(false, "rehearse", "--for", "24h", "--mode", "rename", "--detach")
	s.pass(7 * day)
	then(false, "undo")
	s.tick("undo-kept")
	then(false, "drop")
	return blows
}

func strikeEverywhere(t *testing.T, s *scene, b blow) {
	began := time.Now()
	c := s.copy(t, b.template)
	c.must(b.args...)
	want := c.outcome()
	c = s.copy(t, b.template)
	before, left, mended := c.state(), 0, map[string]bool{}
	for n := 1; ; n++ {
		killed, code, output := struck(t, n, c.bin, c.dsn, b.args...)
		c.await("its sessions are gone", func() bool {
			return c.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") == 0
		})
		if !killed {
			require.Zero(t, code, output)
			require.Equal(t, want, c.outcome())
			require.Positive(t, left, "no blow fell after a commit")
			t.Logf("killed at each of %d messages in %s; %d times something was left, of %d kinds", n-1, time.Since(began).Round(time.Millisecond), left, len(mended))
			return
		}
		if c.state() == before { // as if there had been no blow: the next one may fall here
			continue
		}
		left++
		part := c.outcome()
		if !b.partly {
			require.Equal(t, want, part, "after message %d a part of the step was left", n)
		}
		if !mended[part] { // the same again needs no other proof
			c.must(b.args...)
			require.Equal(t, want, c.outcome(), "after message %d", n)
			mended[part] = true
		}
		c = s.copy(t, b.template)
	}
}

// copied keeps a copy of the database, to which nobody is connected, and returns its name.
func (s *scene) copied() string {
	s.Helper()
	name := s.clone(s.db)
	s.Cleanup(func() { harness.SharedCluster(s).Exec(s, "postgres", "DROP DATABASE "+name) })
	return name
}

// copy is a scene in a copy of a template.
func (s *scene) copy(t *testing.T, template string) *scene {
	t.Helper()
	c := *s
	c.T = t
	c.db = s.clone(template)
	cluster := harness.SharedCluster(t)
	c.dsn = as(cluster.DSN(c.db), owner)
	config, err := pgxpool.ParseConfig(cluster.DSN(c.db))
	require.NoError(t, err)
	config.MaxConns = 1
	c.pool, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() {
		c.pool.Close()
		cluster.Exec(t, "postgres", "DROP DATABASE "+c.db+" WITH (FORCE)")
	})
	return &c
}

func (s *scene) clone(template string) string {
	s.Helper()
	name := fmt.Sprintf("phases%d", clones.Add(1))
	s.pool.Reset()
	harness.SharedCluster(s).Exec(s, "postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s", name, template, owner))
	return name
}

// state is all that a step may change, its times too, outside of rows of the application.
func (s *scene) state() (all string) {
	s.Helper()
	require.NoError(s, s.pool.QueryRow(s.Context(), `
		SELECT string_agg(x.name || query_to_xml(x.query, true, true, '')::text, E'\n' ORDER BY x.name) FROM (
			SELECT c.relname AS name, format('SELECT md5(string_agg(t::text, '','' ORDER BY t::text)) FROM backfleet.%I AS t', c.relname) AS query
			  FROM pg_class AS c WHERE c.relnamespace = 'backfleet'::regnamespace AND c.relkind = 'r'
			UNION ALL
			SELECT name, 'SELECT md5(string_agg(t::text, '','' ORDER BY t::text)) FROM (SELECT ' || columns || ' FROM ' || name || ') AS t'
			  FROM (VALUES ('pg_class', 'oid, relname, relacl::text, relhastriggers, relfilenode'), ('pg_attribute', 'attrelid, attnum, attname, attisdropped, attacl::text'),
				('pg_trigger', '*'), ('pg_proc', 'oid, proname, prosrc, proacl::text'), ('pg_constraint', 'oid, conname, convalidated'),
				('pg_index', 'indexrelid, indisvalid')) AS v(name, columns)) AS x`).Scan(&all))
	return all
}

// outcome is what a step leaves, without its times and without the ids that are made anew.
func (s *scene) outcome() string {
	s.Helper()
	var b strings.Builder
	b.WriteString(s.dump())
	rows, err := s.pool.Query(s.Context(), `SELECT * FROM (
		SELECT 0::bigint, jsonb_build_object('facts', m.facts, 'jobs', (SELECT jsonb_agg(state) FROM backfleet.jobs), 'ranges', (SELECT count(*) FROM backfleet.ranges),
			'flags', (SELECT jsonb_object_agg(name, percent) FROM backfleet.flags),
			'rehearsals', (SELECT jsonb_agg(jsonb_build_array(mode, ended IS NULL) ORDER BY id) FROM backfleet.rehearsals),
			'watched', (SELECT count(*) FROM backfleet.divergence)) FROM backfleet.migrations AS m
		UNION ALL SELECT id, jsonb_build_object('by', by, 'action', action, 'detail', detail) FROM backfleet.migration_log) AS x(id, what) ORDER BY id`)
	require.NoError(s, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		var what map[string]any
		require.NoError(s, rows.Scan(&id, &what))
		text, err := json.MarshalIndent(timeless(what), "", "  ")
		require.NoError(s, err)
		b.Write(append(text, '\n'))
	}
	require.NoError(s, rows.Err())
	return b.String()
}

// timeless replaces every time and every id that is made anew in a JSON value.
func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if v[k] = timeless(v[k]); k == "job" || k == "rehearsal" {
				v[k] = "made anew"
			}
		}
	case []any:
		for i := range v {
			v[i] = timeless(v[i])
		}
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return "a time"
		}
	}
	return v
}
