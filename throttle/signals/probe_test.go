package signals_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func TestTheForegroundProbeFires(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	p := signals.NewProbe(signals.Dial(db.Pool), time.Now)
	p.SetBatches(false)
	w := watching(t, one(throttle.SignalProbe, throttle.Defaults()[throttle.SignalProbe]), p)
	o := w.until(t, "a value", func(o outcome) bool { return len(o.readings) > 0 })
	require.False(t, o.hard)

	p.SetBatches(true)
	slow := connect(t, db.DSN, "app")
	o = w.until(t, "requests take much longer than while idle", func(o outcome) bool {
		slow.do("BEGIN")
		slow.do("LOCK TABLE backfleet.heartbeat")
		slow.do("SELECT pg_sleep(0.3)")
		slow.do("COMMIT")
		return o.hard
	})
	require.Regexp(t, `^foreground probe [\d.]+ × idle over hard limit 5 × idle \(p95 [\d.]+[mµ]?s, [\d.]+[mµ]?s while idle\)$`, o.reasons[0].Text)
	require.InDelta(t, 0.2, o.scale, 0)
}

func TestTheProbeTakesAServerThatDoesNotAnswerForASlowOne(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	p := signals.NewProbe(signals.Dial(db.Pool), time.Now)
	t.Cleanup(p.Close)
	for range 4 {
		require.Empty(t, p.Read(t.Context()))
	}
	holder := connect(t, db.DSN, "app")
	holder.do("BEGIN")
	holder.do("LOCK TABLE backfleet.heartbeat")
	began := time.Now()
	r := p.Read(t.Context())
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second)
	require.Len(t, r, 1)
	require.NoError(t, r[0].Err)
	require.Contains(t, r[0].Detail, "p95 2s")
	holder.do("ROLLBACK")
	require.NoError(t, p.Read(t.Context())[0].Err, "it connects anew")
}

func TestTheProbeSaysWhyItCannotMeasure(t *testing.T) {
	db := harness.Database(t)
	p := signals.NewProbe(signals.Dial(db.Pool), time.Now)
	t.Cleanup(p.Close)
	require.EqualError(t, p.Read(t.Context())[0].Err, `probe backfleet.heartbeat: relation "backfleet.heartbeat" does not exist (SQLSTATE 42P01)`)

	away := signals.NewProbe(func(context.Context) (*pgx.Conn, error) { return nil, errors.New("connection refused") }, time.Now)
	require.EqualError(t, away.Read(t.Context())[0].Err, "connect the foreground probe: connection refused")
}

func TestTheProbeDoesNotWaitForADeadSynchronousStandby(t *testing.T) {
	c := harness.Postgres(t, harness.WithSetting("synchronous_standby_names", "gone"))
	pool := c.Pool(t, "postgres")
	_, err := pool.Exec(t.Context(), "SET synchronous_commit = local; "+heartbeatTable)
	require.NoError(t, err)
	p := signals.NewProbe(signals.Dial(pool), time.Now)
	t.Cleanup(p.Close)
	for i := range 5 {
		r := p.Read(t.Context())
		if i == 4 {
			require.Len(t, r, 1)
			require.NoError(t, r[0].Err)
			require.NotContains(t, r[0].Detail, "p95 2s")
		}
	}
}

func TestTheProbeLearnsWhatIsUsualOnlyWhileNoBatchRuns(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	p := signals.NewProbe(signals.Dial(db.Pool), time.Now)
	t.Cleanup(p.Close)
	p.Read(t.Context())
	require.False(t, p.Knows(), "a probe takes batches to be running until it is told")
	p.SetBatches(false)
	p.Read(t.Context())
	require.True(t, p.Knows(), "one reading is enough")
	p.SetBatches(true)
	require.True(t, p.Knows(), "it does not forget")
}
