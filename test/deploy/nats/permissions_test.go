package nats

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

const consumer = "job_main_count"

// A whole job under the shipped permissions: a worker dies and another is told to stop, a second coordinator takes over, the job is paused
// and resumed. Nothing of it is denied. Meanwhile a viewer and an operator look.
func TestJobUnderPermissions(t *testing.T) {
	s := startShipped(t)
	f := newFleet(t, 60_000)
	fleet := []*harness.Process{f.coordinator(s.flags("coordinator")...)}
	worker := func(id string) *harness.Process {
		p := f.worker(id, s.flags("worker")...)
		fleet = append(fleet, p)
		return p
	}
	viewer, operator := s.client("viewer"), s.client("operator")
	var budgets, hellos atomic.Int64
	for subject, n := range map[string]*atomic.Int64{"backfleet.ctl.throttle.main": &budgets, "backfleet.worker.*": &hellos} {
		_, err := viewer.Subscribe(subject, func(*nats.Msg) { n.Add(1) })
		require.NoError(t, err)
	}
	w1, w2 := worker("w1"), worker("w2")
	f.submit(3000)
	f.await("both workers hold a range", "SELECT count(DISTINCT owner) = 2 FROM backfleet.ranges WHERE state = 'running'")
	look(t, viewer)
	look(t, operator)
	steer(t, operator)

	require.NoError(t, w1.Kill())
	var held int
	require.NoError(t, f.db.Pool.QueryRow(t.Context(), "SELECT index FROM backfleet.ranges WHERE state = 'running' AND owner = 'w1'").Scan(&held))
	require.NoError(t, w2.Term())
	code, err := w2.Wait(patience)
	require.NoError(t, err)
	require.Zero(t, code)
	worker("w3")
	f.await("what the dead worker held was taken over", "SELECT claims > 1 AND owner = 'w3' FROM backfleet.ranges WHERE index = $1 AND round = 0", held)
	f.must("pause", "count")
	f.await("nothing runs", "SELECT NOT EXISTS (SELECT 1 FROM backfleet.ranges WHERE state = 'running')")
	require.NoError(t, fleet[0].Kill())
	fleet = append(fleet, f.coordinator(s.flags("coordinator")...))
	f.must("resume", "count")
	f.must("set", "count", "throttle.max_rows_per_second=0", "batch.max_rows=10000")
	f.prove()

	require.Positive(t, budgets.Load())
	require.Positive(t, hellos.Load())
	viewer.grants()
	operator.grants()
	for _, p := range fleet {
		require.NotContains(t, p.Output(), "denied a permission")
	}
	for _, p := range s.servers {
		require.NotContains(t, p.Output(), "Violation")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := operator.js.Stream(ctx, "BACKFLEET")
	require.NoError(t, err)
	require.Zero(t, stream.CachedInfo().State.Msgs)
	require.Equal(t, 3, stream.CachedInfo().Config.Replicas)
	t.Logf("a job of %d rows under the shipped permissions: the viewer heard %d budgets and %d announcements, nothing was denied",
		f.rows, budgets.Load(), hellos.Load())
}

// look is what `nats stream report` and `nats consumer report` ask.
func look(t *testing.T, c *client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.js.AccountInfo(ctx)
	require.NoError(t, err)
	streams := c.js.ListStreams(ctx)
	n := 0
	for range streams.Info() {
		n++
	}
	require.NoError(t, streams.Err())
	require.Equal(t, 3, n, "the stream and two buckets")
	stream, err := c.js.Stream(ctx, "BACKFLEET")
	require.NoError(t, err)
	names := stream.ConsumerNames(ctx)
	require.Equal(t, consumer, <-names.Name())
	for range names.Name() {
	}
	require.NoError(t, names.Err())
	consumers := stream.ListConsumers(ctx)
	info := <-consumers.Info()
	require.NotNil(t, info)
	require.Positive(t, info.NumPending, "lag")
	for range consumers.Info() {
	}
	require.NoError(t, consumers.Err())
	_, err = stream.Consumer(ctx, consumer)
	require.NoError(t, err)
	c.grants()
}

// steer is what an operator may beyond that: read messages and controls, and move leaders.
func steer(t *testing.T, c *client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	control, err := c.js.Stream(ctx, "KV_backfleet_control")
	require.NoError(t, err)
	_, err = control.GetLastMsgForSubject(ctx, "$KV.backfleet_control.job.main.count")
	require.NoError(t, err)
	for _, subject := range []string{"$JS.API.STREAM.LEADER.STEPDOWN.BACKFLEET", "$JS.API.CONSUMER.LEADER.STEPDOWN.BACKFLEET." + consumer} {
		m, err := c.RequestWithContext(ctx, subject, nil)
		require.NoError(t, err)
		require.Contains(t, string(m.Data), `"success":true`)
	}
	c.grants()
}

// What a role was not granted is refused, and has no effect.
func TestWhatIsNotGrantedIsRefused(t *testing.T) {
	s := startShipped(t)
	f := newFleet(t, 100)
	coordinator := f.coordinator(s.flags("coordinator")...)
	f.submit(1) // stays as it is: no worker is there
	f.await("the job is released", "SELECT count(*) = 1 FROM backfleet.ranges WHERE state = 'released'")
	refused := 0
	for role, no := range map[string]struct{ publish, subscribe []string }{
		"worker": {
			publish: []string{
				"backfleet.range.main.count.7", "backfleet.ctl.throttle.main", "backfleet.ctl.job.main.count", "$KV.backfleet_control.job.main.count",
				"$JS.API.STREAM.PURGE.BACKFLEET", "$JS.API.STREAM.DELETE.BACKFLEET", "$JS.API.STREAM.UPDATE.BACKFLEET", "$JS.API.STREAM.CREATE.OTHER",
				"$JS.API.STREAM.MSG.DELETE.BACKFLEET", "$JS.API.CONSUMER.CREATE.BACKFLEET.own", "$JS.API.CONSUMER.CREATE.KV_backfleet_control.own",
				"$JS.API.CONSUMER.DELETE.BACKFLEET." + consumer, "$JS.API.CONSUMER.PAUSE.BACKFLEET." + consumer,
				"$JS.API.CONSUMER.MSG.NEXT.OTHER.own", "$JS.ACK.OTHER.own.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "anything.else",
			},
			subscribe: []string{"backfleet.worker.>", "backfleet.range.>", "_INBOX_coordinator.>", "_INBOX.>", "$JS.ACK.>", ">"},
		},
		"coordinator": {
			publish: []string{
				"$JS.API.STREAM.DELETE.BACKFLEET", "$JS.API.STREAM.DELETE.KV_backfleet_control", "$JS.API.STREAM.PURGE.KV_backfleet_control",
				"$JS.API.STREAM.CREATE.OTHER", "$JS.API.CONSUMER.CREATE.OTHER.own", "$JS.API.CONSUMER.MSG.NEXT.BACKFLEET." + consumer,
				"$KV.backfleet_workers.w1", "backfleet.worker.w1", "$JS.ACK.OTHER.own.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "anything.else",
			},
			subscribe: []string{"_INBOX_worker.>", "_INBOX.>", "backfleet.range.>", ">"},
		},
		"operator": {
			publish: []string{
				"backfleet.range.main.count.7", "backfleet.ctl.throttle.main", "$KV.backfleet_control.job.main.count", "$JS.API.STREAM.PURGE.BACKFLEET",
				"$JS.API.STREAM.DELETE.BACKFLEET", "$JS.API.STREAM.UPDATE.BACKFLEET", "$JS.API.CONSUMER.CREATE.BACKFLEET.own",
				"$JS.API.CONSUMER.DELETE.BACKFLEET." + consumer, "$JS.API.CONSUMER.MSG.NEXT.BACKFLEET." + consumer,
				"$JS.ACK.BACKFLEET." + consumer + ".1.1.1.1.1", "backfleet.worker.w1",
			},
			subscribe: []string{"_INBOX_worker.>", "_INBOX_coordinator.>", "_INBOX.>", "backfleet.range.>", ">"},
		},
		"viewer": {
			publish: []string{
				"backfleet.range.main.count.7", "backfleet.ctl.throttle.main", "$JS.API.STREAM.PURGE.BACKFLEET", "$JS.API.STREAM.DELETE.BACKFLEET",
				"$JS.API.STREAM.LEADER.STEPDOWN.BACKFLEET", "$JS.API.CONSUMER.LEADER.STEPDOWN.BACKFLEET." + consumer,
				"$JS.API.DIRECT.GET.KV_backfleet_control.$KV.backfleet_control.job.main.count", "$JS.API.STREAM.MSG.GET.BACKFLEET",
				"$JS.API.CONSUMER.CREATE.BACKFLEET.own", "$JS.API.CONSUMER.MSG.NEXT.BACKFLEET." + consumer, "$JS.ACK.BACKFLEET." + consumer + ".1.1.1.1.1",
			},
			subscribe: []string{"_INBOX_operator.>", "_INBOX_worker.>", "_INBOX.>", "backfleet.range.>", ">"},
		},
	} {
		c := s.client(role)
		for _, subject := range no.publish {
			require.NoError(t, c.Publish(subject, []byte("{}")))
			c.refuses(fmt.Sprintf("publish to %q", subject))
			refused++
		}
		for _, subject := range no.subscribe {
			_, err := c.SubscribeSync(subject)
			require.NoError(t, err)
			c.refuses(fmt.Sprintf("subscription to %q", subject))
			refused++
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := s.client("operator").js.Stream(ctx, "BACKFLEET")
	require.NoError(t, err)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	require.NoError(t, err)
	require.EqualValues(t, 1, info.State.Msgs)
	require.Equal(t, 1, info.State.Consumers)

	// Nobody comes in without a key, with a key that is not known, or without TLS; the programs say so in one line.
	stranger, _ := newKey(t)
	for name, flags := range map[string][]string{
		"no key":      {"--nats-url", s.url, "--nats-tls-ca", s.ca},
		"unknown key": {"--nats-url", s.url, "--nats-tls-ca", s.ca, "--nats-nkey", stranger},
	} {
		code, stdout, stderr := f.run(append([]string{"worker"}, flags...)...)
		require.Equal(t, 2, code, name+stdout+stderr)
		require.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %q", stderr)
		require.Contains(t, stderr, "the credentials were refused")
		t.Log(strings.TrimSpace(stderr))
	}

	// A program in another's role is told what is wrong: its answers would come where this user may not listen.
	code, stdout, stderr := f.run(append([]string{"worker", "--nats-inbox-prefix", "_INBOX_coordinator"}, s.flags("worker")...)...)
	require.Equal(t, 2, code, stdout+stderr)
	require.Contains(t, stderr, "grant this user the permissions of its role")

	require.True(t, coordinator.Running())
	t.Logf("%d things refused", refused)
}
