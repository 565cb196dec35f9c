package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	withdrawFor  = time.Second
	versionPause = 5 * time.Second // how long a message of a newer release waits for a newer worker
)

// Pull waits for one range of the job and takes it. It never takes more than one, and holds none back between calls.
//
// When ctx ends, the parked pull is withdrawn before Pull returns, and a message that was under way is given back at once.
// While the connection is away, or when it comes back, the pull is made anew. Messages that no release can read are
// terminated and logged. Errors: [ErrEmpty] after wait, [ErrNoConsumer], [ErrVersion], ctx's own; others are worth a pause and a retry.
func (c *Conn) Pull(ctx context.Context, database, name string, wait time.Duration) (*Delivery, error) {
	if err := checkNames(database, name); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for {
		changed := c.change()
		left := time.Until(deadline)
		if left <= 0 {
			return nil, ErrEmpty
		}
		m, err := c.pullOnce(ctx, changed, database, name, left)
		switch {
		case errors.Is(err, errInterrupted):
			if err := c.await(ctx, deadline); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		}
		ref, err := decode(c.names, m.Subject, m.Data)
		switch {
		case errors.Is(err, ErrVersion):
			c.reply(m.Reply, nakAfter(versionPause))
			return nil, fmt.Errorf("pull a range of job %s on %s: %w", name, database, err)
		case err != nil:
			c.log.Error("terminated a message that is no range", zap.String("subject", m.Subject), zap.Error(err))
			c.reply(m.Reply, term(err.Error()))
			continue
		}
		return &Delivery{Ref: ref, conn: c, replySubject: m.Reply, changed: changed}, nil
	}
}

// await returns once NATS is connected.
func (c *Conn) await(ctx context.Context, deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		changed := c.change()
		if c.nc.IsConnected() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closed:
			return nats.ErrConnectionClosed
		case <-timer.C:
			return c.Healthy()
		}
	}
}

// pullRequest is JetStream's own; durations are nanoseconds.
type pullRequest struct {
	Expires   time.Duration `json:"expires"`
	Batch     int           `json:"batch"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
}

// pullOnce parks one pull. It speaks the pull protocol itself for two reasons that jetstream.Fetch does not serve: a worker
// needs no permission but MSG.NEXT, and a message that crosses the cancellation is seen, and given back, instead of being
// dropped until AckWait.
func (c *Conn) pullOnce(ctx context.Context, changed <-chan struct{}, database, name string, wait time.Duration) (*nats.Msg, error) {
	if !c.nc.IsConnected() {
		if c.nc.IsClosed() {
			return nil, nats.ErrConnectionClosed
		}
		return nil, errInterrupted
	}
	req := pullRequest{Expires: wait, Batch: 1}
	quiet := wait + time.Second // without heartbeats: the server has answered by then
	if wait >= 2*keepAlive {
		req.Heartbeat = keepAlive
		quiet = 2 * keepAlive
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	answers := make(chan *nats.Msg, 16)
	inbox := c.nc.NewInbox()
	sub, err := c.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("subscribe for a pull: %w", err)
	}
	next := "$JS.API.CONSUMER.MSG.NEXT." + c.names.stream() + "." + c.names.consumer(database, name)
	if err := c.nc.PublishRequest(next, inbox, body); err != nil {
		sub.Unsubscribe() //nolint:errcheck // nothing was asked for
		return nil, errInterrupted
	}
	silence := time.NewTimer(quiet)
	defer silence.Stop()
	for {
		select {
		case m := <-answers:
			done, err := status(m)
			if !done {
				silence.Reset(quiet)
				continue
			}
			sub.Unsubscribe() //nolint:errcheck // the pull is used up
			if err != nil {
				return nil, pullError(err, database, name)
			}
			return m, nil
		case <-ctx.Done():
			if m := c.withdraw(sub, answers); m != nil {
				c.reply(m.Reply, nak)
			}
			return nil, ctx.Err()
		case <-changed:
			return c.orElse(c.withdraw(sub, answers), errInterrupted)
		case <-silence.C: // lost with its server or its leader
			if req.Heartbeat == 0 {
				return c.orElse(c.withdraw(sub, answers), ErrEmpty)
			}
			return c.orElse(c.withdraw(sub, answers), errInterrupted)
		}
	}
}

func (c *Conn) orElse(m *nats.Msg, err error) (*nats.Msg, error) {
	if m != nil {
		return m, nil
	}
	return nil, err
}

// withdraw takes the parked pull back and returns the message that was already under way, if there was one. Only once the
// server has answered the flush is it certain that no more will come.
func (c *Conn) withdraw(sub *nats.Subscription, answers <-chan *nats.Msg) *nats.Msg {
	if err := sub.Drain(); err != nil || c.flush(context.Background(), withdrawFor) != nil {
		sub.Unsubscribe() //nolint:errcheck // the connection is away, and the interest with it
	}
	for {
		select {
		case m := <-answers:
			if done, err := status(m); done && err == nil {
				return m
			}
		default:
			return nil
		}
	}
}

// statusError is what the server says instead of a message.
type statusError struct{ code, text string }

func (e *statusError) Error() string { return e.code + " " + e.text }

// status tells a message (done, nil) from the end of a pull (done, error) and from a heartbeat (not done).
func status(m *nats.Msg) (done bool, err error) {
	code := m.Header.Get("Status")
	if len(m.Data) > 0 || code == "" {
		return true, nil
	}
	if code == "100" {
		return false, nil
	}
	return true, &statusError{code, m.Header.Get("Description")}
}

func pullError(err error, database, name string) error {
	var s *statusError
	if !errors.As(err, &s) {
		return err
	}
	switch {
	case s.code == "404", s.code == "408":
		return ErrEmpty
	case s.code == "503", s.code == "409" && s.text == "Consumer Deleted":
		return fmt.Errorf("pull a range of job %s on %s: %w", name, database, ErrNoConsumer)
	}
	return fmt.Errorf("pull a range of job %s on %s: NATS answered %w", name, database, err)
}
