package store

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A leader that is frozen in the middle of a transaction holds the leadership row; its session must not outlive the leadership by much,
// or nobody could lead.
func TestAFrozenTransactionDoesNotKeepTheLeadership(t *testing.T) {
	sc := submitted(t, 10)
	began := time.Now()
	err := sc.l.tx(t.Context(), "freeze", func(pgx.Tx) error {
		require.Eventually(t, func() bool {
			try, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := sc.s.Lead(try, "coordinator-2")
			return err == nil
		}, 30*time.Second, 100*time.Millisecond)
		return nil
	})
	require.Less(t, time.Since(began), 8*time.Second, "the leadership lives for six")
	require.Error(t, err, "nothing of it was committed")
	require.NotErrorIs(t, err, ErrNotLeader, "it had begun in time")
}
