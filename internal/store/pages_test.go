package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// Every list is read to its end in pages, without a gap and without a line twice.
func TestListsArePaged(t *testing.T) {
	sc := begun(t, 100, 10)
	ctx, id := t.Context(), sc.j.ID
	for i := range 7 {
		sc.exec(`insert into backfleet.quarantine (job_id, relation, key, sqlstate, error, by, range_index) values ($1, $2, $3, '23514', 'bad', 'w1', 0)`,
			id, sc.relation, []string{fmt.Sprint(i)})
	}
	var keys []string
	for after := ""; ; {
		rows, next, err := sc.s.QuarantineAfter(ctx, id, after, 3)
		require.NoError(t, err)
		for _, r := range rows {
			keys = append(keys, r.Key[0])
			require.NotNil(t, r.At)
			require.Equal(t, 0, *r.Range)
		}
		if after = next; next == "" {
			break
		}
		require.Len(t, rows, 3)
	}
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6"}, keys)
	_, _, err := sc.s.QuarantineAfter(ctx, id, "!", 3)
	require.ErrorIs(t, err, ErrBadCursor)

	claim := sc.claim(sc.refs[4], "w1")
	first, err := sc.s.RangesAfter(ctx, id, -1, "", 6)
	require.NoError(t, err)
	require.Len(t, first, 6)
	rest, err := sc.s.RangesAfter(ctx, id, first[5].Index, "", 6)
	require.NoError(t, err)
	require.Len(t, rest, 4)
	require.True(t, rest[3].HiClosed)
	running, err := sc.s.RangesAfter(ctx, id, -1, job.RangeRunning, 6)
	require.NoError(t, err)
	require.Len(t, running, 1)
	require.Equal(t, claim.Ref.Index, running[0].Index)
	require.Equal(t, "w1", running[0].Owner)
	require.Equal(t, `"public"."t"`, running[0].Relation)
	require.Equal(t, key(41), running[0].Lo)

	for range 3 {
		_, err := sc.s.Pause(ctx, id, "ann", "")
		require.NoError(t, err)
		_, err = sc.s.Resume(ctx, id, "ann")
		require.NoError(t, err)
	}
	events, err := sc.s.EventsBefore(ctx, id, 0, "", 4)
	require.NoError(t, err)
	require.Equal(t, []string{"resume", "pause", "resume", "pause"}, actions(events))
	older, err := sc.s.EventsBefore(ctx, id, events[3].ID, "", 100)
	require.NoError(t, err)
	require.Equal(t, []string{"resume", "pause", "submit"}, actions(older))
	pauses, err := sc.s.DatabaseEvents(ctx, 0, "pause", 100)
	require.NoError(t, err)
	require.Len(t, pauses, 3)

	sc.exec("update backfleet.jobs set state = 'complete', ended_at = now()")
	for i := range 4 {
		spec := counterSpec()
		spec.Name = fmt.Sprintf("job-%d", i)
		_, err := sc.s.Submit(ctx, "ann", newJob(spec))
		require.NoError(t, err)
	}
	var names []string
	for before := job.ID(""); ; {
		jobs, err := sc.s.JobsBefore(ctx, before, true, 3)
		require.NoError(t, err)
		for _, j := range jobs {
			names, before = append(names, j.Name), j.ID
		}
		if len(jobs) < 3 {
			break
		}
	}
	require.Equal(t, []string{"job-3", "job-2", "job-1", "job-0"}, names, "the one that has ended is left out")
	all, err := sc.s.JobsBefore(ctx, "", false, 100)
	require.NoError(t, err)
	require.Len(t, all, 5)
}

func actions(events []job.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.Action)
	}
	return all
}

