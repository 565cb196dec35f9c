package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

const heirMost = 12 * time.Second // a lease and the sweep after it

// beginWith is begin with workers w1, w2 ... that the test starts itself.
func (f *fleet) beginWith(start func()) {
	f.t.Helper()
	f.nats = harness.NATS(f.t)
	f.must("db", "init")
	f.coordinator()
	f.awaitLeader(nil)
	start()
	f.write()
	f.must("submit", f.file)
}

// A worker whose link to Postgres is cut loses its range to another, and works on once the link is back.
func TestWorkerLosesPostgres(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 250_000, perRange: perRange, rate: 8_000})
	var w1 *member
	f.beginWith(func() { w1 = f.linkedWorker(1); f.worker(1) })
	f.awaitShare(0.05)
	g := f.awaitGrip("w1", perRange)
	w1.db.Cut()
	cut := time.Now()
	f.awaitHeir(g)
	gap := time.Since(cut)
	require.LessOrEqual(t, gap, heirMost)
	require.NoError(t, w1.db.Mend())
	back := f.awaitTaken("w1")
	f.unleash()
	f.prove(fmt.Sprintf("range taken over after %s, back at work %s after the link", short(gap), short(back)))
}

// A worker whose link to NATS hangs starts no batch after three seconds and gives its range up later, and works on once the link is back.
func TestWorkerLosesNATS(t *testing.T) {
	t.Parallel()
	const long = 30_000 // more than is done of a range before the worker stops
	f := newFleet(t, shape{rows: 500_000, perRange: long, rate: 4_000})
	var w1 *member
	f.beginWith(func() { w1 = f.linkedWorker(1); f.worker(1) })
	f.awaitShare(0.02)
	g := f.awaitGrip("w1", long)
	w := f.watchRange(g.index)
	w1.nats.Silence()
	cut := time.Now()
	f.awaitHeir(g)
	given := time.Since(cut)
	last, _, _ := w.stop("w1")
	require.LessOrEqual(t, last.Sub(cut), 3300*time.Millisecond, "no batch without a fresh budget")
	// Deaf for three seconds and thirty more, then what another worker had in hand.
	require.LessOrEqual(t, given, 50*time.Second)
	require.NoError(t, w1.nats.Mend())
	back := f.awaitTaken("w1")
	f.unleash()
	f.prove(fmt.Sprintf("last batch after %s, range taken over after %s, back at work %s after the link", short(last.Sub(cut)), short(given), short(back)))
}

// awaitTaken waits until a worker has committed batches of a range that it claims from now on.
func (f *fleet) awaitTaken(owner string) time.Duration {
	f.t.Helper()
	var now time.Time
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT clock_timestamp()").Scan(&now))
	return f.awaitSQL(owner+" is at work again",
		"SELECT EXISTS (SELECT 1 FROM backfleet.ranges WHERE owner = $1 AND started_at > $2 AND rows > 0)", owner, now)
}

// A batch that the network kept until the range was redone by another reaches Postgres, and commits nothing.
func TestBatchArrivesLate(t *testing.T) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, shape{rows: 250_000, perRange: perRange, rate: 8_000, passes: order.passes, blocks: order.blocks})
			dsn := f.dsn
			var w1 *member
			f.beginWith(func() {
				f.dsn += "&options=-c%20log_statement%3Dall" // what reaches the server of this worker is to be seen
				w1 = f.linkedWorker(1)
				f.dsn = dsn
				f.worker(1)
			})
			f.awaitShare(0.05)
			g := f.awaitGrip("w1", perRange)
			var token string
			require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT claim_token FROM backfleet.ranges WHERE index = $1", g.index).Scan(&token))
			w1.db.Silence()
			silent := time.Now()
			f.awaitHeir(g)
			gap := time.Since(silent)
			require.LessOrEqual(t, gap, heirMost)
			f.awaitSQL("the range is done by the other", "SELECT state = 'done' FROM backfleet.ranges WHERE index = $1 AND kind = 'fill'", g.index)
			before := f.row(g.index)
			server := harness.SharedCluster(t).Primary
			seen := len(server.Log())
			require.NoError(t, w1.db.Mend())
			mended := time.Now()
			f.await("the batch has arrived", func(context.Context) (bool, error) {
				return strings.Contains(server.Log()[seen:], token), nil
			})
			late := time.Since(silent)
			f.awaitTaken("w1")
			back := time.Since(mended)
			f.unleash()
			f.prove(fmt.Sprintf("taken over after %s, the batch arrived after %s, back at work %s later", short(gap), short(late), short(back)))
			require.Equal(t, before, f.row(g.index), "the late batch changed nothing of the range")
		})
	}
}

