package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/internal/job"
)

// Outcome is what became of one publish.
type Outcome string

const (
	// Published means that the message is in the stream.
	Published Outcome = "published"
	// Duplicate means that nothing was published, because this generation was, within the last two minutes. Its message may
	// still be in the stream, or acknowledged or purged since.
	Duplicate Outcome = "duplicate"
	// Occupied means that nothing was published, because the range has a message of some generation in the stream: queued, or
	// delivered and not yet acknowledged.
	Occupied Outcome = "occupied"
	// Unknown means that no answer came, or an error: the message may or may not be in the stream. Publish the same
	// generation again, or let the inventory decide.
	Unknown Outcome = "unknown"
)

// PublishResult is the outcome of one ref; Err is set only with Unknown.
type PublishResult struct {
	Ref     job.Ref
	Outcome Outcome
	Err     error
}

const (
	occupiedFor   = time.Second // a replicated stream frees a subject up to 4 ms after its ack; an overloaded one later
	occupiedPause = 20 * time.Millisecond
	subjectFull   = jetstream.ErrorCode(10077)
)

// Publish releases ranges to the stream and returns one result a ref, in order. An occupied range is tried again for one
// second. The error is set when ctx ended or a ref cannot be a subject; results then tell how far it came.
func (c *Conn) Publish(ctx context.Context, refs []job.Ref) ([]PublishResult, error) {
	results := make([]PublishResult, len(refs))
	todo := make([]int, len(refs))
	for i, r := range refs {
		if err := checkNames(r.Database, r.Name); err != nil {
			return nil, fmt.Errorf("publish range %d: %w", r.Index, err)
		}
		results[i] = PublishResult{Ref: r, Outcome: Unknown, Err: errNotSubmitted}
		todo[i] = i
	}
	c.release(ctx, results, todo)
	retry := time.NewTimer(occupiedPause)
	defer retry.Stop()
	rest, cancel := context.WithTimeout(ctx, occupiedFor)
	defer cancel()
	for todo = occupied(results); len(todo) > 0; todo = occupied(results) {
		select {
		case <-rest.Done():
			return results, ctx.Err()
		case <-retry.C:
		}
		c.publishEach(rest, results, todo)
		retry.Reset(occupiedPause)
	}
	return results, ctx.Err()
}

func occupied(results []PublishResult) (at []int) {
	for i := range results {
		if results[i].Outcome == Occupied {
			at = append(at, i)
		}
	}
	return at
}

// publishEach publishes results[i] for each i in todo, in order, with at most publishWindow unanswered. It stops submitting
// when ctx ends, but always collects the answers of what it submitted.
func (c *Conn) publishEach(ctx context.Context, results []PublishResult, todo []int) {
	var futures [publishWindow]jetstream.PubAckFuture
	collect := func(n int) {
		if f := futures[n%publishWindow]; f != nil {
			r := &results[todo[n]]
			r.Outcome, r.Err = c.answer(f)
			futures[n%publishWindow] = nil
		}
	}
	sent := 0
	for ; sent < len(todo) && ctx.Err() == nil; sent++ {
		if sent >= publishWindow {
			collect(sent - publishWindow)
		}
		r := &results[todo[sent]]
		f, err := c.submit(r.Ref)
		if err != nil {
			r.Outcome, r.Err = Unknown, explain("publish range "+c.names.rangeOf(r.Ref), err)
			continue
		}
		futures[sent%publishWindow] = f
	}
	for n := max(0, sent-publishWindow); n < sent; n++ {
		collect(n)
	}
}

func (c *Conn) submit(r job.Ref) (jetstream.PubAckFuture, error) {
	m, err := c.message(r)
	if err != nil {
		return nil, err
	}
	return c.js.PublishMsgAsync(m, jetstream.WithStallWait(publishTimeout))
}

func (c *Conn) message(r job.Ref) (*nats.Msg, error) {
	data, err := encode(r)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(c.names.rangeOf(r))
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, messageID(r))
	m.Header.Set(jetstream.ExpectedStreamHeader, c.names.stream())
	return m, nil
}

// answer waits for one future, which always ends: by its ack, by publishTimeout, or by the loss of the connection.
func (c *Conn) answer(f jetstream.PubAckFuture) (Outcome, error) {
	select {
	case ack := <-f.Ok():
		if ack.Duplicate {
			return Duplicate, nil
		}
		return Published, nil
	case err := <-f.Err():
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == subjectFull {
			return Occupied, nil
		}
		return Unknown, explain("publish range "+f.Msg().Subject, err)
	case <-c.closed:
		return Unknown, errors.New("publish range " + f.Msg().Subject + ": the connection to NATS was closed")
	}
}
