package cli

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

// throttle reads what holds a database.
func (s shell) throttle(args ...string) api.DatabaseThrottle {
	s.t.Helper()
	var got api.DatabaseThrottle
	require.NoError(s.t, json.Unmarshal([]byte(s.ok(append([]string{"throttle", "show", "main", "-o", "json"}, args...)...)), &got))
	return got
}

func TestADatabaseIsHeldFreedCappedAndOverridden(t *testing.T) {
	db := users(t, 50_000)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	path := writeSpec(t, usersSpec+"throttle: {max_rows_per_second: 3000, max_wal_bytes_per_second: 50MiB}\n")
	run := sh.start("run", path, "--workers", "1", "--open-check")
	found, err := run.WaitForOutput(apiLine, 30*time.Second)
	require.NoError(t, err)
	soon(t, "rows are written", func() bool { return sh.status("users-norm").Rows > 0 })

	for name, over := range map[string][]string{"by the ledger": nil, "by the API": {"--api", found[1], "--api-token-file", found[2]}} {
		t.Run(name, func(t *testing.T) {
			sh := sh
			sh.t = t
			do := func(args ...string) string { return sh.ok(append(args, over...)...) }
			require.Regexp(t, `database main is held until \S+ \S+Z; free it with: backfleet throttle release main`,
				do("throttle", "hold", "main", "--for", "10m", "--reason", "incident 4711"))
			held := regexp.MustCompile(`held by ` + regexp.QuoteMeta(actor()) + ` until \S+Z: incident 4711`)
			require.Regexp(t, held, do("throttle", "show", "main"))
			soon(t, "the status says why", func() bool { return held.MatchString(do("status", "users-norm")) })
			require.Regexp(t, held, sh.ok("doctor"))
			var before int64
			soon(t, "rows stand still", func() bool { // at 3,000 rows/s none would for so long
				before = sh.status("users-norm").Rows
				time.Sleep(300 * time.Millisecond)
				return sh.status("users-norm").Rows == before
			})
			require.Contains(t, do("throttle", "release", "main"), "not held any more")
			require.Nil(t, sh.throttle(over...).Brake)
			soon(t, "it goes on", func() bool { return sh.status("users-norm").Rows > before })

			require.Contains(t, do("throttle", "set", "main", "max_wal_bytes_per_second=30MiB", "max_rows_per_second=2500"),
				"max_rows_per_second: 0 → 2500\nmax_wal_bytes_per_second: 0 → 30MiB\n")
			require.Contains(t, do("throttle", "override", "main", "--rate", "0.5", "--for", "1h"), "rate 0.5 until ")
			got := sh.throttle(over...)
			require.Equal(t, 2500, got.Rules.MaxRowsPerSecond)
			require.InDelta(t, 0.5, got.Rules.Override.Rate, 0)
			require.Equal(t, actor(), got.Rules.Override.By)
			require.Equal(t, "users-norm", got.Jobs[0].Name)
			shown := do("throttle", "show", "main")
			require.Contains(t, shown, "caps         2,500 rows/s, 30MiB of WAL/s")
			require.Contains(t, shown, "  caps       3,000 rows/s, 50MiB of WAL/s")
			require.Contains(t, shown, "override     rate 0.5 until ")
			require.Contains(t, do("throttle", "override", "main", "--end"), "no override")
			do("throttle", "set", "main", "max_wal_bytes_per_second=0", "max_rows_per_second=0")
		})
	}

	// Other tools ask in freno's convention.
	sh.ok("throttle", "hold", "main", "--for", "10m", "--reason", "incident 4711")
	soon(t, "other tools are stopped", func() bool {
		code, body := get(t, found[1]+"/check/gh-ost/postgresql/main")
		return code == http.StatusTooManyRequests && strings.Contains(body, `"StatusCode":429`) && strings.Contains(body, "incident 4711")
	})
	require.Contains(t, sh.ok("report", "users-norm"), "throttle override by "+actor())
	require.NoError(t, run.Term())
	_, err = run.Wait(30 * time.Second)
	require.NoError(t, err)
}

func TestLimitsOfTheThrottleChangeLive(t *testing.T) {
	db := users(t, 10)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	sh.ok("db", "init")
	sh.ok("submit", writeSpec(t, usersSpec))
	for _, c := range []struct{ set, says string }{
		{`throttle.windows=[{cron: "0 22 * * *", tz: Europe/Berlin, for: 8h, rate: 1.0}]`, "throttle.windows: unset → [{cron:"},
		{"throttle.default_rate=0.3", "throttle.default_rate: unset → 0.3"},
		{"throttle.signals.archive_queue.hard=30", "throttle.signals.archive_queue.hard: unset → 30"},
		{"throttle.signals.autovacuum=off", "throttle.signals.autovacuum: unset → off"},
		{"throttle.checks=[{name: queue, sql: SELECT count(*) FROM public.users, soft: 100}]", "throttle.checks: unset → [{name:"},
		{"throttle.max_wal_bytes_per_second=20MiB", "throttle.max_wal_bytes_per_second: 0 → 20MiB"},
	} {
		require.Contains(t, sh.ok("set", "users-norm", c.set), c.says)
	}
	st := sh.status("users-norm").Limits.Throttle
	require.Equal(t, "Europe/Berlin", st.Windows[0].TZ)
	require.InDelta(t, 0.3, *st.DefaultRate, 0)
	require.Equal(t, job.Bytes(20<<20), st.MaxWALBytesPerSecond)
	require.Contains(t, sh.ok("throttle", "show", "main"), "SQL: SELECT count(*) FROM public.users")
	for _, c := range []struct{ set, says string }{
		{"throttle.signals.autovacum=off", `did you mean "throttle.signals.autovacuum"?`},
		{"throttle.signals.archive_queue.soft=50", "soft 50 above hard 30"},
		{"throttle.windows=[{cron: 0 22 * * *, tz: Mars/Base, for: 8h}]", `throttle.windows[0].tz: "Mars/Base" is not a time zone`},
		{"throttle.checks=[{name: queue, sql: UPDATE public.users SET email = '' RETURNING 1, soft: 100}]", "writes or locks rows, which a check must not"},
		{"throttle.default_rate=", ""},
	} {
		code, _, errs := sh.run("set", "users-norm", c.set)
		if c.says == "" {
			require.Equal(t, exitOK, code, errs)
			continue
		}
		require.Equal(t, exitRefused, code, c.set)
		requireOneLine(t, errs)
		require.Contains(t, errs, c.says)
	}
	require.Nil(t, sh.status("users-norm").Limits.Throttle.DefaultRate)
	require.Equal(t, st.Checks, sh.status("users-norm").Limits.Throttle.Checks, "what was refused changed nothing")

	// Who does not answer now may be there when the job begins: that is said, and not refused.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	down := `{name: traffic, http: "http://` + l.Addr().String() + `/go"}`
	code, _, errs := sh.run("set", "users-norm", "throttle.checks=["+down+"]")
	require.Equal(t, exitOK, code)
	require.Regexp(t, `^warning: throttle.checks\[0\]: check traffic is blind now, and while it is no batch starts: [^\n]+\n$`, errs)
	code, _, errs = sh.run("submit", writeSpec(t, strings.Replace(usersSpec, "users-norm", "another", 1)+"throttle: {checks: ["+down+"]}\n"))
	require.Equal(t, exitOK, code)
	require.Contains(t, errs, "warning: throttle.checks[0]: check traffic is blind now")
	require.Equal(t, 1, strings.Count(errs, "\n"))
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	got, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return got.StatusCode, string(raw)
}
