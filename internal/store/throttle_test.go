package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestTheThrottleOfADatabase(t *testing.T) {
	sc := submitted(t, 1)
	ctx := t.Context()
	rules, first, err := sc.s.Throttle(ctx)
	require.NoError(t, err)
	require.Equal(t, job.DatabaseRules{}, rules)

	capped := job.DatabaseRules{MaxRowsPerSecond: 500, MaxWALBytesPerSecond: 20 << 20}
	set, second, err := sc.s.SetThrottle(ctx, "ann", capped, first)
	require.NoError(t, err)
	require.Equal(t, capped, set)
	require.Greater(t, second, first)
	e := sc.lastEvent()
	require.Equal(t, [2]string{"throttle set", "ann"}, [2]string{e.Action, e.By})
	require.Equal(t, map[string]any{}, e.Detail["old"])
	require.Equal(t, map[string]any{"max_rows_per_second": 500.0, "max_wal_bytes_per_second": "20MiB"}, e.Detail["new"])

	var stale *RevisionError
	_, _, err = sc.s.SetThrottle(ctx, "bob", job.DatabaseRules{}, first)
	require.ErrorAs(t, err, &stale)
	require.EqualError(t, stale, `the throttle of database "main" was changed meanwhile (revision 2, you saw 1); read it again`)
	require.Equal(t, "ann", sc.lastEvent().By)

	// An override leaves the caps, and a change of caps leaves the override.
	over, _, err := sc.s.Override(ctx, "bob", 0.5, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 500, over.MaxRowsPerSecond)
	require.Equal(t, [2]any{0.5, "bob"}, [2]any{over.Override.Rate, over.Override.By})
	require.WithinDuration(t, time.Now().Add(time.Hour), over.Override.Until, time.Minute)
	require.Equal(t, "throttle override", sc.lastEvent().Action)
	_, _, err = sc.s.SetThrottle(ctx, "ann", job.DatabaseRules{MaxRowsPerSecond: 7}, 0)
	require.NoError(t, err)
	rules, _, err = sc.s.Throttle(ctx)
	require.NoError(t, err)
	require.Equal(t, 7, rules.MaxRowsPerSecond)
	require.NotNil(t, rules.Override)

	over, _, err = sc.s.EndOverride(ctx, "ann")
	require.NoError(t, err)
	require.Nil(t, over.Override)
	require.Equal(t, "throttle override end", sc.lastEvent().Action)

	// One whose time is over is not there any more, by the database's clock.
	_, _, err = sc.s.Override(ctx, "bob", 0, time.Millisecond)
	require.NoError(t, err)
	sc.exec("select pg_sleep(0.01)")
	rules, _, err = sc.s.Throttle(ctx)
	require.NoError(t, err)
	require.Nil(t, rules.Override)
}

func TestAHoldSaysWhy(t *testing.T) {
	sc := submitted(t, 1)
	ctx := t.Context()
	_, err := sc.s.Hold(ctx, "ann", "incident 4711", time.Hour)
	require.NoError(t, err)
	b, on, err := sc.s.Brake(ctx)
	require.NoError(t, err)
	require.True(t, on)
	require.Equal(t, "incident 4711", b.Reason)
	require.Regexp(t, `^held by ann until \S+Z: incident 4711$`, b.Why().Text)
	require.Equal(t, "incident 4711", sc.lastEvent().Detail["reason"])

	sc.exec("select backfleet.hold('10 minutes', 'deploy')")
	b, _, err = sc.s.Brake(ctx)
	require.NoError(t, err)
	require.Equal(t, [2]string{"postgres", "deploy"}, [2]string{b.By, b.Reason})
	require.Equal(t, "deploy", sc.lastEvent().Detail["reason"])
	sc.exec("select backfleet.hold('10 minutes')")
	b, _, err = sc.s.Brake(ctx)
	require.NoError(t, err)
	require.Empty(t, b.Reason, "a second hold takes the place of the first")
	require.NotContains(t, sc.lastEvent().Detail, "reason")
}
