package queue

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

func TestEnsureStreamCreatesOnceAndUpdatesNothing(t *testing.T) {
	_, c := embed(t)
	for range 2 {
		created, err := c.EnsureStream(t.Context())
		if err != nil || created {
			t.Fatalf("created %v, %v; the stream was there", created, err)
		}
	}
	stream, err := c.js.Stream(t.Context(), "BACKFLEET")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if merged := merge(cfg, c.rangeStream(), 0); !reflect.DeepEqual(merged, cfg) {
		t.Errorf("a second EnsureStream would update the stream:\n%+v\n%+v", cfg, merged)
	}
}

func TestEnsureStreamUpdatesWhatMayChangeAndKeepsWhatIsRaised(t *testing.T) {
	_, c := embed(t)
	stream, err := c.js.Stream(t.Context(), "BACKFLEET")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgs, cfg.MaxAge, cfg.Duplicates, cfg.Description = 5_000_000, time.Hour, time.Minute, "by hand"
	if _, err := c.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	want(t, c, Published, ref(1, 1))
	ensure(t, c)
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Config; got.MaxAge != 0 || got.Duplicates != dedupWindow || got.MaxMsgs != 5_000_000 || got.Description == "by hand" {
		t.Errorf("config after EnsureStream: %+v", got)
	}
	if info.State.Msgs != 1 {
		t.Errorf("%d messages after an update, want 1", info.State.Msgs)
	}
}

