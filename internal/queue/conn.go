// Package queue delivers ranges through NATS JetStream. It is the only code that knows ack, nak and term.
//
// Nothing in the stream is needed to know what is done: the ledger knows. A message names a range and a generation, at most
// one message of a range is in the stream at a time, and a lost, repeated or stale one costs time, never a row.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Conn is one process's connection to NATS. It is safe for concurrent use.
type Conn struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	names    names
	replicas int
	batches  bool // the stream takes atomic batches
	log      *zap.Logger
	display  every // what is written for people to read, and what would flood the log
	touch    *touch
	proof    string // where the answers to what is shown come
	closed   chan struct{}
	once     sync.Once

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when the connection goes away or comes back
	hooks   []func()
	away    time.Time // since when; zero while connected
	cause   error
}

func newConn(o Options) *Conn {
	c := &Conn{
		names:    names{o.Prefix},
		replicas: o.Replicas,
		log:      o.Logger,
		display:  every{now: time.Now},
		changed:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
	c.touch = newTouch(c.moveOn)
	return c
}

// OnReconnect registers f, which runs in its own goroutine after each reconnect. It does not run for the first connect.
func (c *Conn) OnReconnect(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = append(c.hooks, f)
}

// Healthy returns nil while connected, else since when and why not.
func (c *Conn) Healthy() error {
	if c.nc.IsConnected() {
		return nil
	}
	if c.nc.IsClosed() {
		return errors.New("the connection to NATS is closed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away.IsZero() || c.cause == nil {
		return fmt.Errorf("%w; reconnecting", ErrNotConnected)
	}
	return fmt.Errorf("NATS has been away for %s (%w); reconnecting", time.Since(c.away).Round(time.Second), c.cause)
}

// Reach returns nil once the server has answered, else why it did not within d. Unlike [Conn.Healthy] it sees a link that hangs.
func (c *Conn) Reach(ctx context.Context, d time.Duration) error {
	if err := c.Healthy(); err != nil {
		return err
	}
	if err := c.flush(ctx, d); err != nil {
		return fmt.Errorf("NATS does not answer: %w", err)
	}
	return nil
}

// Drain sends what is buffered, lets subscriptions finish, and closes. It closes at once when ctx ends first.
func (c *Conn) Drain(ctx context.Context) error {
	defer c.Close()
	status := c.nc.StatusChanged(nats.CLOSED)
	defer c.nc.RemoveStatusListener(status)
	if err := c.nc.Drain(); err != nil {
		return fmt.Errorf("drain the connection to NATS: %w", err)
	}
	select {
	case <-status:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the connection now. What is buffered may be lost.
func (c *Conn) Close() {
	c.once.Do(func() { close(c.closed) })
	c.nc.Close()
	c.touch.forget()
}

// change returns a channel that is closed when the connection next goes away or comes back.
func (c *Conn) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *Conn) pulse() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Conn) disconnected(nc *nats.Conn, err error) {
	c.touch.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulse()
	if nc.IsClosed() {
		return
	}
	c.away, c.cause = time.Now(), err
	c.log.Warn("lost the connection to NATS; reconnecting", zap.Error(err))
}

func (c *Conn) reconnected(nc *nats.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Info("reconnected to NATS", zap.String("server", nc.ConnectedServerName()), zap.Duration("away", time.Since(c.away)))
	c.away, c.cause = time.Time{}, nil
	c.pulse()
	for _, f := range c.hooks {
		go f()
	}
}

// asyncError is the only place where the server's denial of a permission shows: the request itself just times out.
func (c *Conn) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.log.Error("NATS denied a permission; grant its role what deploy/nats/accounts.conf lists", zap.Error(err))
		return
	}
	fields := []zap.Field{zap.Error(err)}
	if sub != nil {
		fields = append(fields, zap.String("subject", sub.Subject))
	}
	c.log.Warn("NATS reported an error", fields...)
}

// flush waits until the server has read everything sent before, for at most d.
func (c *Conn) flush(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return c.nc.FlushWithContext(ctx)
}

// every lets something through at most once a period and key.
type every struct {
	now  func() time.Time
	mu   sync.Mutex
	last map[string]time.Time
}

func (e *every) due(key string, period time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if t, ok := e.last[key]; ok && now.Sub(t) < period {
		return false
	}
	if e.last == nil {
		e.last = map[string]time.Time{}
	}
	e.last[key] = now
	return true
}
