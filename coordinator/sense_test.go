package coordinator

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestSQLChecksTakeNoConnectionFromTheLag(t *testing.T) {
	pool := harness.Database(t).Pool
	ledger := &store.Leader{Store: store.New(pool, "main")}
	s := newSense(&leadership{log: zap.NewNop(), ledger: ledger}, ledger, Database{Signals: pool})
	defer s.close()
	before := pool.Stat().AcquireCount()
	for _, name := range []string{"a", "b"} {
		source, err := s.source(job.Check{Name: name, SQL: "SELECT 7"})
		require.NoError(t, err)
		readings := source.Read(t.Context())
		require.NoError(t, readings[0].Err)
		require.InDelta(t, 7, readings[0].Value, 0)
	}
	require.Equal(t, before, pool.Stat().AcquireCount())
	require.Equal(t, int32(1), s.asking.Stat().TotalConns(), "one after the other")
}

// The sample of an earlier tick is read by others while the next one says what each replica means.
func TestASampleIsNobodyElses(t *testing.T) {
	s := &sense{looked: time.Now(), last: throttle.Sample{Members: []throttle.Member{{Name: "standby1"}}}}
	before := s.look(t.Context(), false)
	s.look(t.Context(), false).Members[0].Policy = throttle.PolicyIgnore
	require.Empty(t, before.Members[0].Policy)
}

// In a run of hours the probe would come to take for usual what the application suffers from the batches.
func TestALongRunPausesForTheProbeToLearnAnew(t *testing.T) {
	now := time.Now()
	s := &sense{leadership: &leadership{}, probe: signals.NewProbe(nil, time.Now)}
	active := []job.Job{{Started: now}}
	require.NotEmpty(t, s.learning(active))
	s.began = now.Add(-learnMost - time.Second)
	require.Empty(t, s.learning(active), "a probe that cannot learn stops nobody for long")
	s.began = now.Add(-learnAgain - time.Second)
	require.NotEmpty(t, s.learning(active))
	require.Less(t, time.Since(s.began), time.Minute, "and the next attempt is as far away")
}

// The address of a replica may come to lead elsewhere long after the coordinator has begun.
func TestAReplicaIsKnownByItsPrimaryEachTimeItIsReached(t *testing.T) {
	db, other := harness.Database(t), harness.Database(t)
	ledger := &store.Leader{Store: store.New(db.Pool, "main")}
	_, _, err := ledger.Migrate(t.Context())
	require.NoError(t, err)
	s := newSense(&leadership{log: zap.NewNop(), ledger: ledger}, ledger, Database{Signals: db.Pool, Replicas: []signals.Replica{{
		Name: "standby1", Variable: "X", Connect: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, other.DSN) },
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() { s.run(ctx) })
	require.Eventually(t, func() bool {
		sample := s.look(t.Context(), true)
		require.True(t, sample.Members[0].Missing)
		return slices.ContainsFunc(sample.Signals, func(r throttle.Reading) bool { return strings.Contains(r.Detail, `X leads to the database "`) })
	}, 20*time.Second, 50*time.Millisecond)
	cancel()
	reading.Wait()
}
