package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/internal/job"
)

// parked counts the pulls that wait at the job's consumer.
func parked(t *testing.T, c *Conn) int {
	t.Helper()
	consumer, err := c.js.Consumer(t.Context(), c.names.stream(), c.names.consumer("main", "users"))
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo().NumWaiting
}

func TestPullTakesOne(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	want(t, c, Published, refs(5, 1)...)
	for i := range 5 {
		d := pull(t, c)
		if d.Ref != ref(i, 1) {
			t.Errorf("pulled %+v, want range %d", d.Ref, i)
		}
		if l := lag(t, c); l.AckPending != 1 {
			t.Errorf("%d messages delivered and unacknowledged, want 1", l.AckPending)
		}
		done(t, d)
		if l := lag(t, c); l.AckPending != 0 || int(l.Pending) != 4-i {
			t.Errorf("lag %+v after range %d", l, i)
		}
	}
}

func TestPullSaysWhatItFound(t *testing.T) {
	_, c := embed(t)
	if _, err := c.Pull(t.Context(), "main", "users", 200*time.Millisecond); !errors.Is(err, ErrNoConsumer) {
		t.Errorf("without a consumer: %v, want ErrNoConsumer", err)
	}
	consumer(t, c, 10)
	began := time.Now()
	if _, err := c.Pull(t.Context(), "main", "users", 300*time.Millisecond); !errors.Is(err, ErrEmpty) {
		t.Errorf("without a message: %v, want ErrEmpty", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("an empty pull of 300ms took %s", took)
	}
	pulled := make(chan error, 1)
	go func() {
		_, err := c.Pull(context.Background(), "main", "users", 30*time.Second)
		pulled <- err
	}()
	eventually(t, 5*time.Second, "the pull is parked", func() bool { return parked(t, c) == 1 })
	if err := c.EndJob(t.Context(), "main", "users"); err != nil {
		t.Fatal(err)
	}
	if err := <-pulled; !errors.Is(err, ErrNoConsumer) {
		t.Errorf("when the job ends under a parked pull: %v, want ErrNoConsumer", err)
	}
}

func TestCancelledPullSwallowsNothing(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	const rounds = 300
	for i := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan *Delivery, 1)
		go func() {
			d, err := c.Pull(ctx, "main", "users", 30*time.Second)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			got <- d
		}()
		eventually(t, 5*time.Second, "the pull is parked", func() bool { return parked(t, c) == 1 })
		time.AfterFunc(time.Duration(i)*time.Microsecond, cancel) // before, across and after the delivery
		want(t, c, Published, ref(i, 1))
		d := <-got
		if n := parked(t, c); n != 0 {
			t.Fatalf("%d pulls parked after a cancelled pull returned", n)
		}
		if d == nil { // it must be there for the next one, long before AckWait
			next, err := c.Pull(t.Context(), "main", "users", 2*time.Second)
			if err != nil {
				t.Fatalf("round %d: the message is gone: %v", i, err)
			}
			d = next
		}
		done(t, d)
	}
}

