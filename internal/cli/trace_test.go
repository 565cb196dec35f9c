package cli

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// A run with a receiver tells it a span a range, with its batches, and what the coordinator did; nothing of what rows hold, and no
// secret.
func TestARunIsTraced(t *testing.T) {
	db := users(t, 5_000)
	const canary = "h0rse-staple"
	_, err := db.Pool.Exec(t.Context(), "update public.users set email = 'User7@"+canary+"' where id = 7")
	require.NoError(t, err)
	_, err = db.Pool.Exec(t.Context(), "alter table public.users add constraint poison check (id <> 7 or email_norm is null)")
	require.NoError(t, err)
	r := harness.OTLP(t)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	path := writeSpec(t, usersSpec)

	code, _, errs := sh.run("run", path, "--otlp-endpoint", r.URL, "--workers", "2")
	require.Equal(t, exitWithErrors, code, errs)
	st := sh.status("users-norm")

	ended := map[int64]bool{} // ranges that a claim has brought to their end
	batches := 0
	for _, s := range r.Spans("range") {
		about := map[string]any{}
		for _, a := range s.GetAttributes() {
			if about[a.GetKey()] = a.GetValue().GetStringValue(); about[a.GetKey()] == "" {
				about[a.GetKey()] = a.GetValue().GetIntValue()
			}
		}
		require.Equal(t, "users-norm", about["backfleet.job"])
		require.Equal(t, "main", about["backfleet.database"])
		require.Equal(t, string(st.ID), about["backfleet.job_id"])
		if about["backfleet.outcome"] == "done" {
			ended[about["backfleet.range"].(int64)] = true
		}
		for _, e := range s.GetEvents() {
			if e.GetName() == "batch" {
				batches++
			}
		}
	}
	require.GreaterOrEqual(t, len(ended), 6, "five ranges of the fill, and the blocks of the verification")
	require.GreaterOrEqual(t, batches, len(ended))
	for _, name := range []string{"plan", "release", "compare", "end"} {
		require.NotEmpty(t, r.Spans(name), name)
	}
	require.NotContains(t, fmt.Sprint(r.Received()), canary)

	// A receiver that is away costs spans and nothing else; a wrong address is told at once.
	_, err = db.Pool.Exec(t.Context(), "alter table public.users drop constraint poison")
	require.NoError(t, err)
	sh.ok("retry", "users-norm")
	sh.environ = append(sh.environ, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1")
	code, _, errs = sh.run("run", path)
	require.Equal(t, exitOK, code, errs)
	code, _, errs = sh.run("run", path, "--again", "--otlp-endpoint", "collector:4317")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, `"collector:4317" is not an address; write http://127.0.0.1:4318`)
	requireOneLine(t, errs)
}
