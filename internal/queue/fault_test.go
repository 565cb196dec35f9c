package queue

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// restart is kill -9 and a new start on the same port, with whatever is in the store by then.
func (p *process) restart(between func()) {
	p.t.Helper()
	p.kill()
	if between != nil {
		between()
	}
	p.start()
}

// consumerState is the file in which the server keeps what it has delivered.
func (p *process) consumerState() string {
	return filepath.Join(p.store(), "jetstream", "$G", "streams", "BACKFLEET", "obs", "job_main_users", "o.dat")
}

func TestAnAckIsRetriedAcrossARestart(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	consumer(t, c, 10)
	want(t, c, Published, ref(1, 1))
	before, _ := os.ReadFile(p.consumerState())
	d := pull(t, c)
	eventually(t, 5*time.Second, "the delivery is on disk", func() bool {
		now, err := os.ReadFile(p.consumerState())
		return err == nil && len(now) > 0 && !bytes.Equal(now, before)
	})
	p.kill()
	acked := make(chan error, 1)
	go func() { acked <- d.Done(context.Background()) }()
	eventually(t, 5*time.Second, "the connection is seen to be gone", func() bool { return c.Healthy() != nil })
	mentions(t, c.Healthy(), "NATS", "reconnecting")
	p.start()
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	if held := inventory(t, c); len(held) != 0 {
		t.Errorf("%d messages left after the ack", len(held))
	}
	if err := c.Healthy(); err != nil {
		t.Error(err)
	}
}

