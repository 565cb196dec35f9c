package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// What is asked many times a second while a job runs, or while it waits, must not take longer for a longer plan: of a ledger of which
// half is done and nearly all else waits, each question reads a few pages, whichever plan the server has for it.
func TestNoTurnReadsTheWholePlan(t *testing.T) {
	const waiting = 40_000
	sc := begun(t, 30, 10)
	sc.claim(sc.refs[0], "w1")
	sc.exec(`insert into backfleet.ranges (job_id, index, relation, lo, hi, state)
		select $1, 1000 + i, $2, array[i::text], array[(i + 1)::text], case when i <= $3 then 'done' else 'queued' end
		from generate_series(1, 2 * $3::int) i`, sc.j.ID, sc.relation, waiting)
	sc.exec("analyze backfleet.ranges")
	ids := "{" + string(sc.j.ID) + "}"
	for name, args := range map[string][]any{
		"room":          {sc.j.ID, 100_000},
		"open_any":      {sc.j.ID},
		"unsettled":     {sc.j.ID},
		"runnable":      {ids, 256},
		"release":       {sc.j.ID, 10},
		"released_list": {sc.j.ID, 5.0},
		"given_back":    {sc.j.ID},
		"expired":       {sc.j.ID},
		"running_list":  {sc.j.ID},
		"failed_list":   {sc.j.ID},
	} {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				require.Less(t, sc.pagesOf(mode, q(name), args...), 300, "of some %d", 2*waiting/25)
			})
		}
	}
}

// A round is written in steps; however many it takes, it has each done range once, in the order of the keys, and none that was dropped.
func TestARoundOfManyStepsHasEveryRangeOnce(t *testing.T) {
	const more = 2*roundStep + 5
	sc := begun(t, 30, 10)
	sc.exec(`update backfleet.jobs set spec = spec || '{"check": "n > 0"}'`)
	for _, ref := range sc.refs {
		sc.finish(sc.claim(ref, "w1"))
	}
	sc.exec(`insert into backfleet.ranges (job_id, index, relation, lo, hi, state)
		select $1, 10 + i, $2, array[i::text], array[(i + 1)::text], case when i % 1000 = 0 then 'skipped' else 'done' end
		from generate_series(1, $3::int) i`, sc.j.ID, sc.relation, more)
	_, err := sc.l.StartRound(t.Context(), sc.j.ID, 1)
	require.NoError(t, err)
	require.Equal(t, 3+more-more/1000, sc.one("select count(*) from backfleet.ranges where kind = 'verify'"))
	require.Zero(t, sc.one(`select count(*) from
		(select lo, hi, row_number() over (order by index) n from backfleet.ranges where kind = 'fill' and state = 'done') f full join
		(select lo, hi, row_number() over (order by index) n from backfleet.ranges where kind = 'verify' and state = 'queued' and round = 1) v using (n)
		where (f.lo, f.hi) is distinct from (v.lo, v.hi)`))
}

// So it is with a round over blocks: each block once, in the order of the heaps.
func TestARoundOfManyStepsHasEveryBlockOnce(t *testing.T) {
	const blocks = 2*roundStep + 5
	sc := begun(t, 10, 10)
	sc.finish(sc.claim(sc.refs[0], "w1"))
	files := []File{{Relation: sc.relation, Filenode: 7, Blocks: blocks}, {Relation: sc.relation, Filenode: 8, Blocks: 3}}
	_, err := sc.l.StartBlocks(t.Context(), sc.j.ID, 1, "snapshot", files, 1)
	require.NoError(t, err)
	require.Equal(t, blocks+3, sc.one("select count(*) from backfleet.ranges where kind = 'verify' and state = 'queued' and round = 1 and blocks_left = 1"))
	for _, f := range files {
		require.Equal(t, int(f.Blocks), sc.one(`select count(*) from
			(select lo, hi, hi_inclusive, chunk_lo, chunk_hi, key, row_number() over (order by index) n from backfleet.ranges where file = $1) r
			where lo is not distinct from case when n > 1 then array[format('(%s,0)', n - 1)] end and hi = array[format('(%s,0)', n)]
			and hi_inclusive = (n = $2) and (chunk_lo, chunk_hi, key) is not distinct from (lo, hi, lo)`, f.Filenode, f.Blocks))
	}
}

// pagesOf executes a statement under a plan of the kind and takes it back; it returns how many pages it read.
func (sc *scene) pagesOf(mode, text string, args ...any) int {
	sc.Helper()
	tx := sc.begin()
	defer tx.Rollback(sc.Context())
	values := make([]string, len(args))
	for i, a := range args {
		values[i] = fmt.Sprintf("'%v'", a) // of the test's own
	}
	for _, sql := range []string{"set local plan_cache_mode = " + mode, "prepare look as " + text} {
		_, err := tx.Exec(sc.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(sc, err, sql)
	}
	var out string
	err := tx.QueryRow(sc.Context(), "explain (analyze, buffers, format json) execute look("+strings.Join(values, ", ")+")", pgx.QueryExecModeSimpleProtocol).Scan(&out)
	require.NoError(sc, err)
	_, err = tx.Exec(sc.Context(), "deallocate look")
	require.NoError(sc, err)
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	require.NoError(sc, json.Unmarshal([]byte(out), &plans))
	return plans[0].Plan.Hit + plans[0].Plan.Read
}
