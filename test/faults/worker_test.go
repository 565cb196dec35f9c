package faults

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

const perRange = 5_000 // short, so that a slot is soon free for what is given back

// orders are the orders in which a range is walked: that of the key, passes over it, and passes over a stretch of blocks.
var orders = map[string]shape{"plain": {passes: 1}, "passes": {passes: 4}, "blocks": {passes: 4, blocks: true}}

// A worker that dies is replaced within its lease of ten seconds and two more.
func TestKillOneWorker(t *testing.T) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 12_000, passes: order.passes, blocks: order.blocks})
			_, workers := f.begin(3)
			f.awaitShare(0.1)
			g := f.awaitGrip("", perRange)
			require.NoError(t, byID(workers, g.owner).Kill())
			killed := time.Now()
			heir := f.awaitHeir(g)
			gap := time.Since(killed)
			require.LessOrEqual(t, gap, heirMost)
			f.unleash()
			r := f.prove(fmt.Sprintf("%s killed in range %d at %d rows, taken over by %s after %s", g.owner, g.index, g.rows, heir.owner, short(gap)))
			require.Positive(t, r.Takeovers)
		})
	}
}

// New workers take over from a fleet that died as a whole.
func TestKillAllWorkers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 12_000})
	_, workers := f.begin(3)
	f.awaitShare(0.1)
	g := f.awaitGrip("", perRange)
	for _, w := range workers {
		require.NoError(t, w.Kill())
	}
	killed := time.Now()
	done := f.rowsDone()
	f.worker(2)
	f.worker(1)
	f.awaitMore()
	first := time.Since(killed)
	f.awaitHeir(g)
	gap := time.Since(killed)
	require.LessOrEqual(t, gap, heirMost)
	f.unleash()
	r := f.prove(fmt.Sprintf("all killed at %d rows, new workers' first batch after %s, held range taken over after %s", done, short(first), short(gap)))
	require.GreaterOrEqual(t, r.Takeovers, int64(1))
}

// A worker that was frozen beyond its lease finds its range done by another: it commits nothing, says so in one line, and works on.
func TestZombie(t *testing.T) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 10_000, passes: order.passes, blocks: order.blocks})
			_, workers := f.begin(2)
			f.awaitShare(0.05)
			g := f.awaitGrip("w1", perRange)
			require.NoError(t, workers[0].Stop())
			frozen := time.Now()
			f.awaitHeir(g)
			gap := time.Since(frozen)
			require.LessOrEqual(t, gap, heirMost)
			f.awaitSQL("the range is done by the other", "SELECT state = 'done' FROM backfleet.ranges WHERE index = $1 AND kind = 'fill'", g.index)
			const row = "SELECT fence || ' ' || owner || ' ' || rows || ' ' || batches || ' ' || key::text FROM backfleet.ranges WHERE index = $1"
			var before, after string
			require.NoError(t, f.pool.QueryRow(t.Context(), row, g.index).Scan(&before))
			require.NoError(t, workers[0].Cont())
			f.await("the zombie says that its range is another's", func(context.Context) (bool, error) {
				return len(logged(workers[0], "range lost to another claim")) > 0, nil
			})
			f.awaitSQL("the zombie works on with another range", "SELECT EXISTS (SELECT 1 FROM backfleet.ranges WHERE owner = 'w1' AND index <> $1 AND fence > 0 AND rows > 0 AND started_at > now() - interval '5 seconds')", g.index)
			f.unleash()
			f.prove(fmt.Sprintf("w1 frozen in range %d at %d rows, taken over after %s, continued after %s", g.index, g.rows, short(gap), short(time.Since(frozen))))
			require.NoError(t, f.pool.QueryRow(t.Context(), row, g.index).Scan(&after))
			require.Equal(t, before, after, "the zombie changed nothing of the range")
			require.Len(t, logged(workers[0], "range lost to another claim"), 1)
		})
	}
}

// SIGTERM hands the range back at its checkpoint, and another worker goes on at once.
func TestTermHandsOver(t *testing.T) {
	f := newFleet(t, shape{rows: 300_000, perRange: 300_000, rate: 0}) // one range: whoever is free can only take this one
	_, workers := f.begin(2)
	f.awaitShare(0.1)
	g := f.awaitGrip("", 300_000)
	leaver := byID(workers, g.owner)
	w := f.watchRange(g.index)
	began := time.Now()
	require.NoError(t, leaver.Term())
	took := ends(t, leaver, 10*time.Second, 0)
	require.Less(t, took, 2*time.Second+25*time.Millisecond)
	f.awaitHeir(g)
	f.awaitSQL("the heir has committed a batch", "SELECT rows > $2 AND owner <> $3 FROM backfleet.ranges WHERE index = $1", g.index, g.rows, g.owner)
	last, claimed, resumed := w.stop(g.owner)
	require.Less(t, claimed.Sub(last), 500*time.Millisecond)
	require.Len(t, logged(leaver, "range handed back"), 1)
	f.prove(fmt.Sprintf("%s left in %s, its last batch %s after the signal; claimed anew %s later, next batch %s later", g.owner, short(took),
		short(last.Sub(began)), short(claimed.Sub(last)), short(resumed.Sub(last))))
}

