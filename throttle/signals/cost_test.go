package signals_test

import (
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

// BenchmarkLag measures a reading and a beat on a real pair: the round trip, and the server's CPU time in it.
func BenchmarkLag(b *testing.B) {
	c := harness.Postgres(b, harness.WithStandby(1))
	c.Exec(b, "postgres", heartbeatTable)
	conn, err := pgx.Connect(b.Context(), c.DSN("postgres"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close(b.Context()) })
	l := signals.NewLag(conn, time.Now, 0)
	for name, call := range map[string]func() error{
		"read": func() error { return l.Read(b.Context()).Err },
		"beat": func() error { return l.Beat(b.Context()) },
	} {
		b.Run(name, func(b *testing.B) {
			require.NoError(b, call())
			before := cpu(b, conn.PgConn().PID())
			for b.Loop() {
				require.NoError(b, call())
			}
			b.ReportMetric(float64(cpu(b, conn.PgConn().PID())-before)/float64(b.N)/1e3, "server-cpu-µs/op")
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
