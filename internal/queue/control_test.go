package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

func control(revision int64, state job.State) job.Control {
	return job.Control{Version: job.ProtocolVersion, Database: "main", Job: ulid, Name: "users", State: state, Revision: revision}
}

func put(t *testing.T, c *Conn, ctl job.Control) {
	t.Helper()
	if err := c.PutControl(t.Context(), ctl); err != nil {
		t.Fatal(err)
	}
}

// watched collects what a worker hears.
type watched struct {
	Latest
	mu      sync.Mutex
	budgets []job.Budget
}

func watch(t *testing.T, c *Conn) *watched {
	t.Helper()
	w := &watched{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, []string{"main"}, func(ctl job.Control) { w.Offer(ctl) }, func(b job.Budget) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.budgets = append(w.budgets, b)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	return w
}

func (w *watched) revision() int64 {
	ctl, _ := w.Get("main", "users")
	return ctl.Revision
}

func (w *watched) last() (job.Budget, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.budgets) == 0 {
		return job.Budget{}, false
	}
	return w.budgets[len(w.budgets)-1], true
}

func TestAControlIsHeardAtOnceAndByThoseWhoAskLater(t *testing.T) {
	e, c := embed(t)
	put(t, c, control(1, job.Running))
	early := watch(t, c)
	eventually(t, 2*time.Second, "the snapshot at the start", func() bool { return early.revision() == 1 })
	began := time.Now()
	put(t, c, control(2, job.Paused))
	eventually(t, 2*time.Second, "the published control", func() bool { return early.revision() == 2 })
	t.Logf("heard and stored in %s", time.Since(began).Round(time.Microsecond))
	other, err := e.Connect(t.Context(), Options{Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	late := watch(t, other)
	eventually(t, 2*time.Second, "the snapshot of a late worker", func() bool { return late.revision() == 2 })
}

func TestTheBucketKeepsTheHighestRevision(t *testing.T) {
	_, c := embed(t)
	put(t, c, control(5, job.Running))
	if err := c.PutControl(t.Context(), control(4, job.Paused)); !errors.Is(err, ErrStaleControl) {
		t.Errorf("an older revision: %v, want ErrStaleControl", err)
	}
	put(t, c, control(5, job.Running)) // repeating is no error
	next := control(1, job.Running)
	next.Job = ulid + "0" // a later job of the same name begins anew
	put(t, c, next)
	if err := c.PutControl(t.Context(), control(6, job.Running)); !errors.Is(err, ErrStaleControl) {
		t.Errorf("an earlier job: %v, want ErrStaleControl", err)
	}
	w := watch(t, c)
	eventually(t, 2*time.Second, "the later job", func() bool { ctl, _ := w.Get("main", "users"); return ctl.Job == next.Job })
}

// A failover takes revisions back, and even a job: what is said on the later timeline counts. The previous release tells no epoch.
func TestAControlOfALaterTimelineReplacesAHigherRevision(t *testing.T) {
	_, c := embed(t)
	on := func(timeline, term, revision int64, state job.State) job.Control {
		ctl := control(revision, state)
		ctl.Epoch = timeline<<32 + term
		return ctl
	}
	w := watch(t, c)
	put(t, c, on(1, 1, 7, job.Paused))
	put(t, c, on(2, 1, 5, job.Running))
	eventually(t, 2*time.Second, "the later timeline", func() bool { return w.revision() == 5 })
	for _, stale := range []job.Control{on(1, 9, 8, job.Paused), on(2, 2, 4, job.Paused), control(4, job.Paused)} {
		if err := c.PutControl(t.Context(), stale); !errors.Is(err, ErrStaleControl) {
			t.Errorf("revision %d of epoch %x: %v, want ErrStaleControl", stale.Revision, stale.Epoch, err)
		}
	}
	put(t, c, control(6, job.Paused)) // of the previous release's leader
	eventually(t, 2*time.Second, "a leader that tells no epoch", func() bool { return w.revision() == 6 })
}

func TestConcurrentPutsEndWithTheHighestRevision(t *testing.T) {
	_, c := embed(t)
	var wg sync.WaitGroup
	for rev := range int64(4) {
		wg.Go(func() {
			if err := c.PutControl(t.Context(), control(rev+1, job.Running)); err != nil && !errors.Is(err, ErrStaleControl) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w := watch(t, c)
	eventually(t, 2*time.Second, "revision 4", func() bool { return w.revision() == 4 })
}

func TestOtherDatabasesAreNotHeard(t *testing.T) {
	_, c := embed(t)
	w := watch(t, c)
	foreign := control(9, job.Running)
	foreign.Database = "main-2"
	put(t, c, foreign)
	put(t, c, control(1, job.Running))
	eventually(t, 2*time.Second, "the control of this database", func() bool { return w.revision() == 1 })
	if _, ok := w.Get("main-2", "users"); ok {
		t.Error("heard the control of another database")
	}
}

func TestTheControlOfAnEndedJobGoesAway(t *testing.T) {
	_, c := embed(t)
	put(t, c, control(1, job.Running))
	put(t, c, control(2, job.Complete))
	stream, err := c.js.Stream(t.Context(), bucketStream(c.names.controlBucket()))
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), bucketSubject("backfleet_control", "job.main.users"))
	if err != nil {
		t.Fatal(err)
	}
	if ttl := m.Header.Get("Nats-TTL"); ttl != endedTTL.String() {
		t.Errorf("time to live %q, want %s", ttl, endedTTL)
	}
	put(t, c, control(3, job.Running)) // a retry: it stays again
	m, err = stream.GetLastMsgForSubject(t.Context(), bucketSubject("backfleet_control", "job.main.users"))
	if err != nil || m.Header.Get("Nats-TTL") != "" {
		t.Errorf("%v, %v after a retry", m, err)
	}
}

func TestASnapshotAfterReconnectBringsWhatWasMissed(t *testing.T) {
	p := startProcess(t, "")
	coordinator, worker := p.connect(t, Options{}), p.connect(t, Options{})
	ensure(t, coordinator)
	put(t, coordinator, control(1, job.Running))
	w := watch(t, worker)
	eventually(t, 2*time.Second, "revision 1", func() bool { return w.revision() == 1 })
	for rev := int64(2); rev <= 4; rev++ {
		p.restart(nil)
		eventually(t, 10*time.Second, "the coordinator is back and has put the next revision", func() bool {
			return coordinator.PutControl(t.Context(), control(rev, job.Paused)) == nil
		})
		began := time.Now()
		eventually(t, 3*time.Second, "the worker has it, though it may not have been listening", func() bool { return w.revision() == rev })
		t.Logf("revision %d heard %s after it was put", rev, time.Since(began).Round(time.Millisecond))
	}
}

func TestTheSnapshotComesByItself(t *testing.T) {
	_, c := embed(t)
	w := watch(t, c)
	eventually(t, time.Second, "Watch listens", func() bool { return c.nc.NumSubscriptions() >= 2 })
	// Written behind the republished subjects' back: only the snapshot of every 5 s can bring it.
	stream := c.controlStream()
	stream.RePublish, stream.Replicas = nil, 1
	if _, err := c.js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	ctl := control(7, job.Paused)
	data := fmt.Sprintf(`{"v":1,"db":"main","job":%q,"name":"users","state":"paused","rev":7,"limits":{}}`, ctl.Job)
	if _, err := c.js.Publish(t.Context(), bucketSubject("backfleet_control", "job.main.users"), []byte(data)); err != nil {
		t.Fatal(err)
	}
	eventually(t, snapshotEvery+3*time.Second, "the snapshot", func() bool { return w.revision() == 7 })
}

func TestBudgetsAreHeardLiveAndOnlyLive(t *testing.T) {
	_, c := embed(t)
	now := time.Unix(1000, 0)
	c.display.now = func() time.Time { return now }
	send := func(seq int64) {
		if err := c.PublishBudget(job.Budget{Database: "main", Epoch: 1, Seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	stored := func() (n uint64) {
		stream, err := c.js.Stream(t.Context(), bucketStream(c.names.controlBucket()))
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.LastSeq
	}
	send(1) // stored for display
	eventually(t, 2*time.Second, "the copy for display", func() bool { return stored() == 1 })
	w := watch(t, c)
	put(t, c, control(1, job.Running))
	eventually(t, 2*time.Second, "the control", func() bool { return w.revision() == 1 })
	if b, ok := w.last(); ok {
		t.Errorf("a stored budget was handed out: %+v", b)
	}
	for seq := int64(2); seq <= 5; seq++ {
		send(seq)
	}
	eventually(t, 2*time.Second, "the last budget", func() bool { b, _ := w.last(); return b.Seq == 5 })
	if n := stored(); n != 2 { // budget 1 and the control
		t.Errorf("%d messages stored within 2 s, want 2", n)
	}
	now = now.Add(budgetShown)
	send(6)
	eventually(t, 2*time.Second, "the next copy", func() bool { return stored() == 3 })
}

func TestHellosReachTheCoordinator(t *testing.T) {
	e, c := embed(t)
	worker, err := e.Connect(t.Context(), Options{Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	heard := make(chan job.Hello, 10)
	stop, err := c.SubscribeHellos(func(h job.Hello) { heard <- h })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.flush(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if err := worker.nc.Publish(c.names.worker("x"), []byte("not json")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := worker.Announce(job.Hello{Worker: "db-1.example.com", Slots: 4, Databases: []string{"main"}}); err != nil {
			t.Fatal(err)
		}
		if h := <-heard; h.Worker != "db-1.example.com" || h.Slots != 4 || h.Version != job.ProtocolVersion {
			t.Errorf("heard %+v", h)
		}
	}
	stream, err := c.js.Stream(t.Context(), bucketStream(c.names.workersBucket()))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "one copy for display", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.LastSeq == 1
	})
	stop()
	stop()
}

func TestLatestKeepsTheHighestRevision(t *testing.T) {
	var l Latest
	if _, ok := l.Get("main", "users"); ok {
		t.Error("an empty Latest knows a job")
	}
	later := control(1, job.Running)
	later.Job = ulid + "0"
	for _, step := range []struct {
		ctl  job.Control
		news bool
	}{
		{control(2, job.Running), true},
		{control(1, job.Paused), false},
		{control(2, job.Running), false},
		{control(3, job.Paused), true},
		{later, true},
		{control(9, job.Running), false},
	} {
		if got := l.Offer(step.ctl); got != step.news {
			t.Errorf("revision %d of %s: news %v, want %v", step.ctl.Revision, step.ctl.Job, got, step.news)
		}
	}
	if got, _ := l.Get("main", "users"); got.Job != later.Job {
		t.Errorf("kept %+v", got)
	}
}
