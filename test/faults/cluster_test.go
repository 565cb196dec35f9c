package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// Bounds on how long the fleet may stand without a batch. Three elections, of the servers, the stream and the consumer, take 4 to 9 s
// each, side by side.
const (
	mostGap      = 15 * time.Second
	mostStepDown = 500 * time.Millisecond
)

// trio is a fleet on a NATS cluster of three, with a client of the tests' own.
type trio struct {
	*fleet
	first *harness.Process // the worker beside the coordinator
	js    jetstream.JetStream
	nc    *nats.Conn
	meter *meter
}

// newTrio starts the servers, a coordinator and three workers. Each of the four is a client of the server that is named for it, and
// learns of the others by itself.
func newTrio(t *testing.T, opts ...harness.NATSOption) *trio {
	t.Helper()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 8_000})
	f.trio = harness.ClusteredNATS(t, 3, opts...)
	f.must("db", "init")
	at := func(i int) string { return f.trio.Servers[i].URL() }
	f.coordinator("--nats-url", at(0))
	f.awaitLeader(nil)
	first := f.worker(1, "--nats-url", at(0))
	f.worker(1, "--nats-url", at(1))
	f.worker(1, "--nats-url", at(2))
	f.write()
	f.must("submit", f.file)
	nc, err := nats.Connect(at(1)+","+at(2), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	f.awaitShare(0.05)
	for _, a := range streams {
		stream, err := js.Stream(t.Context(), a.stream)
		require.NoError(t, err)
		require.Equal(t, 3, stream.CachedInfo().Config.Replicas, a.stream)
	}
	return &trio{fleet: f, first: first, js: js, nc: nc, meter: f.measure()}
}

// asset is what a NATS server leads: a stream, or a consumer of one.
type asset struct{ stream, consumer string }

var (
	ranges  = asset{stream: "BACKFLEET"}
	streams = []asset{ranges, {stream: "KV_backfleet_control"}, {stream: "KV_backfleet_workers"}}
)

// consumer is the asset that delivers the job's ranges.
func (f *trio) consumer() asset { return asset{ranges.stream, "job_main_" + f.job} }

// led asks who leads an asset, and how far the others are. Nobody answers while there is no leader.
func (f *trio) led(ctx context.Context, a asset) (*jetstream.ClusterInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if a.consumer != "" {
		c, err := f.js.Consumer(ctx, a.stream, a.consumer)
		if err != nil {
			return nil, err
		}
		return c.CachedInfo().Cluster, nil
	}
	s, err := f.js.Stream(ctx, a.stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo().Cluster, nil
}

// appoint has the leaders of assets step down until it is this server that leads them.
func (f *trio) appoint(n *harness.NATSServer, assets ...asset) {
	f.t.Helper()
	for _, a := range assets {
		subject := "$JS.API.STREAM.LEADER.STEPDOWN." + a.stream
		if a.consumer != "" {
			subject = "$JS.API.CONSUMER.LEADER.STEPDOWN." + a.stream + "." + a.consumer
		}
		f.await(n.Name+" leads "+a.stream+" "+a.consumer, func(ctx context.Context) (bool, error) {
			if now, err := f.led(ctx, a); err != nil || now.Leader == n.Name {
				return err == nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			m, err := f.nc.RequestWithContext(ctx, subject, fmt.Appendf(nil, `{"placement": {"preferred": %q}}`, n.Name))
			if err != nil {
				return false, err
			}
			var answer struct{ Error *jetstream.APIError }
			if err := json.Unmarshal(m.Data, &answer); err != nil {
				return false, err
			}
			return false, fmt.Errorf("asked to step down: %+v", answer.Error)
		})
	}
}

// awaitLeads waits until stream and consumer are led by a server other than the one that is down.
func (f *trio) awaitLeads(down *harness.NATSServer) {
	f.t.Helper()
	for _, a := range []asset{ranges, f.consumer()} {
		f.await("another leads "+a.stream+" "+a.consumer, func(ctx context.Context) (bool, error) {
			now, err := f.led(ctx, a)
			return err == nil && now.Leader != "" && now.Leader != down.Name, err
		})
	}
}

// awaitRanges waits until so many further ranges were claimed and done: the stream delivers again.
func (f *fleet) awaitRanges(n int) {
	f.t.Helper()
	var done int
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT count(*) FROM backfleet.ranges WHERE kind = 'fill' AND state = 'done'").Scan(&done))
	f.awaitSQL(fmt.Sprintf("%d more ranges are done", n),
		"SELECT count(*) >= $1 FROM backfleet.ranges WHERE kind = 'fill' AND state = 'done'", done+n)
}

// meter notes when further rows were done, from when it begins to the end of the test.
type meter struct {
	f    *fleet
	quit context.CancelFunc
	done chan struct{}
	at   []time.Time
}

func (f *fleet) measure() *meter {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	m := &meter{f: f, quit: cancel, done: make(chan struct{})}
	f.t.Cleanup(m.stop)
	go func() {
		defer close(m.done)
		var last int64
		for ctx.Err() == nil {
			var n int64
			err := f.pool.QueryRow(ctx, "SELECT coalesce(sum(rows), 0) FROM backfleet.ranges WHERE kind = 'fill'").Scan(&n)
			if err == nil && n > last {
				last = n
				m.at = append(m.at, time.Now())
			}
			select {
			case <-ctx.Done():
			case <-time.After(pollEvery):
			}
		}
	}()
	return m
}

func (m *meter) stop() {
	m.quit()
	<-m.done
}

// longest stops the meter and returns the longest time without a batch that ended after since.
func (m *meter) longest(since time.Time) (gap time.Duration) {
	m.f.t.Helper()
	m.stop()
	ended := 0
	for i := 1; i < len(m.at); i++ {
		if m.at[i].After(since) {
			gap = max(gap, m.at[i].Sub(m.at[i-1]))
			ended++
		}
	}
	require.Greater(m.f.t, ended, 10, "batches after the fault")
	return gap
}

// after stops the meter and returns how long after since the first batch came, and the longest time without one after that.
func (m *meter) after(since time.Time) (first, gap time.Duration) {
	m.f.t.Helper()
	m.stop()
	i := slices.IndexFunc(m.at, since.Before)
	require.GreaterOrEqual(m.f.t, i, 0, "batches after the fault")
	return m.at[i].Sub(since), m.longest(m.at[i])
}

// A leader that dies is followed by another within an election, and what it had delivered or acknowledged is neither lost nor done
// twice.
func TestClusterKillLeader(t *testing.T) {
	for _, name := range []string{"stream", "consumer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTrio(t)
			victim, other := f.trio.Servers[0], f.trio.Servers[1] // the coordinator is the victim's client
			hit, spared := ranges, f.consumer()
			if name == "consumer" {
				hit, spared = spared, hit
			}
			f.appoint(victim, hit)
			f.appoint(other, spared)
			require.NoError(t, victim.Kill())
			killed := time.Now()
			f.awaitLeads(victim)
			led := time.Since(killed)
			f.awaitRanges(6)
			gap := f.meter.longest(killed)
			require.LessOrEqual(t, gap, mostGap)
			f.unleash()
			f.awaitEnd()
			require.NoError(t, victim.Start())
			f.prove(fmt.Sprintf("NATS leader of the %s killed: another led after %s, longest gap without a batch %s", name, short(led), short(gap)))
		})
	}
}

