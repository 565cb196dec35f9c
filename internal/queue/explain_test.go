package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What passes by itself is told from what a person has to change: a start that meets the first ends so that it is tried again.
func TestExplainTellsWhatPasses(t *testing.T) {
	api := func(code int, number jetstream.ErrorCode) error {
		return fmt.Errorf("look: %w", &jetstream.APIError{Code: code, ErrorCode: number, Description: "as the server says"})
	}
	for _, c := range []struct{ err, want error }{
		{nats.ErrReconnectBufExceeded, ErrNotConnected},
		{nats.ErrConnectionClosed, ErrNotConnected},
		{nats.ErrNoResponders, ErrNoAnswer},
		{context.DeadlineExceeded, ErrNoAnswer},
		{api(503, 10008), ErrNoAnswer}, // JetStream system temporarily unavailable
		{api(500, 10009), ErrNoAnswer}, // not the leader of the cluster
		{api(404, 10059), ErrNoStream},
		{api(404, 10014), ErrNoConsumer},
		{api(503, 10023), nil}, // insufficient resources
		{api(400, 10074), nil},
	} {
		got := explain("look", c.err)
		for _, reason := range []error{ErrNotConnected, ErrNoAnswer, ErrNoStream, ErrNoConsumer} {
			if errors.Is(got, reason) != (reason == c.want) {
				t.Errorf("%v became %v; is it %q?", c.err, got, reason)
			}
		}
	}
}
