package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

func TestOneLeadsAtATime(t *testing.T) {
	s := migrated(t)
	first, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	_, err = s.Lead(t.Context(), "coordinator-2")
	require.ErrorIs(t, err, ErrNotLeader)
	again, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	require.Equal(t, first.Epoch, again.Epoch, "a renewal keeps the epoch")

	require.NoError(t, first.Resign(t.Context()))
	second, err := s.Lead(t.Context(), "coordinator-2")
	require.NoError(t, err)
	require.Equal(t, first.Epoch+1, second.Epoch)
	require.NoError(t, first.Resign(t.Context()))
	owner, epoch, live, err := s.LeaderName(t.Context())
	require.NoError(t, err)
	require.Equal(t, "coordinator-2", owner)
	require.Equal(t, second.Epoch, epoch)
	require.True(t, live, "who has lost the leadership cannot end another's")
}

// DESIGN section 8: the epoch begins with the WAL timeline, so that a failover which took the row back cannot reuse one.
func TestAnEpochBeginsWithTheTimeline(t *testing.T) {
	s := migrated(t)
	l, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	var timeline int64
	require.NoError(t, s.pool.QueryRow(t.Context(), "select timeline_id from pg_control_checkpoint()").Scan(&timeline))
	require.Equal(t, timeline, l.Epoch>>32)

	_, err = s.pool.Exec(t.Context(), "update backfleet.leadership set epoch = 7") // as of a timeline before
	require.NoError(t, err)
	after, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	require.Equal(t, timeline, after.Epoch>>32)
	require.ErrorIs(t, (&Leader{Store: s, Owner: "coordinator-1", Epoch: 7}).Planned(t.Context(), "x"), ErrNotLeader)
}

func TestALapseBeginsANewEpoch(t *testing.T) {
	s := migrated(t)
	l, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), "update backfleet.leadership set until = clock_timestamp()")
	require.NoError(t, err)
	require.ErrorIs(t, l.Planned(t.Context(), "x"), ErrNotLeader, "a lapsed leadership changes nothing")
	next, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	require.Equal(t, l.Epoch+1, next.Epoch)
	require.ErrorIs(t, l.Planned(t.Context(), "x"), ErrNotLeader)
}

// Everything that a coordinator changes is refused once another leads.
func TestAnOldLeaderChangesNothing(t *testing.T) {
	sc := submitted(t, 10)
	ctx, id := t.Context(), sc.j.ID
	sc.exec("update backfleet.leadership set until = clock_timestamp()")
	_, err := sc.s.Lead(ctx, "coordinator-2")
	require.NoError(t, err)
	before := sc.text("select jsonb_agg(to_jsonb(j))::text from backfleet.jobs j")

	old := sc.l
	only := func(_ any, err error) error { return err }
	changes := map[string]func() error{
		"AddRanges":       func() error { return old.AddRanges(ctx, id, sc.relation, 0, []ranges.Range{{}}, true) },
		"BeginNotices":    func() error { return old.BeginNotices(ctx, "slack") },
		"NoticeFailed":    func() error { return only(old.NoticeFailed(ctx, Notice{Target: "slack"}, "x", time.Second)) },
		"NoticeSent":      func() error { return old.NoticeSent(ctx, Notice{Target: "slack"}) },
		"Notify":          func() error { return old.Notify(ctx, "slack", "x", func(string) any { return 1 }) },
		"DropRelation":    func() error { return old.DropRelation(ctx, id, Relation{OID: sc.relation}) },
		"End":             func() error { return only(old.End(ctx, id, job.Failed, "x", job.Report{})) },
		"EndLSN":          func() error { return only(old.EndLSN(ctx, id)) },
		"Explain":         func() error { return old.Explain(ctx, id, "x") },
		"Freeze":          func() error { return old.Freeze(ctx, sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}) },
		"NoteLastLook":    func() error { return old.NoteLastLook(ctx, id, 0, job.LastLook{}) },
		"GiveUpBlocks":    func() error { return old.GiveUpBlocks(ctx, id, "x", "y") },
		"GrowthBase":      func() error { return old.GrowthBase(ctx, id) },
		"StartBlocks":     func() error { return only(old.StartBlocks(ctx, id, 1, "x", nil, 1)) },
		"Planned":         func() error { return old.Planned(ctx, id) },
		"Release":         func() error { return only(old.Release(ctx, sc.j, 10)) },
		"RememberReplica": func() error { return old.RememberReplica(ctx, "standby1") },
		"Start":           func() error { return only(old.Start(ctx, id)) },
		"StartRound":      func() error { return only(old.StartRound(ctx, id, 1)) },
		"StreamCleared":   func() error { return old.StreamCleared(ctx, id) },
		"Sweep":           func() error { return only(old.Sweep(ctx, id)) },
		"Unrelease":       func() error { return only(old.Unrelease(ctx, id, nil)) },
	}
	for name, change := range changes {
		require.ErrorIs(t, change(), ErrNotLeader, name)
	}
	require.Equal(t, before, sc.text("select jsonb_agg(to_jsonb(j))::text from backfleet.jobs j"))
	require.Zero(t, sc.one("select count(*) from backfleet.relations"))
	require.Zero(t, sc.one("select count(*) from backfleet.notices"))

	leader, ledger := reflect.TypeFor[*Leader](), reflect.TypeFor[*Store]()
	for i := range leader.NumMethod() {
		name := leader.Method(i).Name
		_, inherited := ledger.MethodByName(name)
		if !inherited && name != "Resign" {
			require.Contains(t, changes, name, "a method that this test does not know")
		}
	}
}

// A successor waits for a change of the leader before it that is under way.
func TestASuccessorWaitsForTheChangeUnderWay(t *testing.T) {
	sc := submitted(t, 10)
	underWay := sc.begin()
	var one int
	require.NoError(t, underWay.QueryRow(t.Context(), q("lead_check"), sc.l.Owner, sc.l.Epoch).Scan(&one))
	leading := start(func() (*Leader, error) {
		if _, err := sc.s.pool.Exec(t.Context(), "update backfleet.leadership set until = clock_timestamp()"); err != nil {
			return nil, err
		}
		return sc.s.Lead(t.Context(), "coordinator-2")
	})
	sc.waitsForLock()
	require.NoError(t, underWay.Commit(t.Context()))
	require.NoError(t, (<-leading).err)
}