// rangeWatch samples a range's row every two milliseconds.
type rangeWatch struct {
	cancel context.CancelFunc
	done   chan struct{}
	seen   []glimpse
}

type glimpse struct {
	at    time.Time
	owner string
	rows  int64
}

func (f *fleet) watchRange(index int) *rangeWatch {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	conn, err := f.pool.Acquire(ctx)
	require.NoError(f.t, err)
	w := &rangeWatch{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		defer conn.Release()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			var g glimpse
			err := conn.QueryRow(ctx, "SELECT owner, rows FROM backfleet.ranges WHERE index = $1", index).Scan(&g.owner, &g.rows)
			g.at = time.Now()
			if n := len(w.seen); err == nil && (n == 0 || w.seen[n-1].owner != g.owner || w.seen[n-1].rows != g.rows) {
				w.seen = append(w.seen, g)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return w
}

// stop ends the watch and tells when the owner's last batch, the next claim and its first batch were seen.
func (w *rangeWatch) stop(owner string) (last, claimed, resumed time.Time) {
	w.cancel()
	<-w.done
	var rows int64
	for _, g := range w.seen {
		switch {
		case g.owner == owner:
			last, rows = g.at, g.rows
		case claimed.IsZero():
			claimed = g.at
		}
		if g.owner != owner && resumed.IsZero() && g.rows > rows {
			resumed = g.at
		}
	}
	return last, claimed, resumed
}

// A second signal ends a worker in the middle of a long batch. What becomes of that batch is the fence's matter.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 12_000})
	slow := f.rows/4 + perRange/2
	f.slowRow(slow)
	_, workers := f.begin(2)
	f.awaitSlowRow()
	var g grip
	require.NoError(t, f.pool.QueryRow(t.Context(), `SELECT owner, index, fence, rows FROM backfleet.ranges
		WHERE state = 'running' AND (lo IS NULL OR lo[1]::bigint <= $1) AND hi[1]::bigint > $1`, slow).Scan(&g.owner, &g.index, &g.fence, &g.rows))
	victim := byID(workers, g.owner)
	require.NoError(t, victim.Term())
	// Two signals of one kind that are both pending count as one.
	f.await("the first signal is taken", func(context.Context) (bool, error) { return !pending(victim, syscall.SIGTERM), nil })
	require.True(t, victim.Running(), "it finishes its batch first")
	// The program's runtime, too, counts those as one of which it has not handed on the first.
	began := time.Now()
	f.await("the second signal ends it", func(context.Context) (bool, error) {
		if !victim.Running() {
			return true, nil
		}
		return false, victim.Signal(syscall.SIGTERM)
	})
	took := time.Since(began)
	require.Less(t, took, time.Second)
	ends(t, victim, time.Second, 130)
	f.awaitHeir(g)
	f.unleash()
	f.prove(fmt.Sprintf("%s ended %s after the second signal, in the middle of a batch", g.owner, short(took)))
}

// slowRow makes the first update of a row sleep, and with it the batch.
func (f *fleet) slowRow(id int64) {
	f.t.Helper()
	f.exec(`CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END'`)
	f.exec(fmt.Sprintf(`CREATE TRIGGER slow BEFORE UPDATE OF counter ON public.accounts FOR EACH ROW WHEN (OLD.id = %d) EXECUTE FUNCTION public.sleep()`, id))
}

func (f *fleet) awaitSlowRow() {
	f.t.Helper()
	f.awaitSQL("a batch sleeps", "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())")
}

// pending reports whether a signal still waits for the process to take it.
func pending(p *harness.Process, sig syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "ShdPnd:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return n&(1<<(sig-1)) != 0
		}
	}
	return false
}

// byID finds the process of a worker w1, w2 ...
func byID(workers []*harness.Process, id string) *harness.Process {
	var n int
	if _, err := fmt.Sscanf(id, "w%d", &n); err != nil || n > len(workers) {
		return nil
	}
	return workers[n-1]
}

func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}
