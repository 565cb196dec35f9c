package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/api"
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
			require.Contains(t, shown, "caps        2,500 rows/s, 30MiB of WAL/s")
			require.Contains(t, shown, "caps      3,000 rows/s, 50MiB of WAL/s")
			require.Contains(t, shown, "override    rate 0.5 until ")
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
