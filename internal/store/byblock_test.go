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
	for name, make := range map[string]func(*testing.T) *scene{"fill": inBlocks, "proof": proved} {
		t.Run(name, func(t *testing.T) {
			sc := make(t)
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
