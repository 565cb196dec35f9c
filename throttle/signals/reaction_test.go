package signals_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle/signals"
)

// BenchmarkReaction measures on a real pair how soon a stall of replay and its end are read, and how much lag is read where there is
// none: from the primary alone and with the replica asked, while an application writes and while only the heartbeat does. A reading is
// made every 50 ms and a beat every 200 ms, as the governor does; a stall counts as seen at 0.2 s, where it stops the fleet. At last
// the replica is made to replay 1 s late while only the heartbeat writes, as it does while the fleet holds. The truth is then between
// 0.8 s, just after a beat was replayed, and 1 s: a reading beyond 1 s is too high.
func BenchmarkReaction(b *testing.B) {
	c := harness.Postgres(b, harness.WithStandby(1))
	c.Exec(b, "postgres", heartbeatTable, "CREATE TABLE application (n bigint)", "INSERT INTO application VALUES (0)")
	require.NoError(b, c.WaitReplayed())
	pool, standby := c.Pool(b, "postgres"), c.ReplicaDSN(0, "postgres")
	ways := []struct {
		name string
		lag  *signals.Lag
	}{
		{"primary", signals.NewLag(pool, time.Now, 0)},
		{"asked", asking(b, pool, replicaAt("standby1", fixed(standby)))},
	}
	for _, load := range []struct {
		name  string
		write bool
	}{{"quiet", false}, {"busy", true}} {
		for _, way := range ways {
			b.Run(load.name+"/"+way.name, func(b *testing.B) {
				if load.write {
					defer write(b, c)()
				}
				react(b, way.lag, standby)
			})
		}
	}
	delay(b, c, "1s")
	for _, way := range ways {
		b.Run("late/"+way.name, func(b *testing.B) { late(b, way.lag) })
	}
}

func late(b *testing.B, l *signals.Lag) {
	read, done := reader(b, l)
	defer done()
	for read() < 1 {
	}
	var beyond []float64
	for b.Loop() {
		for range 10 {
			beyond = append(beyond, read()-1)
		}
	}
	slices.Sort(beyond)
	b.ReportMetric(1e3*mean(beyond), "late-mean-ms")
	b.ReportMetric(1e3*beyond[len(beyond)*99/100], "late-p99-ms")
	b.ReportMetric(0, "ns/op")
}

func react(b *testing.B, l *signals.Lag, standby string) {
	read, done := reader(b, l)
	defer done()
	for read() > 0.2 {
	}
	var idle, seen, over []float64
	for b.Loop() {
		for range 20 {
			idle = append(idle, read())
		}
		thaw := freeze(b, standby, "startup")
		began := time.Now()
		for read() <= 0.2 {
		}
		seen = append(seen, time.Since(began).Seconds())
		for time.Since(began) < time.Second {
			read()
		}
		thaw()
		began = time.Now()
		for read() > 0.2 {
		}
		over = append(over, time.Since(began).Seconds())
	}
	slices.Sort(idle)
	b.ReportMetric(1e3*idle[len(idle)/2], "idle-p50-ms")
	b.ReportMetric(1e3*idle[len(idle)*99/100], "idle-p99-ms")
	b.ReportMetric(1e3*mean(seen), "seen-ms")
	b.ReportMetric(1e3*mean(over), "over-ms")
	b.ReportMetric(0, "ns/op")
}

// reader reads the lag of the only member at each tick.
func reader(b *testing.B, l *signals.Lag) (read func() float64, done func()) {
	beaten := time.Time{}
	tick := time.NewTicker(50 * time.Millisecond)
	return func() float64 {
		<-tick.C
		if time.Since(beaten) >= 200*time.Millisecond {
			beaten = time.Now()
			require.NoError(b, l.Beat(b.Context()))
		}
		s := l.Read(b.Context())
		require.NoError(b, s.Err)
		require.Len(b, s.Members, 1)
		return s.Members[0].Lag
	}, tick.Stop
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// write has an application commit small transactions until the returned function is called.
func write(b *testing.B, c *harness.Cluster) (stop func()) {
	conn, err := pgx.Connect(b.Context(), c.DSN("postgres"))
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, _ = conn.Exec(ctx, "UPDATE application SET n = n + 1")
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() {
		cancel()
		<-ended
		_ = conn.Close(context.Background())
	}
}
