package faults

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// routes are the connections between the servers of a cluster, each through a proxy of its own, so that one server can be cut off while
// it and its clients see each other.
type routes struct {
	t *testing.T

	mu  sync.Mutex
	all []*route
}

func newRoutes(t *testing.T) *routes {
	r := &routes{t: t}
	t.Cleanup(func() {
		for _, one := range r.all {
			one.listener.Close()
			one.heal()
			one.hang()
			one.running.Wait()
		}
	})
	return r
}

// through is what harness.WithRoutes takes.
func (r *routes) through(from, to string, port int) (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	one := &route{from: from, to: to, listener: l, target: fmt.Sprintf("127.0.0.1:%d", port), open: map[net.Conn]bool{}}
	r.mu.Lock()
	r.all = append(r.all, one)
	r.mu.Unlock()
	one.running.Go(one.accept)
	return l.Addr().(*net.TCPAddr).Port, nil
}

// cut takes every packet between a server and the others away. No connection ends by it: nobody is told.
func (r *routes) cut(name string) {
	r.t.Helper()
	n := 0
	for _, one := range r.all {
		if one.from == name || one.to == name {
			n += one.cut()
		}
	}
	require.Positive(r.t, n, "routes of %s", name)
}

// heal lets packets through again. What was connected ends, for its packets are gone.
func (r *routes) heal(name string) {
	for _, one := range r.all {
		if one.from == name || one.to == name {
			one.heal()
			one.hang()
		}
	}
}

// route is one direction in which a server dials another.
type route struct {
	from, to string
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
	dark chan struct{} // closed when the cut is over; nil while there is none
}

func (r *route) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.keep(near)
		r.running.Go(func() {
			defer r.drop(near)
			r.lit()
			far, err := net.Dial("tcp", r.target)
			if err != nil {
				return
			}
			r.keep(far)
			defer r.drop(far)
			var back sync.WaitGroup
			back.Go(func() { r.carry(near, far) })
			r.carry(far, near)
			back.Wait()
		})
	}
}

// carry copies until one side ends, and then ends both.
func (r *route) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if r.lit() {
			return // what was read is lost
		}
		if _, werr := to.Write(buffer[:n]); werr != nil || err != nil {
			return
		}
	}
}

// lit waits until there is no cut, and says whether there was one.
func (r *route) lit() bool {
	r.mu.Lock()
	dark := r.dark
	r.mu.Unlock()
	if dark == nil {
		return false
	}
	<-dark
	return true
}

func (r *route) cut() (connections int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dark = make(chan struct{})
	return len(r.open)
}

func (r *route) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dark != nil {
		close(r.dark)
		r.dark = nil
	}
}

func (r *route) hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
}

func (r *route) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[c] = true
}

func (r *route) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Close()
	delete(r.open, c)
}
