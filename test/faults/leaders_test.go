package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

const takeoverMost = 10 * time.Second

// A leader that hears nothing any more from Postgres, from NATS or from both, over connections that stay, is replaced within ten
// seconds. Whatever it still says is refused by its epoch, and when it is back it stands by.
func TestLeaderCutOff(t *testing.T) {
	for name, cut := range map[string]func(*member) []*harness.Link{
		"Postgres": func(m *member) []*harness.Link { return []*harness.Link{m.db} },
		"NATS":     func(m *member) []*harness.Link { return []*harness.Link{m.nats} },
		"both":     (*member).both,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 8_000})
			a, b := f.beginLinked()
			said := f.listen()
			f.awaitShare(0.1)
			old := f.reign()
			leader := a
			if old.PID() == b.PID() {
				leader = b
			}
			silence(cut(leader))
			hit := time.Now()
			f.awaitLeader(old.Process)
			took := time.Since(hit)
			require.LessOrEqual(t, took, takeoverMost)
			next := f.reign()
			require.Greater(t, next.epoch, old.epoch)
			said.await(f, next.epoch)
			f.awaitMore()
			resumed := time.Since(hit)
			f.refuses(old)
			f.mend(cut(leader))
			f.await("the old leader says that it was replaced", func(context.Context) (bool, error) {
				return len(logged(leader.Process, "leadership lost")) == 1, nil
			})
			// What it went on to say: without its database that may be nothing. What the network kept of it comes now.
			late := said.after(old.epoch, next.epoch)
			if name != "Postgres" {
				f.await("the workers hear the old leader after the new one", func(context.Context) (bool, error) {
					late = said.after(old.epoch, next.epoch)
					return late > 0, nil
				})
			}
			f.unleash()
			f.prove(fmt.Sprintf("another led after %s, batches went on after %s; %d budgets of the old leader came after the first of the new one",
				short(took), short(resumed), late))
			require.Equal(t, next.epoch, f.reign().epoch, "it does not take the leadership back")
		})
	}
}

// A leader that is frozen in the middle of a transaction of the plan, and another in the middle of the verification, are replaced
// within ten seconds; what they were at goes on where it was. Continued they do nothing.
func TestStopLeader(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 60_000, perRange: 500, rate: 8_000})
	f.beginLinked(append(slowPlan, heldProof...)...)
	heard := f.listen()
	f.awaitSQL("the plan is in the middle of a transaction", `SELECT (SELECT count(*) FROM backfleet.ranges) BETWEEN 1 AND 100 AND EXISTS (
		SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())`)
	first := f.reign()
	planned := f.replace(first, heard)
	var before int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FROM backfleet.ranges").Scan(&before))
	whole := f.awaitSQL("the plan is whole", "SELECT planned_at IS NOT NULL FROM backfleet.jobs")
	f.awaitMore()
	f.refuses(first)
	f.resume(first)

	f.awaitSQL("the verification is under way", "SELECT state = 'verifying' FROM backfleet.jobs")
	var open int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FROM backfleet.ranges WHERE kind = 'verify' AND state <> 'done'").Scan(&open))
	require.Positive(t, open, "it was over too soon")
	second := f.reign()
	verified := f.replace(second, heard)
	f.awaitSQL("the snapshot of the one that is frozen ends", "SELECT count(*) <= 1 FROM pg_stat_activity WHERE application_name LIKE 'backfleet proof of%' AND datname = current_database()")
	f.resume(second)
	f.exec("SELECT backfleet.release()")
	f.prove(fmt.Sprintf("frozen while planning: another led after %s, the rest of the plan, from %d ranges, took %s; while verifying, %d ranges to go: after %s",
		short(planned), before, short(whole), open, short(verified)))
	var rounds int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT verify_round FROM backfleet.jobs").Scan(&rounds))
	require.Equal(t, 2, rounds, "a snapshot is nobody else's: the round began anew in another")
}

// heldProof has backfleet.hold() stand from the moment in which the first verification begins.
var heldProof = []string{
	`CREATE FUNCTION public.hold_proof() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.kind = 'verify' AND NEW.round = 1 THEN PERFORM backfleet.hold('10 minutes'); END IF;
		RETURN NULL;
	END $$`,
	`CREATE TRIGGER hold_proof AFTER INSERT ON backfleet.ranges FOR EACH ROW EXECUTE FUNCTION public.hold_proof()`,
}

// slowPlan makes each step of a plan sleep before its commit.
var slowPlan = []string{
	`CREATE FUNCTION public.slow_plan() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'`,
	`CREATE TRIGGER slow BEFORE INSERT ON backfleet.ranges FOR EACH STATEMENT EXECUTE FUNCTION public.slow_plan()`,
}

