package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// inBlocks is a scene whose job walks its table in block order, in one range that is released.
func inBlocks(t *testing.T) *scene {
	t.Helper()
	ctx, sc := t.Context(), submitted(t, 10)
	sc.exec("delete from backfleet.jobs")
	spec := counterSpec()
	spec.Order, spec.Where = job.OrderBlock, "n = 0"
	todo := newJob(spec)
	todo.Order = job.OrderBlock
	var err error
	sc.j, err = sc.s.Submit(ctx, "ann", todo)
	require.NoError(t, err)
	require.NoError(t, sc.l.Freeze(ctx, sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	rels, err := sc.s.Relations(ctx, sc.j.ID)
	require.NoError(t, err)
	whole := ranges.Range{Relation: sc.relation, Span: ranges.Span{Hi: rels[0].Bound, HiClosed: true}}
	require.NoError(t, sc.l.AddRanges(ctx, sc.j.ID, sc.relation, rels[0].File, []ranges.Range{whole}, true))
	require.NoError(t, sc.l.Planned(ctx, sc.j.ID))
	sc.j, err = sc.l.Start(ctx, sc.j.ID)
	require.NoError(t, err)
	sc.refs, err = sc.l.Release(ctx, sc.j, 10)
	require.NoError(t, err)
	return sc
}

// proved is a scene whose job walks keys and is in a proof by block, of one range that is released.
func proved(t *testing.T) *scene {
	t.Helper()
	ctx, sc := t.Context(), begun(t, 10, 10)
	sc.finish(sc.claim(sc.refs[0], "w1"))
	files, err := sc.s.Files(ctx, sc.j.ID)
	require.NoError(t, err)
	sc.j, err = sc.l.StartBlocks(ctx, sc.j.ID, 1, "snapshot", files, 10)
	require.NoError(t, err)
	sc.refs, err = sc.l.Release(ctx, sc.j, 10)
	require.NoError(t, err)
	return sc
}

// Rows move out of a range of blocks, and every block has a part in a proof: nothing would come of skipping one.
func TestARangeOfBlocksIsNotSkipped(t *testing.T) {
	for name, scene := range map[string]func(*testing.T) *scene{"fill": inBlocks, "proof": proved} {
		t.Run(name, func(t *testing.T) {
			sc := scene(t)
			require.Len(t, sc.refs, 1)
			before := sc.text("select jsonb_agg(to_jsonb(r))::text from backfleet.ranges r")
			_, err := sc.s.SkipRange(t.Context(), sc.j.ID, "ann", sc.refs[0].Index, "its owner is on holiday")
			require.ErrorContains(t, err, "is of blocks")
			require.ErrorContains(t, err, "backfleet skip count --key KEY")
			require.Equal(t, before, sc.text("select jsonb_agg(to_jsonb(r))::text from backfleet.ranges r"))
			require.NotEqual(t, "skip", sc.lastEvent().Action)
		})
	}
}

// A worker of the version before takes row addresses for keys: of a text key it would call done what it never saw, of one of several columns
// it would die. So it claims none, whatever the message says that it read.
func TestWorkersOfBeforeClaimNoBlocks(t *testing.T) {
	const claimOfBefore = `update backfleet.ranges set state = 'running', fence = fence + 1, claim_token = gen_random_uuid(), owner = 'old',
		lease_until = clock_timestamp() + interval '10 seconds', claims = claims + 1 where index = $1 and state = 'released'`
	composite := func(t *testing.T) *scene {
		sc := proved(t)
		sc.exec("update backfleet.jobs set key_columns = key_columns || key_columns")
		return sc
	}
	for name, scene := range map[string]func(*testing.T) *scene{"fill": inBlocks, "proof of a composite key": composite} {
		t.Run(name, func(t *testing.T) {
			sc := scene(t)
			require.Len(t, sc.refs, 1)
			_, err := sc.s.pool.Exec(t.Context(), claimOfBefore, sc.refs[0].Index)
			require.ErrorContains(t, err, "spans row addresses")
			require.ErrorContains(t, err, "BF003")
			require.Equal(t, "released", sc.rangeState(sc.refs[0]))
			sc.claim(sc.refs[0], "w1")
		})
	}
	for name, scene := range map[string]func(*testing.T) *scene{"keys": func(t *testing.T) *scene { return begun(t, 10, 10) }, "proof": proved} {
		t.Run(name, func(t *testing.T) {
			sc := scene(t)
			sc.exec(claimOfBefore, sc.refs[0].Index)
			require.Equal(t, "running", sc.rangeState(sc.refs[0]))
		})
	}
}

// A coordinator of the version before would plan, release and prove by keys what is in block order. It does not come to lead while there is any.
func TestCoordinatorsOfBeforeDoNotLeadBlocks(t *testing.T) {
	const leadOfBefore = `insert into backfleet.leadership as l (owner, epoch, until) select 'old', 1, clock_timestamp() + interval '6 seconds'
		on conflict (id) do update set owner = excluded.owner, until = excluded.until, epoch = case when l.owner = excluded.owner then l.epoch else l.epoch + 1 end
		where l.until <= clock_timestamp() or l.owner = excluded.owner`
	sc := inBlocks(t)
	require.NoError(t, sc.l.Resign(t.Context()))
	_, err := sc.s.pool.Exec(t.Context(), leadOfBefore)
	require.ErrorContains(t, err, "job count is in block order")
	_, _, live, err := sc.s.LeaderName(t.Context())
	require.NoError(t, err)
	require.False(t, live)

	_, err = sc.s.Lead(t.Context(), "coordinator-2")
	require.NoError(t, err, "one that knows of blocks leads")
	_, err = sc.s.Cancel(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	sc.exec("update backfleet.leadership set until = clock_timestamp()")
	sc.exec(leadOfBefore)
	sc.exec(leadOfBefore)
	owner, _, live, err := sc.s.LeaderName(t.Context())
	require.NoError(t, err)
	require.True(t, live)
	require.Equal(t, "old", owner)
}