// A server that is killed within about 100 ms of a delivery forgets it: it delivers the range again, and does not answer
// the first holder's ack before that.
func TestAForgottenDeliveryComesAgain(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	consumer(t, c, 10)
	want(t, c, Published, ref(1, 1))
	first := pull(t, c)
	p.restart(func() {
		if err := os.Remove(p.consumerState()); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	acked := make(chan error, 1)
	go func() { acked <- first.Done(context.Background()) }()
	var second *Delivery
	eventually(t, 15*time.Second, "the range comes again", func() bool {
		d, err := c.Pull(t.Context(), "main", "users", 200*time.Millisecond)
		second = d
		return err == nil
	})
	done(t, second)
	if err := <-acked; err != nil {
		t.Error(err)
	}
	if held := inventory(t, c); len(held) != 0 {
		t.Errorf("%d messages left", len(held))
	}
}

func TestAForgottenDeliveryHoldsNoSlotForLong(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	consumer(t, c, 10)
	want(t, c, Published, ref(1, 1))
	d := pull(t, c)
	p.restart(func() { os.Remove(p.consumerState()) })
	began := time.Now()
	if err := d.Done(t.Context()); !errors.Is(err, ErrForgotten) {
		t.Errorf("%v, want ErrForgotten", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("gave up after %s", took)
	}
	done(t, pull(t, c)) // it comes again to anyone who has a slot
}

func TestAnAckGivesUpWithItsContext(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	consumer(t, c, 10)
	want(t, c, Published, ref(1, 1))
	d := pull(t, c)
	p.kill()
	began := time.Now()
	err := d.Done(timeout(t, 300*time.Millisecond))
	mentions(t, err, "acknowledge range 1 of job users on main")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s to give up", took)
	}
}

func TestAParkedPullSurvivesRestartsWithoutTakingTwo(t *testing.T) {
	p := startProcess(t, "")
	puller, watcher := p.connect(t, Options{Name: "puller"}), p.connect(t, Options{Name: "watcher"})
	ensure(t, watcher)
	consumer(t, watcher, 10)
	for round := range 3 {
		got := make(chan *Delivery, 1)
		go func() {
			for {
				d, err := puller.Pull(context.Background(), "main", "users", 30*time.Second)
				if err == nil {
					got <- d
					return
				}
				if !errors.Is(err, ErrNoConsumer) { // JetStream answers a moment after NATS does
					t.Error(err)
					close(got)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		eventually(t, 5*time.Second, "the pull is parked", func() bool { return parked(t, watcher) == 1 })
		p.restart(nil)
		eventually(t, 10*time.Second, "the stream is back", func() bool {
			_, err := watcher.Lag(t.Context(), "main", "users")
			return err == nil
		})
		want(t, watcher, Published, refs(4, 2*round+1)...)
		var d *Delivery
		select {
		case d = <-got:
		case <-time.After(10 * time.Second):
			t.Fatal("the pull was not made anew")
		}
		if d == nil {
			t.FailNow()
		}
		if l := lag(t, watcher); l.AckPending != 1 || l.Pending != 3 {
			t.Errorf("round %d: lag %+v after one pull across a restart, want 1 delivered and 3 pending", round, l)
		}
		if n := parked(t, watcher); n != 0 {
			t.Errorf("round %d: %d pulls left behind", round, n)
		}
		done(t, d)
		for range 3 {
			done(t, pull(t, puller))
		}
	}
}

func TestTheFleetLivesOnWhenTheStoreIsDeleted(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	consumer(t, c, 10)
	want(t, c, Published, refs(20, 1)...)
	old := pull(t, c)
	var reconnects atomic.Int32
	c.OnReconnect(func() { reconnects.Add(1) })
	p.restart(func() {
		if err := os.RemoveAll(p.store()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 10*time.Second, "the hook has run", func() bool { return reconnects.Load() == 1 })

	if _, err := c.Pull(t.Context(), "main", "users", time.Second); !errors.Is(err, ErrNoConsumer) {
		t.Errorf("Pull: %v, want ErrNoConsumer", err)
	}
	if _, err := c.Inventory(t.Context(), "main", "users"); !errors.Is(err, ErrNoStream) {
		t.Errorf("Inventory: %v, want ErrNoStream", err)
	}
	results, err := c.Publish(t.Context(), refs(1, 2))
	if err != nil || results[0].Outcome != Unknown || !errors.Is(results[0].Err, ErrNoStream) {
		t.Errorf("Publish: %+v, %v; want ErrNoStream", results, err)
	}
	ctl := job.Control{Database: "main", Job: ulid, Name: "users", State: job.Running, Revision: 1}
	if err := c.PutControl(t.Context(), ctl); !errors.Is(err, ErrNoStream) {
		t.Errorf("PutControl: %v, want ErrNoStream", err)
	}
	created, err := c.EnsureStream(t.Context())
	if err != nil || !created {
		t.Fatalf("EnsureStream: created %v, %v", created, err)
	}
	consumer(t, c, 10)
	want(t, c, Published, refs(20, 1)...) // the new stream remembers no generation
	if err := old.Done(timeout(t, time.Second)); err != nil {
		t.Logf("the ack of a delivery of the lost stream: %v", err)
	}
	if held := inventory(t, c); len(held) < 19 {
		t.Errorf("%d messages in the new stream", len(held))
	}
}

func TestPublishWhileNATSIsAway(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	consumer(t, c, 10)
	p.kill()
	eventually(t, 5*time.Second, "the connection is seen to be gone", func() bool { return c.Healthy() != nil })
	began := time.Now()
	results, err := c.Publish(t.Context(), refs(3, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Outcome != Unknown {
			t.Errorf("range %d: %s without a server", r.Ref.Index, r.Outcome)
		}
		mentions(t, r.Err, "publish range", "NATS is not connected")
	}
	mentions(t, c.PublishBudget(job.Budget{Database: "main"}), "NATS is not connected")
	mentions(t, c.Announce(job.Hello{Worker: "w"}), "NATS is not connected")
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s to say so", took)
	}
	p.start()
	eventually(t, 10*time.Second, "the connection is back", func() bool { return c.Healthy() == nil })
	eventually(t, 10*time.Second, "nothing kept back was sent", func() bool {
		held, err := c.Inventory(t.Context(), "main", "users")
		return err == nil && len(held) == 0
	})
	want(t, c, Published, refs(3, 1)...)
}

func TestAnsweredOrUnknownWhenNATSDiesUnderAPublish(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	ensure(t, c)
	const n = 20_000
	type outcome struct {
		results []PublishResult
		err     error
	}
	finished := make(chan outcome, 1)
	go func() {
		r, err := c.Publish(context.Background(), refs(n, 1))
		finished <- outcome{r, err}
	}()
	eventually(t, 10*time.Second, "some are published", func() bool {
		held, err := c.Inventory(t.Context(), "main", "users")
		return err == nil && len(held) > 500
	})
	p.kill()
	var o outcome
	select {
	case o = <-finished:
	case <-time.After(20 * time.Second):
		t.Fatal("Publish hangs")
	}
	p.start()
	eventually(t, 10*time.Second, "the stream is back", func() bool {
		_, err := c.Inventory(t.Context(), "main", "users")
		return err == nil
	})
	held := inventory(t, c)
	counts := map[Outcome]int{}
	for _, r := range o.results {
		counts[r.Outcome]++
		if _, in := held[r.Ref.Index]; r.Outcome == Published && !in {
			t.Fatalf("range %d was published and is not in the stream", r.Ref.Index)
		}
	}
	t.Logf("killed in mid-publish: %v, %d in the stream", counts, len(held))
	if counts[Published] == 0 || counts[Unknown] == 0 {
		t.Errorf("outcomes %v", counts)
	}
}

// A server that hangs keeps its connections: only a question that it does not answer tells.
func TestReachSeesAServerThatHangs(t *testing.T) {
	p := startProcess(t, "")
	c := p.connect(t, Options{})
	if err := c.Reach(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := c.Healthy(); err != nil {
		t.Fatalf("it is seen without a question: %v", err)
	}
	var err error
	eventually(t, 5*time.Second, "the server hangs", func() bool { // the signal takes a moment
		err = c.Reach(t.Context(), 100*time.Millisecond)
		return err != nil
	})
	mentions(t, err, "NATS does not answer")
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := c.Reach(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
}
