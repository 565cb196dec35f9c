package phases

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// moved are the tables of the ledger whose times are a migration's.
var moved = []string{"migrations", "migration_log", "divergence", "divergence_rounds", "divergence_rows", "divergence_buckets", "activity", "rehearsals", "flags"}

// pass lets time pass: every stored time of the migration moves into the past.
func (s *scene) pass(d time.Duration) {
	s.Helper()
	require.NoError(s, pgx.BeginFunc(s.Context(), s.pool, func(tx pgx.Tx) error {
		var facts map[string]any
		if err := tx.QueryRow(s.Context(), "SELECT facts FROM backfleet.migrations FOR UPDATE").Scan(&facts); err != nil {
			return err
		}
		text, err := json.Marshal(earlier(facts, d))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(s.Context(), "UPDATE backfleet.migrations SET facts = $1::text::jsonb", string(text)); err != nil {
			return err
		}
		for _, table := range moved {
			rows, err := tx.Query(s.Context(), `SELECT format('%1$I = %1$I - $1::interval', attname) FROM pg_attribute
				WHERE attrelid = $1::text::regclass AND atttypid = 'timestamptz'::regtype AND NOT attisdropped`, "backfleet."+table)
			if err != nil {
				return err
			}
			sets, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			if _, err := tx.Exec(s.Context(), fmt.Sprintf("UPDATE backfleet.%s SET %s", table, strings.Join(sets, ", ")), d); err != nil {
				return err
			}
		}
		return nil
	}))
}

// earlier moves every time in a JSON value into the past.
func earlier(v any, d time.Duration) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = earlier(v[k], d)
		}
	case []any:
		for i := range v {
			v[i] = earlier(v[i], d)
		}
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.Add(-d).Format(time.RFC3339Nano)
		}
	}
	return v
}

// eve is how long before its time a gate is asked for the last time: a command takes a while on a busy machine.
const eve = 2 * time.Second

// opens lets time pass until shortly before a soak is over, sees that the step is still refused and says so, waits for the moment, and
// takes it. since is when the soak began.
func (s *scene) opens(soak time.Duration, since func() *time.Time, step string, args ...string) {
	s.Helper()
	require.Contains(s, s.refused(step, args...), "remain, until ")
	var now time.Time
	require.NoError(s, s.pool.QueryRow(s.Context(), "SELECT clock_timestamp()").Scan(&now))
	s.pass(since().Add(soak).Sub(now) - eve)
	if step == "stop" { // it asks for a round of the last day
		s.phase("check")
	}
	require.Regexp(s, `[12]s remain, until `, s.refused(step, args...))
	began := *since()
	s.await(step+" opens", func() bool { return s.cli(append([]string{"phase", step, "norm"}, args...)...).code == 0 })
	require.NoError(s, s.pool.QueryRow(s.Context(), "SELECT at FROM backfleet.migration_log ORDER BY id DESC LIMIT 1").Scan(&now))
	require.GreaterOrEqual(s, now.Sub(began), soak, "not a moment before its time")
}
