package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	natsServers = 3
	streamName  = "BACKFLEET"
	askMost     = time.Second // a server without a leader leaves a question unanswered
)

// streams are all that the fleet keeps in NATS.
var streams = []string{streamName, "KV_backfleet_control", "KV_backfleet_workers"}

// route is the link by which one server of the cluster dials another.
type route struct {
	from, to string
	link     *harness.Link
}

// startNATS starts the cluster, each route over a link, so that a server can be cut off from the others while its clients see it.
func (f *fleet) startNATS() (err error) {
	f.nats, err = f.env.StartNATSCluster(natsServers, harness.WithoutGossip(), harness.WithRoutes(func(from, to string, port int) (int, error) {
		l, err := f.env.StartLink(harness.Local(port))
		if err != nil {
			return 0, err
		}
		f.routes = append(f.routes, route{from, to, l})
		return l.Port, nil
	}))
	return err
}

func (f *fleet) jetstream() (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(f.nats.URL())
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

// asked asks NATS something on a connection of its own.
func (f *fleet) asked(ctx context.Context, ask func(context.Context, *nats.Conn, jetstream.JetStream) error) error {
	nc, js, err := f.jetstream()
	if err != nil {
		return err
	}
	defer nc.Close()
	return ask(ctx, nc, js)
}

// led is who leads a stream, or its consumer of that name, and how far the others are.
func led(ctx context.Context, js jetstream.JetStream, stream, consumer string) (*jetstream.ClusterInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	if consumer != "" {
		c, err := js.Consumer(ctx, stream, consumer)
		if err != nil {
			return nil, err
		}
		return c.CachedInfo().Cluster, nil
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo().Cluster, nil
}

// whole waits until NATS is: every server has caught up with every stream.
func (c *chaos) whole(ctx context.Context) error {
	return c.asked(ctx, func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
		for _, name := range streams {
			info, err := led(ctx, js, name, "")
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if info.Leader == "" || len(info.Replicas) != natsServers-1 {
				return fmt.Errorf("%s is led by %q and has %d further replicas", name, info.Leader, len(info.Replicas))
			}
			for _, r := range info.Replicas {
				if !r.Current || r.Offline {
					return fmt.Errorf("%s on %s has not caught up", name, r.Name)
				}
			}
		}
		return nil
	})
}

// victims chooses servers. One that nobody can tell is left to the dice.
type victims func(context.Context, *chaos, Event) []*harness.NATSServer

func (c *chaos) leader(ctx context.Context, consumer string, e Event) *harness.NATSServer {
	var name string
	_ = c.asked(ctx, func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
		info, err := led(ctx, js, streamName, consumer)
		if err == nil {
			name = info.Leader
		}
		return err
	})
	if s := c.nats.Server(name); s != nil {
		return s
	}
	return c.nats.Servers[e.Dice%natsServers]
}

func (c *chaos) consumer() string { return "job_main_" + c.work.now() }

func streamLeader(ctx context.Context, c *chaos, e Event) []*harness.NATSServer {
	return []*harness.NATSServer{c.leader(ctx, "", e)}
}

func consumerLeader(ctx context.Context, c *chaos, e Event) []*harness.NATSServer {
	return []*harness.NATSServer{c.leader(ctx, c.consumer(), e)}
}

func two(_ context.Context, c *chaos, e Event) (some []*harness.NATSServer) {
	for n, s := range c.nats.Servers {
		if n != int(e.Dice%natsServers) {
			some = append(some, s)
		}
	}
	return some
}

func all(_ context.Context, c *chaos, _ Event) []*harness.NATSServer { return c.nats.Servers }

func natsKilled(who victims) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return natsDown(who, (*harness.NATSServer).Kill)
}

func natsEmptied(who victims) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return natsDown(who, func(s *harness.NATSServer) error { return errors.Join(s.Kill(), s.DeleteStore()) })
}

func natsDown(who victims, how func(*harness.NATSServer) error) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
		some := who(ctx, c, e)
		var err error
		for _, s := range some {
			err = errors.Join(err, s.Process().Signal(syscall.SIGKILL)) // all, before one is waited for
		}
		for _, s := range some {
			err = errors.Join(err, how(s))
		}
		start := mendOnce(func() (err error) {
			for _, s := range some {
				err = errors.Join(err, s.Start())
			}
			return err
		})
		return c.wholeAfter(start), err
	}
}

// wholeAfter mends and then waits until NATS is whole: a server that has not caught up is no replica yet, and the next fault might hit
// the last one.
func (c *chaos) wholeAfter(mend func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := mend(ctx); err != nil {
			return err
		}
		return c.whole(ctx)
	}
}

func natsFrozen(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	p := c.leader(ctx, "", e).Process()
	return c.wholeAfter(func(context.Context) error { return p.Cont() }), p.Stop()
}

func natsCutOff(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	alone := c.leader(ctx, c.consumer(), e)
	var all links
	for _, r := range c.routes {
		if r.from == alone.Name || r.to == alone.Name {
			all = append(all, r.link)
		}
	}
	mend, err := all.broken(func(l *harness.Link) { l.Silence() })
	return c.wholeAfter(mend), err
}

// stepDown asks the leaders of the stream and of the job's consumer to leave it to others, as a rolling upgrade does.
func stepDown(ctx context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	return nil, c.asked(ctx, func(ctx context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
		ctx, cancel := context.WithTimeout(ctx, 8*askMost)
		defer cancel()
		for _, what := range []string{"STREAM.LEADER.STEPDOWN." + streamName, "CONSUMER.LEADER.STEPDOWN." + streamName + "." + c.consumer()} {
			m, err := nc.RequestWithContext(ctx, "$JS.API."+what, nil)
			if err != nil {
				return err
			}
			var answer struct{ Error *jetstream.APIError }
			if err := json.Unmarshal(m.Data, &answer); err != nil {
				return err
			}
			if answer.Error != nil {
				return answer.Error
			}
		}
		return nil
	})
}
