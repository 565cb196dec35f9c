package mistakes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
)

// The size of a table decides which waits it may leave out, so a guard that takes a big one for a small one guards nothing.
func TestTheSizeOfATableIsKnown(t *testing.T) {
	for what, c := range map[string]struct {
		statements []string
		least      int64
		most       int64
	}{
		"analysed": {[]string{"CREATE TABLE big (id bigint PRIMARY KEY, email text)", "INSERT INTO big SELECT i FROM generate_series(1, 20000) i", "ANALYZE big"}, 19_900, 20_100},
		"grown since": {[]string{"CREATE TABLE big (id bigint PRIMARY KEY, email text)", "INSERT INTO big SELECT i FROM generate_series(1, 10000) i", "ANALYZE big",
			"INSERT INTO big SELECT i FROM generate_series(10001, 20000) i"}, 18_000, 22_000},
		"never analysed": {[]string{"CREATE TABLE big (id bigint PRIMARY KEY, email text)", "INSERT INTO big SELECT i FROM generate_series(1, 20000) i"}, 10_000, 40_000},
		"partitioned": {[]string{"CREATE TABLE big (id bigint PRIMARY KEY, email text) PARTITION BY RANGE (id)", "CREATE TABLE a PARTITION OF big FOR VALUES FROM (0) TO (5000)",
			"CREATE TABLE b PARTITION OF big FOR VALUES FROM (5000) TO (50000)", "INSERT INTO big SELECT i FROM generate_series(1, 20000) i", "ANALYZE big, a, b"}, 19_900, 20_100},
	} {
		t.Run(what, func(t *testing.T) {
			s := stage(t, 10)
			s.exec(c.statements...)
			spec, err := migration.ParseSpec([]byte("name: big\ndatabase: main\ntable: public.big\nfrom: {columns: [email]}\nto: {columns: [{name: n, type: text}]}\nforward: {n: lower(email)}\n"), "m.yaml")
			require.NoError(t, err)
			m, _, err := s.guard.Start(t.Context(), spec, "")
			require.NoError(t, err)
			require.GreaterOrEqual(t, m.Facts.Rows, c.least)
			require.LessOrEqual(t, m.Facts.Rows, c.most)
		})
	}
}

// What dual-write will cost is measured on tables as they are: with NOT NULL, unique and exclusive columns.
func TestTheCostOfDualWriteIsMeasuredUnderConstraints(t *testing.T) {
	s := stage(t, 1000)
	s.exec("ALTER TABLE public.users ADD UNIQUE (email)", "CREATE UNIQUE INDEX ON public.users (lower(email))", "ALTER TABLE public.users ADD EXCLUDE (email WITH =)")
	s.expanded()
	cost, err := s.guard.Cost(t.Context(), name)
	require.NoError(t, err)
	require.Equal(t, 1000, cost.Rows)
	require.Positive(t, cost.Update.With)
	require.Positive(t, cost.Update.Without)
	require.Equal(t, 3, s.number("SELECT count(*) FROM pg_index WHERE indrelid = 'public.users'::regclass AND NOT indisprimary"), "the real table keeps its own")
}
