package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

// What a client says of a delivered message, on its reply subject.
var (
	ack        = []byte("+ACK")
	nak        = []byte("-NAK")
	inProgress = []byte("+WPI")
)

func nakAfter(d time.Duration) []byte {
	if d <= 0 {
		return nak
	}
	return []byte(`-NAK {"delay": ` + strconv.FormatInt(d.Nanoseconds(), 10) + `}`)
}

func term(reason string) []byte { return []byte("+TERM " + reason) }

const (
	doneFor = 30 * time.Second // a leader's election refuses acks for up to 8.6 s
	doneTry = time.Second
	// unanswered is how many tries in a row may stay without answer after a reconnect. A server that was killed within some
	// 100 ms of a delivery has forgotten it and answers no ack for it; it delivers the range again, to a slot that is free.
	unanswered = 3
)

// Delivery is one message in this worker's hands: the right to try a claim, no more. The server gives it to another worker
// when it hears nothing for 30 s, and it takes the word of an older holder: only the ledger's fence decides who commits.
type Delivery struct {
	Ref          job.Ref
	conn         *Conn
	replySubject string
	changed      <-chan struct{} // closed when the connection has changed since
}

// ReplySubject is where this delivery is acknowledged. The ledger keeps it, so that the coordinator can give the range back
// for a worker that died; see [Conn.ProxyNak].
func (d *Delivery) ReplySubject() string { return d.replySubject }

// KeepAlive tells the server every 5 s that the range is in work, until stop is called or ctx ends. After stop has returned
// nothing more is sent. stop may be called more than once.
func (d *Delivery) KeepAlive(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(keepAlive)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.conn.reply(d.replySubject, inProgress)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// Done acknowledges the range and waits until the server has it, trying for 30 s or until ctx ends. Call it only after the
// range's end, or its return to the queue, is committed in the ledger. When it fails ([ErrForgotten] says early that it
// will) the message comes again, and finds a range that needs nothing.
func (d *Delivery) Done(ctx context.Context) error {
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(doneFor))
	silent := 0
	err := backoff.Retry(func() error {
		try, cancel := context.WithTimeout(ctx, doneTry)
		defer cancel()
		_, err := d.conn.nc.RequestWithContext(try, d.replySubject, ack)
		switch {
		case errors.Is(err, nats.ErrConnectionClosed):
			return backoff.Permanent(err)
		case !errors.Is(err, context.DeadlineExceeded):
			silent = 0
			return err
		}
		if d.conn.nc.IsConnected() {
			silent++
		}
		if silent >= unanswered && d.reconnected() {
			return backoff.Permanent(ErrForgotten)
		}
		return err
	}, backoff.WithContext(policy, ctx))
	if err != nil {
		return explain(fmt.Sprintf("acknowledge range %d of job %s on %s", d.Ref.Index, d.Ref.Name, d.Ref.Database), err)
	}
	return nil
}

func (d *Delivery) reconnected() bool {
	select {
	case <-d.changed:
		return true
	default:
		return false
	}
}

// Nak gives the range back: at once, or after delay. It does not wait for the server; a lost NAK costs AckWait.
func (d *Delivery) Nak(delay time.Duration) error {
	return d.say("give back", nakAfter(delay))
}

// Term takes the range out of the stream for good and says why in the stream's advisory. It does not wait for the server.
func (d *Delivery) Term(reason string) error {
	return d.say("terminate", term(reason))
}

func (d *Delivery) say(what string, word []byte) error {
	if err := d.conn.nc.Publish(d.replySubject, word); err != nil {
		return explain(fmt.Sprintf("%s range %d of job %s on %s", what, d.Ref.Index, d.Ref.Name, d.Ref.Database), err)
	}
	return nil
}

// ProxyNak gives a range back in the name of the worker that took it, through the reply subject in the ledger, and returns
// when the server has read it. A reply subject of an acknowledged message is ignored by the server.
func (c *Conn) ProxyNak(ctx context.Context, replySubject string) error {
	if !strings.HasPrefix(replySubject, "$JS.ACK.") || !strings.Contains(replySubject, "."+c.names.stream()+".") {
		return fmt.Errorf("give a range back: %q is no reply subject of stream %s", replySubject, c.names.stream())
	}
	if err := c.nc.Publish(replySubject, nak); err != nil {
		return explain("give a range back", err)
	}
	if err := c.flush(ctx, doneTry); err != nil {
		return explain("give a range back", err)
	}
	return nil
}

// reply says a word whose loss costs no more than AckWait.
func (c *Conn) reply(subject string, word []byte) {
	if err := c.nc.Publish(subject, word); err != nil {
		c.log.Debug("could not answer for a message", zap.String("subject", subject), zap.Error(err))
	}
}
