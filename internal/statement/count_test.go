package statement_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/test/harness"
)

// A row that moves from a block not read yet to one that was: within one snapshot it is counted once, and in several it is missed. That is
// why a proof by block needs a snapshot.
func TestARowThatMovesIsCountedOnceInASnapshot(t *testing.T) {
	for _, c := range []struct {
		isolation pgx.TxIsoLevel
		found     int64
	}{{pgx.RepeatableRead, 1}, {pgx.ReadCommitted, 0}} {
		t.Run(string(c.isolation), func(t *testing.T) {
			db := harness.Database(t)
			for _, sql := range []string{
				"create table t (id bigint primary key, open bool not null default false, pad text not null)",
				"alter table t alter pad set storage plain",
				"insert into t select i, i = 35, repeat('x', 900) from generate_series(1, 40) i", // eight rows a block
				"delete from t where id < 8",
				"vacuum t",
			} {
				_, err := db.Pool.Exec(t.Context(), sql)
				require.NoError(t, err, sql)
			}
			target := statement.Target{Schema: "public", Name: "t", Key: []job.Column{{Name: "id", Type: "bigint"}}, Where: "open"}
			tx, err := db.Pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: c.isolation})
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(t.Context()) }()
			var all, open int64
			count := func(s ranges.Span) {
				sql := target.Count(statement.Step{Span: s}, ranges.Key{"40"})
				var relation, file uint32
				var rows, residual, failing int64
				require.NoError(t, tx.QueryRow(t.Context(), sql.Text, sql.Args...).Scan(&relation, &file, &rows, &residual, &failing))
				require.NotZero(t, relation)
				require.NotZero(t, file)
				all, open = all+rows, open+residual
			}
			halves := slices.Collect(ranges.CutBlocks(5, 3))
			count(halves[0])
			_, err = db.Pool.Exec(t.Context(), "update t set pad = repeat('y', 1200) where id = 35")
			require.NoError(t, err)
			var block int
			require.NoError(t, db.Pool.QueryRow(t.Context(), "select (ctid::text::point)[0]::int from t where id = 35").Scan(&block))
			require.Zero(t, block, "it has moved to the space that the deleted rows left")
			count(halves[1])
			require.Equal(t, c.found, open)
			require.Equal(t, 32+c.found, all)
		})
	}
}

// Blocks are read by themselves, whatever indexes there are. For a few rows of them the planner has to be kept from a sequential scan.
func TestBlocksAreReadByATIDRangeScan(t *testing.T) {
	db := harness.Database(t)
	for _, sql := range []string{
		"create table t (id bigint primary key, open bool)", "create index on t (open)",
		"insert into t select i, false from generate_series(1, 50000) i", "analyze t",
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	target := statement.Target{Schema: "public", Name: "t", Key: []job.Column{{Name: "id", Type: "bigint"}}, Where: "open"}
	for name, c := range map[string]struct {
		statement.SQL
		seqscan string
	}{
		"count": {target.Count(statement.Step{Span: ranges.BlockSpan(100, 110)}, ranges.Key{"50000"}), "on"},
		"near":  {target.Near(100, 10), "off"},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := db.Pool.Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(t.Context()) }()
			_, err = tx.Exec(t.Context(), "set local enable_seqscan = "+c.seqscan)
			require.NoError(t, err)
			rows, err := tx.Query(t.Context(), "explain "+c.Text, c.Unkept()...)
			require.NoError(t, err)
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			require.Contains(t, plan[1], "Tid Range Scan on t")
		})
	}
}
