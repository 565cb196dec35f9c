package signals_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func TestMain(m *testing.M) { harness.Main(m, harness.WithStandby(1)) }

// heartbeatTable is the ledger's, which this package must not depend on.
const heartbeatTable = `CREATE SCHEMA backfleet;
	CREATE TABLE backfleet.heartbeat (id boolean PRIMARY KEY DEFAULT true CHECK (id), ts timestamptz NOT NULL);
	INSERT INTO backfleet.heartbeat (ts) VALUES (clock_timestamp())`

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// until beats and reads until the sample satisfies ok, and returns that sample.
func until(t *testing.T, l *signals.Lag, what string, ok func(throttle.Sample) bool) throttle.Sample {
	t.Helper()
	var s throttle.Sample
	patience := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		beat := l.Beat(t.Context())
		if s = l.Read(t.Context()); s.Err == nil && ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("waited in vain for: %s; last beat %v, last sample %+v", what, beat, s)
		}
	}
}

func caughtUp(s throttle.Sample) bool {
	return len(s.Members) == 1 && !s.Members[0].Missing && s.Members[0].State == "streaming" && s.Members[0].Lag < 0.5
}

func TestLagOfAnIdlePair(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	l := signals.NewLag(db.Pool, time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)

	var worst float64
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range 150 {
		<-tick.C
		if i%10 == 0 {
			require.NoError(t, l.Beat(t.Context()))
		}
		s := l.Read(t.Context())
		require.NoError(t, s.Err)
		t.Log(i, s.Members[0].Lag, s.Members[0].Bytes)
		worst = max(worst, s.Members[0].Lag)
	}
	require.Less(t, worst, 0.5, "an idle pair is not behind")
}