// Two of three are no majority: nothing is delivered until one of them is back, and then all goes on. The same holds for all three.
func TestClusterKillMajority(t *testing.T) {
	for name, n := range map[string]int{"two": 2, "three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTrio(t)
			victims := f.trio.Servers[:n]
			for _, v := range victims {
				require.NoError(t, v.Process().Signal(9)) // all before one is waited for
			}
			for _, v := range victims {
				require.NoError(t, v.Kill())
			}
			still := f.awaitStill()
			back := time.Now()
			for _, v := range victims {
				require.NoError(t, v.Start())
			}
			f.awaitMore()
			f.awaitRanges(6)
			more, gap := f.meter.after(back)
			require.LessOrEqual(t, max(more, gap), mostGap)
			f.unleash()
			f.prove(fmt.Sprintf("%s of three NATS servers killed: the last batch came after %s, the next %s after their return, longest gap after that %s",
				name, short(still), short(more), short(gap)))
		})
	}
}

// A leader that comes back without its store gets all of it from the others: it is needed for the majority when the next one dies.
func TestClusterDeleteStore(t *testing.T) {
	t.Parallel()
	f := newTrio(t)
	victim, next := f.trio.Servers[0], f.trio.Servers[1]
	f.appoint(victim, ranges, f.consumer())
	require.NoError(t, victim.Kill())
	killed := time.Now()
	require.NoError(t, victim.DeleteStore())
	f.awaitLeads(victim)
	back := time.Now()
	require.NoError(t, victim.Start())
	f.awaitCurrent(victim)
	current := time.Since(back)
	require.NoError(t, next.Kill())
	f.awaitLeads(next)
	f.awaitRanges(4)
	gap := f.meter.longest(killed)
	require.LessOrEqual(t, gap, mostGap)
	f.unleash()
	f.awaitEnd()
	require.NoError(t, next.Start())
	f.prove(fmt.Sprintf("a NATS leader's store deleted: it was whole again %s after its start, then another was killed; longest gap without a batch %s", short(current), short(gap)))
}

