package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Way is one direction of a [Link].
type Way int

// The two ways of a link.
const (
	Up   Way = iota // from the client to the server
	Down            // from the server to the client
)

// Link is a TCP proxy between clients and one server, and it breaks as networks do. It begins as a good link.
//
// What a silent way has taken is kept, and delivered in order once the way is mended, as TCP would send it again: so a request may
// reach its server long after its client has given up. A new connection to a silent link is made, and then hears nothing.
type Link struct {
	// Port is where clients reach it.
	Port int

	host, to string
	ways     [2]*way

	mu       sync.Mutex
	listener net.Listener // nil while it is cut
	sessions map[*session]bool
	closed   bool
	running  sync.WaitGroup
}

// StartLink opens a link on the loopback interface to the server at an address such as 127.0.0.1:5432.
func (e *Env) StartLink(to string) (*Link, error) { return e.StartLinkAt("127.0.0.1", to) }

// StartLinkAt does the same on another address of this machine, for clients in a network namespace.
func (e *Env) StartLinkAt(host, to string) (*Link, error) {
	port, err := e.Port()
	if err != nil {
		return nil, err
	}
	l := &Link{Port: port, host: host, to: to, ways: [2]*way{newWay(), newWay()}, sessions: map[*session]bool{}}
	if err := l.listen(); err != nil {
		return nil, fmt.Errorf("open a link to %s: %w", to, err)
	}
	return l, nil
}

// Local is the address of a port of the loopback interface.
func Local(port int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) }

// Through is a URL, such as a DSN, that reaches its server over this link.
func (l *Link) Through(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(err) // it is a test's own
	}
	u.Host = l.Address()
	return u.String()
}

// Address is where clients reach it, as host:port.
func (l *Link) Address() string { return net.JoinHostPort(l.host, fmt.Sprint(l.Port)) }

// Silence lets nothing through any more on the ways given, or on both: the link is half-open. Connections stay.
func (l *Link) Silence(ways ...Way) { l.set(ways, func(w *way) { w.silent = true }) }

// Slow makes each byte arrive so much later on the ways given, or on both, and lets no more bytes a second through for all
// connections together; 0 is no limit.
func (l *Link) Slow(latency time.Duration, bytesPerSecond int, ways ...Way) {
	l.set(ways, func(w *way) { w.latency, w.rate = latency, bytesPerSecond })
}

// Cut resets every connection and refuses new ones. What was under way is lost.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		l.listener.Close()
		l.listener = nil
	}
	for s := range l.sessions {
		s.reset()
	}
}

// Mend makes it a good link again: it takes back Silence, Slow and Cut.
func (l *Link) Mend() error {
	l.set(nil, func(w *way) { w.silent, w.latency, w.rate = false, 0, 0 })
	l.mu.Lock()
	cut := l.listener == nil && !l.closed
	l.mu.Unlock()
	if cut {
		return l.listen()
	}
	return nil
}

// Delivered is how many bytes were handed to the receivers of a way so far.
func (l *Link) Delivered(w Way) int64 {
	l.ways[w].mu.Lock()
	defer l.ways[w].mu.Unlock()
	return l.ways[w].delivered
}

// Close cuts it for good.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Cut()
	l.running.Wait()
}

func (l *Link) set(ways []Way, change func(*way)) {
	if len(ways) == 0 {
		ways = []Way{Up, Down}
	}
	for _, n := range ways {
		w := l.ways[n]
		w.mu.Lock()
		change(w)
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
	}
}

func (l *Link) listen() error {
	// A process that is just being forked has a copy of the socket that had the port before, until it executes its program.
	ctx, cancel := context.WithTimeout(context.Background(), listenMost)
	defer cancel()
	var listener net.Listener
	err := poll(ctx, "listen on "+l.Address(), func(context.Context) (err error) {
		listener, err = net.Listen("tcp", l.Address())
		return err
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener = listener
	l.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // it was cut
			}
			l.running.Go(func() { l.serve(client) })
		}
	})
	return nil
}

func (l *Link) serve(client net.Conn) {
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		client.Close()
		return
	}
	s := &session{client: client.(*net.TCPConn), server: server.(*net.TCPConn), done: make(chan struct{})}
	defer s.end()
	l.mu.Lock()
	cut := l.listener == nil
	if !cut {
		l.sessions[s] = true
	}
	l.mu.Unlock()
	if cut {
		s.reset()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { s.carry(s.client, s.server, l.ways[Up]) })
	both.Go(func() { s.carry(s.server, s.client, l.ways[Down]) })
	both.Wait()
	l.mu.Lock()
	delete(l.sessions, s)
	l.mu.Unlock()
}

// session is one connection over a link.
type session struct {
	client, server *net.TCPConn
	once           sync.Once
	done           chan struct{}
}

func (s *session) end() {
	s.once.Do(func() { close(s.done) })
	_, _ = s.client.Close(), s.server.Close()
}

// reset ends it without a goodbye.
func (s *session) reset() {
	_, _ = s.client.SetLinger(0), s.server.SetLinger(0)
	s.end()
}

// parcel is what was read at once; no data: that the sender has closed.
type parcel struct {
	data []byte
	sent time.Time
}

const (
	parcelMost = 16 << 10
	listenMost = 2 * time.Second
	underWay   = 64 // parcels; a sender that has more waits, as for a full TCP window
)

// carry moves one way of a session to its end.
func (s *session) carry(from, to *net.TCPConn, w *way) {
	parcels := make(chan parcel, underWay)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		defer close(parcels)
		for {
			data := make([]byte, parcelMost)
			n, err := from.Read(data)
			p := parcel{data: data[:n], sent: time.Now()}
			if err == nil || n > 0 {
				select {
				case parcels <- p:
				case <-s.done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range parcels {
		if !w.pass(p, s.done) {
			return
		}
		w.count(len(p.data))
		if _, err := to.Write(p.data); err != nil {
			s.end() // whoever should receive is gone
			return
		}
	}
	if w.pass(parcel{sent: time.Now()}, s.done) {
		_ = to.CloseWrite()
	}
}

// way is the state of one direction.
type way struct {
	mu        sync.Mutex
	silent    bool
	latency   time.Duration
	rate      int           // bytes a second; 0: no limit
	free      time.Time     // when all that was let in has passed, at the rate
	changed   chan struct{} // closed, and replaced, at each change
	delivered int64
}

func newWay() *way { return &way{changed: make(chan struct{})} }

func (w *way) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivered += int64(n)
}

// pass waits until a parcel has arrived; false once the session is done.
func (w *way) pass(p parcel, done <-chan struct{}) bool {
	w.mu.Lock()
	due := p.sent.Add(w.latency)
	if w.rate > 0 {
		if now := time.Now(); w.free.Before(now) {
			w.free = now
		}
		w.free = w.free.Add(time.Duration(len(p.data)) * time.Second / time.Duration(w.rate))
		if due.Before(w.free) {
			due = w.free
		}
	}
	w.mu.Unlock()
	if d := time.Until(due); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-done:
			return false
		}
	}
	for {
		w.mu.Lock()
		silent, changed := w.silent, w.changed
		w.mu.Unlock()
		if !silent {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		}
	}
}

var errNoLink = errors.New("the server's address has no host and port")

// linkTo reads where a link to the server of a URL leads.
func linkTo(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	if u.Port() == "" {
		return "", fmt.Errorf("%s: %w", u.Redacted(), errNoLink)
	}
	return u.Host, nil
}
