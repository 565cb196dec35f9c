package preflight_test

import (
	"strings"
	"testing"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// Strided order is for tables where updates can be HOT, where there are indexes to spare, and where a pass comes back to the pages of
// the pass before.
func TestTheOrderFollowsTheTable(t *testing.T) {
	pool := harness.Database(t).Pool
	for _, v := range []struct {
		name, key, index string
		passes           int
		says             string
	}{
		{"the key's index alone", "i", "", 1, "that of the key"},
		{"another index", "i", "CREATE INDEX ON t (w)", 8, "8 passes over each chunk"},
		{"an index over what is written", "i", "CREATE INDEX ON t (v)", 1, "that of the key"},
		{"descending rows", "100000 - i", "CREATE INDEX ON t (w)", 8, "8 passes over each chunk"},
		{"rows in no order of the key", "hashint8(i)::bigint", "CREATE INDEX ON t (w)", 1, "that of the key"},
	} {
		t.Run(v.name, func(t *testing.T) {
			exec(t, pool, "DROP TABLE IF EXISTS t", "CREATE TABLE t (id bigint PRIMARY KEY, v text, w text)",
				"INSERT INTO t SELECT "+v.key+", NULL, 'Row ' || i FROM generate_series(1, 3000) i")
			if v.index != "" {
				exec(t, pool, v.index)
			}
			exec(t, pool, "ANALYZE t")
			p := check(t, pool, spec(func(s *job.Spec) { s.LateRows = "ignore" }))
			var text strings.Builder
			if err := p.Render(&text, false); err != nil {
				t.Fatal(err)
			}
			if p.HOT.Passes != v.passes || !strings.Contains(text.String(), v.says) {
				t.Errorf("%+v\n%s", p.HOT, text.String())
			}
		})
	}
	asked := spec(func(s *job.Spec) { s.LateRows = "ignore"; s.Batch.Passes = "4" })
	var text strings.Builder
	if err := check(t, pool, asked).Render(&text, false); err != nil || !strings.Contains(text.String(), "4 passes over each chunk, as batch.passes says") {
		t.Error(err, text.String())
	}
}
