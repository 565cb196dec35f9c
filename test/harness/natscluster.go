package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// askPatience bounds a question that a server without a leader leaves unanswered.
const askPatience = 2 * time.Second

// NATSCluster is a cluster of nats-server processes with JetStream.
type NATSCluster struct {
	// Servers are named n1, n2, n3 and so on.
	Servers []*NATSServer
}

// WithRoutes lets each route between two servers of a cluster lead through another port, for instance that of a proxy: route is
// given who dials whom, at which port of 127.0.0.1, and returns the port to dial instead.
func WithRoutes(route func(from, to string, port int) (int, error)) NATSOption {
	return func(o *natsOptions) { o.route = route }
}

// WithoutGossip keeps the servers of a cluster from telling their clients of each other: a client knows those that it was given, for
// instance by links, and no other way.
func WithoutGossip() NATSOption {
	return func(o *natsOptions) { o.cluster = append(o.cluster, "no_advertise: true") }
}

// StartNATSCluster starts a cluster and waits until it has elected a leader.
func (e *Env) StartNATSCluster(size int, opts ...NATSOption) (*NATSCluster, error) {
	o := newNATSOptions(opts)
	names, ports := make([]string, size), make([]int, size)
	for i := range size {
		var err error
		if ports[i], err = e.Port(); err != nil {
			return nil, err
		}
		names[i] = fmt.Sprintf("n%d", i+1)
	}
	c := &NATSCluster{}
	for i, name := range names {
		var routes []string
		for to := range size {
			if to == i {
				continue
			}
			through, err := o.route(name, names[to], ports[to])
			if err != nil {
				return nil, fmt.Errorf("route from %s to %s: %w", name, names[to], err)
			}
			routes = append(routes, fmt.Sprintf("\"nats://127.0.0.1:%d\"", through))
		}
		// Servers tell each other of third ones, and would dial those past the routes; nobody listens where they are sent.
		own := o
		own.config = append(slices.Clone(o.config), fmt.Sprintf(
			`cluster: {%s}`, strings.Join(append(slices.Clone(o.cluster), "name: harness", fmt.Sprintf(`listen: "127.0.0.1:%d"`, ports[i]),
				`advertise: "127.0.0.1:1"`, "routes: ["+strings.Join(routes, ", ")+"]"), ", ")))
		n, err := e.newNATS(name, own)
		if err != nil {
			return nil, err
		}
		c.Servers = append(c.Servers, n)
	}
	for _, n := range c.Servers {
		if err := n.Start(); err != nil {
			return nil, err
		}
	}
	return c, c.waitReady()
}

// URL is the servers' addresses for clients, comma-separated.
func (c *NATSCluster) URL() string {
	var urls []string
	for _, n := range c.Servers {
		urls = append(urls, n.URL())
	}
	return strings.Join(urls, ",")
}

// Server returns the server of that name, nil when there is none.
func (c *NATSCluster) Server(name string) *NATSServer {
	at := slices.IndexFunc(c.Servers, func(n *NATSServer) bool { return n.Name == name })
	if at < 0 {
		return nil
	}
	return c.Servers[at]
}

// waitReady asks each server for JetStream until it answers, as whoever needs no password. A cluster with users of its own is left to
// the caller to wait for.
func (c *NATSCluster) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range c.Servers {
		err := poll(ctx, "wait for JetStream on "+n.Name, func(ctx context.Context) error {
			nc, err := nats.Connect(n.URL())
			if errors.Is(err, nats.ErrAuthorization) {
				return nil
			}
			if err != nil {
				return err
			}
			defer nc.Close()
			ctx, cancel := context.WithTimeout(ctx, askPatience)
			defer cancel()
			js, err := jetstream.New(nc)
			if err == nil {
				_, err = js.AccountInfo(ctx)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