// A commit whose answer is lost with the connection is settled by a new claim of the same worker.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 250_000, perRange: perRange, rate: 8_000})
	var w1 *member
	f.beginWith(func() { w1 = f.linkedWorker(1) })
	f.awaitShare(0.05)
	const times = 5
	var resumed []time.Duration
	for len(resumed) < times {
		g := f.awaitGrip("w1", perRange)
		w1.db.Silence(harness.Down)
		lost := f.moves(g.index, time.Second)
		w1.db.Cut()
		require.NoError(t, w1.db.Mend())
		if took := f.awaitMore(); lost { // else the commit had come just before
			resumed = append(resumed, took.Round(time.Millisecond))
		}
	}
	require.GreaterOrEqual(t, len(logged(w1.Process, "session lost; claiming anew")), times)
	f.unleash()
	f.prove(fmt.Sprintf("batches went on after %v", resumed))
}

// moves reports whether a batch of a range is committed within a time from now.
func (f *fleet) moves(index int, within time.Duration) bool {
	f.t.Helper()
	read := func() (rows int64) {
		require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT rows FROM backfleet.ranges WHERE index = $1", index).Scan(&rows))
		return rows
	}
	from, began := read(), time.Now()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for time.Since(began) < within {
		if read() > from {
			return true
		}
		<-tick.C
	}
	return false
}

// A worker and a coordinator far away, over thin links, lose time on the way and nothing else: batches are as long as a target for the
// time in the server allows, not as one for the way and the server would.
func TestSlowLinks(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 150_000, perRange: 20_000})
	f.nats = harness.NATS(t)
	f.must("db", "init")
	slow := func(l *harness.Link) { l.Slow(40*time.Millisecond, 2<<20) }
	c := f.linkedCoordinator(slow)
	f.awaitLeader(nil)
	w1 := f.linkedWorker(1, slow)
	f.must("submit", f.file) // and nobody else at work, for whom batches would be shorter
	count := func() (rows, batches float64) {
		require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT coalesce(sum(rows), 0), coalesce(sum(batches), 0) FROM backfleet.ranges WHERE kind = 'fill'").Scan(&rows, &batches))
		return rows, batches
	}
	f.awaitSQL("the batch size is learned", "SELECT coalesce(sum(batches), 0) >= 20 FROM backfleet.ranges")
	rows, batches := count()
	began := time.Now()
	f.awaitSQL("twenty more batches", "SELECT sum(batches) >= $1 FROM backfleet.ranges", batches+20)
	took := time.Since(began)
	r, b := count()
	size, pace := (r-rows)/(b-batches), (r-rows)/took.Seconds()
	require.Greater(t, size, 100.0, "rows a batch, of at most 500; ten are the least")
	f.mend(append(c.both(), w1.both()...))
	f.unleash()
	f.prove(fmt.Sprintf("with 80 ms there and back, 2 MiB/s: %.0f rows a batch, %.0f rows/s", size, pace))
}

// A whole host that loses every packet, and is back after its range was redone: what its kernel sends again then commits nothing, and
// its worker works on.
func TestHostUnplugged(t *testing.T) {
	t.Parallel()
	host := harness.NewHost(t)
	f := newFleet(t, shape{rows: 250_000, perRange: perRange, rate: 8_000})
	var w1 *harness.Process
	f.beginWith(func() {
		db, nats := harness.LinkAt(t, host.Gateway, f.dsn), harness.LinkAt(t, host.Gateway, f.nats.URL())
		path, args := host.On(f.bin, "worker", "--id", "w1", "--nats-url", nats.Through(f.nats.URL()))
		w1 = harness.Start(t, path, args, []string{"BACKFLEET_DATABASE_MAIN=" + db.Through(f.dsn)})
		f.workers++
		f.worker(1)
	})
	f.awaitShare(0.05)
	g := f.awaitGrip("w1", perRange)
	require.NoError(t, host.Unplug())
	unplugged := time.Now()
	f.awaitHeir(g)
	gap := time.Since(unplugged)
	require.LessOrEqual(t, gap, heirMost)
	f.awaitSQL("the range is done by the other", "SELECT state = 'done' FROM backfleet.ranges WHERE index = $1 AND kind = 'fill'", g.index)
	before := f.row(g.index)
	require.NoError(t, host.Plug())
	plugged := time.Now()
	f.awaitTaken("w1")
	back := time.Since(plugged)
	require.True(t, w1.Running())
	f.unleash()
	f.prove(fmt.Sprintf("taken over after %s, back at work %s after its return", short(gap), short(back)))
	require.Equal(t, before, f.row(g.index), "the zombie changed nothing of the range")
}

// row is what the ledger holds of a range's progress.
func (f *fleet) row(index int) (s string) {
	f.t.Helper()
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(),
		"SELECT fence || ' ' || owner || ' ' || rows || ' ' || batches || ' ' || key::text FROM backfleet.ranges WHERE index = $1", index).Scan(&s))
	return s
}
