package faults

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// Bad input gets one line that says field, value, why and what would be right; the exit code is 2, and nothing changes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 1000, perRange: 1000})
	f.must("db", "init")
	f.exec(`CREATE TABLE public.odd (id bytea PRIMARY KEY, counter int)`)
	f.exec(`CREATE TABLE public.keyless (id bigint NOT NULL, counter int)`)
	f.exec(`CREATE ROLE poor LOGIN IN ROLE pg_monitor`)
	f.exec(`CREATE ROLE blind LOGIN`)
	f.exec(`CREATE ROLE locked LOGIN PASSWORD 'c4n4ry-right'`)
	t.Cleanup(func() { // roles belong to the cluster, which other tests share
		f.exec(`REVOKE ALL ON ALL TABLES IN SCHEMA public, backfleet FROM poor`)
		f.exec(`REVOKE ALL ON ALL SEQUENCES IN SCHEMA backfleet FROM poor`)
		f.exec(`REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfleet FROM poor`)
		f.exec(`REVOKE ALL ON SCHEMA public, backfleet FROM poor`)
		f.exec(`DROP ROLE poor, blind, locked`)
	})
	bare := harness.NATS(t, harness.WithoutJetStream())
	guarded := harness.NATS(t, harness.WithNATSConfig(`authorization: {token: "c4n4ry-right"}`))
	token := filepath.Join(f.dir, "token")
	require.NoError(t, os.WriteFile(token, []byte("c4n4ry-wrong\n"), 0o600))
	spec, err := os.ReadFile(f.file)
	require.NoError(t, err)
	write := func(name, text string) string {
		file := filepath.Join(f.dir, name+".yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	n := 0
	// changed is the spec with some text replaced.
	changed := func(pairs ...string) string {
		n++
		text := string(spec)
		for i := 0; i < len(pairs); i += 2 {
			require.Contains(t, text, pairs[i])
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return write("spec"+string(rune('a'+n)), text)
	}
	main := func(dsn string) []string { return []string{"BACKFLEET_DATABASE_MAIN=" + dsn} }
	as := func(user *url.Userinfo, change func(*url.URL)) []string {
		u, err := url.Parse(f.dsn)
		require.NoError(t, err)
		if user != nil {
			u.User = user
		}
		if change != nil {
			change(u)
		}
		return main(u.String())
	}
	submitted := f.must("submit", f.file)
	require.Contains(t, submitted, "is stored")
	before := dump(t, f.dsn)

	for _, c := range []struct {
		name string
		args []string
		env  []string
		code int
		says []string
	}{
		{"unknown table", []string{"submit", changed("public.accounts", "public.acounts", "name: ", "name: x")}, nil, 2, []string{"table", `"public.acounts"`, "public.accounts"}},
		{"unknown column", []string{"submit", changed("counter: counter + 1", "conuter: counter + 1", "name: ", "name: x")}, nil, 2, []string{"set", `"conuter"`, "counter"}},
		{"unknown column in an expression", []string{"submit", changed("counter + 1", "countre + 1", "name: ", "name: x")}, nil, 2, []string{"set.counter", "countre"}},
		{"two statements", []string{"submit", changed("counter + 1", "1; DROP TABLE public.accounts", "name: ", "name: x")}, nil, 2, []string{"set.counter"}},
		{"an expression that leaves its parenthesis", []string{"submit", changed("check: counter = 1", "where: counter = 0) OR (true", "name: ", "name: x")}, nil, 2, []string{"where"}},
		{"key type", []string{"submit", changed("public.accounts", "public.odd", "name: ", "name: x")}, nil, 2, []string{"key", "bytea"}},
		{"no key", []string{"submit", changed("public.accounts", "public.keyless", "name: ", "name: x")}, nil, 2, []string{"table", "CREATE UNIQUE INDEX"}},
		{"database name", []string{"submit", changed("database: main", "database: mian")}, nil, 2, []string{"mian", "main"}},
		{"database name of run", []string{"run", changed("database: main", "database: mian"), "--state-dir", f.dir}, nil, 2, []string{"mian", "main", "BACKFLEET_DATABASE_MIAN"}},
		{"unknown field", []string{"submit", changed("rows_per_range", "rows_per_rnage")}, nil, 2, []string{"rows_per_rnage", "rows_per_range", ".yaml:"}},
		{"where that set leaves true", []string{"submit", changed("check: counter = 1", "where: counter < 5", "name: ", "name: x")}, nil, 2, []string{"where", "still matches row 1 ", "residual"}},
		{"key column", []string{"submit", changed("counter: counter + 1", "id: id + 1", "name: ", "name: x")}, nil, 2, []string{"set.id", "key"}},
		{"changed spec of a name", []string{"submit", changed("counter + 1", "counter + 2")}, nil, 2, []string{"name", "exists", "set", "another name"}},
		{"changed spec of a name, by run", []string{"run", changed("counter + 1", "counter + 2"), "--state-dir", f.dir}, nil, 2, []string{"name", "exists", "set", "another name"}},
		{"replica name", []string{"submit", changed("name: ", "name: x", "throttle:\n", "throttle:\n  replicas: {stanby1: ignore}\n")}, nil, 2, []string{"throttle.replicas.stanby1", `did you mean "standby1"?`}},
		{"privileges on the table", []string{"plan", changed("name: ", "name: x")}, as(url.User("poor"), nil), 2, []string{"table", `GRANT SELECT, UPDATE ("counter") ON "public"."accounts" TO "poor"`}},
		{"privilege to see replicas", []string{"plan", changed("name: ", "name: x")}, as(url.User("blind"), nil), 2, []string{"database", `GRANT pg_monitor TO "blind"`}},
		{"a standby", []string{"submit", changed("name: ", "name: x")}, main(harness.SharedCluster(t).ReplicaDSN(0, databaseOf(t, f.dsn))), 2, []string{"standby", "primary"}},
		{"a standby, by run", []string{"run", f.file, "--state-dir", f.dir}, main(harness.SharedCluster(t).ReplicaDSN(0, databaseOf(t, f.dsn))), 2, []string{"standby", "primary"}},
		{"a standby, by db init", []string{"db", "init"}, main(harness.SharedCluster(t).ReplicaDSN(0, databaseOf(t, f.dsn))), 2, []string{"standby", "primary"}},
		{"a standby, by the coordinator", []string{"coordinator", "--nats-url", guarded.URL(), "--state-dir", f.dir}, main(harness.SharedCluster(t).ReplicaDSN(0, databaseOf(t, f.dsn))), 2, []string{"standby", "primary"}},
		{"a standby, by a worker", []string{"worker", "--nats-url", guarded.URL()}, main(harness.SharedCluster(t).ReplicaDSN(0, databaseOf(t, f.dsn))), 2, []string{"standby", "primary"}},
		{"password", []string{"submit", changed("name: ", "name: x")}, as(url.UserPassword("locked", "c4n4ry-wrong"), nil), 2, []string{"main", "password"}},
		{"password of run", []string{"run", f.file, "--state-dir", f.dir}, as(url.UserPassword("locked", "c4n4ry-wrong"), nil), 2, []string{"main", "password"}},
		{"no such role", []string{"plan", f.file}, as(url.User("nobody-here"), nil), 2, []string{"nobody-here"}},
		{"no such database", []string{"submit", f.file}, as(nil, func(u *url.URL) { u.Path = "/nowhere" }), 2, []string{"nowhere"}},
		{"a DSN that cannot be read", []string{"submit", f.file}, main("postgres://u:c4n4ry@h:port/db"), 2, []string{"BACKFLEET_DATABASE_MAIN"}},
		{"no ledger", []string{"worker", "--nats-url", guarded.URL()}, as(nil, func(u *url.URL) { u.Path = "/postgres" }), 2, []string{"backfleet db init"}},
		{"NATS without JetStream, coordinator", []string{"coordinator", "--nats-url", bare.URL(), "--state-dir", f.dir, "--listen", "127.0.0.1:0"}, nil, 2, []string{"JetStream"}},
		{"NATS without JetStream, worker", []string{"worker", "--nats-url", bare.URL()}, nil, 2, []string{"JetStream"}},
		{"NATS without JetStream, run", []string{"run", f.file, "--nats-url", bare.URL(), "--state-dir", f.dir}, nil, 2, []string{"JetStream"}},
		{"NATS token, coordinator", []string{"coordinator", "--nats-url", guarded.URL(), "--nats-token-file", token, "--state-dir", f.dir}, nil, 2, []string{"credentials"}},
		{"NATS token, worker", []string{"worker", "--nats-url", guarded.URL(), "--nats-token-file", token}, nil, 2, []string{"credentials"}},
		{"no NATS token", []string{"worker", "--nats-url", guarded.URL()}, nil, 2, []string{"credentials"}},
		{"no NATS", []string{"worker", "--nats-url", "nats://127.0.0.1:9"}, nil, 5, []string{"127.0.0.1:9"}},
		{"no database", []string{"submit", f.file}, as(nil, func(u *url.URL) { u.Host = "127.0.0.1:9" }), 5, []string{"main"}},
		{"no database of run", []string{"run", f.file, "--state-dir", f.dir}, as(nil, func(u *url.URL) { u.Host = "127.0.0.1:9" }), 5, []string{"main"}},
		{"no API", []string{"status", "--api", "http://127.0.0.1:9"}, nil, 5, []string{"127.0.0.1:9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := c.env
			if env == nil {
				env = f.env()
			}
			a := command(t, f.bin, env, c.args...)
			require.Equal(t, c.code, a.code, a.stderr+a.stdout)
			require.Empty(t, a.stdout)
			oneLine(t, a)
			for _, s := range c.says {
				require.Contains(t, a.stderr, s)
			}
			require.NotContains(t, a.stderr, "c4n4ry")
		})
	}
	require.Equal(t, before, dump(t, f.dsn), "nothing changed")

	// A `run` that is refused does not even make the ledger, and one whose NATS does not serve stores no job.
	fresh := harness.Database(t)
	_, err = fresh.Pool.Exec(t.Context(), "CREATE TABLE public.accounts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, counter int)")
	require.NoError(t, err)
	empty := dump(t, fresh.DSN)
	for _, args := range [][]string{
		{"run", changed("counter: counter + 1", "conuter: counter + 1"), "--state-dir", f.dir},
		{"run", f.file, "--state-dir", f.dir, "--nats-url", bare.URL()},
	} {
		a := command(t, f.bin, main(fresh.DSN), args...)
		require.Equal(t, 2, a.code, a.stderr)
		oneLine(t, a)
		require.Equal(t, empty, dump(t, fresh.DSN), "nothing changed")
	}

	// What surprises is told and not refused.
	plan := f.must("plan", changed("counter + 1", "(random() * 9)::int", "name: ", "name: x", "check: counter = 1", "check: counter is not null"))
	require.Contains(t, plan, "random")
	require.Equal(t, before, dump(t, f.dsn), "a plan changes nothing")

	// The privileges that `db grants` prints are all that it takes.
	for sql := range strings.SplitSeq(f.must("db", "grants", "main", "--role", "poor", "--table", "public.accounts"), ";\n") {
		if strings.TrimSpace(sql) != "" {
			f.exec(sql)
		}
	}
	a := command(t, f.bin, as(url.User("poor"), nil), "submit", changed("name: ", "name: x"))
	require.Zero(t, a.code, a.stderr)
}

func databaseOf(t *testing.T, dsn string) string {
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	return strings.TrimPrefix(u.Path, "/")
}

// dump is all that a database holds, as text.
func dump(t *testing.T, dsn string) string {
	t.Helper()
	bin, err := harness.PostgresBin()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "pg_dump"), "--dbname="+dsn).CombinedOutput()
	require.NoError(t, err, string(out))
	var kept strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) { // a new random word each time
			kept.WriteString(line)
		}
	}
	return kept.String()
}