// A leader that is back without its store before the others have elected another, and at once a second one dies: what is left is the third,
// and a server that has never heard of the stream. Whatever they make of it, nothing is lost once the second is back.
func TestClusterDeleteStoreBeforeElection(t *testing.T) {
	t.Parallel()
	f := newTrio(t)
	victim, next := f.trio.Servers[0], f.trio.Servers[1]
	f.appoint(victim, ranges, f.consumer())
	require.NoError(t, victim.Kill())
	require.NoError(t, victim.DeleteStore())
	require.NoError(t, victim.Start())
	require.NoError(t, next.Kill())
	still := f.awaitStill()
	back := time.Now()
	require.NoError(t, next.Start())
	f.awaitMore()
	f.awaitRanges(6)
	more, gap := f.meter.after(back)
	require.LessOrEqual(t, max(more, gap), mostGap)
	for _, n := range f.trio.Servers {
		f.awaitCurrent(n)
	}
	f.unleash()
	f.prove(fmt.Sprintf("a NATS leader came back empty before an election and a second one died: the last batch came after %s, the next %s after the return of the second, longest gap after that %s",
		short(still), short(more), short(gap)))
}

// awaitCurrent waits until a server has caught up with the leader of each asset. Before that it has no vote on it: NATS does not let
// an empty server make a majority.
func (f *trio) awaitCurrent(n *harness.NATSServer) {
	f.t.Helper()
	for _, a := range append(slices.Clone(streams), f.consumer()) {
		f.await(n.Name+" has caught up with "+a.stream+" "+a.consumer, func(ctx context.Context) (bool, error) {
			info, err := f.led(ctx, a)
			if err != nil {
				return false, err
			}
			current := info.Leader == n.Name
			for _, r := range info.Replicas {
				current = current || r.Name == n.Name && r.Current && !r.Offline
			}
			return current, nil
		})
	}
}

// The stores of all servers may go: the ledger knows what is done, and the stream is made anew, again with three replicas.
func TestClusterDeleteAllStores(t *testing.T) {
	t.Parallel()
	f := newTrio(t)
	for _, n := range f.trio.Servers {
		require.NoError(t, n.Kill())
		require.NoError(t, n.DeleteStore())
	}
	back := time.Now()
	for _, n := range f.trio.Servers {
		require.NoError(t, n.Start())
	}
	f.awaitMore()
	f.awaitRanges(6)
	more, gap := f.meter.after(back)
	require.LessOrEqual(t, max(more, gap), mostGap)
	stream, err := f.js.Stream(t.Context(), "BACKFLEET")
	require.NoError(t, err)
	require.Equal(t, 3, stream.CachedInfo().Config.Replicas)
	f.unleash()
	f.prove(fmt.Sprintf("all NATS stores deleted: batches went on %s after their return, longest gap after that %s", short(more), short(gap)))
}

// A leader that steps down, as in a rolling upgrade, is hardly felt.
func TestClusterStepDown(t *testing.T) {
	t.Parallel()
	f := newTrio(t)
	n := f.trio.Servers
	f.appoint(n[0], ranges, f.consumer())
	f.awaitRanges(1)
	began := time.Now()
	for _, next := range []*harness.NATSServer{n[1], n[2], n[0]} {
		for _, a := range []asset{ranges, f.consumer()} {
			f.appoint(next, a)
			f.awaitRanges(1)
		}
	}
	gap := f.meter.longest(began)
	require.LessOrEqual(t, gap, mostStepDown)
	f.unleash()
	f.prove(fmt.Sprintf("six step-downs of stream and consumer, longest gap without a batch %s", short(gap)))
}

// A server that is cut off from the others keeps its clients, and nobody tells them. Here it leads all that the fleet uses, and the
// coordinator and a worker are its clients: both notice, and go to another.
func TestClusterCutOff(t *testing.T) {
	t.Parallel()
	routes := newRoutes(t)
	f := newTrio(t, harness.WithRoutes(routes.through))
	f.must("set", f.job, "throttle.max_rows_per_second=3000") // the job's consumer goes with the job, and is still to be caught up with
	alone := f.trio.Servers[0]
	f.appoint(alone, append(slices.Clone(streams), f.consumer())...)
	routes.cut(alone.Name)
	cut := time.Now()
	f.awaitLeads(alone)
	led := time.Since(cut)
	const said = "does not reach the majority of its cluster"
	for _, p := range []*harness.Process{f.coordinators[0], f.first} {
		f.await("the client of the lone server has left it", func(context.Context) (bool, error) {
			return len(logged(p, said, alone.Name)) > 0, nil
		})
	}
	left := time.Since(cut)
	f.awaitRanges(6)
	gap := f.meter.longest(cut)
	require.LessOrEqual(t, gap, mostGap)
	routes.heal(alone.Name)
	f.awaitCurrent(alone)
	f.unleash()
	f.prove(fmt.Sprintf("NATS server cut off with all leaders, the coordinator and a worker: others led after %s, both clients had left after %s, "+
		"longest gap without a batch %s", short(led), short(left), short(gap)))
}