// A change that was made from an older view is refused, whatever it is.
func TestAStaleChangeIsRefused(t *testing.T) {
	sc := begun(t, 20, 10)
	ctx, id := t.Context(), sc.j.ID
	stale := sc.s.If(sc.j.Revision)
	j, err := stale.Pause(ctx, id, "ann", "")
	require.NoError(t, err)
	var rival *RevisionError
	only := func(_ any, err error) error { return err }
	for name, change := range map[string]func() error{
		"pause":  func() error { return only(stale.Pause(ctx, id, "bob", "")) },
		"resume": func() error { return only(stale.Resume(ctx, id, "bob")) },
		"cancel": func() error { return only(stale.Cancel(ctx, id, "bob", "")) },
		"set":    func() error { return only(stale.SetLimits(ctx, id, "bob", sc.j.Limits, 0)) },
		"skip":   func() error { return only(stale.SkipRange(ctx, id, "bob", 0, "x")) },
		"row":    func() error { return only(stale.SkipRow(ctx, id, "bob", "", key(3), "x")) },
		"retry":  func() error { return only(stale.Retry(ctx, id, "bob")) },
		"verify": func() error { return only(stale.RequestVerify(ctx, id, "bob")) },
	} {
		require.ErrorAs(t, change(), &rival, name)
		require.Equal(t, j.Revision, rival.Have)
	}
	_, err = sc.s.If(j.Revision).Resume(ctx, id, "bob")
	require.NoError(t, err)

	_, revision, err := sc.s.Throttle(ctx)
	require.NoError(t, err)
	_, _, err = sc.s.If(revision).Override(ctx, "ann", 0.5, 1e9)
	require.NoError(t, err)
	_, _, err = sc.s.If(revision).EndOverride(ctx, "bob")
	require.ErrorAs(t, err, &rival)
}

// A request whose answer was lost is sent again under its key, and stores no second job.
func TestARequestIsAnsweredOnce(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	first, err := s.Submit(ctx, "ann", newJob(counterSpec()))
	require.NoError(t, err)
	_, err = s.pool.Exec(ctx, "update backfleet.jobs set state = 'complete', ended_at = now()")
	require.NoError(t, err)
	again := newJob(counterSpec())
	again.Again, again.Request = true, &Request{By: "ann", Key: "k1", Fingerprint: "f1"}
	second, err := s.Submit(ctx, "ann", again)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, second.ID)
	_, err = s.pool.Exec(ctx, "update backfleet.jobs set state = 'complete', ended_at = now()")
	require.NoError(t, err)
	same, err := s.Submit(ctx, "ann", again)
	require.NoError(t, err)
	require.Equal(t, second.ID, same.ID)
	answer, err := s.Answered(ctx, *again.Request)
	require.NoError(t, err)
	require.True(t, answer.Created)
	require.Equal(t, second.ID, answer.Job.ID)

	var reused *KeyReusedError
	_, err = s.Answered(ctx, Request{By: "ann", Key: "k1", Fingerprint: "f2"})
	require.ErrorAs(t, err, &reused)
	answer, err = s.Answered(ctx, Request{By: "bob", Key: "k1", Fingerprint: "f2"})
	require.NoError(t, err)
	require.Nil(t, answer, "keys are each token's own")

	_, err = s.pool.Exec(ctx, "update backfleet.requests set at = at - interval '8 days'")
	require.NoError(t, err)
	again.Request.Key = "k2"
	_, err = s.Submit(ctx, "ann", again)
	require.NoError(t, err)
	answer, err = s.Answered(ctx, Request{By: "ann", Key: "k1", Fingerprint: "f1"})
	require.NoError(t, err)
	require.Nil(t, answer, "a week is over")
}

func TestUndone(t *testing.T) {
	sc := begun(t, 40, 10)
	ctx := t.Context()
	from, left, err := sc.s.Undone(ctx, sc.j.ID)
	require.NoError(t, err)
	require.True(t, left)
	require.Nil(t, from)
	for _, i := range []int{0, 2} {
		sc.finish(sc.claim(sc.refs[i], "w1"))
	}
	from, left, err = sc.s.Undone(ctx, sc.j.ID)
	require.NoError(t, err)
	require.True(t, left)
	require.Equal(t, key(11), from, "the second range is open, whatever is done behind it")
	for _, i := range []int{1, 3} {
		sc.finish(sc.claim(sc.refs[i], "w1"))
	}
	_, left, err = sc.s.Undone(ctx, sc.j.ID)
	require.NoError(t, err)
	require.False(t, left)
}