func TestEnsureStreamRefusesAStreamOfOthers(t *testing.T) {
	e, c := embed(t)
	foreign := c.rangeStream()
	foreign.Name, foreign.Subjects, foreign.Retention = "OTHER", []string{"other.>"}, 0
	foreign.Replicas = 1
	if _, err := c.js.CreateStream(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	o, err := e.Connect(t.Context(), Options{Prefix: "other"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	_, err = o.EnsureStream(t.Context())
	mentions(t, err, "OTHER", "retention", "another prefix")
}

func TestOneMessageARange(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	want(t, c, Published, ref(7, 1))
	began := time.Now()
	want(t, c, Occupied, ref(7, 2))
	if took := time.Since(began); took < occupiedFor || took > 3*occupiedFor {
		t.Errorf("gave up on an occupied range after %s, want about %s", took, occupiedFor)
	}
	d := pull(t, c)
	want(t, c, Occupied, ref(7, 2)) // in flight is occupied too
	done(t, d)
	want(t, c, Published, ref(7, 2))
	if d := pull(t, c); d.Ref != ref(7, 2) {
		t.Errorf("pulled %+v, want generation 2", d.Ref)
	}
}

func TestOccupiedIsPublishedWhenTheRangeIsAcknowledgedInTime(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	want(t, c, Published, ref(7, 1))
	d := pull(t, c)
	acked := make(chan error, 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		acked <- d.Done(context.Background())
	}()
	want(t, c, Published, ref(7, 2))
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
}

func TestDuplicateSaysThatNothingWasPublished(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	want(t, c, Published, ref(3, 1))
	want(t, c, Duplicate, ref(3, 1))
	done(t, pull(t, c))
	want(t, c, Duplicate, ref(3, 1)) // remembered beyond the ack
	if held := inventory(t, c); len(held) != 0 {
		t.Errorf("inventory %v after a duplicate, want none", held)
	}
	want(t, c, Published, ref(3, 2))
}

func TestPublishReportsEachRefInOrder(t *testing.T) {
	_, c := embed(t)
	want(t, c, Published, ref(1, 1), ref(2, 1))
	got := publish(t, c, ref(0, 1), ref(1, 1), ref(2, 2), ref(3, 1))
	for i, w := range []Outcome{Published, Duplicate, Occupied, Published} {
		if got[i] != w {
			t.Errorf("range %d: %s, want %s", i, got[i], w)
		}
	}
}

func TestABatchWithOneThatIsTakenIsStillReportedRefByRef(t *testing.T) {
	_, c := embed(t)
	want(t, c, Published, ref(50, 1), ref(60, 1))
	all := refs(2500, 1)
	all[60].Generation = 2
	for i, got := range publish(t, c, all...) {
		w := map[int]Outcome{50: Duplicate, 60: Occupied}[i]
		if w == "" {
			w = Published
		}
		if got != w {
			t.Errorf("range %d: %s, want %s", i, got, w)
		}
	}
	if held := inventory(t, c); len(held) != 2500 {
		t.Errorf("%d messages, want 2500", len(held))
	}
	want(t, c, Duplicate, refs(2500, 1)...)
}

func TestPublishEndsWithItsContext(t *testing.T) {
	_, c := embed(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := c.Publish(ctx, refs(3, 1))
	if !errors.Is(err, context.Canceled) || len(results) != 3 || results[0].Outcome != Unknown || results[0].Err == nil {
		t.Errorf("%v, %v", results, err)
	}
}

func TestANameCannotReachOtherJobs(t *testing.T) {
	_, c := embed(t)
	want(t, c, Published, ref(1, 1))
	for _, bad := range []string{"*", ">", "a.b", "", "A", "a b"} {
		if err := c.EndJob(t.Context(), "main", bad); err == nil {
			t.Errorf("EndJob of %q went through", bad)
		}
		if _, err := c.Publish(t.Context(), []job.Ref{{Database: "main", Job: ulid, Name: bad}}); err == nil {
			t.Errorf("Publish to %q went through", bad)
		}
	}
	if len(inventory(t, c)) != 1 {
		t.Error("a message is gone")
	}
}

func TestEndJobLeavesNoMessageAndNoConsumer(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	other := job.Ref{Database: "main", Job: "01JD8Z7Q4T0000000000000002", Name: "users-2", Index: 1, Generation: 1}
	want(t, c, Published, append(refs(50, 1), other)...)
	d := pull(t, c)
	for range 2 { // it may be repeated
		if err := c.EndJob(t.Context(), "main", "users"); err != nil {
			t.Fatal(err)
		}
	}
	if held := inventory(t, c); len(held) != 0 {
		t.Errorf("%d messages left", len(held))
	}
	if _, err := c.Lag(t.Context(), "main", "users"); !errors.Is(err, ErrNoConsumer) {
		t.Errorf("Lag: %v, want ErrNoConsumer", err)
	}
	if _, err := c.Pull(t.Context(), "main", "users", time.Second); !errors.Is(err, ErrNoConsumer) {
		t.Errorf("Pull: %v, want ErrNoConsumer", err)
	}
	if err := d.Done(timeout(t, 300*time.Millisecond)); err == nil {
		t.Error("an ack after the job's end went through")
	}
	if held, err := c.Inventory(t.Context(), "main", "users-2"); err != nil || len(held) != 1 {
		t.Errorf("the other job has %d messages, %v; want 1", len(held), err)
	}
}

func TestAHundredThousandRanges(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 100)
	const n = 100_000
	began := time.Now()
	want(t, c, Published, refs(n, 1)...)
	t.Logf("published %d ranges with every write synced in %s", n, time.Since(began).Round(time.Millisecond))
	began = time.Now()
	held := inventory(t, c)
	t.Logf("listed %d ranges in %s", len(held), time.Since(began).Round(time.Millisecond))
	for i := range n {
		if _, ok := held[i]; !ok {
			t.Fatalf("range %d is not in the inventory", i)
		}
	}
	if len(held) != n {
		t.Errorf("%d ranges in the inventory, want %d", len(held), n)
	}
	if l := lag(t, c); l.Pending != n || l.AckPending != 0 {
		t.Errorf("lag %+v, want %d pending", l, n)
	}
	began = time.Now()
	const acked = 200
	for range acked {
		done(t, pull(t, c))
	}
	t.Logf("pulled and acknowledged %.0f ranges/s, one puller, in process", acked/time.Since(began).Seconds())
	began = time.Now()
	if err := c.EndJob(t.Context(), "main", "users"); err != nil {
		t.Fatal(err)
	}
	t.Logf("ended the job in %s", time.Since(began).Round(time.Millisecond))
}
