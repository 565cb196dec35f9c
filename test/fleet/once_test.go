package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// jetStream is a person with the `nats` tool.
func (f *fleet) jetStream() jetstream.JetStream {
	f.Helper()
	nc, err := nats.Connect(f.nats.URL(), nats.Token(f.token))
	require.NoError(f, err)
	f.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(f, err)
	return js
}

// Invariants 1 and 2: a `set` that is not idempotent is done exactly once, by four slots beside an application that writes.
func TestEveryRowExactlyOnce(t *testing.T) {
	f := stage(t, counter(40_000)...)
	load := harness.Writer{Pool: f.admin, Clients: 2, Rate: 300, Ops: []harness.Op{
		harness.SQL("update", 1, "update t set n = n + 1000 where id = $1", func(r *rand.Rand) []any { return []any{r.IntN(40_000) + 1} }),
	}}.Start(t.Context())
	defer load.Stop()
	f.start()
	r := f.completes(f.submit(counterSpec))
	load.Stop()
	require.Equal(t, int64(40_000), r.Rows)
	require.Equal(t, 40, r.Coverage[0].Ranges)
	require.Zero(t, f.number("select count(*) from t where n % 1000 <> 1"))
	require.Positive(t, f.number("select count(*) from t where n > 1000"))
}

// Invariant 4: graceful ends hand ranges back at their checkpoints; another worker goes on.
func TestWorkersThatComeAndGo(t *testing.T) {
	f := stage(t, counter(40_000)...)
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 20000}")
	for n := 0; ; n++ {
		stop := f.start()
		f.until("some more ranges are done, or the job is", func() bool { return f.done(j) >= 8*(n+1) || f.status(j).State.Ended() })
		stop()
		require.Zero(t, f.number("select count(*) from backfleet.ranges where state = 'running'"), "everything is handed back")
		if f.done(j) >= 40 {
			break
		}
	}
	f.start()
	require.Equal(t, int64(40_000), f.completes(j).Rows)
	f.once()
}

// Invariant 3: nothing in JetStream is needed to know what is done. The stream is deleted in mid-run, and the fleet makes it anew.
func TestTheStreamMayGoInMidRun(t *testing.T) {
	f := started(t, counter(20_000)...)
	js := f.jetStream()
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 10000}")
	for _, ranges := range []int{4, 10} {
		f.until("the job is under way", func() bool { return f.done(j) >= ranges })
		require.NoError(t, js.DeleteStream(t.Context(), "BACKFLEET"))
	}
	r := f.completes(j)
	require.Equal(t, int64(20_000), r.Rows)
	f.once()
}

// Invariant 3: a consumer that somebody deletes is made anew.
func TestTheConsumerMayGoInMidRun(t *testing.T) {
	f := started(t, counter(20_000)...)
	js := f.jetStream()
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 10000}")
	f.until("the job is under way", func() bool { return f.done(j) >= 4 })
	require.NoError(t, js.DeleteConsumer(t.Context(), "BACKFLEET", "job_main_count"))
	f.completes(j)
	f.once()
}

// Invariant 4: duplicates, stale and reordered messages, and those of nobody, are no-ops.
func TestMessagesPublishedByHandAreNoOps(t *testing.T) {
	f := started(t, counter(10_000)...)
	js := f.jetStream()
	release := f.lock("select from t where id = 10000 for update") // the last range stays open
	j := f.submit(counterSpec)
	f.until("all ranges but the last are done", func() bool { return f.done(j) == 9 })
	publish := func(index, generation int, id job.ID, data string) {
		t.Helper()
		if data == "" {
			b, err := json.Marshal(map[string]any{"v": job.ProtocolVersion, "db": "main", "job": id, "name": j.Name, "range": index, "gen": generation})
			require.NoError(t, err)
			data = string(b)
		}
		_, err := js.Publish(t.Context(), fmt.Sprintf("backfleet.range.main.%s.%d", j.Name, index), []byte(data))
		require.NoError(t, err)
	}
	publish(8, 1, j.ID, "")                             // a duplicate, of a range that is done
	publish(2, 0, j.ID, "")                             // stale
	publish(1, 7, j.ID, "")                             // of a generation that never was
	publish(0, 1, j.ID, "")                             // out of order
	publish(77, 1, j.ID, "")                            // of a range that is not there
	publish(5, 1, "01JD8Z7Q4T0000000000000001", "")     // of another job
	publish(6, 1, j.ID, "not even a message")           // of nobody
	publish(7, 1, j.ID, `{"v":1,"db":"main","job":""}`) // of nothing
	f.until("all of them are gone", func() bool {
		left, err := f.conn.Inventory(t.Context(), "main", j.Name)
		require.NoError(t, err)
		_, open := left[9]
		return len(left) == 1 && open
	})
	require.Equal(t, 9, f.done(j))
	release()
	require.Equal(t, int64(10_000), f.completes(j).Rows)
	f.once()
}

// A job that takes the name of one that was just cancelled has the name's subjects and consumer for itself.
func TestAJobMayFollowItsNamesakeAtOnce(t *testing.T) {
	f := stage(t, counter(10_000)...)
	stop := f.start()
	first := f.submit(counterSpec + "throttle: {max_rows_per_second: 1000}")
	f.until("it is under way", func() bool { return f.status(first).Rows > 0 })
	stop()
	_, err := f.store.Cancel(t.Context(), first.ID, "ann", "wrong")
	require.NoError(t, err)
	f.exec("update t set n = 0")
	second := f.submit(counterSpec)
	require.NotEqual(t, first.ID, second.ID)
	f.start()
	f.completes(second)
	f.once()
	f.reaches(first, job.Cancelled)

	third := f.submit("name: again\ntable: t\nset: {n: n + 1}\nlate_rows: ignore\nthrottle: {max_rows_per_second: 1000}\nrows_per_range: 1000")
	f.until("it is under way", func() bool { return f.status(third).Rows > 0 })
	_, err = f.store.Cancel(t.Context(), third.ID, "ann", "wrong")
	require.NoError(t, err)
	f.completes(f.submit("name: again\ntable: t\nset: {n: '5'}\nlate_rows: ignore\nrows_per_range: 1000"))
	require.Zero(t, f.number("select count(*) from t where n <> 5"))
}

// Any number of coordinators may run; when the leader ends, another goes on at once.
func TestAnotherCoordinatorGoesOn(t *testing.T) {
	f := stage(t, counter(20_000)...)
	f.run(map[string]func(context.Context) error{"worker": f.worker("worker-1").Run})
	stop := f.run(map[string]func(context.Context) error{"coordinator": f.coordinator("coordinator-1").Run})
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 10000}")
	f.until("the job is under way", func() bool { return f.done(j) >= 3 })
	f.run(map[string]func(context.Context) error{"coordinator": f.coordinator("coordinator-2").Run})
	stop()
	f.completes(j)
	f.once()
	owner, _, live, err := f.store.LeaderName(t.Context())
	require.NoError(t, err)
	require.True(t, live)
	require.Equal(t, "coordinator-2", owner)
}
