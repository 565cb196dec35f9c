package signals_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle/signals"
)

// BenchmarkLag measures a reading, a beat, a reading that asks the replica as well, and a reading of the slots, on a real pair: the
// round trip, and the CPU time of the server that answers.
func BenchmarkLag(b *testing.B) {
	c := harness.Postgres(b, harness.WithStandby(1))
	c.Exec(b, "postgres", heartbeatTable)
	require.NoError(b, c.WaitReplayed())
	conn, err := pgx.Connect(b.Context(), c.DSN("postgres"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close(b.Context()) })
	l, slots := signals.NewLag(conn, time.Now, 0), signals.NewSlots(conn, nil)
	session := make(chan uint32, 1)
	asked := asking(b, conn, signals.Replica{Name: "standby1", Connect: func(ctx context.Context) (*pgx.Conn, error) {
		conn, err := pgx.Connect(ctx, c.ReplicaDSN(0, "postgres"))
		if err == nil {
			select {
			case session <- conn.PgConn().PID():
			default:
			}
		}
		return conn, err
	}})
	<-session               // of the check
	for len(session) == 0 { // until the goroutine that asks has begun
		require.NoError(b, asked.Read(b.Context()).Err)
	}
	for _, m := range []struct {
		name   string
		server uint32
		call   func() error
	}{
		{"read", conn.PgConn().PID(), func() error { return l.Read(b.Context()).Err }},
		{"beat", conn.PgConn().PID(), func() error { return l.Beat(b.Context()) }},
		{"asked", <-session, func() error { return asked.Read(b.Context()).Err }},
		{"slots", conn.PgConn().PID(), func() error { return slots.Read(b.Context())[0].Err }},
	} {
		b.Run(m.name, func(b *testing.B) {
			require.NoError(b, m.call())
			before := cpu(b, m.server)
			for b.Loop() {
				require.NoError(b, m.call())
			}
			b.ReportMetric(float64(cpu(b, m.server)-before)/float64(b.N)/1e3, "server-cpu-µs/op")
		})
	}
}

// cpu is the user and system time that a process has used, in the kernel's ticks of 10 ms.
func cpu(t testing.TB, pid uint32) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
