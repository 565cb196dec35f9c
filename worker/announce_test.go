package worker

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// hanging is a pool of a server that takes connections and never says a word.
func hanging(t *testing.T) *pgxpool.Pool {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	pool, err := pgxpool.New(t.Context(), "postgres://u@"+l.Addr().String()+"/x?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestADatabaseThatHangsSilencesNoOther(t *testing.T) {
	w := New(Config{ID: "w1", Logger: zap.NewNop(), Databases: []Database{
		{Name: "good", Pool: harness.Database(t).Pool}, {Name: "bad", Pool: hanging(t)},
	}})
	var mu sync.Mutex
	var said []time.Time
	enough := make(chan struct{})
	w.say = func(h job.Hello) error {
		mu.Lock()
		defer mu.Unlock()
		if slices.Contains(h.Databases, "good") {
			if said = append(said, time.Now()); len(said) == 4 {
				close(enough)
			}
		}
		return nil
	}
	w.slots[0].setHolding(&job.Held{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.announce(ctx) })
	<-enough
	cancel()
	running.Wait()
	mu.Lock()
	defer mu.Unlock()
	for i := range 3 {
		require.Less(t, said[i+1].Sub(said[i]), databaseTry, "a slot at work is heard of twice a second")
	}
}

// With ten databases a lease must not lie until the next look at them all: one that lies for long goes to another slot.
func TestALeaseOnAnyDatabaseWakesAnIdleSlot(t *testing.T) {
	w := New(Config{ID: "w1", Logger: zap.NewNop(), Databases: []Database{{Name: "a"}, {Name: "b"}, {Name: "c"}}})
	for _, d := range w.desks {
		d.setReachable(true)
		_, _, wait := w.slots[0].lease()
		d.budget(job.Budget{Epoch: 1, Seq: 1, Leases: []job.Lease{{Worker: "w1", Job: "A"}}})
		select {
		case <-wait:
		default:
			require.Fail(t, "it sleeps on", d.db.Name)
		}
		got, _, _ := w.slots[0].lease()
		require.Same(t, d, got)
		d.budget(job.Budget{Epoch: 1, Seq: 2})
	}
}
