package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/queue"
)

// What another try may find well ends with the code that systemd restarts; what a person has to correct does not.
func TestExitCodesOfNATS(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{&queue.ConnectError{Reason: queue.ErrUnreachable}, exitUnreachable},
		{&queue.ConnectError{Reason: queue.ErrNoAnswer}, exitUnreachable},
		{&queue.ConnectError{Reason: queue.ErrCredentials}, exitRefused},
		{&queue.ConnectError{Reason: queue.ErrNoJetStream}, exitRefused},
		{&queue.ConnectError{Reason: queue.ErrDenied}, exitRefused},
		{fmt.Errorf("prepare the stream: look up stream BACKFLEET: %w", queue.ErrNotConnected), exitUnreachable},
		{fmt.Errorf("prepare the stream: %w; it is starting: %w", queue.ErrNoAnswer, context.DeadlineExceeded), exitUnreachable},
		{errors.New("something else"), exitFailure},
	} {
		require.Equal(t, c.code, exitCode(c.err), "%v", c.err)
	}
}
