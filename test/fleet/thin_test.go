package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/backfleet/backfleet/coordinator"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/worker"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestThin(t *testing.T) {
	db := harness.Database(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	pool := db.Pool
	_, err := pool.Exec(ctx, `create table t (id bigint primary key, v text, n int not null default 0); insert into t select i, 'X'||i from generate_series(1, 200000) i; vacuum analyze t`)
	if err != nil {
		for _, q := range []string{`create table t (id bigint primary key, v text, n int not null default 0)`, `insert into t select i, 'X'||i from generate_series(1, 200000) i`, `vacuum analyze t`} {
			_, err := pool.Exec(ctx, q)
			require.NoError(t, err)
		}
	}
	st := store.New(pool, "main")
	_, _, err = st.Migrate(ctx)
	require.NoError(t, err)
	spec := job.Spec{Name: "thin", Database: "main", Table: "public.t", Set: map[string]string{"n": "n + 1"}, Check: "n = 1", LateRows: "ignore", RowsPerRange: 10000}.WithDefaults()
	log := zaptest.NewLogger(t)
	e, err := queue.Embed(queue.EmbedOptions{StoreDir: t.TempDir(), Logger: log})
	require.NoError(t, err)
	defer e.Shutdown()
	conn, err := e.Connect(ctx, queue.Options{Logger: log})
	require.NoError(t, err)
	defer conn.Close()
	j, err := st.Submit(ctx, "me", store.NewJob{Spec: spec, Key: []job.Column{{Name: "id", Type: "bigint"}}, SearchPath: "public", Estimate: 200000, EstimateBy: "test"})
	require.NoError(t, err)
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() {
		done <- coordinator.New(coordinator.Config{Name: "c1", Stores: []*store.Store{st}, Queue: conn, Logger: log}).Run(run)
	}()
	go func() {
		done <- worker.New(worker.Config{ID: "w1", Slots: 4, Databases: []worker.Database{{Name: "main", Pool: pool, Ledger: st}}, Queue: conn, Logger: log}).Run(run)
	}()
	began := time.Now()
	for {
		s, err := st.Status(ctx, j.ID)
		require.NoError(t, err)
		if s.State.Ended() {
			t.Logf("%s %s rows %d batches %d in %s", s.State, s.Reason, s.Rows, s.Batches, time.Since(began))
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var wrong int
	require.NoError(t, pool.QueryRow(ctx, "select count(*) from t where n <> 1").Scan(&wrong))
	require.Zero(t, wrong)
	r, err := st.Report(ctx, j.ID)
	require.NoError(t, err)
	t.Logf("%+v", r)
	stop()
	<-done
	<-done
}
