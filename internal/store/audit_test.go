package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// lastEvent is the newest line of the audit log.
func (sc *scene) lastEvent() job.Event {
	sc.Helper()
	events, err := sc.s.Events(sc.Context(), sc.j.ID, 1)
	require.NoError(sc, err)
	require.NotEmpty(sc, events)
	require.WithinDuration(sc, time.Now(), events[0].At, time.Minute)
	return events[0]
}

// Invariant 10: every change that a person makes is in the audit log with who, when, old and new value.
func TestEveryChangeIsInTheAuditLog(t *testing.T) {
	sc := begun(t, 30, 10)
	ctx, id := t.Context(), sc.j.ID
	only := func(_ any, err error) error { return err }
	faster := sc.j.Limits
	faster.Throttle.MaxRowsPerSecond = 500
	faster.Workers.Max = 3
	for _, c := range []struct {
		action   string
		change   func() error
		old, new any
	}{
		{"pause", func() error { return only(sc.s.Pause(ctx, id, "ann", "lunch")) }, "running", "paused"},
		{"skip", func() error { return only(sc.s.SkipRow(ctx, id, "ann", "", key(25), "broken")) }, "open", "quarantined"},
		{"resume", func() error { return only(sc.s.Resume(ctx, id, "ann")) }, "paused", "running"},
		{"set", func() error { return only(sc.s.SetLimits(ctx, id, "ann", faster, 0)) }, 0.0, 500.0},
		{"skip", func() error { return only(sc.s.SkipRange(ctx, id, "ann", 1, "broken")) }, "released", "skipped"},
		{"fail", func() error { return only(sc.s.Fail(ctx, id, "ann", "the table is gone")) }, "running", "failed"},
		{"retry", func() error { return only(sc.s.Retry(ctx, id, "ann")) }, "failed", "running"},
		{"hold", func() error { return only(sc.s.Hold(ctx, "ann", "", time.Hour)) }, nil, ""},
		{"release", func() error { return sc.s.Release(ctx, "ann") }, "", nil},
		{"cancel", func() error { return only(sc.s.Cancel(ctx, id, "ann", "")) }, "running", "cancelled"},
	} {
		require.NoError(t, c.change(), c.action)
		e := sc.lastEvent()
		require.Equal(t, c.action, e.Action)
		require.Equal(t, "ann", e.By)
		old, now := e.Detail["old"], e.Detail["new"]
		switch c.action {
		case "set":
			old, now = rateOf(t, old), rateOf(t, now)
		case "hold", "release":
			for _, v := range []struct{ want, have any }{{c.old, old}, {c.new, now}} {
				if v.want == nil {
					require.Nil(t, v.have, c.action)
				} else {
					at, err := time.Parse(time.RFC3339, v.have.(string))
					require.NoError(t, err)
					require.WithinDuration(t, time.Now().Add(time.Hour), at, time.Minute)
				}
			}
			continue
		}
		require.Equal(t, c.old, old, c.action)
		require.Equal(t, c.new, now, c.action)
	}

	sc.exec("update backfleet.jobs set state = 'complete'")
	_, err := sc.s.RequestVerify(ctx, id, "bob")
	require.NoError(t, err)
	e := sc.lastEvent()
	require.Equal(t, [4]any{"verify", "bob", "complete", "running"}, [4]any{e.Action, e.By, e.Detail["old"], e.Detail["new"]})
	submit := sc.text("select by from backfleet.events where action = 'submit'")
	require.Equal(t, "ann", submit)
}

func rateOf(t *testing.T, limits any) any {
	t.Helper()
	rate, ok := limits.(map[string]any)["throttle"].(map[string]any)["max_rows_per_second"]
	if !ok {
		return 0.0 // no cap is left out
	}
	return rate
}