func TestUnreadableMessagesAreTerminatedAndThePullGoesOn(t *testing.T) {
	_, c := embed(t)
	logs, observed := observer.New(zap.ErrorLevel)
	c.log = zap.New(logs)
	consumer(t, c, 10)
	raw := func(index int, body string) {
		if _, err := c.js.Publish(t.Context(), c.names.rangeOf(ref(index, 1)), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	raw(1, "not json")
	raw(2, `{"v":0,"db":"main","job":"x","name":"users","range":2,"gen":1}`)
	raw(3, `{"v":1,"db":"main","job":"x","name":"users","range":4,"gen":1}`)
	raw(4, `{"v":1,"db":"main","name":"users","range":4,"gen":1}`)
	raw(5, ``)
	want(t, c, Published, ref(6, 1))
	if d := pull(t, c); d.Ref != ref(6, 1) {
		t.Errorf("pulled %+v", d.Ref)
	}
	if n := observed.FilterMessage("terminated a message that is no range").Len(); n != 5 {
		t.Errorf("%d messages logged as terminated, want 5", n)
	}
	eventually(t, 5*time.Second, "only the good message is left", func() bool { return len(inventory(t, c)) == 1 })
}

func TestAMessageOfANewerReleaseIsPutBack(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	body := fmt.Sprintf(`{"v":%d,"something":"new"}`, blocksVersion+1)
	if _, err := c.js.Publish(t.Context(), c.names.rangeOf(ref(1, 1)), []byte(body)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Pull(t.Context(), "main", "users", time.Second)
	if !errors.Is(err, ErrVersion) {
		t.Fatalf("%v, want ErrVersion", err)
	}
	mentions(t, err, "users", "upgrade this worker")
	if len(inventory(t, c)) != 1 {
		t.Error("the message is gone")
	}
}

// A range of row addresses is of a version of its own: releases that know of keys alone leave it to others.
func TestARangeOfBlocksIsLeftByOlderReleases(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	r := ref(1, 1)
	r.Blocks = true
	want(t, c, Published, r)
	m, err := c.message(r)
	if err != nil {
		t.Fatal(err)
	}
	var version struct{ V int }
	if err := json.Unmarshal(m.Data, &version); err != nil || version.V <= job.ProtocolVersion {
		t.Errorf("version %d, %v: a release before would take it", version.V, err)
	}
	if d := pull(t, c); d.Ref != r {
		t.Errorf("pulled %+v", d.Ref)
	}
}

func TestProxyNakRedeliversAtOnce(t *testing.T) {
	e, c := embed(t)
	other, err := e.Connect(t.Context(), Options{Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	consumer(t, c, 10)
	want(t, c, Published, ref(1, 1))
	dead := pull(t, c)
	again := make(chan time.Time, 1)
	redelivered := make(chan *Delivery, 1)
	go func() {
		if d, err := c.Pull(context.Background(), "main", "users", 10*time.Second); err == nil {
			again <- time.Now()
			redelivered <- d
		} else {
			t.Error(err)
			close(again)
		}
	}()
	eventually(t, 5*time.Second, "the pull is parked", func() bool { return parked(t, c) == 1 })
	began := time.Now()
	if err := other.ProxyNak(t.Context(), dead.ReplySubject()); err != nil {
		t.Fatal(err)
	}
	took := (<-again).Sub(began)
	t.Logf("redelivered %s after the proxy NAK", took.Round(time.Microsecond))
	if took > 100*time.Millisecond {
		t.Errorf("redelivered after %s, want under 100ms", took)
	}
	done(t, <-redelivered)
	if err := other.ProxyNak(t.Context(), "backfleet.range.main.users.1"); err == nil {
		t.Error("a subject that is no reply subject was taken")
	}
}

func TestNakAndTerm(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 1)
	want(t, c, Published, refs(2, 1)...)
	d := pull(t, c)
	if err := d.Nak(0); err != nil {
		t.Fatal(err)
	}
	d = pull(t, c)
	began := time.Now()
	if err := d.Nak(400 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	again := pull(t, c) // the limit of 1 leaves no other
	if took := time.Since(began); again.Ref != d.Ref || took < 300*time.Millisecond {
		t.Errorf("range %d after %s, want range %d after 400ms", again.Ref.Index, took, d.Ref.Index)
	}
	if err := again.Term("poison"); err != nil {
		t.Fatal(err)
	}
	next := pull(t, c)
	if next.Ref == d.Ref {
		t.Error("a terminated range came again")
	}
	if _, ok := inventory(t, c)[d.Ref.Index]; ok {
		t.Error("a terminated range is still in the stream")
	}
}

func TestTheLimitCanBeRaisedWhileInUse(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 1)
	want(t, c, Published, refs(2, 1)...)
	pull(t, c)
	if _, err := c.Pull(t.Context(), "main", "users", 300*time.Millisecond); !errors.Is(err, ErrEmpty) {
		t.Fatalf("over the limit: %v, want ErrEmpty", err)
	}
	consumer(t, c, 2)
	pull(t, c)
}

func TestKeepAliveTellsTheServerUntilStopped(t *testing.T) {
	_, c := embed(t)
	consumer(t, c, 10)
	want(t, c, Published, ref(1, 1))
	d := pull(t, c)
	heard, err := c.nc.SubscribeSync(d.ReplySubject())
	if err != nil {
		t.Fatal(err)
	}
	stop := d.KeepAlive(t.Context())
	m, err := heard.NextMsg(2 * keepAlive)
	if err != nil || string(m.Data) != "+WPI" {
		t.Errorf("heard %v, %v; want in-progress", m, err)
	}
	stop()
	stop()
	done(t, d)
	if m, err := heard.NextMsg(time.Second); err != nil || string(m.Data) != "+ACK" {
		t.Errorf("heard %v, %v; want nothing between stop and the ack", m, err)
	}
}

func TestMessagesHoldOnlyIdentifiers(t *testing.T) {
	_, c := embed(t)
	want(t, c, Published, ref(1, 2))
	stream, err := c.js.Stream(t.Context(), c.names.stream())
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), c.names.rangeOf(ref(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"v", "db", "job", "name", "range", "gen"} {
		if _, ok := fields[k]; !ok {
			t.Errorf("no field %q in %s", k, m.Data)
		}
		delete(fields, k)
	}
	if len(fields) > 0 {
		t.Errorf("unexpected fields %v", fields)
	}
	if id := m.Header.Get(jetstream.MsgIDHeader); id != string(ulid)+".1.2" {
		t.Errorf("message id %q", id)
	}
}