// beginLinked is begin with two coordinators, each over links of its own, and with statements to run once the ledger is there.
func (f *fleet) beginLinked(statements ...string) (a, b *member) {
	f.t.Helper()
	f.nats = harness.NATS(f.t)
	f.must("db", "init")
	for _, sql := range statements {
		f.exec(sql)
	}
	a, b = f.linkedCoordinator(), f.linkedCoordinator()
	f.awaitLeader(nil)
	f.worker(1)
	f.worker(1)
	f.write()
	f.must("submit", f.file)
	return a, b
}

// reign is a leadership: whose it is and its epoch.
type reign struct {
	*harness.Process
	owner string
	epoch int64
}

// reign reads who leads now.
func (f *fleet) reign() (r reign) {
	f.t.Helper()
	r.Process = f.awaitLeader(nil)
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT owner, epoch FROM backfleet.leadership").Scan(&r.owner, &r.epoch))
	return r
}

// replace freezes a leader and returns after how long another led and governed.
func (f *fleet) replace(old reign, said *hearing) time.Duration {
	f.t.Helper()
	require.NoError(f.t, old.Stop())
	stopped := time.Now()
	f.awaitLeader(old.Process)
	took := time.Since(stopped)
	require.LessOrEqual(f.t, took, takeoverMost)
	next := f.reign()
	require.Greater(f.t, next.epoch, old.epoch)
	said.await(f, next.epoch)
	return took
}

// resume continues a frozen leader, which must see that its time is over.
func (f *fleet) resume(old reign) {
	f.t.Helper()
	require.NoError(f.t, old.Cont())
	f.await("the old leader says that it was replaced", func(context.Context) (bool, error) {
		return len(logged(old.Process, "leadership lost")) == 1, nil
	})
}

// refuses checks that the ledger takes no write and the workers no budget of a leadership that is over: while every worker hears far more
// holds of the old epoch than budgets of the new one, batches go on.
func (f *fleet) refuses(old reign) {
	f.t.Helper()
	ctx := f.t.Context()
	var id job.ID
	require.NoError(f.t, f.pool.QueryRow(ctx, "SELECT id FROM backfleet.jobs").Scan(&id))
	_, err := (&store.Leader{Store: store.New(f.pool, "main"), Owner: old.owner, Epoch: old.epoch}).Pause(ctx, id, "backfleet", "as it was")
	require.ErrorIs(f.t, err, store.ErrNotLeader)

	nc, err := nats.Connect(f.nats.URL())
	require.NoError(f.t, err)
	defer nc.Close()
	var sent atomic.Int64
	ctx, stop := context.WithCancel(ctx)
	var flood sync.WaitGroup
	defer flood.Wait()
	defer stop()
	flood.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			hold, err := json.Marshal(job.Budget{
				Version: job.ProtocolVersion, Database: "main", Epoch: old.epoch, Seq: forged + sent.Load(), Hold: true,
			})
			if err == nil && nc.Publish("backfleet.ctl.throttle.main", hold) == nil {
				sent.Add(1)
			}
			<-tick.C
		}
	})
	f.await("the workers hear the old epoch", func(context.Context) (bool, error) { return sent.Load() >= 200, nil })
	for range 5 {
		f.awaitMore()
	}
}

// forged is above the seq of every budget that a leader has sent: it alone would make a budget the newest.
const forged = int64(1) << 40

// hearing keeps what governors say, and when each worker last said that it is there.
type hearing struct {
	mu      sync.Mutex
	budgets []job.Budget
	workers map[string]time.Time
}

func (f *fleet) listen() *hearing {
	f.t.Helper()
	h := &hearing{workers: map[string]time.Time{}}
	nc, err := nats.Connect(f.nats.URL())
	require.NoError(f.t, err)
	f.t.Cleanup(nc.Close)
	_, err = nc.Subscribe("backfleet.ctl.throttle.main", func(m *nats.Msg) {
		var b job.Budget
		if json.Unmarshal(m.Data, &b) == nil {
			h.mu.Lock()
			h.budgets = append(h.budgets, b)
			h.mu.Unlock()
		}
	})
	require.NoError(f.t, err)
	_, err = nc.Subscribe("backfleet.worker.>", func(m *nats.Msg) {
		var w job.Hello
		if json.Unmarshal(m.Data, &w) == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.workers[w.Worker] = time.Now(); w.Leaving {
				delete(h.workers, w.Worker)
			}
		}
	})
	require.NoError(f.t, err)
	return h
}

// await waits until a leadership has said its first word.
func (h *hearing) await(f *fleet, epoch int64) {
	f.t.Helper()
	f.await("the new leader governs", func(context.Context) (bool, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, b := range h.budgets {
			if b.Epoch == epoch {
				return true, nil
			}
		}
		return false, nil
	})
}

// after counts the budgets of one leadership that came after the first of another, those that the test itself sent left out.
func (h *hearing) after(old, next int64) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	begun := false
	for _, b := range h.budgets {
		begun = begun || b.Epoch == next
		if begun && b.Epoch == old && b.Seq < forged {
			n++
		}
	}
	return n
}