// A change that changes nothing leaves no line, and one that does not fit the state says what would.
func TestAChangeThatDoesNotFitChangesNothing(t *testing.T) {
	sc := begun(t, 10, 10)
	ctx, id := t.Context(), sc.j.ID
	_, err := sc.s.Resume(ctx, id, "ann")
	require.NoError(t, err)
	require.Equal(t, "submit", sc.lastEvent().Action)

	var wrongRevision *RevisionError
	_, err = sc.s.SetLimits(ctx, id, "ann", sc.j.Limits, sc.j.Revision-1)
	require.ErrorAs(t, err, &wrongRevision)
	_, err = sc.s.SetLimits(ctx, id, "ann", sc.j.Limits, sc.j.Revision)
	require.NoError(t, err)

	var wrongState *StateError
	_, err = sc.s.SkipRow(ctx, id, "ann", "", key(1), "x")
	require.ErrorAs(t, err, &wrongState)
	_, err = sc.s.RequestVerify(ctx, id, "ann")
	require.ErrorAs(t, err, &wrongState)
	_, err = sc.s.SkipRange(ctx, id, "ann", 7, "x")
	require.ErrorContains(t, err, "range 7")
	_, err = sc.s.Cancel(ctx, id, "ann", "")
	require.NoError(t, err)
	for _, change := range []func() error{
		func() error { _, err := sc.s.Pause(ctx, id, "ann", ""); return err },
		func() error { _, err := sc.s.Resume(ctx, id, "ann"); return err },
		func() error { _, err := sc.s.SetLimits(ctx, id, "ann", sc.j.Limits, 0); return err },
		func() error { _, err := sc.s.SkipRange(ctx, id, "ann", 0, "x"); return err },
		func() error { _, err := sc.s.Retry(ctx, id, "ann"); return err },
	} {
		require.ErrorAs(t, change(), &wrongState)
	}
	require.Equal(t, "cancel", sc.lastEvent().Action)
}

// `SELECT backfleet.hold('10 minutes')` from any psql stops every batch; release() frees it. Both are in the audit log.
func TestTheBrakeStopsEveryBatch(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	sc.exec("select backfleet.hold('10 minutes')")
	brake, on, err := sc.s.Brake(t.Context())
	require.NoError(t, err)
	require.True(t, on)
	require.Equal(t, "postgres", brake.By)
	require.Empty(t, brake.Reason)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), brake.Until, time.Minute)
	b, _ := sc.fill(to(c, key(10), true))
	require.Equal(t, braked, b)
	require.Zero(t, sc.one("select sum(n) from t"))
	require.Equal(t, "hold", sc.lastEvent().Action)

	sc.exec("select backfleet.release()")
	sc.finish(c)
	require.Equal(t, 10, sc.one("select sum(n) from t"))
	require.Equal(t, "release", sc.lastEvent().Action)
	require.Equal(t, "postgres", sc.lastEvent().By)

	for _, bad := range []string{"interval '0'", "interval '-1 hour'", "null"} {
		_, err := sc.s.pool.Exec(t.Context(), "select backfleet.hold("+bad+")")
		require.ErrorContains(t, err, "not a positive interval")
	}
	_, err = sc.s.pool.Exec(t.Context(), "select backfleet.hold('8 days')")
	require.ErrorContains(t, err, "longer than a week")
	sc.exec("insert into backfleet.brake (until, by) values (clock_timestamp(), 'x')")
	_, on, err = sc.s.Brake(t.Context())
	require.NoError(t, err)
	require.False(t, on, "a hold ends by itself")
}

// A flood of refusals fills neither the audit log, which cannot be shortened, nor a report.
func TestRefusalsAreBounded(t *testing.T) {
	sc := submitted(t, 1)
	ctx := t.Context()
	for range MostRefusals + 20 {
		require.NoError(t, sc.s.Refused(ctx, sc.j.ID, "vera", job.Refused{Operation: "pause", Status: 403, Reason: "vera is viewer"}))
	}
	require.Equal(t, MostRefusals, sc.one("select count(*) from backfleet.events where action = 'refused'"))
	events, err := sc.s.EventsBefore(ctx, sc.j.ID, 0, "refused", 1)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"operation": "pause", "status": 403.0, "reason": "vera is viewer"}, events[0].Detail)
	r, err := sc.s.Report(ctx, sc.j.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"submit"}, actions(r.Events))
	sc.exec("update backfleet.events set at = at - interval '61 minutes'")
	require.NoError(t, sc.s.Refused(ctx, "", "vera", job.Refused{Operation: "hold", Status: 403}))
	require.Equal(t, MostRefusals+1, sc.one("select count(*) from backfleet.events where action = 'refused'"))
}
